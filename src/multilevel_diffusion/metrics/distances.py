"""Distances of laws on fields: sliced Wasserstein in its forms, moments, spectra; and what fields have without a reference."""

from collections.abc import Callable
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from .base import CHUNK, Estimate, Fields, Subset, flat, subset

Members = Callable[[Fields], NDArray[np.bool_]]


def projections(resolution: int, count: int, generator: torch.Generator) -> NDArray[np.float64]:
    """`count` unit directions in R^{N²}, shape (N², count): one set serves a whole comparison."""
    directions = torch.randn(resolution**2, count, generator=generator, dtype=torch.float64)
    return (directions / directions.norm(dim=0)).numpy()


class Quantiles:
    """Samples y of P laws on the line, ascending, shape (P, m), and the Wasserstein-2 distance of others to them."""

    def __init__(self, ordered: NDArray[np.float64]) -> None:
        self.ordered = ordered
        self._parts = lru_cache(16)(_parts_of(ordered))

    def squared_distances(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """W₂² of ascending samples x, shape (P, n), to y: (P,).

        With ȳ_i the mean of the quantile function of y over ((i − 1)/n, i/n) and V its variance within these parts, which are
        computed once for every n: W₂² = (1/n) Σ_i (x_i − ȳ_i)² + V.
        """
        means, within = self._parts(x.shape[1])
        return ((x - means) ** 2).mean(axis=1) + within


class Distances:
    """Distances of fields x (n, N, N) to the true fields, by Wasserstein-2 on lines, moments and spectra."""

    fields: Fields
    directions: NDArray[np.float64]
    members: Members | None

    def sliced_wasserstein(self, x: Fields | Subset) -> Estimate:
        """Sliced Wasserstein-2 distance, Monte Carlo over directions: (mean_θ W₂²(θ·x, θ·y))^½.

        With unit directions E(θ·u)² = ‖u‖²_{L²}, so that the value has the units of u on every grid (Bonneel et al. 2015). In
        float64; the standard error is that over the directions.

        Raises:
            ValueError: if x is on another grid.
        """
        return _root_mean(subset(x).of_part(self._squares))

    def max_sliced_wasserstein(self, x: Fields | Subset) -> Estimate:
        """The greatest W₂(θ·x, θ·y) of the directions, in units of u (Deshpande et al. 2019, arXiv 1904.05877)."""
        return Estimate(float(np.sqrt(subset(x).of_part(self._squares).max())))

    def sliced_wasserstein_within(self, x: Fields | Subset) -> Estimate:
        """Sliced distance within the two components that `members` tells apart: (mean_θ Σ_c w_c W₂²(θ·x_c, θ·y_c))^½.

        w_c is the share of component c in the reference, so that the share in x does not count. A component of which either side
        has fewer than two fields is left out, and the weights of the others add up to 1; if all are, it is `sliced_wasserstein`.

        Raises:
            ValueError: if the reference knows no components.
        """
        if self.members is None:
            raise ValueError("the reference knows no components")
        x = subset(x)
        order, values = x.of_whole(self._ordered)
        first = x.of_whole(self.members)
        squares, weight = np.zeros(len(values)), 0
        for is_first, (count, quantiles) in self._components.items():
            kept = x.kept & (first == is_first)
            if quantiles and kept.sum() > 1:
                squares += count * quantiles.squared_distances(_taken(order, values, kept))
                weight += count
        return _root_mean(squares / weight) if weight else self.sliced_wasserstein(x)

    def moment_sliced_wasserstein(self, x: Fields | Subset) -> Estimate:
        """The deterministic approximation (‖m_x − m_y‖² + (σ_x − σ_y)²)^½ of the sliced distance in high dimension.

        m is the mean field and σ² = E‖u − m‖²_{L²} the total variance (Nadjahi et al., arXiv 2106.15427, eq. 10). It sees
        nothing else: a smooth field and white noise of equal variance are at distance 0.
        """
        (m_x, s_x), (m_y, s_y) = _moments(subset(x).fields), self._own_moments
        return Estimate(float(np.sqrt(((m_x - m_y) ** 2).mean() + (s_x - s_y) ** 2)))

    def spectrum_distance(self, x: Fields | Subset) -> Estimate:
        """Root mean square over the shells r ≥ 1 of log₁₀ of the ratio of radial spectra, in decades.

        Shells where the reference has no power but rounding (10⁻¹³ of its greatest) are left out.
        """
        p, q = subset(x).of_each(_spectra).mean(axis=0)[1:], self._own_spectrum[1:]
        seen = q > 1e-13 * q.max()
        return Estimate(float(np.sqrt((np.log10(p[seen] / q[seen]) ** 2).mean())))

    @property
    def deviation(self) -> float:
        """The standard deviation of the true fields per unit area: the root of their total variance."""
        return self._own_moments[1]

    @cached_property
    def _own_moments(self) -> tuple[NDArray[np.float64], float]:
        return _moments(self.fields)

    @cached_property
    def _own_spectrum(self) -> NDArray[np.float64]:
        return radial_spectrum(self.fields)

    @cached_property
    def _own_order(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return self._ordered(self.fields)

    @cached_property
    def _quantiles(self) -> Quantiles:
        return Quantiles(self._own_order[1])

    @cached_property
    def _components(self) -> dict[bool, tuple[int, Quantiles | None]]:
        """How many fields the reference has of the first component and of the second, and their projections if two at least."""
        assert self.members
        first, (order, values) = self.members(self.fields), self._own_order
        kept = {True: first, False: ~first}
        return {
            which: (int(of.sum()), Quantiles(_taken(order, values, of)) if of.sum() > 1 else None)
            for which, of in kept.items()
        }

    def _squares(self, x: Subset) -> NDArray[np.float64]:
        """W₂²(θ·x, θ·y), shape (P,)."""
        order, values = x.of_whole(self._ordered)
        return self._quantiles.squared_distances(_taken(order, values, x.kept))

    def _ordered(self, fields: Fields) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The fields in the order of θ·u in each direction, and these θ·u, ascending: both of shape (P, n)."""
        parts = (flat(fields[i : i + CHUNK]) @ self.directions for i in range(0, len(fields), CHUNK))
        values = np.concatenate(list(parts)).T
        order = np.argsort(values, axis=1)
        return order, np.take_along_axis(values, order, axis=1)


def rescaled(x: Fields) -> Fields:
    """Each field moved and scaled to the range [0, 1]: what the authors' release does to generated digits, and to them alone.

    It repairs offset and amplitude of every sample before they are measured; a constant field becomes 0.
    """
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1)


def radial_spectrum(x: Fields) -> NDArray[np.float64]:
    """Mean of |û_k|² over the fields and over the shells r − ½ ≤ |k| < r + ½, for r = 0 … ⌈N/2⌉ − 1, with û = FFT(u)/N²."""
    return _spectra(x).mean(axis=0)


def vendi_score(x: Fields | Subset) -> Estimate:
    """exp of the entropy of the eigenvalues of K/n, K the cosine similarities of the pixel vectors.

    The effective number of distinct samples, from 1 to n (Friedman and Dieng, arXiv 2210.02410, order q = 1). Fields that are 0
    everywhere do not count.
    """
    x = subset(x)
    if len(x.whole) < x.whole[0].size:
        smaller = x.of_whole(_similarities)[np.ix_(x.kept, x.kept)] / len(x)
    else:
        rows = x.of_each(_unit_rows)
        smaller = rows.T @ rows / len(x)  # has the eigenvalues of K/n, or 0
    eigenvalues = np.linalg.eigvalsh(smaller)
    eigenvalues = eigenvalues[eigenvalues > 0]
    return Estimate(float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum())))


def share(members: NDArray[np.bool_]) -> Estimate:
    """The fraction of true entries."""
    return Estimate(float(members.mean()))


def _root_mean(squares: NDArray[np.float64]) -> Estimate:
    """The root of a mean over directions, with the error of having drawn these."""
    value = float(np.sqrt(squares.mean()))
    return Estimate(value, float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * value)) if value else 0.0)


def _taken(order: NDArray[np.int64], values: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What is left of ascending values (P, n) if only some fields are kept, ascending."""
    return values if kept.all() else values[kept[order]].reshape(len(values), -1)


def _parts_of(ordered: NDArray[np.float64]) -> Callable[[int], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """ȳ, shape (P, n), and V, shape (P,), as functions of n; see `Quantiles`."""
    m = ordered.shape[1]

    def parts(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ends = np.union1d(np.arange(n) * m, np.arange(m) * n)  # where either quantile function may jump, times n m
        weights, i, j = np.diff(ends, append=n * m) / m, ends // m, ends // n
        starts = np.searchsorted(i, np.arange(n))
        means, within = np.empty((len(ordered), n)), np.empty(len(ordered))
        for k in range(0, len(ordered), CHUNK):
            y = ordered[k : k + CHUNK, j]
            means[k : k + CHUNK] = np.add.reduceat(weights * y, starts, axis=1)
            within[k : k + CHUNK] = ((y - means[k : k + CHUNK, i]) ** 2) @ weights / n
        return means, within

    return parts


def _moments(x: Fields) -> tuple[NDArray[np.float64], float]:
    """The mean field and the root of the total variance."""
    return x.mean(axis=0, dtype=np.float64), float(np.sqrt(x.var(axis=0, dtype=np.float64).mean()))


def _spectra(x: Fields) -> NDArray[np.float64]:
    """The radial spectrum of each field, shape (n, ⌈N/2⌉)."""
    n = x.shape[-1]
    k = np.fft.fftfreq(n, 1 / n)
    shell = np.floor(np.hypot(k[:, None], k) + 0.5).astype(int).ravel()
    size, shells = np.bincount(shell), (n + 1) // 2
    spectra = np.empty((len(x), shells))
    for i, u in enumerate(x):
        power = np.abs(np.fft.fft2(u, norm="forward")) ** 2
        spectra[i] = (np.bincount(shell, power.ravel()) / size)[:shells]
    return spectra


def _unit_rows(x: Fields) -> NDArray[np.float64]:
    rows = flat(x)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _similarities(x: Fields) -> NDArray[np.float64]:
    rows = _unit_rows(x)
    return rows @ rows.T
