"""Objects from settings.

A kind of prior, network, sampler or data is a pair: its settings, and the function that `builds` it. A plugin adds a pair.
"""

import math
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from . import conditioning, networks, observations, priors, sample, settings
from .data.sets import GRIDS
from .denoise import Denoiser, LearnedDenoiser, PreconditionedDenoiser, gain_factor
from .errors import UserError
from .gaussian import GaussianDenoiser, GaussianLaw, from_state
from .grids import CellCentred, Grid, Torus
from .sde import ForwardSDE
from .storage import demand_like, generator

Builder = TypeVar("Builder", bound=Callable[..., Any])
NOISE_TO_DATA = 1.9
"""tr Q on the native grid over the variance of the data, E‖X − EX‖², of the paper's `combined` prior on the digits."""
WRONG_START, UNREACHED = 0.1, 0.01
"""Shares from which on `misfits` speaks: of signal to noise at t = 1, and of the data's variance in the kernel of Q."""
TORN, PERIODIC = 3.0, 0.15
"""How far fields jump across the edges, over how far between neighbours: more is no torus, and so near 1 is one."""
LOOKED_AT = 2000
UNITS = "divide the fields by their standard deviation"


def _unet(spec: settings.UNetSettings, stream: torch.Generator) -> nn.Module:
    if not find_spec("diffusers"):
        raise UserError("network: a U-Net needs diffusers; pip install 'multilevel-diffusion[unet]'")
    return networks.UNet(spec.channels, spec.blocks, spec.groups, stream, spec.fields)


def _weights(modes: tuple[int, int], stream: torch.Generator, state: Mapping[str, Tensor]) -> Tensor:
    """The random weights of a Fourier layer: from a trained model, or drawn."""
    return torch.view_as_complex(state["weights"]) if state else priors.draw_mode_weights(modes, stream)


BUILDERS: dict[type[settings.Settings], Callable[..., Any]] = {
    settings.StandardSettings: lambda s, n, *random: priors.Standard(n),
    settings.LaplacianSettings: lambda s, n, *random: priors.Laplacian(n, s.scale),
    settings.BesselSettings: lambda s, n, *random: priors.Bessel(n, s.shift, s.power),
    settings.FNOPriorSettings: lambda s, n, *random: priors.FNOPrior(n, _weights(s.modes, *random)),
    settings.CombinedSettings: lambda s, n, *r: priors.Combined(n, _weights(s.modes, *r), s.scale, s.fno_scale),
    settings.FNOSettings: lambda s, stream: networks.FNO(s.width, s.layers, s.modes, s.head, stream, s.fields),
    settings.UNetSettings: _unet,
    settings.GaussianSettings: lambda s, stream: nn.Module(),
    settings.EulerMaruyamaSettings: lambda s, denoiser: sample.EulerMaruyama(denoiser),
    settings.HeunSettings: lambda s, denoiser: sample.Heun(denoiser),
    settings.AncestralSettings: lambda s, denoiser: sample.Ancestral(denoiser, s.stochasticity),
    settings.DPMSolverSettings: lambda s, denoiser: sample.DPMSolver(denoiser, s.stochasticity),
    settings.GaussianExponentialSettings: lambda s, denoiser: sample.GaussianExponential(denoiser, s.stochasticity),
    settings.GuidedSettings: lambda s, denoiser, seen, law=None: conditioning.Guided(
        denoiser, seen, law, by_derivative=s.derivative == "denoiser"
    ),
    settings.DPSSettings: lambda s, denoiser, seen, law=None: conditioning.DPS(denoiser, seen, law, s.scale),
    settings.ProjectedSettings: lambda s, denoiser, seen, law=None: conditioning.Projected(denoiser, seen, law),
    settings.ObservedPointsSettings: lambda s, kind, stream: observations.scattered(s.count, stream),
    settings.ObservedCoarseSettings: lambda s, kind, stream: observations.coarse(kind(s.resolution)),
    settings.ObservedOutsideSettings: lambda s, kind, stream: observations.outside((s.low, s.high), kind(s.resolution)),
    settings.ObservedModesSettings: lambda s, kind, stream: observations.Modes(kind, s.radius),
    settings.PredictorCorrectorSettings: lambda s, denoiser: sample.PredictorCorrector(denoiser, s.corrections, s.snr),
}
"""Settings class to the function that builds what the settings are of; see `builds` for how they are called."""


