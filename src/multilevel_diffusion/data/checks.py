"""What files of fields must be, data and samples, checked once for everybody who reads one. Works without PyTorch."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from ..errors import UserError
from ..settings import ArmSpec, Count, Gain, Geometry, Resolution, Seed, TargetSpec, demand_geometry
from ..storage import Header, checked, read_arrays

Epoch = Annotated[int, Field(ge=0, strict=True)]


class SampledTarget(BaseModel):
    """The law of data that are kept in a file, with whatever else decides their content."""

    model_config = {"frozen": True, "extra": "allow"}

    kind: str
    name: str
    images: Annotated[bool, Field(strict=True)]
    native_resolution: Resolution | None = None


def _kind(target: Any) -> str:
    return "mixture" if isinstance(target, dict) and target.get("kind") == "mixture" else "sampled"


Target = Annotated[
    Annotated[TargetSpec, Tag("mixture")] | Annotated[SampledTarget, Tag("sampled")], Discriminator(_kind)
]


def demand_target(spec: ArmSpec, target: TargetSpec | SampledTarget) -> None:
    """Raises a ValueError if this is not the law that an arm is trained on."""
    if isinstance(target, TargetSpec):
        agrees = target == spec.target
    else:
        native = target.native_resolution or spec.native_resolution
        named = target.name in (spec.data_set, spec.kind)  # data that were made without a name have their kind for one
        agrees = named and (target.kind, native) == (spec.kind, spec.native_resolution)
    if not agrees:
        raise ValueError(f"target: not the target of {spec.name}")


class DataHeader(Header):
    """The header of a file of data."""

    mend = "give a file of `mld data`, or make it again"
    target: Target
    grid: Geometry
    resolution: Resolution

    @model_validator(mode="after")
    def _lies_on_its_grid(self) -> Self:
        demand_geometry(self.target.kind, self.grid)
        return self


class SamplesHeader(Header):
    """The header of a file of samples: spec, gain and epoch describe a network, and are null of an exact score."""

    mend = "give a file of `mld sample`, or draw it again"
    target: Target
    spec: ArmSpec | None
    field: Literal["learned", "exact"]
    gain: Gain | None
    seed: Seed
    sampler: Annotated[str, Field(min_length=1)]
    steps: Count
    evaluations: Count
    resolution: Resolution
    epoch: Epoch | None

    @model_validator(mode="after")
    def _is_of_one_source(self) -> Self:
        given = [value is not None for value in (self.spec, self.gain, self.epoch)]
        if not (all(given) if self.field == "learned" else not any(given)):
            raise ValueError(f"field: {self.field}, which does not go with its spec, gain and epoch")
        if self.spec:
            demand_target(self.spec, self.target)
        elif not isinstance(self.target, TargetSpec):
            raise ValueError(f"target: data of kind {self.target.kind} have no exact score")
        return self


def check_sets(path: Path, sets: Mapping[str, Any], header: Any, need: Collection[str] = ()) -> DataHeader:
    """Refuse a file of data whose header is not ours, or whose sets are not what the header says.

    Args:
        sets: tensors or arrays by name, each of shape (n, N, N), float32.
        need: a mapping from the name of a set to the least number of fields in it; names alone ask for one field each.

    Raises a UserError that names the file, what is wrong and the mend.
    """
    known = checked(path, DataHeader, header)
    check_fields(path, sets, known.resolution, known.mend)
    for name, least in (need if isinstance(need, Mapping) else dict.fromkeys(need, 1)).items():
        if len(sets[name]) < least:
            raise UserError(f"{path}: {name} has {len(sets[name])} fields, but {least} are needed; ask for fewer")
    return known


def check_samples(path: Path, fields: Mapping[str, Any], header: Any) -> SamplesHeader:
    """Refuse a file of samples whose header is not ours, or whose fields are not what the header says, as `check_sets`."""
    known = checked(path, SamplesHeader, header)
    check_fields(path, fields, known.resolution, known.mend)
    return known


def read_fields(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `reference` of a file of data or the `samples` of one of samples, as arrays, and the header.

    Raises a UserError if the file is missing, damaged, neither, or holds something else.
    """
    arrays, header = read_arrays(path, ("reference", "samples"))
    if not arrays:
        raise UserError(f"{path}: neither a test set nor samples; give files of `mld data` and of `mld sample`")
    (check_samples if "samples" in arrays else check_sets)(path, arrays, header)
    return arrays, header


def check_fields(path: Path | str, sets: Mapping[str, Any], resolution: int, mend: str) -> None:
    """Refuse tensors or arrays that are not finite float32 fields of shape (n, N, N), n ≥ 1, with N = `resolution`.

    Raises a UserError that names the file and the tensor, and ends with `mend`.
    """
    for name, values in sets.items():
        shape, dtype = tuple(values.shape), str(values.dtype).removeprefix("torch.")
        if len(shape) != 3 or not shape[0] or shape[1:] != (resolution, resolution):
            raise UserError(f"{path}: {name} has shape {shape}, not (n, {resolution}, {resolution}); {mend}")
        if dtype != "float32":
            raise UserError(f"{path}: {name} is {dtype}, not float32; {mend}")
        if not -math.inf < values.min() <= values.max() < math.inf:  # a NaN is both the least and the greatest
            raise UserError(f"{path}: {name} has values that are not finite; {mend}")
