from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Output

Fields = Annotated[list[Path], typer.Argument(help="True data and samples, a file a resolution each.")]

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
def fig7(files: Fields, output: Output) -> None:
    """True snapshots of the reaction-diffusion system on several grids."""
    _draw(files, output, lambda header: "truth", count=2)


@figure.command()
def fig8(files: Fields, output: Output) -> None:
    """Truth and samples of the reaction-diffusion system on several grids, a row a prior."""
    _draw(files, output, lambda header: header["spec"]["prior"]["kind"], count=2)


@figure.command()
def fig9(histories: Annotated[list[Path], typer.Argument(help="history.csv of trainings.")], output: Output) -> None:
    """Loss along training, a panel a prior."""
    import pandas as pd

    from .. import figures
    from ..storage import provenance, read_csv, write_csv

    table = pd.concat([read_csv(path, figures.HISTORY_COLUMNS) for path in histories], ignore_index=True)
    figures.save(figures.fig9(table), output)
    write_csv(output.with_suffix(".csv"), table, provenance())


@figure.command()
def fig10(files: Fields, output: Output) -> None:
    """Truth, samples of the exact field of the mixture and of the network on several grids."""
    _draw(
        files,
        output,
        lambda header: "exact field" if header["field"] == "exact" else f"network,\n{header['gain']}",
        count=3,
    )


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


def _draw(files: list[Path], output: Path, name: Callable[[dict[str, Any]], str], count: int) -> None:
    """Draw fields in rows by the name that each file's header gives, the truth first and the others as they come."""
    from .. import figures
    from ..config import UserError
    from ..storage import read_tensors

    rows: dict[str, dict[int, object]] = {"truth": {}}
    for path in files:
        tensors, header = read_tensors(path)
        if tensors.keys().isdisjoint({"reference", "samples"}):
            raise UserError(f"{path}: neither true data nor samples")
        source, fields = ("truth", "reference") if "reference" in tensors else (name(header), "samples")
        rows.setdefault(source, {})[header["resolution"]] = tensors[fields].numpy()
    drawn = {resolution for row in rows.values() for resolution in row}
    if missing := sorted(drawn - rows["truth"].keys()):
        raise UserError(f"FILES: no true data at resolution {missing}; add the files of `mld data`")
    figures.save(figures.fields(rows, count), output)
