"""Laws of numbers that every field has many of: its pixels, and its increments at two distances."""

from collections.abc import Callable, Iterator
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from .base import CHUNK, Estimate, Fields, Subset, subset

BINS, FINE = 50, 20
"""Of histograms; parts of each on which a Wasserstein distance is computed."""
NEAR, FAR = 1 / 32, 1 / 8
"""Distances of increments, of the side."""


class Laws:
    """Distances of the pooled laws of pixels and increments of fields x (n, N, N) to the laws of the true fields."""

    fields: Fields
    wraps: bool

    def histogram_distance(self, x: Fields | Subset) -> Estimate:
        """Total variation distance of the pixel histograms, in [0, 1].

        There are 50 equal bins over the range of the reference, and one on either side for what lies beyond.
        """
        p, q = (_histogram(law) for law in (self._pixels.of(x), self._pixels.true))
        return Estimate(float(0.5 * np.abs(p - q).sum()))

    def pixel_distance(self, x: Fields | Subset) -> Estimate:
        """Wasserstein-1 distance of the laws of single pixel values, pooled over pixels and fields, in units of u.

        ∫|F_x − F_y|, with the distribution functions at 1,001 points over the range of the reference and straight between them.
        It errs by 10⁻³ of that range at most; what lies beyond is exact.
        """
        return self._pixels.distance(x)

    def increment_distance_near(self, x: Fields | Subset) -> Estimate:
        """As `pixel_distance`, of increments u(x + h) − u(x) along both axes, h about 1/32 of the side.

        h is a whole number of grid points, at least 1. On the torus increments wrap round, between walls they do not.
        """
        return self._near.distance(x)

    def increment_distance_far(self, x: Fields | Subset) -> Estimate:
        """As `increment_distance_near`, with h about 1/8 of the side."""
        return self._far.distance(x)

    def increment_flatness_near(self, x: Fields | Subset) -> Estimate:
        """|log₁₀| of the ratio of the flatness E d⁴ / (E d²)² of near increments to the flatness of the reference, in decades.

        3 for a Gaussian law; fields without increments count as 1, the least there is.
        """
        return self._near.flatness(x)

    def increment_flatness_far(self, x: Fields | Subset) -> Estimate:
        """As `increment_flatness_near`, of far increments."""
        return self._far.flatness(x)

    @cached_property
    def _pixels(self) -> "_Law":
        return _Law(lambda u: u.reshape(len(u), -1), self.fields)

    @cached_property
    def _near(self) -> "_Law":
        return _Law(partial(increments, part=NEAR, wraps=self.wraps), self.fields)

    @cached_property
    def _far(self) -> "_Law":
        return _Law(partial(increments, part=FAR, wraps=self.wraps), self.fields)


def increments(u: Fields, part: float, wraps: bool) -> Fields:
    """u(x + h) − u(x) along both axes, h the grid points nearest to `part` of the side and 1 at least, shape (n, ·)."""
    h = max(1, round(part * u.shape[-1]))
    if wraps:
        ahead = (np.arange(u.shape[-1]) + h) % u.shape[-1]
        both = u[:, ahead] - u, u[:, :, ahead] - u
    else:
        both = u[:, h:] - u[:, :-h], u[:, :, h:] - u[:, :, :-h]
    return np.concatenate([d.reshape(len(u), -1) for d in both], axis=1)


class _Law:
    """The law of some numbers of the true fields, and how far the law of other fields is from it.

    A law is described by means over the fields, so that laws of parts cost nothing. They are the fractions of numbers below the
    range of the reference, in its 1,000 bins and above. Others are by how much numbers fall short of the range, by how much they
    exceed it, E d² and E d⁴.

    Args:
        numbers: of fields (n, N, N), shape (n, ·).
    """

    def __init__(self, numbers: Callable[[Fields], Fields], fields: Fields) -> None:
        self.numbers = numbers
        ranges = [(part.min(), part.max()) for part in map(numbers, _chunks(fields))]
        low, high = (float(f(ends)) for f, ends in zip((np.min, np.max), zip(*ranges, strict=True), strict=True))
        self.low, self.high = (low, high) if low < high else (low - 0.5, high + 0.5)
        self.true = np.mean([row for part in _chunks(fields) for row in self.rows(part)], axis=0)

    def of(self, x: Fields | Subset) -> NDArray[np.float64]:
        """The description of the law of x, a vector."""
        return subset(x).of_each(self.rows).mean(axis=0)

    def rows(self, fields: Fields) -> NDArray[np.float64]:
        """The description of the law of each field, shape (n, ·)."""
        count = BINS * FINE
        found = np.empty((len(fields), count + 6))
        for i, u in enumerate(fields):
            d = self.numbers(u[None])[0].astype(np.float64)
            bins = (d - self.low) * (count / (self.high - self.low)) + 1
            bins = np.clip(bins, 0, count + 0.5, out=bins).astype(np.int64)
            bins[d > self.high] = count + 1
            found[i, : count + 2] = np.bincount(bins, minlength=count + 2) / d.size
            beyond = np.maximum(self.low - d, 0).mean(), np.maximum(d - self.high, 0).mean()
            squares = d * d
            found[i, -4:] = *beyond, squares.mean(), squares @ squares / d.size
        return found

    def distance(self, x: Fields | Subset) -> Estimate:
        """Wasserstein-1 distance."""
        difference = self.of(x) - self.true
        gaps = np.abs(difference[: BINS * FINE + 1].cumsum())  # of the distribution functions, at the ends of the bins
        inside = (gaps.sum() - 0.5 * (gaps[0] + gaps[-1])) * (self.high - self.low) / (BINS * FINE)
        return Estimate(float(inside + difference[-4] + difference[-3]))

    def flatness(self, x: Fields | Subset) -> Estimate:
        """|log₁₀| of the ratio of flatnesses."""
        return Estimate(abs(float(np.log10(_flatness(self.of(x)) / _flatness(self.true)))))


def _flatness(law: NDArray[np.float64]) -> float:
    second, fourth = law[-2:]
    return float(fourth / second**2) if second else 1.0


def _histogram(law: NDArray[np.float64]) -> NDArray[np.float64]:
    """The fractions in the 50 bins and the two open ones."""
    fine = law[: BINS * FINE + 2]
    return np.concatenate([fine[:1], fine[1:-1].reshape(BINS, FINE).sum(axis=1), fine[-1:]])


def _chunks(fields: Fields) -> Iterator[Fields]:
    return (fields[i : i + CHUNK] for i in range(0, len(fields), CHUNK))
