"""Distances of sets of fields to a reference set, from arrays alone.

Fields are arrays (n, N, N) of natural values. Every distance is per unit area, comparable across grids, and means little
without its floor: the same distance between two independent sets of true data of the same sizes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
import ot
import torch
from numpy.typing import NDArray

Fields = NDArray[np.floating]
CHUNK = 100
GROUPS = 8


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error: of what was drawn to compute it, the samples aside if `jackknife` has not added them."""

    value: float
    stderr: float = 0.0


def projections(resolution: int, count: int, generator: torch.Generator) -> NDArray[np.float64]:
    """`count` unit directions in R^{N²}, shape (N², count): one set serves a whole comparison."""
    directions = torch.randn(resolution**2, count, generator=generator, dtype=torch.float64)
    return (directions / directions.norm(dim=0)).numpy()


def floor(distance: Callable[[Fields, Fields], Estimate], truths: Sequence[Fields]) -> Estimate:
    """A distance of each of several sets of true data to the others pooled: its mean, and its standard deviation as `stderr`.

    The second is the Monte Carlo error of the distance of one such set of samples.
    """
    values = [distance(truth, np.concatenate([*truths[:i], *truths[i + 1 :]])).value for i, truth in enumerate(truths)]
    return Estimate(float(np.mean(values)), float(np.std(values, ddof=1)))


def jackknife(measure: Callable[[Fields], dict[str, Estimate]], x: Fields) -> dict[str, Estimate]:
    """Metrics of the fields x (n, N, N), n ≥ 2, by name, with the error of having drawn n fields and no others added to `stderr`.

    The delete-a-group jackknife: with v_g the value without the g-th of G = min(n, 8) equal parts, its variance is
    (1 − 1/G) Σ_g (v_g − v̄)² (Kott 2001, J. Off. Stat. 17). It is about what a value would change by with other samples, and knows
    nothing of bias: distances shrink as n grows, which is what floors are for.
    """
    part = np.arange(len(x)) * min(len(x), GROUPS) // len(x)
    without = [measure(x[part != g]) for g in range(part[-1] + 1)]
    estimates = {}
    for name, whole in measure(x).items():
        values = np.array([measured[name].value for measured in without])
        variance = (1 - 1 / len(values)) * ((values - values.mean()) ** 2).sum()
        estimates[name] = Estimate(whole.value, float(np.hypot(whole.stderr, np.sqrt(variance))))
    return estimates


class Reference:
    """A set of true fields and the distances of other sets x (n, N, N) to it; what they need of it alone is computed once.

    Args:
        fields: y, shape (m, N, N).
        directions: of `sliced_wasserstein`, shape (N², P), of unit columns, from `projections`.
    """

    def __init__(self, fields: Fields, directions: NDArray[np.float64]) -> None:
        self.fields, self.directions = fields, directions
        self._histogram = cache(partial(_histogram, fields))

    def sliced_wasserstein(self, x: Fields) -> Estimate:
        """Sliced Wasserstein-2 distance, Monte Carlo over directions: (mean_θ W₂²(θ·x, θ·y))^½.

        With unit directions E(θ·u)² = ‖u‖²_{L²}, so that the value has the units of u on every grid. Computed by POT
        (Bonneel et al. 2015) in float64; the standard error is that over the directions.

        Raises:
            ValueError: if x is on another grid.
        """
        parts = [slice(i, i + CHUNK) for i in range(0, self.directions.shape[1], CHUNK)]
        projected, reference = _sorted_projections(x, self.directions), self._projected
        squares = np.concatenate(
            [ot.wasserstein_1d(projected[:, part], reference[:, part], p=2, require_sort=False) for part in parts]
        )
        value = float(np.sqrt(squares.mean()))
        return Estimate(value, float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * value)) if value else 0.0)

    def moment_sliced_wasserstein(self, x: Fields) -> Estimate:
        """The deterministic approximation (‖m_x − m_y‖² + (σ_x − σ_y)²)^½ of the sliced distance in high dimension.

        m is the mean field and σ² = E‖u − m‖²_{L²} the total variance (Nadjahi et al., arXiv 2106.15427, eq. 10). It sees
        nothing else: a smooth field and white noise of equal variance are at distance 0.
        """
        (m_x, s_x), (m_y, s_y) = _moments(x), self._moments
        return Estimate(float(np.sqrt(((m_x - m_y) ** 2).mean() + (s_x - s_y) ** 2)))

    def spectrum_distance(self, x: Fields) -> Estimate:
        """Root mean square over the shells r ≥ 1 of log₁₀ of the ratio of radial spectra, in decades.

        Shells where the reference has no power but rounding (10⁻¹³ of its greatest) are left out.
        """
        p, q = radial_spectrum(x)[1:], self._spectrum[1:]
        seen = q > 1e-13 * q.max()
        return Estimate(float(np.sqrt((np.log10(p[seen] / q[seen]) ** 2).mean())))

    def histogram_distance(self, x: Fields) -> Estimate:
        """Total variation distance of the pixel histograms, on 50 equal bins over the range of both, in [0, 1]."""
        least, most = self._range
        low, high = float(min(x.min(), least)), float(max(x.max(), most))
        return Estimate(float(0.5 * np.abs(_histogram(x, low, high) - self._histogram(low, high)).sum()))

    @cached_property
    def _projected(self) -> NDArray[np.float64]:
        return _sorted_projections(self.fields, self.directions)

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], float]:
        return _moments(self.fields)

    @cached_property
    def _spectrum(self) -> NDArray[np.float64]:
        return radial_spectrum(self.fields)

    @cached_property
    def _range(self) -> tuple[np.floating, np.floating]:
        return self.fields.min(), self.fields.max()


