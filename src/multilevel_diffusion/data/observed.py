"""Files of what was seen of one field: a CSV of points, or an .npz with a field and a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import torch

from ..errors import UserError
from ..grids import Grid
from ..observations import Observations, Points, masked
from ..storage import unreadable
from .fields import UNREADABLE

COLUMNS = ("x1", "x2", "value")


def read_observations(path: Path, noise: float, kind: type[Grid]) -> Observations:
    """What was seen, with noise of this standard deviation.

    Args:
        path: .npz for arrays `field` and `mask`, both (N, N), on a grid of this kind. The mask is true where the field is seen.
            Any other file is a table with the columns x1, x2, of points in [0, 1]², and value.

    Raises a UserError, in the name of the file, if it cannot be read, has something else in it, or is of no observations.
    """
    read = _of_mask if path.suffix == ".npz" else _of_points
    if not path.is_file():  # a pipe is read once, and what is made of it could not be told from what was
        wrong = "not a regular file" if path.exists() else "no such file"
        raise UserError(f"{path}: {wrong}; give a CSV of {', '.join(COLUMNS)}, or an .npz of a field and a mask")
    try:
        operator, values = read(path, kind)
        return Observations(operator, values, noise)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except UNREADABLE:
        wanted = "an .npz of arrays field and mask" if path.suffix == ".npz" else f"a table of {', '.join(COLUMNS)}"
        raise UserError(f"{path}: not {wanted}; give one") from None


def _of_points(path: Path, kind: type[Grid]) -> tuple[Points, torch.Tensor]:
    table = pandas.read_csv(path, comment="#", compression=None)
    if not isinstance(table.index, pandas.RangeIndex):  # pandas takes what there is too much of for names of the rows
        raise UserError("observations: a row has more entries than the header has names; give as many")
    if twice := [name for name in COLUMNS if f"{name}.1" in table]:
        raise UserError(f"observations: two columns {twice[0]}; give one")
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"observations: no column {missing[0]}; give a table of {', '.join(COLUMNS)}")
    if table.empty:
        raise UserError("observations: a header and no rows; give at least one point")
    for name in COLUMNS:
        if table[name].dtype.kind not in "iuf":
            raise UserError(f"observations: column {name} has something else than numbers")
    values = torch.from_numpy(table[[*COLUMNS]].to_numpy(np.float64))
    return Points(values[:, :2]), values[:, 2].clone()


def _of_mask(path: Path, kind: type[Grid]) -> tuple[Points, torch.Tensor]:
    with np.load(path) as file:
        field, mask = (np.asarray(file[name]) for name in ("field", "mask"))
    if field.ndim != 2 or field.shape[0] != field.shape[1] or len(field) < 3:
        raise UserError(f"observations: a field of shape {field.shape}, not (N, N) with N ≥ 3")
    if field.dtype.kind not in "biuf":
        raise UserError(f"observations: a field of {field.dtype}, not of real numbers")
    operator = masked(torch.from_numpy(mask), kind(len(field)))
    return operator, torch.from_numpy(field[mask].astype(np.float64))
