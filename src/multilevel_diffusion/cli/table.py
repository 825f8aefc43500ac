"""`mld table`: tables of a whole run, for machines and for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Configs, Output, Overrides, Presets, read_config, seconds

if TYPE_CHECKING:
    import pandas

Metrics = Annotated[Path, typer.Argument(help="The table of all metrics.")]
Experiments = Annotated[list[str], typer.Option(help="An experiment of the table; the option is repeated.")]

table = typer.Typer(help="Make a table: OUTPUT.csv, OUTPUT.md and OUTPUT.html.", no_args_is_help=True)


@table.command()
def metrics(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld evaluate` and `mld truncation`.")],
    output: Output,
    scores: Annotated[
        list[Path] | None, typer.Option(help="A table of `mld score-error`; the option is repeated.")
    ] = None,
) -> None:
    """Every metric of a run, one number a row, and a summary."""
    from ..columns import COLUMNS, SCORE_COLUMNS
    from ..tables import read_tables, score_error_metrics, summary, tidy

    measured = read_tables(tables, COLUMNS)
    if scores:
        measured += [score_error_metrics(rows) for rows in read_tables(scores, SCORE_COLUMNS)]
    rows = tidy(measured)
    _write(output, rows, summary(rows))


@table.command()
def samplers(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld convergence`.")], output: Output
) -> None:
    """How few evaluations each sampler needs."""
    import pandas as pd

    from ..columns import CONVERGENCE_COLUMNS
    from ..tables import read_tables, sampler_summary

    rows = pd.concat(read_tables(tables, CONVERGENCE_COLUMNS), ignore_index=True)
    _write(output, rows, sampler_summary(rows))


@table.command()
def distances(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """Sliced Wasserstein distances per prior and resolution."""
    from ..columns import COLUMNS
    from ..tables import distances_by_prior, read_tables

    (rows,) = read_tables([metrics], COLUMNS)
    _write(output, distances_by_prior(rows, experiment))


@table.command()
def transfer(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """Sliced Wasserstein distances over those on the training grid."""
    from ..columns import COLUMNS
    from ..tables import read_tables, transfer

    (rows,) = read_tables([metrics], COLUMNS)
    _write(output, transfer(rows, experiment))


@table.command()
def ladders(
    histories: Annotated[list[Path], typer.Argument(help="history.csv of all trainings of an experiment.")],
    baseline: Annotated[str, typer.Option(help="The arm that is trained on the finest level alone.")],
    output: Output,
) -> None:
    """What training on coarser levels first costs and saves."""
    from ..tables import ladder_summary, ladders, read_histories

    rows = ladders(read_histories(histories), baseline)
    _write(output, rows, ladder_summary(rows))


@table.command()
def claims(
    configs: Configs,
    table: Annotated[
        list[str], typer.Option(metavar="NAME=CSV", help="A table that claims name; the option is repeated.")
    ],
    output: Output,
    set_: Overrides = None,
    presets: Presets = None,
) -> None:
    """Every claim of the paper with its criterion and a verdict.

    Claims about a table that is not given are not measured.
    """
    from ..errors import UserError
    from ..storage import read_csv
    from ..tables import claims

    config = read_config(configs, set_, presets)
    if config.claims is None:
        raise UserError(f"{configs[0]}: no claims in it")
    named = dict(text.partition("=")[::2] for text in table)
    if unknown := named.keys() - config.tables.keys():
        raise UserError(f"--table: '{sorted(unknown)[0]}' is not one of {', '.join(config.tables)}; give NAME=CSV")
    tables = {name: read_csv(Path(path), ("seed", "value")) for name, path in named.items()}
    _write(output, claims(config.claims, tables).assign(preset=config.preset))


@table.command()
def priors(
    specs: Annotated[list[Path], typer.Argument(help="spec.json of arms.")],
    data: Annotated[list[Path], typer.Option(help="Files of `mld data`, one an experiment and resolution; repeated.")],
    output: Output,
) -> None:
    """How the noise of each prior compares with the data.

    variance_in_kernel, power_in_kernel: the share of E|u - Eu|^2 and of E|u|^2 in modes without noise; signal_to_noise: what is
    left at t = 1, (a_1^2 E|u|^2 / b_1^2 tr Q)^(1/2), which sampling takes for 0.
    """
    from ..errors import UserError
    from ..models import build_grid, build_prior
    from ..settings import ArmSpec, parse
    from ..storage import read_json, read_tensors
    from ..tables import priors

    test_sets = {}
    for path in data:
        tensors, header = read_tensors(path, need=("reference",))
        fields = tensors["reference"].double()
        test_sets.setdefault(header["target"].get("name"), {})[header["resolution"]] = fields

    def arms():
        for path in specs:
            spec = parse(ArmSpec, read_json(path), source=str(path))
            name = spec.data_set or spec.experiment
            if name not in test_sets:
                raise UserError(f"{path}: no --data of {name}; give a file of its test set, as `mld data` writes it")
            prior = build_prior(spec)
            for resolution, fields in test_sets[name].items():
                yield spec.labels, prior, build_grid(spec, resolution), fields

    _write(output, priors(arms()))


def _write(output: Path, rows: pandas.DataFrame, to_read: pandas.DataFrame | None = None) -> None:
    from ..provenance import provenance
    from ..tables import write_table

    write_table(output, rows, provenance(device="cpu", seconds=seconds()), to_read)
