"""Before a run and after it: `mld resolve` and `mld compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Configs, Output, Overrides, Presets, read_config, seconds

__all__ = ["compare", "resolve"]

SHOWN = 20


def resolve(
    configs: Configs,
    arm: Annotated[str, typer.Option(metavar="EXPERIMENT/ARM", help="As mixture/fno-combined.")],
    output: Output,
    target: Annotated[
        bool, typer.Option("--target", help="Only what the true law depends on, not how a network is trained.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="File of `mld data`, from which a prior's scale that is auto is taken now.")
    ] = None,
    set_: Overrides = None,
    presets: Presets = None,
) -> None:
    """Freeze the settings of one arm into spec.json.

    With --target, those of its true law into target.json. Only the experiment that is asked for is validated.
    """
    from ..settings import arm_spec
    from ..storage import write_json

    experiment, _, name = arm.partition("/")
    spec = arm_spec(read_config(configs, set_, presets, only=[experiment]), experiment, name)
    if data:
        from ..data.sets import read_sets
        from ..models import resolved

        spec = resolved(spec, read_sets(data, need=("train",)).fields["train"])
    write_json(output, (spec.target if target else spec).model_dump(mode="json"))


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="Folder of results, as results/laptop, or a table of metrics.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another, of whichever preset and seeds.")],
    bound: Annotated[float, typer.Option(min=0, help="Standard errors; exit with 1 if a difference is beyond.")] = 4.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Table of all differences to write.")] = None,
) -> None:
    """Metrics of two runs and their differences.

    Those that both runs have, in units of their standard errors. With a single seed a side the error is that of other samples and
    directions, not of another training.
    """
    from ..columns import COLUMNS
    from ..errors import UserError
    from ..provenance import provenance
    from ..storage import read_csv, write_csv
    from ..tables import compare

    tables = [read_csv(path / "tables" / "metrics.csv" if path.is_dir() else path, COLUMNS) for path in (a, b)]
    rows = compare(*tables)
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