def builds(kind: type[settings.Settings]) -> Callable[[Builder], Builder]:
    """Mark a function as the builder of a kind.

    It is called with these arguments:

    - priors: (settings, native resolution, generator, state), with `Prior.state` of a trained model or an empty mapping
    - networks: (settings, generator)
    - samplers: (settings, denoiser)
    - methods that condition: (settings, denoiser, observations, law), with the law of the data or None
    - what is observed: (settings, kind of grid, generator), for an operator
    - data: (settings, grid), for a mapping of `train`, `validation`, `reference` and `floor` to fields (n, N, N) on the native
      grid
    """

    def register(builder: Builder) -> Builder:
        BUILDERS[kind] = builder
        return builder

    return register


def build(of: settings.Settings, *args: Any) -> Any:
    """What the settings of a kind are of. Raises a UserError if nothing builds this kind."""
    if type(of) not in BUILDERS:
        raise UserError(f"{type(of).__name__}: nothing builds it; mark a function with multilevel_diffusion.builds")
    builder = BUILDERS[type(of)]
    try:
        return builder(of, *args)
    except Exception as error:
        if isinstance(error, UserError) or not builder.__module__.startswith("multilevel_diffusion_plugin"):
            raise
        file = sys.modules[builder.__module__].__file__
        kind = getattr(of, "kind", "")
        raise UserError(f"{file}: the builder of '{kind}': {type(error).__name__}: {error}") from None


def build_prior(spec: settings.TargetSpec, state: Mapping[str, Tensor] | None = None) -> priors.Prior:
    """N(0,Q) of an arm or of its target; what is random in it is from `Prior.state`, or drawn from the arm's prior seed.

    Raises a UserError if the scale is not known before the data are (`auto`).
    """
    if _automatic(spec):
        raise UserError(
            f"{spec.name}: prior.scale: auto is known when the data are; give the spec of mld resolve --data, or a number"
        )
    return build(spec.prior, spec.native_resolution, generator(spec.prior_seed, "prior", spec.experiment), state or {})


def build_network(spec: settings.ArmSpec, seed: int) -> nn.Module:
    """The untrained network of an arm, its weights drawn from the training seed."""
    return build(spec.network, generator(seed, "network", *spec.stream))


def build_grid(spec: settings.TargetSpec, resolution: int) -> Grid:
    """The grid of an arm, the torus for an exact score. Raises a UserError if its network does not take the resolution."""
    if not isinstance(spec, settings.ArmSpec):
        return Torus(resolution)
    if not spec.network.takes(resolution):
        raise UserError(f"resolution {resolution}: {spec.name} needs {spec.network.needs}")
    return GRIDS[spec.grid](resolution)


def law_grid(spec: settings.ArmSpec) -> Grid:
    """The grid on which the Gaussian fit of the data is estimated. Raises a UserError as `build_grid`."""
    return build_grid(spec, spec.law.resolution or spec.native_resolution)


def law_tail(spec: settings.ArmSpec) -> float:
    """κ of the modes above the native grid: a mixture is drawn on every grid anew, and other data end there."""
    return 1.0 if spec.mixture else 0.0


