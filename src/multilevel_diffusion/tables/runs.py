"""Runs side by side: their metrics in units of their standard errors, and the settings that differ."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtr

from ..columns import COLUMNS
from ..storage import read_csv, read_facts, read_json
from .metrics import ARMS

__all__ = ["Run", "changes", "compare", "read_run"]

COMPARED = [*ARMS, "resolution", "metric"]
"""What names a number in any run."""
TOLD = ["ladder", "seed", "sampler", "steps", "n_samples", "n_projections"]
"""The settings that the table of metrics has itself."""
PASSING = ("command", "seconds", "rows")
"""Facts of a table that are of one call, no settings."""


@dataclass(frozen=True)
class Run:
    """Metrics, of COLUMNS, and three kinds of settings: of the table, what it says of each arm, and the spec.json of each.

    Arms are named as "mnist/fno-standard". A table that is not in the folder of a run has no spec.json.
    """

    metrics: pd.DataFrame
    facts: Mapping[str, Any]
    told: Mapping[str, Any]
    specs: Mapping[str, Any]


def read_run(path: Path) -> Run:
    """The run in a folder as results/laptop, or of its table of metrics, or such a table alone. Raises as `read_csv`."""
    table = path / "tables" / "metrics.csv" if path.is_dir() else path
    metrics = read_csv(table, COLUMNS)
    told = {
        "/".join(arm): {name: ", ".join(map(_word, sorted(rows[name].dropna().unique()))) for name in TOLD}
        for arm, rows in metrics.groupby(["experiment", "arm"])
    }
    found = table.parents[1].glob("*/*/spec.json") if table.parent.name == "tables" else ()
    specs = {"/".join(spec.parts[-3:-1]): read_json(spec) for spec in sorted(found)}
    facts = {name: fact for name, fact in read_facts(table).items() if name not in PASSING}
    return Run(metrics, {"all": facts}, told, specs)


def changes(a: Run, b: Run) -> dict[str, list[str]]:
    """The settings that differ, as "training.learning_rate 0.005 -> 0.002", and the arms of both runs in which they do so."""
    found: dict[str, list[str]] = {}
    for before, after in ((a.facts, b.facts), (a.told, b.told), (a.specs, b.specs)):
        for arm in (arm for arm in before if arm in after):
            sides = dict(_leaves(before[arm])), dict(_leaves(after[arm]))
            for name in dict.fromkeys([*sides[0], *sides[1]]):
                old, new = (side.get(name, "–") for side in sides)
                if old != new:
                    found.setdefault(f"{name} {old} -> {new}", []).append(arm)
    return found


def _word(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"


def _leaves(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The single settings by their dotted names, as JSON; a list of settings has their places in the names."""
    if isinstance(settings, list) and any(isinstance(each, dict) for each in settings):
        settings = dict(enumerate(settings))
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from _leaves(value, f"{name}.{key}".removeprefix("."))
    else:
        yield name, settings if isinstance(settings, str) else json.dumps(settings)


def compare(a: pd.DataFrame, b: pd.DataFrame, relative_floor: float = 1e-6) -> pd.DataFrame:
    """Two tables of metrics side by side: a row per COMPARED.

    a, b: means over seeds. difference: b − a. stderr: of the difference, from the spread over seeds where there are several, else
    from the metric's own standard error. sigmas: the difference over it, as the normal deviate that is as unlikely. Of few seeds
    the quotient has Student's law, with the degrees of freedom of Welch and Satterthwaite. What is in one table only, or has no
    known error, has no sigmas, but equal values are 0 apart, whatever their error. The runs may differ in preset, sampler, ladder
    and seeds.

    Args:
        relative_floor: no side's standard error is less than this times the greater of the values and of their floors. The
            floors are of the size of the sums that a small value is the difference of. The default is about ten roundings in
            float32. So a metric without an error of its own that moves by rounding alone is not infinitely many standard errors
            away. All metrics with errors of their own have far greater errors.
    """
    sides = [_means(table) for table in (a, b)]
    rows = sides[0].join(sides[1], how="outer", lsuffix="_a", rsuffix="_b").reset_index()
    least = relative_floor * rows[["mean_a", "mean_b", "floor_a", "floor_b"]].abs().max(axis=1)
    difference = rows.mean_b - rows.mean_a
    error = np.hypot(*(np.maximum(rows[f"error_{x}"], least) for x in "ab"))
    spread = sum((rows[f"error_{x}"] ** 4 / (rows[f"seeds_{x}"] - 1)).where(rows[f"seeds_{x}"] > 1, 0) for x in "ab")
    sigmas = difference / error
    few = spread > 0
    tail = stdtr(error[few] ** 4 / spread[few], -sigmas[few].abs())
    sigmas[few] = np.sign(sigmas[few]) * -ndtri(tail)
    sigmas = sigmas.where(difference != 0, 0.0).where(difference.notna())
    rows = rows.rename(columns={"mean_a": "a", "mean_b": "b"})[[*COMPARED, "a", "b", "seeds_a", "seeds_b"]]
    return rows.assign(difference=difference, stderr=error, sigmas=sigmas)


def _means(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds, its standard error, the mean floor and the number of seeds, by COMPARED."""
    groups = metrics.fillna({"gain": "–"}).groupby(COMPARED)
    seeds = groups.value.count()
    error = (groups.value.std() / seeds**0.5).where(seeds > 1, groups.stderr.mean())
    return pd.DataFrame({"mean": groups.value.mean(), "error": error, "floor": groups.floor.mean(), "seeds": seeds})
