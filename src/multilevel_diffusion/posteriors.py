"""Exact posteriors under linear observations, where the law of the data is a Gaussian or a mixture of shifted ones.

Let X = m_i + ζ with i of weight w_i and ζ ~ N(0, C), and y = A X + ε with ε ~ N(0, σ² I). With S = A C A* + σ² I, m × m,

    i given y:      weight ∝ w_i N(y; A m_i, S)
    X given i, y:   N(m_i + C A* S⁻¹ (y − A m_i),  C − C A* S⁻¹ A C)

(kriging; Rasmussen and Williams 2006, section 2.2), and by Matheron's rule a draw is X + C A* S⁻¹ (y − A X − ε), X a draw of
component i (Wilson et al. 2021, arXiv 2011.04026, eq. 8). m applications of C give C A*, and one Cholesky factor serves all.

Noise-free observations are given JITTER of their own mean variance: what A and the grid together cannot tell is left as it is.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .grids import Grid
from .observations import Observations, Operator

__all__ = ["Law", "Posterior", "factor"]

JITTER = 1e-9
CHUNK = 256
"""Functions to which a covariance is applied together, to bound memory."""
KEPT = 2**26
"""Numbers in the factors that an operator keeps."""


class Law(Protocol):
    """A mixture of equally likely shifts m_i of N(0, C)."""

    def components(self, grid: Grid, like: Tensor) -> Tensor:
        """m_i, shape (c, N, N), of the precision and on the device of another tensor."""
        ...

    def covariance(self, v: Tensor, grid: Grid, t: Tensor | None = None) -> Tensor:
        """C v for fields (batch, N, N), or, at a t of shape (1,), C_t v: the covariance of X_0 given u_t."""
        ...

    def pixel_variances(self, grid: Grid) -> Tensor:
        """The variances of the values of N(0, C), shape (N, N), float64."""
        ...

    def fluctuations(self, n: int, grid: Grid, generator: torch.Generator) -> Tensor:
        """`n` draws of N(0, C), shape (n, N, N), float64."""
        ...


def factor(
    operator: Operator, law: Law, noise: float, grid: Grid, device: torch.device, t: Tensor | None = None
) -> Tensor:
    """The Cholesky factor of S = A C A* + σ² I, at a t of shape (1,) with C_t; shape (m, m), float64.

    The operator keeps it for other data that are seen alike.
    """
    key, kept = (law, noise, grid, device, None if t is None else t.item()), operator.factors
    if key not in kept:
        functions = operator.functions(grid, device)
        s = torch.cat([operator.apply(law.covariance(part, grid, t), grid) for part in functions.split(CHUNK)])
        variance = max(noise**2, JITTER * s.diagonal().mean().item(), torch.finfo(s.dtype).tiny)
        if (len(kept) + 1) * s.numel() > KEPT:
            kept.clear()
        s = (s + s.T).div_(2)
        s.diagonal().add_(variance)
        kept[key] = torch.linalg.cholesky(s)
    return kept[key]


class Posterior:
    """The law of X given observations, on one grid; on the device of the observations' values.

    Attributes:
        weights: of the components, shape (c,).
        means: of the components, shape (c, N, N).
    """

    def __init__(self, law: Law, observations: Observations, grid: Grid) -> None:
        self.law, self.observations, self.grid = law, observations, grid
        like, operator = observations.values.double(), observations.operator
        self._factor = factor(operator, law, observations.noise, grid, like.device)
        prior_means = law.components(grid, like)
        self._prior_means = prior_means
        residuals = observations.residual(prior_means, grid)
        white = torch.linalg.solve_triangular(self._factor, residuals.T, upper=False)
        self.weights = (-0.5 * white.square().sum(dim=0)).softmax(dim=0)
        self.means = prior_means + self._gain(residuals)

    @property
    def mean(self) -> Tensor:
        """E[X | y], shape (N, N)."""
        return torch.tensordot(self.weights, self.means, dims=1)

    def variances(self) -> Tensor:
        """Var[X(x) | y], shape (N, N): within components and between them."""
        functions, grid = self.observations.operator.functions(self.grid, self.means.device), self.grid
        within = self.law.pixel_variances(grid).to(self.means)
        spread = torch.cat([self.law.covariance(part, grid) for part in functions.split(CHUNK)]).flatten(1)
        white = torch.linalg.solve_triangular(self._factor, spread, upper=False)
        within = (within - white.square().sum(dim=0).unflatten(0, within.shape)).clamp(min=0)
        return within + torch.tensordot(self.weights, (self.means - self.mean).square(), dims=1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """`n` draws, shape (n, N, N), float64, from a generator on the same device."""
        on = generator.device
        component = torch.multinomial(self.weights.to(on), n, replacement=True, generator=generator)
        x = self._prior_means[component] + self.law.fluctuations(n, self.grid, generator)
        shape = n, self.observations.operator.count
        error = self.observations.noise * torch.randn(shape, generator=generator, device=on, dtype=torch.float64)
        return x + self._gain(self.observations.residual(x, self.grid) - error)

    def _gain(self, residuals: Tensor) -> Tensor:
        """C A* S⁻¹ r, shape (batch, N, N), of r of shape (batch, m)."""
        weights = torch.cholesky_solve(residuals.T, self._factor).T
        return self.law.covariance(self.observations.operator.adjoint(weights, self.grid), self.grid)
