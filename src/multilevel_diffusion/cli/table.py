from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output

table = typer.Typer(help="Make a table: OUTPUT.csv and OUTPUT.md.", no_args_is_help=True)


@table.command()
def metrics(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld evaluate`.")],
    scores: Annotated[list[Path], typer.Option(help="A table of `mld score-error`; the option is repeated.")],
    output: Output,
) -> None:
    """Every metric of a run, one number a row, and a summary to read."""
    from ..storage import provenance, read_csv, write_atomically, write_csv
    from ..tables import COLUMNS, SCORE_COLUMNS, score_error_metrics, summary, tidy

    measured = [read_csv(path, COLUMNS) for path in tables]
    measured += [score_error_metrics(read_csv(path, SCORE_COLUMNS)) for path in scores]
    rows = tidy(measured)
    text = summary(rows).to_markdown(index=False)
    write_csv(output.with_suffix(".csv"), rows, provenance())
    with write_atomically(output.with_suffix(".md")) as partial:
        partial.write_text(text + "\n")


@table.command()
def samplers(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld convergence`.")], output: Output
) -> None:
    """How few evaluations each sampler needs, with all the distances."""
    import pandas as pd

    from ..storage import provenance, read_csv, write_atomically, write_csv
    from ..tables import CONVERGENCE_COLUMNS, sampler_summary

    rows = pd.concat([read_csv(path, CONVERGENCE_COLUMNS) for path in tables], ignore_index=True)
    text = sampler_summary(rows).to_markdown(index=False)
    write_csv(output.with_suffix(".csv"), rows, provenance())
    with write_atomically(output.with_suffix(".md")) as partial:
        partial.write_text(text + "\n")


@table.command()
def table1(metrics: Annotated[Path, typer.Argument(help="The table of all metrics.")], output: Output) -> None:
    """Sliced Wasserstein distances per prior and resolution."""
    from ..storage import provenance, read_csv, write_atomically, write_csv
    from ..tables import COLUMNS, distances_by_prior

    rows = distances_by_prior(read_csv(metrics, COLUMNS))
    write_csv(output.with_suffix(".csv"), rows, provenance())
    with write_atomically(output.with_suffix(".md")) as partial:
        partial.write_text(rows.to_markdown(index=False) + "\n")
