from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output, Resolution, seconds


def restrict(
    data: Annotated[Path, typer.Argument(help="Data on the native grid.")],
    resolution: Resolution,
    output: Output,
) -> None:
    """The test sets on another grid, restricted or prolonged: the truth that samples at this resolution are compared with."""
    from ..config import Geometry, UserError
    from ..storage import provenance, read_tensors, write_tensors
    from .prior import GRIDS

    tensors, header = read_tensors(data, need=("reference", "floor"))
    if "grid" not in header:
        raise UserError(f"{data}: true data on one grid already; give the file of all data on the native grid")
    kind = GRIDS[Geometry(header["grid"])]
    source, grid = kind(header["resolution"]), kind(resolution)
    sets = {name: source.resample(tensors[name].double(), grid).float() for name in ("reference", "floor")}
    facts = provenance(device="cpu", seconds=seconds(), data=header["provenance"])
    write_tensors(output, sets, {"target": header["target"], "resolution": resolution, "provenance": facts})
