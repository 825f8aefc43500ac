"""What would happen on another device than the CPU, wherever the tests run: tensors there have a shape and a device, no data.

PyTorch then refuses operations that mix devices, and values that the host would have to wait for; a transfer is refused by us.
What PyTorch has for devices that exist alone, such as fused Adam, is not seen here.
"""

import os
import tempfile
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from multilevel_diffusion import grids, mixture, models, networks, training
from multilevel_diffusion.builders import build_denoiser, build_network, build_prior
from multilevel_diffusion.gaussian import prior_law
from multilevel_diffusion.grids import CellCentred, Torus, restrict
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.priors import Bessel
from multilevel_diffusion.settings import ArmSpec, Gain, parse
from multilevel_diffusion.training import Dataset, Trainer, Validation

DEVICE = torch.device("meta")
FNO = {"kind": "fno", "width": 4, "layers": 2, "modes": 3, "head": 8}
GRIDS = {Torus: "torus", CellCentred: "cell-centred"}
UNET = {"kind": "unet", "channels": [4, 8], "blocks": 1, "groups": 2}


class Generator(torch.Generator):
    """Where tensors hold no data, nothing of a generator matters but its device."""

    device = DEVICE


class NoTransfers(TorchDispatchMode):
    """Nothing leaves its device; single numbers may come from the host, as arguments of a launch."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        given, made = (
            [leaf for leaf in tree_leaves(leaves) if isinstance(leaf, torch.Tensor)]
            for leaves in ((args, kwargs), result)
        )
        fields = {tensor.device for tensor in (*given, *made) if tensor.ndim}
        leaves = DEVICE in {tensor.device for tensor in given} and any(tensor.device != DEVICE for tensor in made)
        assert not leaves, f"{operator} moves tensors between devices"
        assert len(fields) < 2, f"{operator} moves tensors between devices"
        return result


def real(function):
    """What is kept for the whole process has its data."""

    def call(*args):
        with unset_fake_temporarily():
            return function(*args)

    return call


@pytest.fixture
def waits(monkeypatch):
    """Puts tensors without data in place, and keeps those whose value the host reads by `item`; any other way is refused."""
    read = []

    def item(tensor):
        read.extend([tensor] * (tensor.device == DEVICE))  # Adam counts its steps on the host
        return 0.5

    monkeypatch.setattr(torch.Tensor, "item", item)
    adam = torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", lambda *given, fused, **options: adam(*given, **options))
    monkeypatch.setattr(training, "random_stream", lambda *key, device: Generator())
    monkeypatch.setattr(networks, "_truncated_fourier", cache(networks._truncated_fourier.__wrapped__))
    monkeypatch.setattr(grids, "_cosine_resampling", real(grids._cosine_resampling))
    monkeypatch.setattr(mixture, "_ramps", real(mixture._ramps))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield read


def fields(n, resolution, dtype=torch.float32):
    return torch.empty(n, resolution, resolution, dtype=dtype, device=DEVICE)


@pytest.fixture
def trainer(tiny, waits):
    def make(network, grid, batches=None, **settings):
        kind = {} if grid is Torus else {"kind": "fields", "data_set": "tiny", "validation": {"resolutions": [8]}}
        spec = parse(ArmSpec, tiny(**settings) | {"network": network, "grid": GRIDS[grid]} | kind, source="tiny")
        with unset_fake_temporarily():
            prior, module = build_prior(spec), build_network(spec, 1)
        module.to(DEVICE)
        data = Dataset(fields(10, 16), grid(16))
        for level in spec.training.ladder:
            data.on(grid(level.resolution))
        return Trainer(
            module,
            build_denoiser(spec, module, prior, Gain.VALUES),
            spec.training,
            batches=batches(prior) if batches else data.batches,
            steps_in_pass=data.steps,
            grid=grid,
            loss_scale=256,
            generator=Generator(),
            write_model=None,
        )

    return make


def mixture_batches(prior):
    law = GaussianMixture(prior)
    return lambda grids, stream, batch: (law.sample(batch, grid, stream) for grid in grids)


def test_here_a_mixture_of_devices_a_wait_and_a_transfer_are_seen(waits):
    there, here = fields(1, 4), torch.ones(1, 4, 4)
    with pytest.raises(RuntimeError, match="same device"):
        there + here
    with pytest.raises(DataDependentOutputException):
        bool(there.isfinite().all())
    for moved in (there, there.sum()):
        with NoTransfers(), pytest.raises(AssertionError, match="moves tensors"):
            moved.cpu()
    with NoTransfers(), pytest.raises(AssertionError, match="moves tensors"):
        here.to(DEVICE)
    there.sum().item()
    assert len(waits) == 1


@pytest.mark.parametrize(("network", "grid"), [(FNO, Torus), (FNO, CellCentred), (UNET, Torus)])
def test_an_epoch_on_data_reads_one_number_and_moves_nothing(trainer, waits, network, grid):
    check_epochs(trainer(network, grid, **SETTINGS), waits)


def test_an_epoch_on_the_mixture_reads_one_number_and_moves_nothing(trainer, waits):
    check_epochs(trainer(FNO, Torus, mixture_batches, **SETTINGS), waits)


SETTINGS = {"steps_per_epoch": 2, "averaging": 0.9, "schedule": "one-cycle", "snapshot_every": None}


def check_epochs(t, waits):
    first, second = t.epochs
    t._epoch(1, first, lambda collect: None)  # makes what the grid needs
    waits.clear()
    with NoTransfers():
        t._epoch(2, second, lambda collect: None)
    assert len(waits) == 1


def test_validation_reads_a_number_a_grid_and_moves_nothing(trainer, waits):
    t = trainer(FNO, CellCentred)
    validation = Validation(
        Dataset(fields(200, 16), CellCentred(16)), [CellCentred(8), CellCentred(16)], 3, t.denoiser, DEVICE
    )
    validation.losses(t.denoiser)
    waits.clear()
    with NoTransfers():
        validation.losses(t.denoiser)
    assert len(waits) == 2


@pytest.mark.parametrize("n", [8, 9])
def test_what_a_sampler_asks_of_a_network_and_a_prior_stays_where_it_is(trainer, n):
    denoiser, u = trainer(FNO, Torus).denoiser, fields(3, n, torch.float64)
    t = torch.empty(3, dtype=torch.float64, device=DEVICE)

    def asked():
        return denoiser.predict_noise(u, t, Torus(n)), denoiser.prior.sample(3, Torus(n), Generator(), u.dtype)

    asked()  # makes what the grid needs
    with NoTransfers():
        assert {(tensor.device, tensor.dtype) for tensor in asked()} == {(DEVICE, u.dtype)}


def test_fluctuations_of_a_gaussian_are_drawn_where_the_generator_is(waits):
    law = prior_law(Bessel(8, 8.0, 0.8))
    assert law.fluctuations(2, Torus(8), Generator()).device == DEVICE


@pytest.mark.parametrize("grid", [Torus, CellCentred])
def test_fields_are_restricted_where_they_are(waits, grid):
    for source, target in ((16, 8), (16, 9), (15, 15)):
        assert restrict(fields(3, source), grid(source), grid(target)).device == DEVICE


def test_of_several_gpus_each_process_has_one_of_its_own_while_there_are_some(monkeypatch, tmp_path):
    taken = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid=f"GPU-{i}"))
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    take = models._take_gpu.__wrapped__  # as by a process of its own: a lock is of an open file
    first, second = take(), take()
    assert taken == [0, 1]
    assert take() is None  # they share the first, as CUDA has it
    os.close(first)
    again = take()
    assert taken == [0, 1, 0]
    for lock in (second, again):
        os.close(lock)
