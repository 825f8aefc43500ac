"""Objects from settings, and trained models.

A kind of prior, network or sampler is a pair: a settings class, and the function that `builds` the object. A plugin adds a pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from . import priors, sample
from .data.sets import GRIDS
from .denoise import Denoiser, LearnedDenoiser, gain_factor
from .errors import UserError
from .grids import Grid, Torus
from .mixture import GaussianMixture, MixtureDenoiser
from .sde import ForwardSDE
from .settings import (
    AncestralSettings,
    ArmSpec,
    BesselSettings,
    CombinedSettings,
    DPMSolverSettings,
    EulerMaruyamaSettings,
    FNOPriorSettings,
    FNOSettings,
    Gain,
    HeunSettings,
    LaplacianSettings,
    PredictorCorrectorSettings,
    SamplerBase,
    Settings,
    StandardSettings,
    TargetSpec,
    UNetSettings,
    parse,
    parse_sampler,
)
from .storage import generator, read_json, read_tensors, write_tensors

__all__ = [
    "ExactModel",
    "Model",
    "build_denoiser",
    "build_grid",
    "build_network",
    "build_prior",
    "build_sampler",
    "builds",
    "default_device",
    "draw",
    "load",
    "prior_warnings",
    "read_model",
    "read_source",
    "read_target",
    "require_mixture",
    "resolved",
    "snapshots_in",
    "write_model",
]

Builder = TypeVar("Builder", bound=Callable[..., Any])
NOISE_TO_DATA = 1.9
"""tr Q on the native grid over the variance of the data, E‖X − EX‖², of the paper's `combined` prior on the digits."""
WRONG_START, UNREACHED = 0.1, 0.01
"""Shares from which on `prior_warnings` speaks: of signal to noise at t = 1, and of the data's variance in the kernel of Q."""
BUILDERS: dict[type[Settings], Callable[..., Any]] = {}
"""Settings class to the function that builds what the settings are of."""


def builds(settings: type[Settings]) -> Callable[[Builder], Builder]:
    """Mark a function as the builder of a kind.

    Of priors it is called as (settings, native resolution, generator, state), with `Prior.state` of a trained model or an empty
    mapping; of networks as (settings, generator); of samplers as (settings, denoiser); of data as (settings, grid), for a mapping
    of `train`, `validation`, `reference` and `floor` to fields (n, N, N) on the native grid.
    """

    def register(builder: Builder) -> Builder:
        BUILDERS[settings] = builder
        return builder

    return register


def build(settings: Settings, *args: Any) -> Any:
    """What the settings of a kind are of.

    Raises:
        UserError: if nothing builds this kind.
    """
    builder = BUILDERS.get(type(settings))
    if builder is None:
        raise UserError(
            f"{type(settings).__name__}: nothing builds it; mark a function with multilevel_diffusion.models.builds"
        )
    return builder(settings, *args)


@builds(StandardSettings)
def _standard(
    settings: StandardSettings, native: int, stream: torch.Generator, state: Mapping[str, Tensor]
) -> priors.Prior:
    return priors.Standard(native)


@builds(LaplacianSettings)
def _laplacian(
    settings: LaplacianSettings, native: int, stream: torch.Generator, state: Mapping[str, Tensor]
) -> priors.Prior:
    return priors.Laplacian(native, float(settings.scale))


@builds(BesselSettings)
def _bessel(
    settings: BesselSettings, native: int, stream: torch.Generator, state: Mapping[str, Tensor]
) -> priors.Prior:
    return priors.Bessel(native, settings.shift, settings.power)


@builds(FNOPriorSettings)
def _fno_prior(
    settings: FNOPriorSettings, native: int, stream: torch.Generator, state: Mapping[str, Tensor]
) -> priors.Prior:
    return priors.FNOPrior(native, _mode_weights(settings, stream, state))


@builds(CombinedSettings)
def _combined(
    settings: CombinedSettings, native: int, stream: torch.Generator, state: Mapping[str, Tensor]
) -> priors.Prior:
    return priors.Combined(native, _mode_weights(settings, stream, state), float(settings.scale), settings.fno_scale)


