"""What is left of a distance when its floor is taken away, and quantities over seeds with all of their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

SQUARED = ("mmd", "frechet_distance")
"""Metrics that are squares of a distance already."""
GROUPS = 8
"""Of the jackknife that gives the error of a floor of one set."""


def root(squares: pd.Series | float) -> pd.Series | float:
    """The root with the sign kept, sign(x) |x|^½: what is below the floor by chance stays below 0."""
    return np.sign(squares) * np.abs(squares) ** 0.5


def excess(rows: pd.DataFrame, metric: str, shift: float = 0.0, moved: float = 0.0) -> pd.Series:
    """The square of what a distance is more than its floor, value² − E floor²; of squares of distances value − floor.

    The noises of two finite sets add to a distance like orthogonal vectors: for sets at distance d, value² ≈ d² + floor², exactly
    so in the mean for distances of means. Its mean is 0 for a perfect sampler, so that single values are often negative. With K
    sets E floor² is the mean of their squares, floor² + (K − 1) floor_stderr².

    Args:
        rows: with value, floor, floor_stderr and floor_sets.
        shift, moved: standard errors by which the floor and the value are moved.
    """
    floor, value = rows.floor + shift * rows.floor_stderr, rows.value + moved * rows.stderr if moved else rows.value
    if metric in SQUARED:
        return value - floor
    return value**2 - floor**2 - (rows.floor_sets - 1) * rows.floor_stderr**2


@dataclass(frozen=True)
class Quantity:
    """A quantity on the scale on which it is judged.

    seeds: its values, one a seed. floor_error: what the error of the floor, which all seeds share, makes of it, with so many
    degrees of freedom. sample_error: that of a single seed's samples. squares, logs: how it is read: by its root with the sign
    kept, or by its exponential.
    """

    seeds: pd.Series
    floor_error: float = 0.0
    floor_freedom: float = np.inf
    sample_error: float = np.nan
    squares: bool = False
    logs: bool = False

    @property
    def value(self) -> float:
        """Its mean over seeds."""
        return self.seeds.mean() if self.seeds.notna().all() else np.nan

    def error(self, more: int = 0) -> tuple[float, float]:
        """Its standard error and degrees of freedom, those of Welch and Satterthwaite; also as with so many more seeds.

        The spread over seeds holds that of trainings and that of samples.
        """
        n = len(self.seeds) + more
        spread, floor = self.seeds.std() ** 2 / max(n, 1), self.floor_error**2
        error = (spread + floor) ** 0.5
        if not error > 0:
            return error, n - 1.0
        return error, error**4 / (spread**2 / (n - 1) + floor**2 / self.floor_freedom)

    def read(self, value: float) -> float:
        """A value of its scale as it is read."""
        return float(np.exp(value) if self.logs else root(value) if self.squares else value)

    def judged(self, bound: float) -> float:
        """A bound as it is read, on the scale of judgement."""
        return float(np.log(bound) if self.logs else bound * abs(bound) if self.squares else bound)

    def interval(self, confidence: float, samples: bool = False) -> tuple[float, float, float]:
        """Mean and confidence interval of the mean by Student's t, as they are read; NaN where there are too few seeds.

        Args:
            samples: of a single seed give that of its samples and floor, which knows nothing of other trainings.
        """
        error, freedom = self.error()
        if samples and len(self.seeds) == 1:
            error, freedom = float(np.hypot(self.sample_error, self.floor_error)), GROUPS - 1
        half = stats.t.ppf(0.5 + confidence / 2, freedom) * error
        return self.read(self.value), self.read(self.value - half), self.read(self.value + half)

    def above(self, bound: float, more: int = 0) -> float:
        """The probability of a mean so low or lower if the true one were the bound: small where it is below."""
        error, freedom = self.error(more)
        difference = self.value - self.judged(bound)
        if error == 0:
            return 0.5 if difference == 0 else float(difference > 0)
        return float(stats.t.cdf(difference / error, freedom))


def debiased(rows: pd.DataFrame, metric: str, less: pd.DataFrame | None = None) -> Quantity:
    """A distance without its floor, in units of the data's standard deviation: (value² − floor²)^½ / scale.

    Args:
        rows: by seed, with value, stderr, floor, floor_stderr, floor_sets and scale.
        less: of the same seeds, whose debiased distance is subtracted, seed by seed.
    """
    error, freedom = floor_error(rows)
    if less is None:
        unit = rows.scale**2 if metric not in SQUARED else rows.scale
        slope = 1.0 if metric in SQUARED else 2 * rows.floor.mean()
        seeds, slopes = excess(rows, metric) / unit, 1.0 if metric in SQUARED else 2 * rows.value
        samples = (slopes * rows.stderr / unit).mean()
        return Quantity(seeds, slope * error / unit.mean(), freedom, samples, squares=True)

    def distance(rows: pd.DataFrame, **moved: float) -> pd.Series:
        return root(excess(rows, metric, **moved)) / rows.scale

    def error_of(**moved: float) -> float:
        ends = [
            [distance(each, **{key: sign * by for key, by in moved.items()}) for sign in (-1, 1)]
            for each in (rows, less)
        ]
        return float(np.hypot(*[(high - low).mean() / 2 for low, high in ends]))

    least = min(freedom, floor_error(less)[1])
    return Quantity(distance(rows) - distance(less), error_of(shift=1.0), least, error_of(moved=1.0))


def floor_error(rows: pd.DataFrame) -> tuple[float, float]:
    """The standard error of the floor of some rows and its degrees of freedom: one less than sets, or groups of the jackknife."""
    return rows.floor_stderr.mean(), (GROUPS if (rows.floor_sets == 1).any() else rows.floor_sets.min()) - 1
