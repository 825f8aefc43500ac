from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Output, seconds

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Fields = Annotated[list[Path], typer.Argument(help="True data and samples, a file a resolution each.")]
Histories = Annotated[list[Path], typer.Argument(help="history.csv of trainings.")]

figure = typer.Typer(
    help="Draw a figure: OUTPUT.svg, OUTPUT.png and, where it draws numbers, OUTPUT.csv.", no_args_is_help=True
)


@figure.command()
def fig1(
    scores: Annotated[list[Path], typer.Argument(help="Tables of `mld score-error`, one a seed.")], output: Output
) -> None:
    """Score error and loss along training on the mixture."""
    from ..figures import SCORE_COLUMNS, fig1

    _draw_numbers(scores, SCORE_COLUMNS, fig1, output)


@figure.command()
def fig2(files: Fields, output: Output) -> None:
    """Test digits and samples of the U-Net on several grids."""
    _draw(files, output, _arm_of, count=3)


@figure.command()
def fig3(
    files: Fields,
    history: Annotated[list[Path], typer.Option(help="history.csv of a training; the option is repeated.")],
    output: Output,
) -> None:
    """Test digits and samples under each prior on several grids, and the loss along training."""
    from .. import figures
    from ..storage import provenance, write_csv

    losses, (rows, _) = _together(history, figures.HISTORY_COLUMNS), _rows(files, _arm_of)
    figures.save(figures.fig3(rows, losses), output)
    write_csv(output.with_suffix(".csv"), losses, provenance(device="cpu", seconds=seconds()))


@figure.command()
def fig4(tables: Annotated[list[Path], typer.Argument(help="Tables of `mld along-training`.")], output: Output) -> None:
    """Distance to the test set along training, a curve an arm."""
    from ..figures import fig4
    from ..tables import ALONG_TRAINING_COLUMNS

    _draw_numbers(tables, ALONG_TRAINING_COLUMNS, fig4, output)


@figure.command()
def fig5(histories: Histories, output: Output) -> None:
    """Test loss of cold and warm trainings against epochs and time."""
    from ..figures import fig5

    _draw_test_losses(histories, fig5, output)


@figure.command()
def fig5_tradeoff(histories: Histories, output: Output) -> None:
    """Test loss of several ladders against time."""
    from ..figures import fig5_tradeoff

    _draw_test_losses(histories, fig5_tradeoff, output)


@figure.command()
def fig5_gain(histories: Histories, output: Output) -> None:
    """Test loss of ladders under both gains against epochs."""
    from ..figures import fig5_gain

    _draw_test_losses(histories, fig5_gain, output)


@figure.command()
def fig6(files: Fields, output: Output) -> None:
    """Samples of cold and warm trainings half-way and at the end."""
    _draw(files, output, lambda header: f"{header['spec']['arm']},\nepoch {header['epoch']}", count=4)


@figure.command()
def fig7(files: Fields, output: Output) -> None:
    """True snapshots of the reaction-diffusion system on several grids."""
    _draw(files, output, None, count=2)


@figure.command()
def fig8(files: Fields, output: Output) -> None:
    """Truth and samples of the reaction-diffusion system on several grids, a row a prior."""
    _draw(files, output, _arm_of, count=2)


@figure.command()
def fig9(histories: Histories, output: Output) -> None:
    """Loss along training, a panel a prior."""
    from ..figures import HISTORY_COLUMNS, fig9

    _draw_numbers(histories, HISTORY_COLUMNS, fig9, output)


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
    from ..figures import samplers
    from ..tables import CONVERGENCE_COLUMNS

    _draw_numbers(tables, CONVERGENCE_COLUMNS, samplers, output)


