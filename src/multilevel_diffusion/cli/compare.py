from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import seconds

SHOWN = 20


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of results, as results/laptop, or a table of metrics.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another, of whichever preset and seeds.")],
    bound: Annotated[float, typer.Option(min=0, help="Standard errors; exit with 1 if a difference is beyond.")] = 4.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table of all differences to write.")] = None,
) -> None:
    """Two runs side by side: the metrics that both have, and their differences in units of their standard errors.

    With a single seed a side the error is that of other samples and directions, not of another training.
    """
    from ..config import UserError
    from ..storage import provenance, read_csv, write_csv
    from ..tables import COLUMNS
    from ..tables import compare as side_by_side

    tables = [read_csv(path / "tables" / "metrics.csv" if path.is_dir() else path, COLUMNS) for path in (a, b)]
    rows = side_by_side(*tables)
    both = rows[rows.sigmas.notna()]
    if both.empty:
        raise UserError(f"{a} and {b} have no metric of the same experiment, arm, gain and resolution")
    beyond = both[both.sigmas.abs() > bound]
    worst = both.sort_values("sigmas", key=abs, ascending=False, kind="stable").head(SHOWN)
    print(worst.to_markdown(index=False, floatfmt=".4g"))
    print(f"\n{len(both)} numbers in both; {len(beyond)} differ by more than {bound:g} standard errors;", end=" ")
    print(f"{int(rows.b.isna().sum())} only in {a}, {int(rows.a.isna().sum())} only in {b}")
    if output:
        write_csv(output, rows, provenance(device="cpu", seconds=seconds()))
    if len(beyond):
        raise typer.Exit(1)
