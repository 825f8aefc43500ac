"""Smaller models: what is left out of them, and what is not."""

import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from multilevel_diffusion import load, storage
from multilevel_diffusion.data.mnist import digits, read_idx
from multilevel_diffusion.data.reaction_diffusion import ReactionDiffusion, graded_times, snapshots
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.gaussian import GaussianDenoiser, estimate
from multilevel_diffusion.grids import CellCentred, Torus
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.models import write_model
from multilevel_diffusion.packing import packed
from multilevel_diffusion.priors import Bessel
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.stages.score_error import measure
from multilevel_diffusion.storage import generator
from multilevel_diffusion.training import Dataset, Validation

MNIST = Path(__file__).parents[1] / "mnist"


def predicted(model, grid):
    u = model.prior.sample(3, grid, generator(1))
    return model.denoiser().predict_noise(u, torch.tensor([0.1, 0.5, 0.9]), grid)


def test_with_all_of_its_modes_a_packed_model_is_the_same_but_for_half_precision(files, tmp_path):
    model = load(files.model, "cpu")
    whole = packed(model, model.settings.network.modes, 0)
    assert torch.equal(predicted(whole, Torus(8)), predicted(model, Torus(8)))
    write_model(tmp_path / "half.safetensors", whole, {}, half=True)
    half = load(tmp_path / "half.safetensors", "cpu")
    torch.testing.assert_close(predicted(half, Torus(8)), predicted(model, Torus(8)), rtol=0, atol=2e-3)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * files.model.stat().st_size


def test_fewer_modes_are_those_that_a_coarse_grid_resolves(files):
    """A grid of 2m points has the modes |k_i| < m, so that those left out make no difference there."""
    model = load(files.model, "cpu")
    modes = model.settings.network.modes
    small = packed(model, modes - 1, 0)
    coarse, fine = Torus(2 * modes - 2), Torus(2 * modes + 2)
    assert torch.equal(predicted(small, coarse), predicted(model, coarse))
    assert not torch.allclose(predicted(small, fine), predicted(model, fine))


def test_a_law_with_fewer_modes_is_that_estimated_with_so_many():
    fields, prior = torch.randn(200, 9, 9, generator=generator(1), dtype=torch.float64), Bessel(9, 8.0, 0.8)
    whole, small = (estimate(fields, Torus(9), prior, modes) for modes in (3, 1))
    torch.testing.assert_close(whole.truncated(1).low, small.low)
    assert whole.truncated(0).low is None
    assert whole.truncated(3) is whole


def test_a_model_comes_with_the_package_by_its_name(files, mld, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "WEIGHTS", tmp_path)
    (tmp_path / "own.safetensors").write_bytes(files.model.read_bytes())
    assert torch.equal(predicted(load("own", "cpu"), Torus(8)), predicted(load(files.model, "cpu"), Torus(8)))
    draw = ["--resolution", 8, "--samples", 2, "--steps", 2, "--seed", 1, "-o"]
    assert (
        mld("sample", "own", *draw, tmp_path / "named").code
        == mld("sample", files.model, *draw, tmp_path / "given").code
        == 0
    )
    named, given = (storage.read_tensors(tmp_path / f"{name}/values-8.safetensors")[0] for name in ("named", "given"))
    assert torch.equal(named["samples"], given["samples"])
    with pytest.raises(UserError, match="other: no such file"):
        load("other", "cpu")


@pytest.mark.parametrize("n", [32, 51])
def test_the_mixture_that_comes_with_the_package_beats_its_gaussian(n):
    """A score error of 0.4 % (docs/results/mixture.md), below half that of the Gaussian, which it is put on."""
    model = load("mixture", "cpu")
    grid, exact = Torus(n), MixtureDenoiser(GaussianMixture(model.prior), ForwardSDE())
    found, baseline = (
        measure(denoiser, exact, grid, batches=1, batch_size=96, generator=generator(1))["relative"]
        for denoiser in (model.denoiser(), GaussianDenoiser(model.law))
    )
    assert found < 0.006
    assert found < 0.5 * baseline


@pytest.mark.parametrize("n", [32, 64])
def test_reaction_diffusion_that_comes_with_the_package_beats_its_gaussian(n):
    """A skill of 0.13 on validation fields at 32 and of 0.11 at 64, here on the first fields of the test set."""
    model = load("reaction-diffusion", "cpu")
    system = ReactionDiffusion(model.settings.native_resolution)
    fields = snapshots(system, range(100000, 100032), graded_times(2.5, 20), torch.device("cpu"))
    data = Dataset(fields, CellCentred(system.resolution))
    validation = Validation(data, [CellCentred(n)], 2, model.denoiser(), torch.device("cpu"))
    learned, baseline = (validation.losses(denoiser)[n] for denoiser in (model.denoiser(), GaussianDenoiser(model.law)))
    assert learned < 0.95 * baseline


@pytest.mark.parametrize("n", [32, 64])
def test_digits_that_come_with_the_package_beat_their_gaussian(n):
    """A skill of 0.5 on validation digits on both grids, here on 60 of the test set."""
    model = load("digits", "cpu")
    images = read_idx(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()))
    data = Dataset(digits(images, 64), Torus(64))
    validation = Validation(data, [Torus(n)], 2, model.denoiser(), torch.device("cpu"))
    learned, baseline = (validation.losses(denoiser)[n] for denoiser in (model.denoiser(), GaussianDenoiser(model.law)))
    assert learned < 0.65 * baseline


def test_models_that_come_with_the_package_are_those_of_the_list_and_small():
    listed = (storage.WEIGHTS / "SHA256SUMS").read_text().splitlines()
    assert sum(path.stat().st_size for path in storage.WEIGHTS.iterdir()) < 10e6
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in storage.WEIGHTS.glob("*.safetensors")}
    assert found == {name: digest for digest, name in map(str.split, listed)}


def test_more_modes_than_there_are_is_refused(files, mld, tmp_path):
    done = mld("pack", files.model, "--modes", 99, "-o", tmp_path / "x.safetensors")
    assert "--modes: 99, but the network of" in done.refusal
    assert not list(tmp_path.iterdir())