def rescaled(x: Fields) -> Fields:
    """Each field moved and scaled to the range [0, 1]: what the authors' release does to generated digits, and to them alone.

    It repairs offset and amplitude of every sample before they are measured; a constant field becomes 0.
    """
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1)


def radial_spectrum(x: Fields) -> NDArray[np.float64]:
    """Mean of |û_k|² over the fields and over the shells r − ½ ≤ |k| < r + ½, for r = 0 … ⌈N/2⌉ − 1, with û = FFT(u)/N²."""
    n = x.shape[-1]
    power = (np.abs(np.fft.fft2(x, norm="forward")) ** 2).mean(axis=0)
    k = np.fft.fftfreq(n, 1 / n)
    shell = np.floor(np.hypot(k[:, None], k) + 0.5).astype(int)
    return np.array([power[shell == r].mean() for r in range((n + 1) // 2)])


def vendi_score(x: Fields) -> Estimate:
    """exp of the entropy of the eigenvalues of K/n, K the cosine similarities of the pixel vectors.

    The effective number of distinct samples, from 1 to n (Friedman and Dieng, arXiv 2210.02410, order q = 1).
    """
    rows = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) / len(rows) ** 0.5
    smaller = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows  # their eigenvalues are those of K/n, or 0
    eigenvalues = np.linalg.eigvalsh(smaller)
    eigenvalues = eigenvalues[eigenvalues > 0]
    return Estimate(float(np.exp(-(eigenvalues * np.log(eigenvalues)).sum())))


def share(members: NDArray[np.bool_]) -> Estimate:
    """The fraction of true entries."""
    return Estimate(float(members.mean()))


def _moments(x: Fields) -> tuple[NDArray[np.float64], float]:
    """The mean field and the root of the total variance."""
    return x.mean(axis=0, dtype=np.float64), float(np.sqrt(x.var(axis=0, dtype=np.float64).mean()))


def _sorted_projections(x: Fields, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """θ·u of the fields, in each direction from the least to the greatest, shape (n, P)."""
    parts = (x[i : i + CHUNK].astype(np.float64) for i in range(0, len(x), CHUNK))
    return np.sort(np.concatenate([part.reshape(len(part), -1) @ directions for part in parts]), axis=0)


def _histogram(x: Fields, low: float, high: float) -> NDArray[np.float64]:
    """The fraction of pixels in each of 50 equal bins."""
    return np.histogram(np.float64(x), 50, (low, high))[0] / x.size
