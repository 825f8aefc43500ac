"""The tidy metrics of a whole run, and their summaries for reading."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from ..columns import COLUMNS
from ..errors import UserError

__all__ = ["distances_by_prior", "score_error_metrics", "summary", "tidy", "transfer"]

ARMS = ["experiment", "arm", "network", "prior", "gain"]
"""What names a row of a summary."""
LAST_EPOCHS = 10


def tidy(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all tables in the tidy columns, counts as whole numbers."""
    rows = pd.concat(tables, ignore_index=True)[COLUMNS]
    counts = ["seed", "steps", "resolution", "n_samples", "n_projections"]
    return rows.astype(dict.fromkeys(counts, "Int64"))


def score_error_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """The median of the relative score error over the last ten epochs, a row per arm, seed, gain and resolution.

    Its floor is 0; `stderr` is the median of the standard errors of single epochs.
    """
    direct = scores[(scores.drawn_on == scores.resolution) & (scores.epoch > scores.epoch.max() - LAST_EPOCHS)]
    medians = direct.groupby([*ARMS, "ladder", "seed", "resolution"], as_index=False).agg(
        value=("relative", "median"), stderr=("stderr", "median"), n_samples=("n_samples", "sum")
    )
    return medians.assign(metric="relative_score_error", floor=0.0).reindex(columns=COLUMNS)


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """A row per metric, arm, field and gain, a column per resolution: mean over seeds ± standard deviation (mean floor).

    With a single seed ± is the standard error of the metric, where it has one.
    """
    return _by_resolution(metrics, ["metric", *ARMS])


def distances_by_prior(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """Sliced Wasserstein distances to the test set, a row an arm, field and gain, a column a resolution; cells as in `summary`.

    Args:
        experiments: those of the table.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.experiment.isin(experiments)]
    return _by_resolution(rows, ARMS)


def transfer(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """Sliced Wasserstein distance on each grid over that on the training grid, of the same network.

    A row per experiment, arm, network, prior and gain: mean over seeds ± standard deviation; for a single seed ± the standard
    error over the directions. 1 is a network that does as well on a grid it has never seen.

    Raises:
        UserError: if no network was sampled both on the grid it was trained on and on another.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.ladder.notna()]
    rows = rows[rows.experiment.isin(experiments)]
    trained_on = rows.ladder.str.split("-").str[-1].astype(int)
    keys = ["experiment", "arm", "seed"]
    start = rows[rows.resolution == trained_on].set_index(keys)[["value", "stderr"]]
    rows = rows[rows.resolution != trained_on].join(start, on=keys, rsuffix="_trained", how="inner")
    if rows.empty:
        raise UserError(
            f"METRICS: no network is sampled both on the grid it was trained on and on another in {', '.join(experiments)}"
        )
    relative = ((rows.stderr / rows.value) ** 2 + (rows.stderr_trained / rows.value_trained) ** 2) ** 0.5
    ratio = rows.value / rows.value_trained
    rows = rows.assign(value=ratio, stderr=ratio * relative, floor=float("nan"))
    return _by_resolution(rows, ARMS)


def _by_resolution(metrics: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    def cell(rows: pd.DataFrame) -> str:
        error = rows.value.std() if len(rows) > 1 else rows.stderr.iloc[0]
        spread = f" ± {error:.2g}" if error else ""
        floor = f" ({rows.floor.mean():.3g})" if rows.floor.notna().any() else ""
        return f"{rows.value.mean():.4g}{spread}{floor}"

    filled = metrics.fillna({"gain": "–"})
    cells = filled.groupby([*keys, "resolution"])[["value", "stderr", "floor"]].apply(cell).rename("cell").reset_index()
    return cells.pivot(index=keys, columns="resolution", values="cell").fillna("–").reset_index()