def _mode_weights(
    settings: FNOPriorSettings | CombinedSettings, stream: torch.Generator, state: Mapping[str, Tensor]
) -> Tensor:
    return torch.view_as_complex(state["weights"]) if state else priors.draw_mode_weights(settings.modes, stream)


@builds(FNOSettings)
def _fno(settings: FNOSettings, stream: torch.Generator) -> nn.Module:
    from .networks import FNO

    return FNO(settings.width, settings.layers, settings.modes, settings.head, stream)


@builds(UNetSettings)
def _unet(settings: UNetSettings, stream: torch.Generator) -> nn.Module:
    from .networks import UNet

    return UNet(settings.channels, settings.blocks, settings.groups, stream)


builds(EulerMaruyamaSettings)(lambda settings, denoiser: sample.EulerMaruyama(denoiser))
builds(HeunSettings)(lambda settings, denoiser: sample.Heun(denoiser))
builds(AncestralSettings)(lambda settings, denoiser: sample.Ancestral(denoiser, settings.stochasticity))
builds(DPMSolverSettings)(lambda settings, denoiser: sample.DPMSolver(denoiser, settings.stochasticity))
builds(PredictorCorrectorSettings)(
    lambda settings, denoiser: sample.PredictorCorrector(denoiser, settings.corrections, settings.snr)
)


def build_prior(spec: TargetSpec, state: Mapping[str, Tensor] | None = None) -> priors.Prior:
    """N(0,Q) of an arm or of its target.

    Args:
        state: `Prior.state` as a trained model keeps it; without it, what is random is drawn from the arm's prior seed.

    Raises:
        UserError: if the scale is not known before the data are (`auto`).
    """
    if getattr(spec.prior, "scale", None) == "auto":
        raise UserError(f"{spec.name}: prior.scale: auto is known when the data are; train first, or give a number")
    return build(spec.prior, spec.native_resolution, generator(spec.prior_seed, "prior", spec.experiment), state or {})


def resolved(spec: ArmSpec, fields: Tensor) -> ArmSpec:
    """The spec with a number for a prior's scale that is `auto`: tr Q = NOISE_TO_DATA E‖X − EX‖² on the native grid.

    The scale s enters the amplitudes linearly, so that tr Q is a quadratic in s.

    Args:
        fields: the training data on the native grid, shape (n, N, N).

    Raises:
        UserError: if the data do not vary, or the rest of the prior alone has more noise.
    """
    if getattr(spec.prior, "scale", None) != "auto":
        return spec

    def with_scale(scale: float) -> ArmSpec:
        return spec.model_copy(update={"prior": spec.prior.model_copy(update={"scale": scale})})

    grid = build_grid(spec, spec.native_resolution)
    none, one, two = (build_prior(with_scale(scale)).trace(grid) for scale in (0.0, 1.0, 2.0))
    square, linear = (two - 2 * one + none) / 2, (4 * one - two - 3 * none) / 2
    wanted = NOISE_TO_DATA * fields.double().var(dim=0, correction=0).mean().item()
    if not wanted > none:
        raise UserError(
            f"{spec.name}: prior.scale: auto asks for noise of variance {wanted:.3g}, and without it the prior has {none:.3g}; "
            "lower fno_scale, or give a number"
        )
    scale = ((linear**2 + 4 * square * (wanted - none)) ** 0.5 - linear) / (2 * square)
    return with_scale(float(f"{scale:.4g}"))


def prior_warnings(spec: ArmSpec, prior: priors.Prior, fields: Tensor) -> list[str]:
    """A line each, where the prior does not suit the data.

    Args:
        fields: the training data on the native grid, shape (n, N, N).
    """
    grid, u = build_grid(spec, spec.native_resolution), fields.double()
    start = ForwardSDE().signal_at_end(u.square().mean().item(), prior.trace(grid))
    unreached = prior.share_in_kernel(u - u.mean(dim=0), grid)
    said = []
    if start > WRONG_START:
        said.append(
            f"{spec.name}: at t = 1 the data are still {start:.2g} of the noise, and sampling starts as if they were 0: give the "
            f"prior more noise, as a laplacian or combined one with scale: auto has"
        )
    if unreached > UNREACHED:
        said.append(
            f"{spec.name}: {unreached:.1%} of the data's variance is in modes that the prior leaves without noise, and is not "
            f"learned: take a prior of full rank, as bessel or combined"
        )
    return said


