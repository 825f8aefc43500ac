from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output, Resolution


def restrict(
    data: Annotated[Path, typer.Argument(help="Data on the native grid, cell-centred.")],
    resolution: Resolution,
    output: Output,
) -> None:
    """The test sets on another grid, restricted or prolonged: the truth that samples at this resolution are compared with."""
    from ..grids import CellCentred
    from ..storage import read_tensors, write_tensors

    tensors, header = read_tensors(data, need=("reference", "floor"))
    source, grid = CellCentred(header["resolution"]), CellCentred(resolution)
    sets = {name: source.resample(tensors[name].double(), grid).float() for name in ("reference", "floor")}
    write_tensors(output, sets, header | {"resolution": resolution})
