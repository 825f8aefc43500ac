"""Two Gaussians on L²(T²) with known Q-score: the experiment in which everything can be checked (figures 1 and 10).

X_0 = m_i + η with i ∈ {1, 2} equally likely and η ~ N(0,Q); m_i = A f_i, where A multiplies by A_k = N_native λ_k^½ and

    f_1(x) = x₂,  f̂_1(0, k) = i/(2πk);        f_2(x) = 1 − x₁,  f̂_2(k, 0) = −i/(2πk);        both means ½, Nyquist 0.

Then X_t given i is N(a_t m_i, Q) for every t, because a_t² + b_t² = 1, and with responsibilities w_i(u) of the components

    E[η | X_t = u] = b_t (u − a_t Σ_i w_i m_i),        w_i = softmax_i ℓ_i(u),
    ℓ_i(u) = a_t N² Σ_{A_k>0} Re[conj(û_k) f̂_i,k] / A_k − ½ a_t² N² Σ_{A_k>0} |f̂_i,k|²,        N = N_native,

where modes with A_k = 0 contribute nothing and have Ê[η]_k = 0. By Cameron and Martin exp ℓ_i is the density of N(a_t m_i, Q)
relative to N(0,Q). So log dp_t/dN(0,Q) = log ½ Σ_i exp ℓ_i, which has a limit as the grid is refined. The first sum is the
inner product of u with one fixed field, so a field costs O(N²), and Q⁻¹ is never formed.
"""

import math
from functools import cache

import torch
from torch import Tensor

from .grids import Grid, Rng, either, wavenumbers
from .priors import Prior, multiplicity
from .sde import ForwardSDE