def build_law(
    spec: settings.ArmSpec, prior: priors.Prior, state: Mapping[str, Tensor], modes: int | None, path: Path, mend: str
) -> GaussianLaw:
    """The Gaussian fit of an arm from the tensors of a file, with a full covariance of so many modes per direction.

    Files of before do not say how many: None. Raises a UserError if the tensors are not of such a law, or no covariance.
    """
    grid = law_grid(spec)
    side = math.isqrt(len(state.get("low", ()))) if modes is None else 2 * modes + 1
    n = grid.resolution
    shapes = {"mean": (n, n), "variances": (n, n // 2 + 1)}
    shapes |= {"low": (side**2, side**2)} if side > 1 else {}
    shapes |= {"cosines": (n, n)} if isinstance(grid, CellCentred) else {}
    like = {name: torch.empty(shape, dtype=torch.float64, device="meta") for name, shape in shapes.items()}
    demand_like(path, "law", state, like, mend)
    for name in shapes.keys() - {"mean"}:
        if not (_is_covariance(state[name]) if name == "low" else (state[name] >= 0).all()):
            raise UserError(f"{path}: its law is none ({name} is not positive); {mend}")
    return from_state(prior, grid, state, law_tail(spec))


def _is_covariance(matrix: Tensor) -> bool:
    """Whether a matrix is symmetric and positive, but for rounding."""
    rounding = 1e-9 * matrix.diagonal().abs().max()
    lifted = matrix + rounding * torch.eye(len(matrix), dtype=matrix.dtype)
    return bool((matrix - matrix.T).abs().max() <= rounding and torch.linalg.cholesky_ex(lifted).info == 0)


def build_denoiser(
    spec: settings.ArmSpec, network: nn.Module, prior: priors.Prior, gain: settings.Gain, law: GaussianLaw | None = None
) -> Denoiser:
    """The denoiser of an arm's network under one of the gains. Raises a UserError if the law that it needs is not given."""
    if spec.network.has_law:
        if law is None:
            raise UserError(f"{spec.name}: without the Gaussian fit by which its network is preconditioned")
        if isinstance(spec.network, settings.GaussianSettings):
            return GaussianDenoiser(law)
        return PreconditionedDenoiser(network, law, build_grid(spec, spec.reference_resolution))
    grids = {"native": spec.native_resolution, "reference": spec.reference_resolution}
    return LearnedDenoiser(network, ForwardSDE(), prior, lambda n: gain_factor(gain, **grids, resolution=n))


def _automatic(spec: settings.TargetSpec) -> bool:
    return getattr(spec.prior, "scale", None) == "auto"


def resolved(spec: settings.ArmSpec, fields: Tensor) -> settings.ArmSpec:
    """The spec with a number for a prior's scale that is `auto`: tr Q = NOISE_TO_DATA E‖X − EX‖² on the native grid.

    The scale s enters the amplitudes linearly, so that tr Q is a quadratic in s. `fields` are the training data, (n, N, N), on
    the native grid. Raises a UserError if the data do not vary, or the rest of the prior alone has more noise.
    """
    if not _automatic(spec):
        return spec

    def with_scale(scale: float) -> settings.ArmSpec:
        return spec.model_copy(update={"prior": spec.prior.model_copy(update={"scale": scale})})

    grid = build_grid(spec, spec.native_resolution)
    none, one, two = (build_prior(with_scale(scale)).trace(grid) for scale in (0.0, 1.0, 2.0))
    square, linear = (two - 2 * one + none) / 2, (4 * one - two - 3 * none) / 2
    wanted = NOISE_TO_DATA * fields.double().var(dim=0, correction=0).mean().item()
    if not wanted > 0:
        raise UserError(f"{spec.name}: prior.scale: auto is for fields that vary, and all are alike; give others")
    if not wanted > none:
        wrong = f"auto asks for noise of variance {wanted:.3g}, and without it the prior has {none:.3g}"
        raise UserError(f"{spec.name}: prior.scale: {wrong}; {UNITS}, lower fno_scale, or give a number")
    scale = ((linear**2 + 4 * square * (wanted - none)) ** 0.5 - linear) / (2 * square)
    known = with_scale(float(f"{scale:.4g}"))
    settings.parse(type(known), known.model_dump(mode="json"), f"{spec.name}: scale: auto, of these data: {UNITS}")
    return known


def misfits(spec: settings.ArmSpec, prior: priors.Prior, fields: Tensor) -> list[str]:
    """A line each, where the prior or the grid does not suit the training data, by the first LOOKED_AT on the native grid."""
    grid, u, said = build_grid(spec, spec.native_resolution), fields[:LOOKED_AT].double(), []
    inside = sum(u.diff(dim=axis).square().mean().item() for axis in (1, 2))
    edges = sum((u.select(axis, 0) - u.select(axis, -1)).square().mean().item() for axis in (1, 2))
    start = ForwardSDE().signal_at_end(u.square().mean().item(), prior.trace(grid))
    unreached = prior.share_in_kernel(u - u.mean(dim=0), grid)
    if start > WRONG_START:
        wrong = f"at t = 1 the data are still {start:.2g} of the noise, and sampling starts as if they were 0"
        said.append(f"{wrong}: give the prior more noise, as a laplacian or combined one with scale: auto has")
    if unreached > UNREACHED:
        wrong = f"{unreached:.1%} of the data's variance is in modes that the prior leaves without noise, and is not learned"
        said.append(f"{wrong}: take a prior of full rank, as bessel or combined")
    jump = (edges / inside) ** 0.5 if inside else 0.0
    if spec.grid == "torus" and jump > TORN:
        said.append(
            f"the fields jump {jump:.1f} times as far across the edges as between neighbours: is the grid cell-centred?"
        )
    if spec.grid == "cell-centred" and abs(jump - 1) < PERIODIC:
        said.append("the fields go on across the edges as between neighbours: is the grid a torus?")
    return [f"{spec.name}: {line}" for line in said]
