"""Tables from tables: the tidy metrics of a whole run, and their summary for reading."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

__all__ = ["COLUMNS", "SCORE_COLUMNS", "score_error_metrics", "summary", "tidy"]

COLUMNS = [
    "experiment",
    "arm",
    "network",
    "prior",
    "gain",
    "ladder",
    "seed",
    "sampler",
    "steps",
    "resolution",
    "metric",
    "value",
    "stderr",
    "floor",
    "n_samples",
    "n_projections",
]
"""One number a row; what does not apply is empty."""

KEYS = ["experiment", "arm", "network", "prior", "gain", "ladder", "seed", "resolution"]
SCORE_COLUMNS = (*KEYS, "epoch", "drawn_on", "relative", "stderr", "n_samples")
"""What `score_error_metrics` reads of the tables of score errors."""

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
    medians = direct.groupby(KEYS, as_index=False).agg(
        value=("relative", "median"), stderr=("stderr", "median"), n_samples=("n_samples", "sum")
    )
    return medians.assign(metric="relative_score_error", floor=0.0).reindex(columns=COLUMNS)


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """A row per metric, arm, field and gain, a column per resolution: mean over seeds ± standard deviation (mean floor)."""
    filled = metrics.fillna({"gain": "–"})

    def cell(rows: pd.DataFrame) -> str:
        spread = f" ± {rows.value.std():.2g}" if len(rows) > 1 else ""
        return f"{rows.value.mean():.4g}{spread} ({rows.floor.mean():.3g})"

    keys = ["metric", "arm", "network", "prior", "gain"]
    cells = filled.groupby([*keys, "resolution"])[["value", "floor"]].apply(cell).rename("cell").reset_index()
    return cells.pivot(index=keys, columns="resolution", values="cell").fillna("–").reset_index()
