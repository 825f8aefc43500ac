"""The Gaussian fit of the data of an arm, see `gaussian`: estimated once for a data set and a prior."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from ..builders import build_grid, build_law, build_prior, law_grid, law_tail, resolved
from ..data.sets import FieldSets
from ..errors import UserError
from ..gaussian import CHUNK, GaussianLaw, estimate
from ..grids import Torus
from ..mixture import GaussianMixture
from ..settings import DRAWN, ArmSpec
from ..storage import Header, checked, generator, read_tensors, write_tensors

MOST_MODES = 15
"""With `modes: auto`, at most so many per direction have a full covariance, and ten fields at least for each of them."""


def gaussian(spec: ArmSpec, sets: FieldSets | None = None) -> GaussianLaw:
    """N(m, C) of the training data of an arm under its prior, float64.

    Args:
        sets: `train` on the native grid; None for a mixture, of which fields are drawn, and whose modes above the native grid
            are the prior's own.

    Raises a UserError if there are too few fields for the covariance asked for.
    """
    if sets is not None:
        spec = resolved(spec, sets.fields["train"])
    prior, grid, native = build_prior(spec), law_grid(spec), build_grid(spec, spec.native_resolution)
    if sets is None:
        stream = generator(spec.prior_seed, "gaussian", spec.experiment)
        fields = GaussianMixture(prior).sample(DRAWN, grid, stream)
    else:
        parts = sets.fields["train"].split(CHUNK)
        fields = torch.cat([native.resample(part, grid) for part in parts]) if grid != native else sets.fields["train"]
    modes = spec.law.modes
    if modes == "auto":
        most = min(MOST_MODES, (grid.resolution - 1) // 2) if isinstance(grid, Torus) else 0
        modes = max(r for r in range(most + 1) if r == 0 or 10 * (2 * r + 1) ** 2 <= len(fields))
    return estimate(fields, grid, prior, modes, law_tail(spec))


def fitted(spec: ArmSpec, sets: FieldSets | None, source: Path | str) -> ArmSpec:
    """The spec with a number for a prior's scale that is `auto`, if the sets, `source` by name, are what the arm asks for.

    Raises a UserError if they are not, or a mixture is given any.
    """
    if spec.mixture == (sets is not None):
        mend = "is drawn as training goes; leave the data out" if sets else f"needs the data of {spec.data_set}"
        raise UserError(f"{source}: {spec.name} {mend}")
    if sets is None:
        return spec
    # data that were made without a name have their kind for one
    named = {} if sets.target.get("name") == spec.kind else {"name": spec.data_set}
    sets.demand(source, spec.name, grid=spec.grid, resolution=spec.native_resolution, kind=spec.kind, **named)
    return resolved(spec, sets.fields["train"])


class LawHeader(Header):
    """The header of a file of a law. of: what it depends on besides the data. modes: of full covariance, per direction."""

    mend = "give a file of `mld gaussian`, or make it again"
    of: dict[str, Any]
    target: dict[str, Any]
    modes: Annotated[int, Field(ge=0, strict=True)] | None = None
    tail: float


def write_law(path: Path, law: GaussianLaw, spec: ArmSpec, target: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write a law with what it is of. Raises as `write_tensors`."""
    header = {"of": _of(spec), "target": dict(target), "modes": law.side // 2, "tail": law.tail}
    write_tensors(path, law.state(), header | {"provenance": dict(facts)})


def read_law(path: Path, spec: ArmSpec, target: Mapping[str, Any]) -> GaussianLaw:
    """The law in a file of `write_law`. Raises a UserError if that is missing, damaged, or of another prior or data set."""
    tensors, given = read_tensors(path)
    header = checked(path, LawHeader, given)
    mine = {"prior": _of(spec), "data set": dict(target), "tail": law_tail(spec)}
    for (what, wanted), its in zip(mine.items(), (header.of, header.target, header.tail), strict=True):
        if wanted != its:
            raise UserError(f"{path}: a Gaussian fit of another {what} than {spec.name}; {header.mend}")
    return build_law(spec, build_prior(spec), tensors, header.modes, path, header.mend)


def _of(spec: ArmSpec) -> dict[str, Any]:
    """What the law depends on besides the data."""
    names = {"experiment", "native_resolution", "prior_seed", "prior", "grid", "law"}
    return spec.model_dump(mode="json", include=names)