def build_network(spec: ArmSpec, seed: int) -> nn.Module:
    """The untrained network of an arm, its weights drawn from the training seed."""
    return build(spec.network, generator(seed, "network", *spec.stream))


def build_sampler(settings: SamplerBase, denoiser: Denoiser) -> sample.Sampler:
    """The sampler that settings name, on this denoiser."""
    return build(settings, denoiser)


def build_grid(spec: TargetSpec, resolution: int) -> Grid:
    """The grid of an arm at a resolution; the exact field lives on the torus.

    Raises:
        UserError: if the network of the arm does not take the resolution.
    """
    if not isinstance(spec, ArmSpec):
        return Torus(resolution)
    try:
        spec.demand_grid(resolution)
    except ValueError as error:
        raise UserError(str(error)) from None
    return GRIDS[spec.grid](resolution)


def build_denoiser(spec: ArmSpec, network: nn.Module, prior: priors.Prior, gain: Gain) -> LearnedDenoiser:
    """The denoiser that the network of an arm stands for, under one of the gains."""

    def factor(resolution: int) -> float:
        return gain_factor(
            gain, native=spec.native_resolution, reference=spec.reference_resolution, resolution=resolution
        )

    return LearnedDenoiser(network, ForwardSDE(), prior, factor)


def default_device() -> torch.device:
    """CUDA if there is a device, else the CPU; hide the device (CUDA_VISIBLE_DEVICES="") to stay on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Source:
    """What samples are drawn from."""

    settings: TargetSpec
    prior: priors.Prior
    name: str

    def denoiser(self, gain: Gain = Gain.VALUES) -> Denoiser:
        """E[η | X_t = u_t], under a gain."""
        raise NotImplementedError

    def sample(
        self,
        n: int,
        *,
        resolution: int,
        steps: int,
        seed: int,
        sampler: str | Mapping[str, Any] | SamplerBase = "euler-maruyama",
        gain: Gain | str = Gain.VALUES,
        device: torch.device | str | None = None,
        progress: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """Samples on any grid, by running time backwards from N(0,Q): those of `mld sample` with the same seed.

        Args:
            n: how many fields.
            resolution: N, points per side.
            steps: of the sampler.
            sampler: a kind, or a mapping of its kind and options, as in config.yaml.
            gain: how the network's input is scaled on grids it was not trained on.
            device: where it is computed; CUDA if there is a device, else the CPU.
            progress: called after each step of each block of 64 fields.

        Returns:
            Shape (n, N, N), float32, on the device.

        Raises:
            UserError: if the network does not take the resolution, the sampler is unknown, the fields stop being finite, or
            memory     does not suffice.
        """
        chosen = sampler if isinstance(sampler, SamplerBase) else parse_sampler(sampler, "sampler")
        on, settings = torch.device(device) if device else default_device(), self.settings
        stage = f"sample {self.name}"
        return draw(
            chosen,
            self.to(on).denoiser(parse(Gain, gain, "gain")),
            n,
            build_grid(settings, resolution),
            steps,
            lambda block: generator(seed, stage, settings.experiment, settings.arm, resolution, block, device=on),
            settings.name,
            progress,
        ).float()

    def to(self, device: torch.device) -> _Source:
        """Itself, computing on a device."""
        return self


@dataclass(frozen=True)
class ExactModel(_Source):
    """The exact field of a Gaussian mixture."""

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


@dataclass(frozen=True)
class Model(_Source):
    """A trained network with its prior and settings.

    seed: of its training. epoch: after which the network was kept. target: the true law it was trained on, as the file of its
    data names it.
    """

    settings: ArmSpec
    seed: int
    epoch: int
    target: dict[str, Any]
    network: nn.Module
    prior: priors.Prior
    name = "learned"

    def denoiser(self, gain: Gain = Gain.VALUES) -> LearnedDenoiser:
        """The learned E[η | X_t = u_t], under a gain."""
        return build_denoiser(self.settings, self.network, self.prior, gain)

    def to(self, device: torch.device) -> Model:
        """Itself, its network moved to a device."""
        self.network.to(device)
        return self


def draw(
    settings: SamplerBase,
    denoiser: Denoiser,
    n: int,
    grid: Grid,
    steps: int,
    stream: Callable[[int], torch.Generator],
    source: str | Path,
    progress: Callable[[], object] = lambda: None,
) -> Tensor:
    """`n` fields by a sampler, shape (n, N, N), float64; see `Sampler.sample`.

    Args:
        source: where the denoiser is from, for messages.

    Raises:
        UserError: if the fields stop being finite, or the memory of the device does not suffice.
    """
    solver = build_sampler(settings, denoiser)
    try:
        return solver.sample(n, grid, sample.time_grid(settings.times, steps, denoiser.sde), stream, progress)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{source}: the memory of the device does not suffice for fields of {grid.resolution} points a side: "
            'choose a smaller resolution, or the CPU by CUDA_VISIBLE_DEVICES=""'
        ) from None
    except FloatingPointError as error:
        raise UserError(f"{source}: {error}; train again with a lower learning rate or take more steps") from None


def write_model(path: Path, model: Model, facts: Mapping[str, Any]) -> None:
    """Write a model file: the network, the drawn part of its prior, and the settings of its arm."""
    tensors = {f"network/{key}": value for key, value in model.network.state_dict().items()}
    tensors |= {f"prior/{key}": value for key, value in model.prior.state().items()}
    header = {
        "spec": model.settings.model_dump(mode="json"),
        "seed": model.seed,
        "epoch": model.epoch,
        "target": model.target,
    }
    write_tensors(path, tensors, header | {"provenance": facts})


def read_model(path: Path, on: torch.device) -> Model:
    """A trained network, ready to be evaluated on a device.

    Raises:
        UserError: if the file is missing, damaged or not a model, or its tensors are not those of its settings.
    """
    tensors, header = read_tensors(path)
    if not {"spec", "seed", "epoch", "target"} <= header.keys() or not any(
        key.startswith("network/") for key in tensors
    ):
        raise UserError(f"{path}: not a model file; give the model.safetensors of a training")
    spec = parse(ArmSpec, header["spec"], source=str(path))
    state, fresh = _part(tensors, "prior/"), build_prior(spec).state()
    network = build_network(spec, seed=0)
    for name, expected, found in (
        ("network", network.state_dict(), _part(tensors, "network/")),
        ("prior", fresh, state),
    ):
        if {key: value.shape for key, value in expected.items()} != {key: value.shape for key, value in found.items()}:
            raise UserError(f"{path}: its {name} is not that of its settings; train it again")
    network.load_state_dict(_part(tensors, "network/"))
    prior = build_prior(spec, state)
    return Model(spec, header["seed"], header["epoch"], header["target"], network.to(on).eval(), prior)


def load(path: str | Path, device: torch.device | str | None = None) -> Model:
    """A trained model from its file, model.safetensors or a snapshot.

    Args:
        device: where it is computed; CUDA if there is a device, else the CPU.

    Raises:
        UserError: if the file is missing, damaged or not a model.
    """
    return read_model(Path(path), torch.device(device) if device else default_device())


def read_target(path: Path) -> TargetSpec:
    """What the true law depends on, from a target.json or as the part of a spec.json.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    data = read_json(path)
    return parse(ArmSpec, data, str(path)).target if "network" in data else parse(TargetSpec, data, str(path))


def read_source(path: Path, on: torch.device) -> Model | ExactModel:
    """What to sample from: of a model file the network; of a target.json or spec.json of a mixture the exact field.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    if path.suffix != ".json":
        return read_model(path, on)
    target = read_target(path)
    require_mixture(target, path)
    return ExactModel(target, build_prior(target))


def require_mixture(settings: TargetSpec, source: Path | str) -> None:
    """Refuse an arm whose true law is not known.

    Raises:
        UserError
    """
    if not settings.mixture:
        raise UserError(f"{source}: of {settings.experiment}; only a mixture has an exact field and a known density")


def snapshots_in(folder: Path) -> list[Path]:
    """The model files of the network along training, in order.

    Raises:
        UserError: if there are none.
    """
    files = sorted(folder.glob("epoch_*.safetensors"))
    if not files:
        raise UserError(f"{folder}: no snapshots here; run `mld train`")
    return files


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
