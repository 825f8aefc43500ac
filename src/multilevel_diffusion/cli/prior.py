"""The prior and the grids of an arm from its settings: all that data and the exact field need."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .. import priors
from ..config import ArmSpec, Geometry, TargetSpec, UserError, parse
from ..grids import CellCentred, Grid, Torus
from ..storage import generator, read_json

__all__ = ["GRIDS", "build_grid", "build_prior", "read_target", "require_mixture"]

GRIDS: dict[Geometry, type[Grid]] = {Geometry.TORUS: Torus, Geometry.CELL_CENTRED: CellCentred}


def build_grid(spec: TargetSpec, resolution: int) -> Grid:
    """The grid of an arm at a resolution; the exact field lives on the torus.

    Raises:
        UserError: if the network of the arm does not take the resolution.
    """
    if not isinstance(spec, ArmSpec):
        return Torus(resolution)
    if resolution % spec.network.divisor:
        raise UserError(
            f"resolution {resolution}: the network of {spec.experiment}/{spec.arm} needs multiples of {spec.network.divisor}"
        )
    return GRIDS[spec.grid](resolution)


def read_target(path: Path) -> TargetSpec:
    """What the true law depends on, from a target.json or as the part of a spec.json.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    data = read_json(path)
    return parse(ArmSpec, data, str(path)).target if "network" in data else parse(TargetSpec, data, str(path))


def build_prior(spec: TargetSpec, state: dict[str, Tensor] | None = None) -> priors.Prior:
    """N(0,Q) of an arm or of its target.

    Args:
        state: `Prior.state` as a trained model keeps it; without it, what is random is drawn from the arm's prior seed.
    """
    settings, native = spec.prior, spec.native_resolution
    match settings.kind:
        case "standard":
            return priors.Standard(native)
        case "laplacian":
            return priors.Laplacian(native, settings.scale)
        case "bessel":
            return priors.Bessel(native, settings.shift, settings.power)
    if state:
        weights = torch.view_as_complex(state["weights"])
    else:
        weights = priors.draw_mode_weights(settings.modes, generator(spec.prior_seed, "prior", spec.experiment))
    if settings.kind == "fno":
        return priors.FNOPrior(native, weights)
    return priors.Combined(native, weights, settings.scale, settings.fno_scale)


def require_mixture(settings: TargetSpec, source: Path) -> None:
    """Refuse an arm whose true law is not known.

    Raises:
        UserError
    """
    if settings.experiment != "mixture":
        raise UserError(f"{source}: of {settings.experiment}; only the mixture has an exact field and a known density")
