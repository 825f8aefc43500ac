"""What a file of fields must be, checked once for everybody who reads one. Works on tensors and arrays, without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..settings import Geometry


def check_sets(path: Path, sets: Mapping[str, Any], header: Any, need: Collection[str] = ()) -> None:
    """Refuse a file of data whose header is not ours, or whose sets are not what the header says.

    Args:
        sets: tensors or arrays by name, each of shape (n, N, N), float32.
        need: a mapping from the name of a set to the least number of fields in it; names alone ask for one field each.

    Raises:
        UserError: names the file, what is wrong and the mend.
    """
    again = "make it again with `mld data`"
    header = header if isinstance(header, dict) else {}
    target, resolution = header.get("target"), header.get("resolution")
    wrong = {
        "grid": header.get("grid") not in list(Geometry),
        "resolution": type(resolution) is not int or resolution < 3,
        "target": not isinstance(target, dict) or not isinstance(target.get("kind"), str),
        "provenance": not isinstance(header.get("provenance"), dict),
    }
    if bad := [key for key, is_wrong in wrong.items() if is_wrong]:
        raise UserError(f"{path}: not a file of data of this version (header: no valid {', '.join(bad)}); {again}")
    check_fields(path, sets, resolution, again)
    for name, least in (need if isinstance(need, Mapping) else dict.fromkeys(need, 1)).items():
        if len(sets[name]) < least:
            raise UserError(f"{path}: {name} has {len(sets[name])} fields, but {least} are needed; ask for fewer")


def check_fields(path: Path | str, sets: Mapping[str, Any], resolution: int, mend: str) -> None:
    """Refuse tensors or arrays that are not finite float32 fields of shape (n, N, N), n ≥ 1, with N = `resolution`.

    Raises:
        UserError: names the file and the tensor, and ends with `mend`.
    """
    for name, values in sets.items():
        shape, dtype = tuple(values.shape), str(values.dtype).removeprefix("torch.")
        if len(shape) != 3 or not shape[0] or shape[1:] != (resolution, resolution):
            raise UserError(f"{path}: {name} has shape {shape}, not (n, {resolution}, {resolution}); {mend}")
        if dtype != "float32":
            raise UserError(f"{path}: {name} is {dtype}, not float32; {mend}")
        if not -math.inf < values.min() <= values.max() < math.inf:  # a NaN is both the least and the greatest
            raise UserError(f"{path}: {name} has values that are not finite; {mend}")
