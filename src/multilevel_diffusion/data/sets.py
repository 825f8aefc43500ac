"""Files of data: the sets `train`, `validation`, `reference` (the test set) and `floor` (a second, independent test set).

Each is a float32 tensor of shape (n, N, N). The header names the grid, N, and the law of the data as `target`, a mapping with
the `kind` of the data, the `name` of the experiment, whether they are `images`, and what else decides the content. A file of one
resolution for evaluation holds only the two test sets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from torch import Tensor

from ..errors import UserError
from ..grids import CellCentred, Grid, Torus
from ..settings import Geometry, TargetSpec
from ..storage import generator, read_tensors, write_tensors
from .checks import check_fields, check_sets

if TYPE_CHECKING:
    from ..mixture import GaussianMixture

GRIDS: dict[Geometry, type[Grid]] = {Geometry.TORUS: Torus, Geometry.CELL_CENTRED: CellCentred}
TEST_SETS = ("reference", "floor")
FLOORS = 8
"""Fields of a mixture in `floor` for one in `reference`: as many disjoint sets of true fields measure the floor."""


@dataclass(frozen=True)
class FieldSets:
    """Sets of fields on one grid.

    fields: by the name of the set, shape (n, N, N), float32. target: the law of the data. provenance: of the file that was read.
    """

    fields: dict[str, Tensor]
    grid: Grid
    target: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def geometry(self) -> Geometry:
        """The name of the kind of grid."""
        return next(name for name, kind in GRIDS.items() if isinstance(self.grid, kind))

    def demand(self, path: Path | str, by: Path | str, *, grid: Geometry, resolution: int, **target: Any) -> None:
        """Refuse data that disagree with the settings that use them.

        Args:
            path: the file of the data.
            by: the file of the settings.
            target: entries that the target must have, as kind="fields" or name="bumps".

        Raises a UserError that names both files, what differs and the mend; or the set that is not of finite float32 fields.
        """
        mend = "give float32 tensors of shape (n, N, N), as torch.from_numpy(array).float()"
        if arrays := [name for name, values in self.fields.items() if not isinstance(values, Tensor)]:
            raise UserError(f"{path}: {arrays[0]} is not a tensor; {mend}")
        check_fields(path, self.fields, self.grid.resolution, mend)
        has = self.target | {"grid": self.geometry, "resolution": self.grid.resolution}
        for key, wanted in ({"grid": grid, "resolution": resolution} | target).items():
            if (found := has.get(key)) != wanted:
                raise UserError(f"{path}: its {key} is {found}, but {by} asks for {wanted}; make data that agree")


def read_sets(path: Path, need: Collection[str] = TEST_SETS, native: bool = False) -> FieldSets:
    """The sets in a file of data.

    Args:
        need: the sets to be read; as a mapping, with the least number of fields in each.
        native: refuse a file of one resolution for evaluation, which has no training fields.

    Raises a UserError if the file is missing, damaged or not of this version, lacks a set or fields, or holds something else.
    """
    tensors, header = read_tensors(path, need)
    known = check_sets(path, tensors, header, need)
    if native:
        with safe_open(path, framework="pt") as file:
            if "train" not in file.keys():  # noqa: SIM118
                raise UserError(f"{path}: data on one grid already; give the file of all data on the native grid")
    return FieldSets(tensors, GRIDS[known.grid](known.resolution), header["target"], known.provenance)


def write_sets(path: Path, sets: FieldSets, facts: Mapping[str, Any]) -> None:
    """Write a file of data, with `facts` as its provenance. Raises as `check_sets` and `write_tensors`."""
    header = {"target": sets.target, "grid": sets.geometry, "resolution": sets.grid.resolution}
    header |= {"provenance": dict(facts)}
    check_sets(path, sets.fields, header)
    write_tensors(path, sets.fields, header)


def restrict(sets: FieldSets, resolution: int) -> FieldSets:
    """The two test sets on another grid of the same kind, restricted or prolonged: for samples of this resolution."""
    grid = type(sets.grid)(resolution)
    fields = {name: sets.grid.resample(sets.fields[name].double(), grid).float() for name in TEST_SETS}
    return FieldSets(fields, grid, sets.target)


def mixture_sets(law: GaussianMixture, spec: TargetSpec, resolution: int, samples: int) -> FieldSets:
    """Two test sets of independent draws of the Gaussian mixture, each of 8 times `samples`: floors then have 8 sets of them.

    There is a stream of its own for each set and resolution.
    """
    grid = Torus(resolution)
    key = spec.prior_seed, "data", spec.experiment, spec.arm
    fields = {name: law.sample(FLOORS * samples, grid, generator(*key, name, resolution)) for name in TEST_SETS}
    return FieldSets(fields, grid, spec.model_dump(mode="json"))
