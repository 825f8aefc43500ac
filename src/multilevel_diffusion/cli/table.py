from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import PRESETS, Configs, Output, Overrides, Presets, parse_overrides, seconds

if TYPE_CHECKING:
    import pandas

Metrics = Annotated[Path, typer.Argument(help="The table of all metrics.")]
PAGE = """<!doctype html><meta charset="utf-8"><style>
body { font: 13px sans-serif } table { border-collapse: collapse; width: max-content } tr:hover { background: #eee }
th, td { padding: 2px 8px; text-align: left; max-width: 30em } th { position: sticky; top: 0; background: white }
</style>
"""
Experiments = Annotated[list[str], typer.Option(help="An experiment of the table; the option is repeated.")]

table = typer.Typer(help="Make a table: OUTPUT.csv, OUTPUT.md and OUTPUT.html.", no_args_is_help=True)


@table.command()
def metrics(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld evaluate`.")],
    scores: Annotated[list[Path], typer.Option(help="A table of `mld score-error`; the option is repeated.")],
    output: Output,
) -> None:
    """Every metric of a run, one number a row, and a summary to read."""
    from ..storage import read_csv
    from ..tables import COLUMNS, SCORE_COLUMNS, score_error_metrics, summary, tidy

    measured = [read_csv(path, COLUMNS) for path in tables]
    measured += [score_error_metrics(read_csv(path, SCORE_COLUMNS)) for path in scores]
    rows = tidy(measured)
    _write(rows, summary(rows), output)


@table.command()
def samplers(
    tables: Annotated[list[Path], typer.Argument(help="Tables of `mld convergence`.")], output: Output
) -> None:
    """How few evaluations each sampler needs, with all the distances."""
    import pandas as pd

    from ..storage import read_csv
    from ..tables import CONVERGENCE_COLUMNS, sampler_summary

    rows = pd.concat([read_csv(path, CONVERGENCE_COLUMNS) for path in tables], ignore_index=True)
    _write(rows, sampler_summary(rows), output)


@table.command()
def table1(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """Sliced Wasserstein distances per prior and resolution."""
    from ..storage import read_csv
    from ..tables import COLUMNS, distances_by_prior

    rows = distances_by_prior(read_csv(metrics, COLUMNS), experiment)
    _write(rows, rows, output)


@table.command()
def transfer(metrics: Metrics, experiment: Experiments, output: Output) -> None:
    """Sliced Wasserstein distances over those on the training grid."""
    from ..config import UserError
    from ..storage import read_csv
    from ..tables import COLUMNS, transfer

    try:
        rows = transfer(read_csv(metrics, COLUMNS), experiment)
    except ValueError as error:
        raise UserError(f"{metrics}: {error}") from None
    _write(rows, rows, output)


@table.command()
def ladders(
    histories: Annotated[list[Path], typer.Argument(help="history.csv of all trainings of an experiment.")],
    baseline: Annotated[str, typer.Option(help="The arm that is trained on the finest level alone.")],
    output: Output,
) -> None:
    """What training on coarser levels first costs and saves."""
    import pandas as pd

    from ..config import UserError
    from ..storage import read_csv
    from ..tables import LADDER_COLUMNS, ladder_summary, ladders

    history = pd.concat([read_csv(path, LADDER_COLUMNS) for path in histories], ignore_index=True)
    if f"test_{history.resolution.max()}" not in history:
        raise UserError(
            f"HISTORIES: no loss on test fields at {history.resolution.max()}; set validation.test and train again"
        )
    seeds = {arm: set(rows.seed) for arm, rows in history.groupby("arm")}
    if missing := set().union(*seeds.values()) - seeds.get(baseline, set()):
        raise UserError(
            f"--baseline: no history of '{baseline}' for seeds {sorted(missing)}; the arms are {', '.join(seeds)}"
        )
    rows = ladders(history, baseline)
    _write(rows, ladder_summary(rows), output)


@table.command()
def claims(
    configs: Configs,
    metrics: Annotated[Path, typer.Option(help="The table of all metrics.")],
    ladders: Annotated[Path, typer.Option(help="The table of ladders.")],
    samplers: Annotated[Path, typer.Option(help="The table of samplers.")],
    output: Output,
    set_: Overrides = None,
    presets: Presets = PRESETS,
) -> None:
    """Every claim of the paper with its criterion and a verdict."""
    from ..config import UserError, load_config
    from ..storage import read_csv
    from ..tables import COLUMNS, CONVERGENCE_COLUMNS, claims

    config = load_config(configs, parse_overrides(set_), presets)
    tables = {
        "metrics": read_csv(metrics, COLUMNS),
        "ladders": read_csv(ladders, ("arm", "quantity")),
        "samplers": read_csv(samplers, CONVERGENCE_COLUMNS),
    }
    try:
        rows = claims(config.claims, tables).assign(preset=config.preset)
    except ValueError as error:
        raise UserError(str(error)) from None
    _write(rows, rows, output)


@table.command()
def priors(
    specs: Annotated[list[Path], typer.Argument(help="spec.json of arms.")],
    data: Annotated[list[Path], typer.Option(help="True data, a file an experiment and resolution; repeated.")],
    output: Output,
) -> None:
    """How the noise of each prior compares with the data.

    variance_in_kernel, power_in_kernel: the share of E|u - Eu|^2 and of E|u|^2 in modes without noise; signal_to_noise: what is
    left at t = 1, (a_1^2 E|u|^2 / b_1^2 tr Q)^(1/2), which sampling takes for 0.
    """
    import pandas as pd
    import torch

    from ..config import ArmSpec, UserError, parse
    from ..grids import squared_norm
    from ..sde import ForwardSDE
    from ..storage import read_json, read_tensors
    from .prior import build_grid, build_prior

    truths = {}
    for path in data:
        tensors, header = read_tensors(path, need=("reference",))
        truths.setdefault(header["target"]["experiment"], {})[header["resolution"]] = tensors["reference"].double()
    end, rows = ForwardSDE().half_log_snr(torch.ones(1, dtype=torch.float64)).exp().item(), []
    for path in specs:
        spec = parse(ArmSpec, read_json(path), source=str(path))
        if not spec.data_set:
            raise UserError(
                f"{path}: an arm of {spec.experiment}, whose truth is drawn from the prior; give arms of a data set"
            )
        if spec.data_set not in truths:
            raise UserError(f"{path}: there is no --data of {spec.data_set}")
        prior = build_prior(spec)
        for resolution, fields in truths[spec.data_set].items():
            grid = build_grid(spec, resolution)

            def in_kernel(u, prior=prior, grid=grid):
                return (squared_norm(u - prior.project(u, grid)).sum() / squared_norm(u).sum()).item()

            power = squared_norm(fields).mean().item()
            rows.append(
                {name: spec.labels[name] for name in ("experiment", "arm", "network", "prior")}
                | {
                    "resolution": resolution,
                    "pixel_std": prior.pixel_std(grid),
                    "variance_in_kernel": in_kernel(fields - fields.mean(dim=0)),
                    "power_in_kernel": in_kernel(fields),
                    "signal_to_noise": end * (power / prior.trace(grid)) ** 0.5,
                }
            )
    made = pd.DataFrame(rows)
    _write(made, made, output)


def _write(rows: pandas.DataFrame, to_read: pandas.DataFrame, output: Path) -> None:
    """Rows as CSV; what is to read as Markdown, and as the page that the report shows."""
    import json

    from ..storage import provenance, write_atomically, write_csv

    facts = provenance(device="cpu", seconds=seconds())
    texts = {
        ".md": to_read.to_markdown(index=False, floatfmt=".3g"),
        ".html": PAGE + to_read.to_html(index=False, float_format="{:.3g}".format, na_rep="", border=0),
    }
    write_csv(output.with_suffix(".csv"), rows, facts)
    for suffix, text in texts.items():
        with write_atomically(output.with_suffix(suffix)) as partial:
            partial.write_text(f"<!-- {json.dumps(facts)} -->\n{text}\n")
