from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output

figure = typer.Typer(
    help="Draw a figure: OUTPUT.svg, OUTPUT.png and, where it draws numbers, OUTPUT.csv.", no_args_is_help=True
)


@figure.command()
def fig1(
    scores: Annotated[list[Path], typer.Argument(help="Tables of `mld score-error`, one a seed.")], output: Output
) -> None:
    """Score error and loss along training on the mixture."""
    import pandas as pd

    from .. import figures
    from ..storage import provenance, read_csv, write_csv

    table = pd.concat([read_csv(path, figures.SCORE_COLUMNS) for path in scores], ignore_index=True)
    figures.save(figures.fig1(table), output)
    write_csv(output.with_suffix(".csv"), table, provenance())


@figure.command()
def fig10(
    files: Annotated[
        list[Path], typer.Argument(help="True data and samples of the mixture, a file a resolution each.")
    ],
    output: Output,
) -> None:
    """Truth, samples of the exact field and of the network on several grids."""
    from .. import figures
    from ..config import UserError
    from ..storage import read_tensors

    rows: dict[str, dict[int, object]] = {"truth": {}, "exact field": {}}
    for path in files:
        tensors, header = read_tensors(path)
        if tensors.keys().isdisjoint({"reference", "samples"}):
            raise UserError(f"{path}: neither true data nor samples")
        resolution = header["resolution"]
        if "reference" in tensors:
            rows["truth"][resolution] = tensors["reference"].numpy()
        elif header["field"] == "exact":
            rows["exact field"][resolution] = tensors["samples"].numpy()
        else:
            rows.setdefault(f"network,\n{header['gain']}", {})[resolution] = tensors["samples"].numpy()
    drawn = {resolution for row in rows.values() for resolution in row}
    if missing := sorted(drawn - rows["truth"].keys()):
        raise UserError(f"FILES: no true data at resolution {missing}; add the files of `mld data mixture`")
    figures.save(figures.fig10(rows), output)


@figure.command()
def samplers(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld convergence`.")], output: Output
) -> None:
    """Distance to the truth against the number of evaluations of the denoiser, a curve a sampler."""
    import pandas as pd

    from .. import figures
    from ..config import UserError
    from ..storage import provenance, read_csv, write_csv
    from ..tables import CONVERGENCE_COLUMNS

    rows = pd.concat([read_csv(path, CONVERGENCE_COLUMNS) for path in tables], ignore_index=True)
    try:
        drawn = figures.samplers(rows)
    except ValueError as error:
        raise UserError(f"TABLES: {error}") from None
    figures.save(drawn, output)
    write_csv(output.with_suffix(".csv"), rows, provenance())


@figure.command()
def log_density(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld log-density`.")], output: Output
) -> None:
    """Log density relative to N(0,Q): its limit as the grid is refined, and its errors."""
    import pandas as pd

    from .. import figures
    from ..config import UserError
    from ..storage import provenance, read_csv, write_csv
    from ..tables import DENSITY_COLUMNS

    rows = pd.concat([read_csv(path, DENSITY_COLUMNS) for path in tables], ignore_index=True)
    try:
        drawn = figures.log_density(rows)
    except ValueError as error:
        raise UserError(f"TABLES: {error}") from None
    figures.save(drawn, output)
    write_csv(output.with_suffix(".csv"), rows, provenance())