class GaussianMixture:
    """½ N(m_1, Q) + ½ N(m_2, Q), with `prior` = N(0,Q), the noise of both the components and the forward process."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self._grids: dict[tuple[Grid, torch.device], tuple[Tensor, Tensor, Tensor, float]] = {}

    def means(self, grid: Grid, device: torch.device | str = "cpu") -> Tensor:
        """(m_1, m_2), shape (2, N, N), float64."""
        return self._on(grid, torch.device(device))[0]

    def sample(
        self, n: int, grid: Grid, generator: Rng = None, dtype: torch.dtype = torch.float32, *, seed: int | None = None
    ) -> Tensor:
        """`n` draws of X_0 on this grid, shape (n, N, N), from a generator and on its device, or from a seed."""
        generator = either(generator, seed)
        component = torch.randint(2, (n,), generator=generator, device=generator.device)
        means = self.means(grid, generator.device).to(dtype)
        return means[component] + self.prior.sample(n, grid, generator, dtype)

    def components(self, grid: Grid, like: Tensor) -> Tensor:
        """(m_1, m_2) in the precision and on the device of another tensor, shape (2, N, N)."""
        return self.means(grid, like.device).to(like)

    def fluctuations(self, n: int, grid: Grid, generator: torch.Generator) -> Tensor:
        """`n` draws of N(0,Q), the law within a component, shape (n, N, N), float64."""
        return self.prior.sample(n, grid, generator, torch.float64)

    def covariance(self, v: Tensor, grid: Grid, t: Tensor | None = None) -> Tensor:
        """Q v for fields v (batch, N, N), the covariance within a component; at a t of shape (1,) b_t² Q v, that given u_t."""
        scale = 1.0 if t is None else ForwardSDE().noise_scale(t).to(v) ** 2
        return scale * self.prior.color(self.prior.color(v, grid), grid)

    def pixel_variances(self, grid: Grid) -> Tensor:
        """The variance within a component of the value at every point, shape (N, N), float64."""
        return torch.full((grid.resolution, grid.resolution), self.prior.trace(grid), dtype=torch.float64)

    def log_odds(self, u_t: Tensor, mean_scale: Tensor, grid: Grid) -> Tensor:
        """log(w_1/w_2) of fields (batch, N, N) at scales a_t of shape (batch,); float64, shape (batch,)."""
        first, second = self._log_densities(u_t, mean_scale, grid)
        return first - second

    def log_density(self, u_t: Tensor, mean_scale: Tensor, grid: Grid) -> Tensor:
        """log dp_t/dN(0,Q) of fields (batch, N, N) in the range of Q at scales a_t (batch,); float64, shape (batch,)."""
        return self._log_densities(u_t, mean_scale, grid).logsumexp(dim=0) - math.log(2)

    def distance(self, grid: Grid) -> float:
        """‖Q^(−½) (m_1 − m_2)‖² on the range of Q: the squared distance of the components in standard deviations."""
        return self._on(grid, torch.device("cpu"))[-1]

    def tail(self, grid: Grid, coarse: Grid) -> float:
        """E‖X_0 − P X_0‖²_{L²} on `grid`, P the truncation to the modes below the Nyquist frequency of `coarse`."""
        k1, k2 = wavenumbers(grid.resolution)
        lost = (2 * k1.abs() >= coarse.resolution) | (2 * k2 >= coarse.resolution)
        means = torch.fft.rfft2(self.means(grid), norm="forward").abs().square().mean(dim=0)
        return float(((self.prior.spectrum(grid) + means) * multiplicity(grid))[lost].sum())

    def _log_densities(self, u_t: Tensor, mean_scale: Tensor, grid: Grid) -> Tensor:
        """ℓ_i = a_t ⟨u, g_i⟩ − ½ a_t² ⟨m_i, g_i⟩, float64, shape (2, batch)."""
        (_, directions, norms, _), a_t = self._on(grid, u_t.device), mean_scale.double()
        inner = directions.flatten(1) @ u_t.double().flatten(1).T / grid.resolution**2
        return a_t * inner - 0.5 * a_t**2 * norms[:, None]

    def _on(self, grid: Grid, device: torch.device) -> tuple[Tensor, Tensor, Tensor, float]:
        """m_i and g_i = Q⁻¹ m_i on the range of Q, (2, N, N); ⟨m_i, g_i⟩, (2,); ⟨m_1 − m_2, g_1 − g_2⟩. All are float64."""
        key = (grid, device)
        if key not in self._grids:
            n = grid.resolution
            amplitude = self.prior.native_resolution * self.prior.spectrum(grid).sqrt()
            f = _ramps(n)
            g = torch.where(amplitude > 0, f / amplitude, 0) * self.prior.native_resolution**2
            spectra = amplitude * f, g
            means, directions = (torch.fft.irfft2(hat, s=(n, n), norm="forward").to(device) for hat in spectra)
            difference = (means[0] - means[1]) * (directions[0] - directions[1])
            norms = (means * directions).mean(dim=(1, 2))
            self._grids[key] = means, directions, norms, difference.mean().item()
        return self._grids[key]


class MixtureDenoiser:
    """The exact E[η | X_t = u_t] of the mixture at any resolution, computed in float64."""

    def __init__(self, mixture: GaussianMixture, sde: ForwardSDE) -> None:
        self.mixture, self.sde, self.prior = mixture, sde, mixture.prior

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """b_t (u_t − a_t Σ_i w_i m_i) on the modes with A_k > 0; shape (batch, N, N) and dtype of u_t."""
        t, u = t.double(), u_t.double()
        a_t = self.sde.mean_scale(t)
        w_1 = torch.sigmoid(self.mixture.log_odds(u, a_t, grid))
        weights = torch.stack([w_1, 1 - w_1], dim=1) * a_t[:, None]
        mean = torch.tensordot(weights, self.mixture.means(grid, u.device), dims=1)
        eta = self.sde.noise_scale(t)[:, None, None] * (u - mean)
        return self.prior.project(eta, grid).to(u_t.dtype)

    def noise_and_trace(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """E[η | u_t] and tr(b_t I − D E[η | u_t]) = a_t² b_t w_1 w_2 ⟨m_1 − m_2, g_1 − g_2⟩ on the range of Q, shape (batch,)."""
        a_t, b_t = self.sde.mean_scale(t.double()), self.sde.noise_scale(t.double())
        w_1 = torch.sigmoid(self.mixture.log_odds(u_t, a_t, grid))
        trace = a_t**2 * b_t * w_1 * (1 - w_1) * self.mixture.distance(grid)
        return self.predict_noise(u_t, t, grid), trace


@cache
def _ramps(n: int) -> Tensor:
    """f̂_1, f̂_2 in the layout of `rfft2`, shape (2, N, N//2 + 1), complex128."""
    k1, k2 = (k.double() for k in wavenumbers(n))
    f = torch.zeros(2, n, n // 2 + 1, dtype=torch.complex128)
    f[0, 0, 1:] = torch.where(2 * k2[0, 1:] < n, 1j / (2 * math.pi * k2[0, 1:]), 0)
    f[1, 1:, 0] = torch.where(2 * k1[1:, 0].abs() < n, -1j / (2 * math.pi * k1[1:, 0]), 0)
    f[:, 0, 0] = 0.5
    return f
