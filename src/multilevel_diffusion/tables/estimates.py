"""What is left of a distance when its floor is taken away, and quantities over seeds with all of their errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

SQUARED = ("mmd", "frechet_distance")
"""Metrics that are squares of a distance already."""
GROUPS = 8
"""Of the jackknife that gives the error of a floor of one set."""


def root(squares: pd.Series | float) -> pd.Series | float:
    """The root with the sign kept, sign(x) |x|^½: what is below the floor by chance stays below 0."""
    return np.sign(squares) * np.abs(squares) ** 0.5


def excess(rows: pd.DataFrame, metric: str) -> pd.Series:
    """The square of what a distance is more than its floor, value² − E floor²; of squares of distances value − floor.

    The noises of two finite sets add to a distance like orthogonal vectors: for sets at distance d, value² ≈ d² + floor², exactly
    so in the mean for distances of means. Its mean is 0 for a perfect sampler, so that single values are often negative. With K
    sets E floor² is the mean of their squares, floor² + (K − 1) floor_stderr².

    Args:
        rows: with value, floor, floor_stderr and floor_sets.
    """
    if metric in SQUARED:
        return rows.value - rows.floor
    return rows.value**2 - rows.floor**2 - (rows.floor_sets - 1) * rows.floor_stderr**2


@dataclass(frozen=True)
class Quantity:
    """A quantity on the scale on which it is judged.

    seeds: its values, one per seed. shared_error: what all seeds share, of the floor and the reference, with so many degrees of
    freedom. sample_error: the error of a single seed's samples. squares, logs: how it is read: by its root with the sign
    kept, or by its exponential.
    """

    seeds: pd.Series
    shared_error: float = 0.0
    shared_freedom: float = np.inf
    sample_error: float = np.nan
    squares: bool = False
    logs: bool = False

    @property
    def value(self) -> float:
        """Its mean over seeds."""
        return self.seeds.mean() if self.seeds.notna().all() else np.nan

    def error(self, more: int = 0) -> tuple[float, float]:
        """Its standard error, and its degrees of freedom by Welch and Satterthwaite; also as with so many more seeds.

        The spread over seeds holds the spread of trainings and the spread of samples.
        """
        n = len(self.seeds) + more
        spread, shared = self.seeds.std() ** 2 / max(n, 1), self.shared_error**2
        error = (spread + shared) ** 0.5
        if not error > 0:
            return error, n - 1.0
        return error, error**4 / (spread**2 / (n - 1) + shared**2 / self.shared_freedom)

    def read(self, value: float) -> float:
        """A value of its scale as it is read."""
        return float(np.exp(value) if self.logs else root(value) if self.squares else value)

    def judged(self, bound: float) -> float:
        """A bound as it is read, on the scale of judgement."""
        return float(np.log(bound) if self.logs else bound * abs(bound) if self.squares else bound)

    def interval(self, confidence: float, samples: bool = False) -> tuple[float, float, float]:
        """Mean and confidence interval of the mean by Student's t, as they are read; NaN where there are too few seeds.

        Args:
            samples: of a single seed give the interval of its samples and floor, which knows nothing of other trainings.
        """
        error, freedom = self.error()
        if samples and len(self.seeds) == 1:
            error, freedom = float(np.hypot(self.sample_error, self.shared_error)), GROUPS - 1
        half = stdtrit(freedom, 0.5 + confidence / 2) * error
        return self.read(self.value), self.read(self.value - half), self.read(self.value + half)

    def above(self, bound: float, more: int = 0) -> float:
        """The probability of a mean so low or lower if the true one were the bound: small where it is below."""
        error, freedom = self.error(more)
        difference = self.value - self.judged(bound)
        if error == 0:
            return 0.5 if difference == 0 else float(difference > 0)
        return float(stdtr(freedom, difference / error))


def debiased(rows: pd.DataFrame, metric: str, less: pd.DataFrame | None = None) -> Quantity:
    """A distance without its floor, in units of the data's standard deviation: (value² − floor²)^½ / scale.

    Args:
        rows: by seed, with value, stderr, floor, floor_stderr, floor_sets, scale, n_samples and n_reference.
        less: of the same seeds, whose debiased distance is subtracted, seed by seed. Intervals of 95 % of such a difference
            hold the truth in 91 % of cases where both distances are below the floor.
    """
    if less is None:
        unit = rows.scale if metric in SQUARED else rows.scale**2
        seeds = excess(rows, metric) / unit
        shared = float((_shared_error(rows, metric) / unit).mean())
        samples = (_slope(rows.value, metric) * rows.stderr / unit).mean()
        return Quantity(seeds, shared, floor_error(rows)[1], samples, squares=True)

    def distance(rows: pd.DataFrame, by: pd.Series | float = 0.0) -> pd.Series:
        return root(excess(rows, metric) + by) / rows.scale

    def error(of: Callable[[pd.DataFrame], pd.Series]) -> float:
        ends = [[distance(each, sign * of(each)) for sign in (-1, 1)] for each in (rows, less)]
        return float(np.hypot(*[(high - low).mean() / 2 for low, high in ends]))

    freedom = min(floor_error(rows)[1], floor_error(less)[1])
    samples = error(lambda each: _slope(each.value, metric) * each.stderr)
    return Quantity(distance(rows) - distance(less), error(lambda each: _shared_error(each, metric)), freedom, samples)


def _shared_error(rows: pd.DataFrame, metric: str) -> pd.Series:
    """The error of `excess` that all seeds share: the errors of the floor and of the reference, a set of m fields like any.

    What the reference misses is in value and floor alike and cancels near the null. Away from it the error of n
    samples beyond the spread s of the floor is left. Its square, times n/m, is ((2 value stderr)² − (2 floor s)²) n/m, with
    s = floor_stderr √K; for squares of distances the factors 2 value and 2 floor are 1.
    """
    floor = _slope(rows.floor, metric) * rows.floor_stderr
    samples = (_slope(rows.value, metric) * rows.stderr) ** 2 - floor**2 * rows.floor_sets
    return (floor**2 + samples.clip(lower=0) * rows.n_samples / rows.n_reference) ** 0.5


def _slope(value: pd.Series, metric: str) -> pd.Series | float:
    return 1.0 if metric in SQUARED else 2 * value


def floor_error(rows: pd.DataFrame) -> tuple[float, float]:
    """The standard error of the floor of some rows and its degrees of freedom: one less than sets, or groups of the jackknife."""
    return rows.floor_stderr.mean(), (GROUPS if (rows.floor_sets == 1).any() else rows.floor_sets.min()) - 1
