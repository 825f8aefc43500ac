"""Two runs side by side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["compare"]

COMPARED = ["experiment", "arm", "network", "prior", "gain", "resolution", "metric"]
"""What names a number in any run."""


def compare(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Two tables of metrics side by side: a row per experiment, arm, network, prior, gain, resolution and metric.

    a, b: means over seeds; difference: b − a; stderr: of the difference, from the spread over seeds where there are several, else
    from the metric's own standard error; sigmas: the difference over it, as the normal deviate that is as unlikely: of few seeds
    the quotient has Student's law, with the degrees of freedom of Welch and Satterthwaite. What is in one table only has no
    difference; equal values are 0 sigmas apart, whatever their error, and different ones without any error infinitely many.

    Args:
        a, b: COLUMNS, from runs of whichever preset, sampler, ladder and seeds.
    """
    sides = [_means(table) for table in (a, b)]
    rows = sides[0].join(sides[1], how="outer", lsuffix="_a", rsuffix="_b").reset_index()
    difference, error = rows.mean_b - rows.mean_a, np.hypot(rows.error_a, rows.error_b)
    spread = sum((rows[f"error_{x}"] ** 4 / (rows[f"seeds_{x}"] - 1)).where(rows[f"seeds_{x}"] > 1, 0) for x in "ab")
    sigmas = difference / error
    few = spread > 0
    tail = stats.t.sf(sigmas[few].abs(), error[few] ** 4 / spread[few])
    sigmas[few] = np.sign(sigmas[few]) * stats.norm.isf(tail)
    sigmas = sigmas.where(difference != 0, 0.0).where(difference.notna())
    names = {"mean_a": "a", "mean_b": "b", "seeds_a": "seeds_a", "seeds_b": "seeds_b"}
    return rows[[*COMPARED, *names]].rename(columns=names).assign(difference=difference, stderr=error, sigmas=sigmas)


def _means(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds, its standard error and the number of seeds, by COMPARED."""
    filled = metrics.fillna({"gain": "–"})
    groups = filled.groupby(COMPARED)
    seeds = groups.value.count()
    error = (groups.value.std() / seeds**0.5).where(seeds > 1, groups.stderr.mean())
    return pd.DataFrame({"mean": groups.value.mean(), "error": error, "seeds": seeds})
