"""What a classifier of digits finds in fields: classes, and the law of its features beside their law for true digits.

Features are arrays (n, d), float64. As of distances of fields, a value means little without its floor.
"""

import numpy as np
from numpy.typing import NDArray

from .classifier import Classifier
from .grids import Grid
from .metrics import Estimate, Fields, Subset, share, subset

Array = NDArray[np.float64]
LEGIBLE = 0.9
"""The probability from which on a class is taken for read."""
CHUNK = 1000
"""Rows of a matrix of distances that are held together, to bound memory."""


def moments(features: Array) -> tuple[Array, Array]:
    """The mean (d,) and the covariance (d, d) of features; the covariance is of the n points themselves, divided by n."""
    return features.mean(axis=0), np.cov(features, rowvar=False, ddof=0)


def frechet_distance(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """Squared Wasserstein-2 distance of two Gaussians given by mean and covariance: ‖m − m'‖² + tr(C + C' − 2 (C C')^½).

    Of the features of a network it is what Heusel et al. (arXiv 1706.08500) call the Fréchet distance. With C = A Aᵀ and
    C' = B Bᵀ the trace of (C C')^½ is the sum of the singular values of Aᵀ B. So singular covariances, of fewer fields
    than features, are told as well, to a relative 10⁻⁸. The distance grows as fields get fewer: compare sets of one size.
    """
    (mean_1, covariance_1), (mean_2, covariance_2) = first, second
    common = np.linalg.svd(_factor(covariance_1).T @ _factor(covariance_2), compute_uv=False).sum()
    squares = ((mean_1 - mean_2) ** 2).sum() + np.trace(covariance_1) + np.trace(covariance_2)
    return max(float(squares - 2 * common), 0.0)


class Neighbourhoods:
    """Balls around true features, each out to the k-th nearest of the others.

    Density is (1/(k n)) Σ_ij 1[x_j in ball i], coverage the share of balls that hold any x_j (Naeem et al., arXiv 2002.09797,
    with k = 5). For n fields of the same law as the m true ones, whatever the law, the mean density is 1. The mean
    coverage is then 1 − Π_{i=1}^k (m − i)/(n + m − i).

    Args:
        features: y, shape (m, d), m ≥ 2.
        k: which neighbour; the farthest if there are not as many.
    """

    def __init__(self, features: Array, k: int = 5) -> None:
        self.features, self.k = features, min(k, len(features) - 1)
        parts = np.split(features, range(CHUNK, len(features), CHUNK))
        # the nearest is the point itself
        nearest = [np.partition(_squared_distances(part, features), self.k, axis=1)[:, self.k] for part in parts]
        self._squared_radii = np.concatenate(nearest)

    def density_and_coverage(self, x: Array) -> tuple[float, float]:
        """Of features x, shape (n, d)."""
        held, covered = 0, np.zeros(len(self.features), dtype=bool)
        for part in np.split(x, range(CHUNK, len(x), CHUNK)):
            inside = _squared_distances(part, self.features) < self._squared_radii
            held += int(inside.sum())
            covered |= inside.any(axis=0)
        return held / (self.k * len(x)), float(covered.mean())


def class_entropy(probabilities: Array) -> float:
    """−Σ_c p_c ln p_c in nats, p the mean over fields of the class probabilities (n, 10).

    ln 10 = 2.303 where all digits are as frequent, 0 where there is but one. Sets of n fields of equal classes have about
    9/(2n) less. It does not ask whether a field is a digit: see `legible`.
    """
    mean = probabilities.mean(axis=0)
    seen = mean[mean > 0]
    return float(-(seen * np.log(seen)).sum())


def legible(probabilities: Array) -> NDArray[np.bool_]:
    """Which fields are read without doubt: those whose likeliest class has probability ≥ 0.9."""
    return probabilities.max(axis=1) >= LEGIBLE


class DigitReference:
    """True digits and what a classifier finds in other fields beside them; what it needs of the true ones is computed once.

    Args:
        fields: y, shape (m, N, N), m ≥ 2.
        grid: theirs.
    """

    def __init__(self, fields: Fields, classifier: Classifier, grid: Grid) -> None:
        self._classifier, self._grid = classifier, grid
        features, _ = classifier(fields, grid)
        self._count, self._scale = features.shape[1], float(np.sqrt(features.var(axis=0).sum())) or 1.0
        self._moments, self._neighbourhoods = moments(features / self._scale), Neighbourhoods(features / self._scale)

    def frechet_distance(self, x: Fields | Subset) -> Estimate:
        """The distance of features in units of the standard deviation of the true ones, E‖f − m‖² = 1; it is squared."""
        return Estimate(frechet_distance(moments(self._features(x)), self._moments))

    def density(self, x: Fields | Subset) -> Estimate:
        """See `Neighbourhoods`."""
        return Estimate(subset(x).of_part(self._density_and_coverage)[0])

    def coverage(self, x: Fields | Subset) -> Estimate:
        """See `Neighbourhoods`."""
        return Estimate(subset(x).of_part(self._density_and_coverage)[1])

    def class_entropy(self, x: Fields | Subset) -> Estimate:
        """See `class_entropy`; in nats."""
        return Estimate(class_entropy(self._probabilities(x)))

    def legible_share(self, x: Fields | Subset) -> Estimate:
        """Of the fields, those that are `legible`; fields far outside the range of digits may be, so that it is nothing alone."""
        return share(legible(self._probabilities(x)))

    def _features(self, x: Fields | Subset) -> Array:
        return subset(x).of_each(self._seen)[:, : self._count]

    def _probabilities(self, x: Fields | Subset) -> Array:
        return subset(x).of_each(self._seen)[:, self._count :]

    def _density_and_coverage(self, x: Subset) -> tuple[float, float]:
        return self._neighbourhoods.density_and_coverage(self._features(x))

    def _seen(self, x: Fields) -> Array:
        """Features and probabilities, side by side."""
        features, probabilities = self._classifier(x, self._grid)
        return np.hstack([features / self._scale, probabilities])


def _factor(covariance: Array) -> Array:
    """A with A Aᵀ the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(min=0))


def _squared_distances(x: Array, y: Array) -> Array:
    return (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
