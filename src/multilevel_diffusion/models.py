"""What samples are drawn from: trained networks, their files, and exact scores."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from . import priors
from .builders import build, build_denoiser, build_grid, build_law, build_network, build_prior, law_tail
from .checkpoints import Checkpoint
from .data.checks import Epoch, Target, demand_target
from .denoise import Denoiser
from .errors import ObservationsError, UserError
from .gaussian import GaussianLaw
from .mixture import GaussianMixture, MixtureDenoiser
from .networks import matrices_of
from .observations import Observations
from .sample import time_grid
from .sde import ForwardSDE
from .settings import (
    ArmSpec,
    Count,
    Gain,
    MethodBase,
    Resolution,
    SamplerBase,
    Seed,
    Start,
    TargetSpec,
    parse,
    parse_method,
    parse_sampler,
)  # fmt: skip
from .storage import Header, checked, demand_like, generator, model_file, part, read_json, read_tensors, write_tensors

__all__ = [
    "ExactModel", "Model", "device_of", "load", "read_exact", "read_model", "read_source", "read_target",
    "require_mixture", "snapshots_in", "write_model",
]  # fmt: skip

MISSED = 1e-3
"""Of the largest value: by how much samples may miss observations without noise."""


def device_of(given: torch.device | str | None = None) -> torch.device:
    """The device that is given, or else CUDA if there is one (CUDA_VISIBLE_DEVICES="" hides it), or else the CPU.

    Of several GPUs each process on this machine has one of its own, as long as there are some left.

    Raises:
        UserError: if there is no such device.
    """
    if given is None and torch.cuda.is_available():
        _take_gpu()
    try:
        return torch.empty(0, device=given or ("cuda" if torch.cuda.is_available() else "cpu")).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device: '{given}': {str(error).splitlines()[0]}") from None


@cache
def _take_gpu() -> int | None:
    """Let CUDA mean the first of several GPUs that no other process has taken, which is this one's until it ends."""
    count = torch.cuda.device_count()
    for i in range(count if count > 1 else 0):
        name = f"mld-{os.getuid()}-{torch.cuda.get_device_properties(i).uuid}.lock"
        lock = os.open(Path(tempfile.gettempdir(), name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            torch.cuda.set_device(i)
            return lock
    return None


class _Source(ABC):
    """What samples are drawn from."""

    settings: TargetSpec
    prior: priors.Prior
    epoch: int | None
    name: str

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.settings.name}>"

    @property
    def gain(self) -> Gain:
        """Under which it was trained."""
        return getattr(self.settings, "gain", Gain.VALUES)

    @abstractmethod
    def denoiser(self, gain: Gain = Gain.VALUES) -> Denoiser:
        """E[η | X_t = u_t], under a gain."""

    def to(self, device: torch.device) -> _Source:
        """Itself, computing on a device."""
        return self

    def sample(
        self,
        n: int,
        *,
        resolution: int,
        steps: int,
        seed: int,
        sampler: str | Mapping[str, Any] | SamplerBase = "euler-maruyama",
        gain: Gain | str | None = None,
        device: torch.device | str | None = None,
        progress: Callable[[], object] | None = None,
        start: Start | str = Start.PRIOR,
        stage: str | None = None,
        dtype: torch.dtype = torch.float32,
        keep: Checkpoint | None = None,
        observations: Observations | None = None,
        method: str | Mapping[str, Any] | MethodBase | None = None,
        law: GaussianLaw | None = None,
    ) -> Tensor:
        """Samples on any grid, by running time backwards from N(0,Q), as `mld sample` does with the same seed.

        Args:
            n: how many fields.
            resolution: N, points per side.
            steps: of the sampler.
            sampler: a kind, or a mapping of its kind and options, as in config.yaml.
            gain: how the network's input is scaled on grids it was not trained on; by default as it was trained.
            device: where it is computed; CUDA if there is a device, else the CPU.
            progress: called after each step of each block of 64 fields.
            start: prior, or gaussian: the law of the Gaussian fit at t = 1, of a model that has one.
            stage: names the random stream; by default as in `mld sample`.
            dtype: of the fields, which are computed in float64.
            keep: where what is done is kept, from which a run that was cut off goes on.
            observations: of a function; samples are then of its posterior, approximately.
            method: by which they are conditioned, a kind or a mapping, as in config.yaml; `guided` by default.
            law: the Gaussian fit whose covariances the method uses; by default the fit of the model, or N(0,Q).

        Returns:
            Shape (n, N, N), on the device.

        Raises:
            UserError: if the network does not take the resolution, the sampler is unknown or would miss observations without
                noise, these cannot all be met, a method or law comes without observations, the fields stop being finite, or
                memory does not suffice.
        """
        if not dtype.is_floating_point:
            raise UserError(f"dtype: {dtype} has no fractions; give a floating-point one")
        chosen, on, spec = parse_sampler(sampler, "sampler"), device_of(device), self.settings
        (
            parse(Count, n, "n"),
            parse(Resolution, resolution, "resolution"),
            parse(Count, steps, "steps"),
            parse(Seed, seed, "seed"),
        )
        denoiser = self.to(on).denoiser(parse(Gain, gain or self.gain, "gain"))
        grid, advance = build_grid(spec, resolution), progress or (lambda: None)
        if observations:
            denoiser = build(parse_method(method or "guided", "method"), denoiser, observations.to(on), law)
        elif method or law:
            raise UserError(
                "method and law say how samples are conditioned; observations: give what they are conditioned on"
            )
        key = (stage or f"sample {self.name}", spec.experiment, spec.arm, resolution)
        solver, times = build(chosen, denoiser), time_grid(chosen.times, steps, denoiser.sde)
        exact = observations is not None and observations.noise <= MISSED * float(observations.values.abs().max())
        if observations and not chosen.takes(0.0 if exact else observations.noise):
            raise ObservationsError(
                f"sampler: {chosen} does not end with the data prediction, and would miss observations with so little noise: "
                "take dpm-solver++ or ancestral, or give the noise"
            )
        name = spec.name if self.epoch is None else f"{spec.name}, epoch {self.epoch}"

        def stream(block: int) -> torch.Generator:
            return generator(seed, *key, block, device=on)

        begin = parse(Start, start, "start")
        if begin is Start.GAUSSIAN and not hasattr(denoiser, "law"):
            raise UserError(
                f"{name}: start: gaussian needs a denoiser with a Gaussian fit: preconditioning, or that network"
            )
        try:
            fields = solver.sample(n, grid, times, stream, advance, begin, keep)
        except torch.OutOfMemoryError:
            raise UserError(
                f"{name}: the memory of the device does not suffice for fields of {resolution} points per side: "
                'choose a smaller resolution, or the CPU by CUDA_VISIBLE_DEVICES=""'
            ) from None
        except FloatingPointError as error:
            if observations:
                raise ObservationsError(f"observations: {error}; are they in the units of the fields?") from None
            raise UserError(f"{name}: {error}; train again with a lower learning rate or take more steps") from None
        if observations and exact:
            missed = observations.residual(fields, grid).abs().max()
            if missed > MISSED * max(observations.values.abs().max(), fields.abs().max()):
                raise ObservationsError(
                    f"observations: at {resolution} points per side a field cannot have all of them with so little noise, "
                    f"and misses them by {missed:.2g}; give the noise, or a finer grid"
                )
        return fields.to(dtype)


@dataclass(frozen=True, repr=False)
class ExactModel(_Source):
    """The exact score of a Gaussian mixture."""

    settings: TargetSpec
    prior: priors.Prior
    name = "exact"
    epoch = None

    @property
    def target(self) -> dict[str, Any]:
        """Its law, as files of data and samples name it."""
        return self.settings.model_dump(mode="json")

    def denoiser(self, gain: Gain = Gain.VALUES) -> MixtureDenoiser:
        """The exact E[η | X_t = u_t], which knows no gain."""
        return MixtureDenoiser(GaussianMixture(self.prior), ForwardSDE())


@dataclass(frozen=True, repr=False)
class Model(_Source):
    """A trained network with its prior and settings.

    seed: of its training. epoch: after which the network was kept. target: the law of the data it was trained on, as the file of
    its data names it.
    """

    settings: ArmSpec
    seed: int
    epoch: int
    target: dict[str, Any]
    network: nn.Module
    prior: priors.Prior
    law: GaussianLaw | None = None
    name = "learned"

    def denoiser(self, gain: Gain = Gain.VALUES) -> Denoiser:
        """The learned E[η | X_t = u_t], under a gain."""
        return build_denoiser(self.settings, self.network, self.prior, gain, self.law)

    def to(self, device: torch.device) -> Model:
        """Itself, its network moved to a device."""
        self.network.to(device)
        return self


class ModelHeader(Header):
    """The header of a model file. modes, tail: of the Gaussian fit, where the network is preconditioned. half: whether
    its weights are in half precision.
    """

    mend = "give a model.safetensors, or train it again"
    spec: ArmSpec
    seed: Seed
    epoch: Epoch
    target: Target
    modes: Epoch | None = None
    tail: float | None = None
    half: bool = False

    @model_validator(mode="after")
    def _is_of_one_arm(self) -> Self:
        demand_target(self.spec, self.target)
        if self.spec.network.has_law and self.tail != law_tail(self.spec):
            raise ValueError(f"tail: {self.tail}, which is not the tail of {self.spec.name}")
        return self


def write_model(path: Path, model: Model, facts: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a model file: the network, in half precision if asked, the drawn part of its prior, and the settings of its arm."""
    weights = model.network.state_dict()
    if half:
        weights = {key: values.half() for key, values in weights.items()}
    tensors = {f"network/{key}": value for key, value in weights.items()}
    tensors |= {f"prior/{key}": value for key, value in model.prior.state().items()}
    if model.law:
        tensors |= {f"law/{key}": value for key, value in model.law.state().items()}
    header = {"spec": model.settings.model_dump(mode="json"), "seed": model.seed, "epoch": model.epoch, "half": half}
    header |= {"modes": model.law.side // 2, "tail": model.law.tail} if model.law else {"modes": None, "tail": None}
    write_tensors(path, tensors, header | {"target": model.target, "provenance": facts})


def read_model(path: Path, on: torch.device) -> Model:
    """A trained network, ready to be evaluated on a device.

    Args:
        path: a file, or a name as `model_file` takes it.

    Raises:
        UserError: if the file is missing, damaged or not a model, or its tensors are not as its settings say.
    """
    path = model_file(path)
    tensors, given = read_tensors(path)
    header = checked(path, ModelHeader, given)
    spec, mend = header.spec, header.mend
    parts = {name: part(tensors, f"{name}/") for name in ("network", "prior", "law")}
    if extra := tensors.keys() - {f"{name}/{key}" for name, found in parts.items() for key in found}:
        raise UserError(f"{path}: a tensor {min(extra)}, which no model has; {mend}")
    network, drawn = build_network(spec, seed=0), build_prior(spec).state()
    like = network.state_dict()
    parts["network"] = dict(_as_now(name, values) for name, values in parts["network"].items())
    if header.half:
        parts["network"] = {name: x.float() if x.dtype == torch.half else x for name, x in parts["network"].items()}
    demand_like(path, "network", parts["network"], like, mend)
    demand_like(path, "prior", parts["prior"], drawn, mend)
    same_draws = header.provenance.get("torch") == torch.__version__
    if same_draws and not all(torch.allclose(parts["prior"][name], values) for name, values in drawn.items()):
        raise UserError(f"{path}: its prior is not the one that its prior_seed draws; {mend}")
    network.load_state_dict(parts["network"])
    prior = build_prior(spec, parts["prior"])
    law = build_law(spec, prior, parts["law"], header.modes, path, mend) if spec.network.has_law else None
    return Model(spec, header.seed, header.epoch, given["target"], network.to(on).eval(), prior, law)


def _as_now(name: str, values: Tensor) -> tuple[str, Tensor]:
    """A tensor of a network and its name; in version 0.1 tensors of an FNO had names and layout of neuraloperator's layers."""
    name = re.sub(r"^(lift|pointwise\.\d+)\.fcs\.0\.", r"\1.", name)
    name = name.replace("head.fcs.", "head.").removesuffix(".tensor")
    return name, matrices_of(values) if values.is_complex() and values.ndim == 4 else values


def load(path: str | Path, device: torch.device | str | None = None) -> Model:
    """A trained model from its file, model.safetensors or a snapshot, or by the name of one that comes with the package.

    Args:
        device: where it is computed; CUDA if there is a device, else the CPU.

    Raises:
        UserError: if the file is missing, damaged or not a model.
    """
    return read_model(Path(path), device_of(device))


def read_target(path: Path) -> TargetSpec:
    """What the law of a mixture depends on, from a target.json or as the part of a spec.json.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    data = read_json(path)
    return parse(ArmSpec, data, str(path)).target if "network" in data else parse(TargetSpec, data, str(path))


def read_exact(path: Path) -> ExactModel:
    """The exact score of a mixture, from its target.json or spec.json.

    Raises:
        UserError: if the file is missing, damaged, neither or not of a mixture.
    """
    target = read_target(path)
    require_mixture(target, path)
    return ExactModel(target, build_prior(target))


def read_source(path: Path, on: torch.device) -> Model | ExactModel:
    """What to sample from: of a .json file the exact score, of any other the trained network. Raises as their readers."""
    return read_exact(path) if path.suffix == ".json" else read_model(path, on)


def require_mixture(settings: TargetSpec, source: Path | str) -> None:
    """Raises a UserError if the law of the data of an arm is not known."""
    if not settings.mixture:
        raise UserError(f"{source}: of {settings.experiment}; only a mixture has an exact score and a known density")


def snapshots_in(folder: Path) -> list[Path]:
    """The model files of the network along training, in order.

    Raises:
        UserError: if there are none.
    """
    files = sorted(folder.glob("epoch_*.safetensors"))
    if not files:
        raise UserError(f"{folder}: no snapshots here; run `mld train`")
    return files
