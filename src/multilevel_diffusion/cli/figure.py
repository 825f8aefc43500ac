"""`mld figure`: pictures of fields and of numbers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import columns
from ..errors import UserError
from ..storage import write_csv
from .commands import Commands
from .options import Output, facts, read_rows

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

Stamp = Annotated[str, typer.Option(help="Text across the figure, for example where its numbers mean nothing.")]
Tables = Annotated[list[Path], typer.Argument(help="Tables of the command named above.")]
NUMBERS = {
    "score_error": (columns.SCORE_COLUMNS, "Score error and loss along training.", "mld score-error"),
    "along_training": (
        columns.ALONG_TRAINING_COLUMNS,
        "Distance to the test set along training.",
        "mld along-training",
    ),
    "losses": (columns.HISTORY_COLUMNS, "Loss along training, one panel per arm.", "mld train"),
    "skill": (columns.HISTORY_COLUMNS, "Skill against training steps, one line per arm.", "mld train"),
    "samplers": (columns.CONVERGENCE_COLUMNS, "Distance to the test set against evaluations.", "mld convergence"),
    "log_density": (columns.DENSITY_COLUMNS, "Log density relative to N(0,Q), and its errors.", "mld log-density"),
    "cost": (columns.COST_COLUMNS, "Time and memory of a training step.", "mld bench scaling"),
}
"""Figures of numbers by their function: the columns they need, what they show, and the command that writes them."""

Axis = StrEnum("Axis", {"EPOCH": "epoch", "SECONDS": "seconds"})
figure = Commands(help="Draw a figure as SVG and PNG, or as PDF.", no_args_is_help=True)


@figure.command()
def fields(
    files: Annotated[list[Path], typer.Argument(help="Files of `mld data` and of `mld sample`, in any order.")],
    output: Output,
    history: Annotated[
        list[Path] | None, typer.Option(help="history.csv, for losses below the fields; may be repeated.")
    ] = None,
    metrics: Annotated[list[Path] | None, typer.Option(help="metrics.csv, for distances; may be repeated.")] = None,
    projections: Annotated[
        int | None, typer.Option(min=2, help="Directions in which distances are measured, without a metrics.csv.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Fields per row and resolution.")] = 3,
    stamp: Stamp = "",
) -> None:
    """Test set and samples on several grids, row by row."""
    from ..data.checks import read_fields
    from ..figures import arrange, distances, fields

    read = [(path, *read_fields(path)) for path in files]
    rows, rows_down = arrange(read)
    if metrics and projections:
        raise UserError("--projections: is for samples without --metrics; give one of them")
    table = read_rows(metrics, columns.COLUMNS) if metrics else measured(files, projections) if projections else None
    written = None if table is None else distances(read, table)
    losses = read_rows(history, columns.HISTORY_COLUMNS) if history else None
    _write(fields(rows, count, rows_down=rows_down, history=losses, written=written), losses, output, stamp)


def measured(files: list[Path], projections: int) -> pandas.DataFrame:
    """Metrics of the files of samples against the files of data among them, with the epoch of each network.

    Raises a UserError as `stages.evaluate.evaluate`, or if there are no samples.
    """
    import numpy

    from ..data.sets import read_sets
    from ..stages.evaluate import evaluate
    from ..stages.sample import read_samples
    from ..storage import read_arrays

    of_samples = {path: "samples" in read_arrays(path, ("reference", "samples"))[0] for path in files}
    tests = [read_sets(path, need={"reference": 2, "floor": 2}) for path in files if not of_samples[path]]
    drawn = [read_samples(path) for path in files if of_samples[path]]
    if not drawn:
        raise UserError("FILES: no samples to measure; leave --projections out")
    rows = evaluate(drawn, tests, projections)
    return rows.assign(epoch=numpy.repeat([each.epoch for each in drawn], len(rows) // len(drawn)))


@figure.command()
def posterior(
    files: Annotated[list[Path], typer.Argument(help="Files of fields of `mld condition`.")],
    output: Output,
    stamp: Stamp = "",
) -> None:
    """What was observed of a field, and its posteriors."""
    from ..figures import posterior, posterior_rows
    from ..storage import read_arrays

    read = [(path, *read_arrays(path)) for path in files]
    images = any(header.get("images") for _, _, header in read)
    _write(posterior(posterior_rows(read), rows_down=images), None, output, stamp)


@figure.command()
def ladders(
    histories: Annotated[list[Path], typer.Argument(help="history.csv of trainings.")],
    output: Output,
    against: Annotated[list[Axis], typer.Option(help="One panel each; may be repeated.")] = list(Axis),  # noqa: B006
    stamp: Stamp = "",
) -> None:
    """Test loss of trainings on ladders against epochs and time."""
    from ..figures import ladders
    from ..tables import read_histories

    rows = read_histories(histories)
    _write(ladders(rows, against), rows, output, stamp)


def _add_figure_of_numbers(name: str) -> None:
    needed, summary, source = NUMBERS[name]

    def draw(tables: Tables, output: Output, stamp: Stamp = "") -> None:
        from .. import figures

        rows = read_rows(tables, needed)
        _write(getattr(figures, name)(rows), rows, output, stamp)

    figure.command(name.replace("_", "-"), help=f"{summary}\n\nFrom tables of `{source}`.")(draw)


for each in NUMBERS:
    _add_figure_of_numbers(each)


def _write(drawn: Figure, rows: pandas.DataFrame | None, output: Path, stamp: str) -> None:
    from ..figures import save

    save(drawn, output, stamp)
    if rows is not None:
        write_csv(output.with_suffix(".csv"), rows, facts())
