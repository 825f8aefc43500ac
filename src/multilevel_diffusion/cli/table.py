"""`mld table`: tables of a whole run, for machines and for people; and `mld compare`, of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..columns import COLUMNS, CONDITIONING_COLUMNS, CONVERGENCE_COLUMNS, HISTORY_COLUMNS, SCORE_COLUMNS
from ..errors import UserError
from ..storage import read_csv, write_csv
from .commands import Commands
from .options import Configs, Output, Overrides, Presets, facts, paper_config, read_config, read_rows, read_spec

if TYPE_CHECKING:
    import pandas

    from ..tables import Run

DEBIASED = (
    "sliced Wasserstein distance without its floor, in standard deviations of the data, and its 95 % interval; "
    "the interval of a single seed holds the errors of samples and floor alone. One column per resolution."
)

SHOWN = 20
"""Differences that `mld compare` prints of two runs, of numbers and of settings."""
SPREAD = "Mean over seeds ± standard deviation, of a single seed ± its standard error"
BY_RESOLUTION = f"{SPREAD} (the floor of test fields); one column per resolution."

Metrics = Annotated[Path, typer.Argument(help="The table of all metrics.")]
Experiments = Annotated[list[str], typer.Option(help="An experiment of the table; may be repeated.")]

table = Commands(help="Make a table: OUTPUT.csv, OUTPUT.md and OUTPUT.html.", no_args_is_help=True)


@table.command()
def metrics(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld evaluate` and `mld truncation`.")],
    output: Output,
    scores: Annotated[list[Path] | None, typer.Option(help="A table of `mld score-error`; may be repeated.")] = None,
    history: Annotated[list[Path] | None, typer.Option(help="history.csv, for skill; may be repeated.")] = None,
) -> None:
    """Every metric of a run, one number per row, and a summary."""
    from ..tables import read_tables, score_error_metrics, skill_metrics, summary, tidy

    measured = read_tables(tables, COLUMNS)
    if scores:
        measured += [score_error_metrics(rows) for rows in read_tables(scores, SCORE_COLUMNS)]
    if history:
        measured.append(skill_metrics(read_rows(history, HISTORY_COLUMNS)))
    rows = tidy(measured)
    _write(output, rows, summary(rows), about=BY_RESOLUTION)


@table.command()
def samplers(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld convergence`.")], output: Output
) -> None:
    """How few evaluations each sampler needs."""
    from ..tables import sampler_summary

    rows = read_rows(tables, CONVERGENCE_COLUMNS)
    about = "Evaluations from which on a sampler is within two standard errors of Euler–Maruyama / within 1.5 times its distance."
    _write(output, rows, sampler_summary(rows), about=about, split=["arm", "field"])


@table.command()
def posterior(tables: Annotated[list[Path], typer.Argument(help="Tables of `mld condition`.")], output: Output) -> None:
    """Posteriors by each method against the observed fields."""
    from ..tables import posterior_summary

    rows = read_rows(tables, CONDITIONING_COLUMNS)
    about = "Mean over seeds ± its standard error, of a single seed that over fields."
    _write(output, rows, posterior_summary(rows), about=about, split=["experiment", "observed"])


@table.command()
def distances(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """Sliced Wasserstein distances per prior and resolution."""
    from ..tables import distances_by_prior

    about = f"Mean over seeds; {DEBIASED}"
    _write(output, distances_by_prior(read_rows([metrics], COLUMNS), experiment), about=about)


@table.command()
def transfer(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """How distances grow off the training grid.

    By sliced Wasserstein distances without their floors.
    """
    from ..tables import transfer

    about = f"Difference to the training grid, where 0 is as near the test set: {DEBIASED}"
    _write(output, transfer(read_rows([metrics], COLUMNS), experiment), about=about)


@table.command()
def ladders(
    histories: Annotated[list[Path], typer.Argument(help="history.csv of all trainings of an experiment.")],
    baseline: Annotated[str, typer.Option(help="The arm that is trained on the finest level alone.")],
    output: Output,
) -> None:
    """What training on coarser levels first costs and saves."""
    from ..tables import ladder_summary, ladders, read_histories

    rows = ladders(read_histories(histories), baseline)
    _write(
        output, rows, ladder_summary(rows), about="Mean over seeds ± standard deviation [95 % interval of the mean]."
    )


@table.command()
def claims(
    table: Annotated[list[str], typer.Option(metavar="NAME=CSV", help="A table that claims name; may be repeated.")],
    output: Output,
    set_: Overrides = None,
    presets: Presets = None,
    configs: Configs = None,
) -> None:
    """Every claim of the paper with its criterion and a verdict.

    Claims about a table that is not given are not measured.
    """
    from ..settings import load_config, tuned
    from ..tables import claim_summary, claims

    files = configs or [paper_config()]
    config = read_config(files, set_, presets)
    paper = load_config(files[:1], {"preset": "paper"}, presets or files[0].parent / "workflow" / "presets")
    if config.claims is None:
        raise UserError(f"{files[0]}: no claims in it")
    if unclear := [text for text in table if "=" not in text]:
        raise UserError(f"--table: '{unclear[0]}' is not NAME=CSV")
    named = dict(text.partition("=")[::2] for text in table)
    if unknown := named.keys() - config.tables.keys():
        raise UserError(f"--table: '{sorted(unknown)[0]}' is not one of {', '.join(config.tables)}; give NAME=CSV")
    columns = {"power": ("experiment", "metric", "resolution", "n_samples", "power")}
    tables = {name: read_csv(Path(path), columns.get(name, ("seed", "value"))) for name, path in named.items()}
    rows = claims(config.claims, tables, lambda experiment, arm: tuned(config, paper, experiment, arm))
    about = f"Preset {config.preset}. Mean over seeds and its {config.claims.confidence:.0%} confidence interval."
    _write(output, rows.assign(preset=config.preset), claim_summary(rows), about=about, split=["figure"])


@table.command()
def power(
    metrics: Metrics,
    output: Output,
    enough: Annotated[float, typer.Option(min=0, help="Standard errors that a metric needs to judge networks.")] = 5.0,
) -> None:
    """How far the Gaussian baseline lies above each floor.

    For each metric, in standard errors of a perfect sampler of as many samples, and how many samples would be enough.
    """
    from ..tables import power, power_summary

    rows = power(read_rows([metrics], COLUMNS), enough)
    about = (
        f"The Gaussian baseline above the floor, in standard errors (how many samples would give {enough:g}); "
        "one column per resolution."
    )
    _write(output, rows, power_summary(rows), about=about, split=["experiment", "n_samples"])


@table.command()
def priors(
    specs: Annotated[list[Path], typer.Argument(help="spec.json of arms.")],
    data: Annotated[
        list[Path], typer.Option(help="Files of `mld data`, one per experiment and resolution; may be repeated.")
    ],
    output: Output,
) -> None:
    """How the noise of each prior compares with the data.

    It shows what is in modes without noise, what is left at t = 1, and how fast the spectra of data and noise fall. The docstring
    of `multilevel_diffusion.tables.priors` has the formula of every column.
    """
    from ..builders import build_grid, build_prior
    from ..data.sets import read_sets
    from ..tables.priors import priors

    test_sets = {}
    for path in data:
        sets = read_sets(path, need={"reference": 2})
        test_sets.setdefault(sets.target.get("name"), {})[path] = sets

    def arms():
        for path in specs:
            spec = read_spec(path)
            name = spec.data_set or spec.experiment
            if name not in test_sets:
                raise UserError(f"{path}: no --data of {name}; give a file of its test set, as `mld data` writes it")
            prior = build_prior(spec)
            for file, sets in test_sets[name].items():
                grid = build_grid(spec, sets.grid.resolution)
                sets.demand(file, path, grid=spec.grid, resolution=grid.resolution)
                yield spec.labels, prior, grid, sets.fields["reference"].double()

    _write(output, priors(arms()))


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="A B...", help="Folders as results/laptop, or tables of metrics.")
    ],
    bound: Annotated[float, typer.Option(min=0, help="Standard errors; exit with 1 if a difference is beyond.")] = 4.0,
    relative_floor: Annotated[
        float, typer.Option(min=0, help="Least standard error, of the value or its floor.")
    ] = 1e-6,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table of all differences to write.")] = None,
) -> None:
    """Metrics of runs, and their differences to the first run.

    Those that both runs have, in units of their standard errors, and the settings that differ: what the tables say themselves,
    and the spec.json of arms that both folders have. Presets and seeds may be any. With a single seed on each side the error is
    due to other samples and directions, and not to another training.
    """
    import pandas

    from ..tables import compare, read_run

    if len(runs) < 2:
        raise UserError("one run is nothing to compare; give two or more folders or tables")
    first, *others = (read_run(path) for path in runs)
    tables = []
    for path, other in zip(runs[1:], others, strict=True):
        tables.append(compare(first.metrics, other.metrics, relative_floor).assign(run=str(path)))
        if tables[-1].sigmas.isna().all():
            raise UserError(f"{runs[0]} and {path} have no metric of the same experiment, arm, gain and resolution")
    for path, other, rows in zip(runs[1:], others, tables, strict=True):
        both = rows[rows.sigmas.notna()]
        worst = both.sort_values("sigmas", key=abs, ascending=False, kind="stable").head(SHOWN)
        print(f"a: {runs[0]}, b: {path}\n\n{worst.drop(columns='run').to_markdown(index=False, floatfmt='.4g')}\n")
        beyond = int((both.sigmas.abs() > bound).sum())
        print(f"{len(both)} numbers in both; {beyond} differ by more than {bound:g} standard errors;", end=" ")
        print(f"{int(rows.b.isna().sum())} only in {runs[0]}, {int(rows.a.isna().sum())} only in {path}")
        _tell_changes(first, other)
    table = pandas.concat(tables)
    if output:
        write_csv(output, table, facts())
    if (table.sigmas.abs() > bound).any():
        raise typer.Exit(1)


def _tell_changes(a: Run, b: Run) -> None:
    """Print the settings that differ, once if they are of several arms."""
    from ..tables import changes

    found = changes(a, b)
    print(
        f"\n{len(found) or 'no'} settings differ"
        + ("" if a.specs and b.specs else "; without spec.json, the settings in the tables")
    )
    for change, arms in [*found.items()][:SHOWN]:
        more = f" and {len(arms) - 1} more" if len(arms) > 1 else ""
        print(f"{arms[0]}{more}: {change}")
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    print()


def _write(output: Path, rows: pandas.DataFrame, to_read: pandas.DataFrame | None = None, **layout: Any) -> None:
    from ..tables import write_table

    write_table(output, rows, facts(), to_read, **layout)