@figure.command()
def log_density(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld log-density`.")], output: Output
) -> None:
    """Log density relative to N(0,Q): its limit as the grid is refined, and its errors."""
    from ..figures import log_density
    from ..tables import DENSITY_COLUMNS

    _draw_numbers(tables, DENSITY_COLUMNS, log_density, output)


@figure.command()
def cost(tables: Annotated[list[Path], typer.Argument(help="Table of `mld bench scaling`.")], output: Output) -> None:
    """Time and memory of a training step as resolution, batch and width grow, beside what counting expects."""
    from ..figures import COST_COLUMNS, cost

    _draw_numbers(tables, COST_COLUMNS, cost, output)


def _draw_numbers(
    tables: list[Path], columns: Sequence[str], draw: Callable[[pandas.DataFrame], Figure], output: Path
) -> None:
    """Draw the rows of all tables, and write them beside the picture."""
    from ..config import UserError
    from ..figures import save
    from ..storage import provenance, write_csv

    rows = _together(tables, columns)
    try:
        drawn = draw(rows)
    except ValueError as error:
        raise UserError(f"TABLES: {error}") from None
    save(drawn, output)
    write_csv(output.with_suffix(".csv"), rows, provenance(device="cpu", seconds=seconds()))


def _draw_test_losses(histories: list[Path], draw: Callable[[pandas.DataFrame], Figure], output: Path) -> None:
    from ..figures import HISTORY_COLUMNS
    from ..storage import read_csv

    finest = read_csv(histories[0], HISTORY_COLUMNS).resolution.max()
    _draw_numbers(histories, (*HISTORY_COLUMNS, f"test_{finest}"), draw, output)


def _together(tables: list[Path], columns: Sequence[str]) -> pandas.DataFrame:
    import pandas as pd

    from ..storage import read_csv

    return pd.concat([read_csv(path, columns) for path in tables], ignore_index=True)


def _arm_of(header: dict[str, Any]) -> str:
    """The name of the row of samples of a network."""
    from ..config import UserError
    from ..figures import short_name

    if not header["spec"]:
        raise UserError("FILES: samples of an exact field have no row in this figure; give those of networks")
    return f"{short_name(header['spec']['arm'], header['spec']['network']['kind'])},\n{header['gain']}"


def _draw(files: list[Path], output: Path, name: Callable[[dict[str, Any]], str] | None, count: int) -> None:
    """Draw fields in rows by the name that each file's header gives, the truth first; without names, the truth alone."""
    from .. import figures

    rows, rows_down = _rows(files, name)
    figures.save(figures.fields(rows, count, rows_down=rows_down), output)


def _rows(
    files: list[Path], name: Callable[[dict[str, Any]], str] | None
) -> tuple[dict[str, dict[int, NDArray[np.floating]]], bool]:
    """Fields by the name of their row and their resolution; and whether they are images, whose first axis goes down."""
    from ..config import UserError
    from ..storage import read_arrays

    rows: dict[str, dict[int, NDArray[np.floating]]] = {"truth": {}}
    reference: dict[str, int] = {}
    for path in files:
        arrays, header = read_arrays(path)
        if arrays.keys().isdisjoint({"reference", "samples"}):
            raise UserError(f"{path}: neither true data nor samples")
        if name is None and "reference" not in arrays:
            raise UserError(f"{path}: not true data, which alone this figure shows")
        source, fields = ("truth", "reference") if "reference" in arrays else (name(header), "samples")
        row = rows.setdefault(source, {})
        if header["resolution"] in row:
            raise UserError(f"{path}: {' '.join(source.split())} at {header['resolution']} is there already")
        row[header["resolution"]] = arrays[fields]
        if fields == "samples" and header["spec"]:
            reference[source] = header["spec"]["training"]["ladder"][-1]["resolution"]
    drawn = {resolution for row in rows.values() for resolution in row}
    if missing := sorted(drawn - rows["truth"].keys()):
        raise UserError(f"FILES: no true data at resolution {missing}; add the files of `mld data`")
    for source, row in rows.items():
        if missing := sorted(drawn - row.keys() - {reference.get(source)}):
            raise UserError(
                f"FILES: no {' '.join(source.split())} at resolution {missing}; add the files of `mld sample`"
            )
    return rows, header["target"]["experiment"] == "mnist"
