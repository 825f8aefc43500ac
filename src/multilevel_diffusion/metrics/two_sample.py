"""Two-sample tests: do samples and true fields have one law?"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from .base import Estimate, Fields, Subset, subset

MOST = 1000
"""Fields of either set that are compared with each other, the first of them: a matrix of distances takes 8 MB."""
WIDEST, KERNELS = 2.0, 4
"""The widest kernel, in median distances of the reference, and how many there are, each half as wide as the one before."""
PERMUTATIONS = 499


@dataclass(frozen=True)
class _Pairs:
    """What some fields x have with each other and with the first true fields y.

    among: squared distances ‖x − x'‖², infinite of a field to itself; across: ‖x − y‖². kernel: k(x, x'), 0 of a field with
    itself; attraction: the mean of k(x, y) over y.
    """

    among: NDArray[np.float64]
    across: NDArray[np.float64]
    kernel: NDArray[np.float64]
    attraction: NDArray[np.float64]


class TwoSample:
    """Tests of fields x (n, N, N) against the true fields, by the distances ‖x − y‖_{L²} of all pairs."""

    fields: Fields

    def mmd(self, x: Fields | Subset) -> Estimate:
        """Unbiased squared maximum mean discrepancy, E k(x, x') + E k(y, y') − 2 E k(x, y) over pairs of two fields.

        k is the mean of four Gaussians exp(−‖x − y‖²_{L²} / 2s²), s = ¼, ½, 1 and 2 times the median distance of the reference
        (Gretton et al. 2012, J. Mach. Learn. Res. 13, eq. 3). Its mean is 0 if the laws are equal, and it has no units. Of each
        set the first 1,000 fields are taken.
        """
        x = subset(x)
        kept, pairs = x.kept[:MOST].astype(np.float64), x.of_whole(self._pairs)
        n, m = kept.sum(), len(self._few)
        within = kept @ pairs.kernel @ kept / max(n * (n - 1), 1)
        return Estimate(float(within + self._true_kernel.sum() / (m * (m - 1)) - 2 * (kept @ pairs.attraction) / n))

    def mmd_p_value(self, x: Fields | Subset) -> Estimate:
        """The p-value of `mmd` among its values for 499 random exchanges of samples and true fields, the given one counted.

        It is valid for every number of fields (Gretton et al. 2012, section 5), and no less than 0.002.
        """
        x = subset(x)
        pairs = x.of_whole(self._pairs)
        kernel = _joined(pairs.kernel, self._kernel(pairs.across), self._true_kernel)
        n, m = pairs.across.shape
        labels = _exchanges(n, m)
        of_first = labels @ kernel
        within = (of_first * labels).sum(axis=1)
        across = of_first.sum(axis=1) - within
        rest = kernel.sum() - 2 * across - within
        return _p_value(within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m))

    def nearest_neighbour_accuracy(self, x: Fields | Subset) -> Estimate:
        """How often the nearest other field tells whether a field is sample or truth: 0.5 if the two are one law, 1 if apart.

        The classifier two-sample test with a leave-one-out nearest neighbour (Lopez-Paz and Oquab, arXiv 1610.06545) on equally
        many samples and true fields, the first of each, at most 1,000. It is the mean of the accuracies on either. Copies of
        true fields are below 0.5.
        """
        x = subset(x)
        pairs, count = x.of_whole(self._pairs), min(len(x.whole), len(self._few))
        kept = x.kept[:count]
        among, across = (d[:count, :count][kept] for d in (pairs.among, pairs.across))
        samples = among[:, kept].min(axis=1) < across.min(axis=1)
        truths = self._true_distances[:count, :count].min(axis=1) < across.min(axis=0)
        return Estimate(float((samples.mean() + truths.mean()) / 2))

    def nearest_neighbour_p_value(self, x: Fields | Subset) -> Estimate:
        """The p-value of how far the nearest neighbours' accuracies on samples and on truth, a and b, are from ½ together.

        (a − ½)² + (b − ½)² among its values for 499 random exchanges of samples and true fields, the given one counted. The mean
        of a and b is blind where every field is nearest to a sample: samples of too small a variance have a = 1 and b = 0. It is
        not from the binomial law: fields that are each other's nearest are right or wrong together.
        """
        x = subset(x)
        pairs, count = x.of_whole(self._pairs), min(len(x), len(self._few))
        blocks = (d[:count, :count] for d in (pairs.among, pairs.across, self._true_distances))
        nearest, labels = _joined(*blocks).argmin(axis=1), _exchanges(count, count)
        right = labels == labels[:, nearest]
        accuracies = ((right * of_one).sum(axis=1) / count for of_one in (labels, 1 - labels))
        return _p_value(sum((accuracy - 0.5) ** 2 for accuracy in accuracies))

    @cached_property
    def _few(self) -> Fields:
        return self.fields[:MOST]

    @cached_property
    def _mean(self) -> Fields:
        return self._few.mean(axis=0, dtype=np.float64)

    @cached_property
    def _true(self) -> "_Points":
        return _Points.about(self._mean, self._few)

    @cached_property
    def _true_distances(self) -> NDArray[np.float64]:
        return self._true.to(self._true)

    @cached_property
    def _median(self) -> float:
        """The median squared distance of two true fields."""
        return float(np.median(self._true_distances[np.triu_indices(len(self._few), 1)])) or 1.0

    @cached_property
    def _true_kernel(self) -> NDArray[np.float64]:
        return self._kernel(self._true_distances)

    def _kernel(self, squared: NDArray[np.float64]) -> NDArray[np.float64]:
        kernel = np.exp(squared / (-2 * WIDEST**2 * self._median))
        total = kernel.copy()
        for _ in range(KERNELS - 1):
            kernel **= 2  # a square of a square: half the width
            kernel **= 2
            total += kernel
        return total / KERNELS

    def _pairs(self, fields: Fields) -> _Pairs:
        points = _Points.about(self._mean, fields[:MOST])
        among, across = points.to(points), points.to(self._true)
        return _Pairs(among, across, self._kernel(among), self._kernel(across).mean(axis=1))


@dataclass(frozen=True)
class _Points:
    """Fields as rows of numbers about some mean field, in their own precision, with the sums of their squares."""

    rows: Fields
    norms: NDArray[np.float64]

    @classmethod
    def about(cls, mean: Fields, fields: Fields) -> "_Points":
        rows = (fields - mean.astype(fields.dtype)).reshape(len(fields), -1)
        return cls(rows, np.einsum("ij,ij->i", rows, rows, dtype=np.float64))

    def to(self, others: "_Points") -> NDArray[np.float64]:
        """‖x − y‖²_{L²} of all pairs, shape (n, m); infinite of a field to itself, if the others are these."""
        squares = np.add.outer(self.norms, others.norms) - 2 * (self.rows @ others.rows.T)
        squares = np.maximum(squares, 0) / self.rows.shape[1]
        if self is others:
            np.fill_diagonal(squares, np.inf)
        return squares


def _joined(among: NDArray[np.float64], across: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix of samples and true fields, pooled."""
    return np.block([[among, across], [across.T, true]])


@lru_cache(4)
def _exchanges(n: int, m: int) -> NDArray[np.float64]:
    """Which of n + m fields are called samples, 1 or 0: the n first in the first row, n at random in 499 others."""
    given = np.repeat([1.0, 0.0], [n, m])
    return np.concatenate([given[None], np.random.default_rng(0).permuted(np.tile(given, (PERMUTATIONS, 1)), axis=1)])


def _p_value(values: NDArray[np.float64]) -> Estimate:
    """The fraction of values as great as the first, but for rounding."""
    return Estimate(float((values >= values[0] - 1e-12).mean()))
