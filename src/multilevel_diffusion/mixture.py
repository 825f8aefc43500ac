"""Two Gaussians on L²(T²) with known Q-score: the experiment in which everything can be checked (figures 1 and 10).

X_0 = m_i + η with i ∈ {1, 2} equally likely and η ~ N(0,Q); m_i = A f_i, where A multiplies by A_k = N_native λ_k^½ and

    f_1(x) = x₂,  f̂_1(0, k) = i/(2πk);        f_2(x) = 1 − x₁,  f̂_2(k, 0) = −i/(2πk);        both means ½, Nyquist 0.

Then X_t given i is N(a_t m_i, Q) for every t, because a_t² + b_t² = 1, and with responsibilities w_i(u) of the components

    E[η | X_t = u] = b_t (u − a_t Σ_i w_i m_i),
    log(w_1/w_2) = a_t N² Σ_{A_k>0} Re[conj(û_k) (f̂_1 − f̂_2)_k] / A_k − ½ a_t² N² Σ_{A_k>0} (|f̂_1|² − |f̂_2|²)_k,   N = N_native

where modes with A_k = 0 contribute nothing and have Ê[η]_k = 0. The first sum is the inner product of u with one fixed
field, so a field costs O(N²) after one transform, and Q⁻¹ is never formed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .grids import Grid, wavenumbers
from .priors import Prior, multiplicity
from .sde import ForwardSDE

__all__ = ["GaussianMixture", "MixtureDenoiser"]


@dataclass(frozen=True)
class _OnGrid:
    """The mixture on one grid, float64: means (2, N, N), the field g with log-odds a_t N²⟨u, g⟩ − ½ a_t² N² d, and d."""

    means: Tensor
    direction: Tensor
    offset: float


class GaussianMixture:
    """½ N(m_1, Q) + ½ N(m_2, Q).

    Args:
        prior: N(0,Q), the noise of both the components and the forward process.
    """

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self._grids: dict[tuple[Grid, torch.device], _OnGrid] = {}

    def means(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """(m_1, m_2), shape (2, N, N), float64."""
        return self._on(grid, torch.device(device)).means

    def sample(self, n: int, grid: Grid, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        """`n` draws of X_0 on this grid, shape (n, N, N), on the generator's device."""
        component = torch.randint(2, (n,), generator=generator, device=generator.device)
        means = self.means(grid, generator.device).to(dtype)
        return means[component] + self.prior.sample(n, grid, generator, dtype)

    def log_odds(self, u_t: Tensor, mean_scale: Tensor, grid: Grid) -> Tensor:
        """log(w_1/w_2) of fields (batch, N, N) at scales a_t of shape (batch,); float64, shape (batch,)."""
        on = self._on(grid, u_t.device)
        inner = (u_t.double() * on.direction).mean(dim=(-2, -1))
        a_t, n2 = mean_scale.double(), self.prior.native_resolution**2
        return a_t * n2 * inner - 0.5 * a_t**2 * n2 * on.offset

    def _on(self, grid: Grid, device: torch.device) -> _OnGrid:
        key = (grid, device)
        if key not in self._grids:
            n = grid.resolution
            amplitude = self.prior.native_resolution * self.prior.spectrum(grid).sqrt()
            f = _ramps(n)
            difference = torch.where(amplitude > 0, (f[0] - f[1]) / amplitude, 0)
            squares = torch.where(amplitude > 0, f[0].abs() ** 2 - f[1].abs() ** 2, 0) * multiplicity(grid)
            self._grids[key] = _OnGrid(
                means=torch.fft.irfft2(amplitude * f, s=(n, n), norm="forward").to(device),
                direction=torch.fft.irfft2(difference, s=(n, n), norm="forward").to(device),
                offset=float(squares.sum()),
            )
        return self._grids[key]


class MixtureDenoiser:
    """The exact E[η | X_t = u_t] of the mixture at any resolution, computed in float64."""

    def __init__(self, mixture: GaussianMixture, sde: ForwardSDE) -> None:
        self.mixture, self.sde, self.prior = mixture, sde, mixture.prior

    def noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """b_t (u_t − a_t Σ_i w_i m_i) on the modes with A_k > 0; shape (batch, N, N) and dtype of u_t."""
        t, u = t.double(), u_t.double()
        a_t = self.sde.mean_scale(t)
        w_1 = torch.sigmoid(self.mixture.log_odds(u, a_t, grid))
        weights = torch.stack([w_1, 1 - w_1], dim=1) * a_t[:, None]
        mean = torch.tensordot(weights, self.mixture.means(grid, u.device), dims=1)
        eta = self.sde.noise_scale(t)[:, None, None] * (u - mean)
        return self.prior.project(eta, grid).to(u_t.dtype)


@cache
def _ramps(n: int) -> Tensor:
    """f̂_1, f̂_2 in the layout of `rfft2`, shape (2, N, N//2 + 1), complex128."""
    k1, k2 = (k.double() for k in wavenumbers(n))
    f = torch.zeros(2, n, n // 2 + 1, dtype=torch.complex128)
    f[0, 0, 1:] = torch.where(2 * k2[0, 1:] < n, 1j / (2 * math.pi * k2[0, 1:]), 0)
    f[1, 1:, 0] = torch.where(2 * k1[1:, 0].abs() < n, -1j / (2 * math.pi * k1[1:, 0]), 0)
    f[:, 0, 0] = 0.5
    return f
