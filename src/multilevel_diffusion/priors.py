"""Gaussian priors N(0,Q) on L²(T²), with Q diagonal in the Fourier basis.

The eigenvalues are λ_k = (A_k / N_native)², N_native the grid on which the experiment's data are native. A prior is its
amplitude A, one function of the integer wavenumber k ∈ ℤ² with A_k = A_−k. A grid of N points sees the modes it has, so the
same Q acts on every grid. Q is trace class iff Σ λ_k < ∞, and only then is N(0,Q) a measure on L²(T²)
(Hagemann et al., arXiv 2303.04772, sections 2 and 5). With μ_k = (2π|k|)²:

    standard    A_k = 1
    fno         A_k = |w_k| on −m₁ ≤ k₁ < m₁, 0 ≤ k₂ < m₂ and the mirror images, else 0
    laplacian   A_k = s μ_k^(−0.55), A_0 = 0
    bessel      A_k = (c + μ_k)^(−p)
    combined    A_k = |s₂ w_k + s μ_k^(−0.55)|, w_k = 0 off the fno modes, and the second term 0 at k = 0
"""

import itertools
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .grids import Grid, Rng, either, squared_norm, wavenumbers, white_noise

LAPLACIAN_POWER = 0.55


class Prior(ABC):
    """N(0,Q) with λ_k = (A_k / N_native)², N_native = `native_resolution`. A subclass writes `amplitude`."""

    trace_class: bool

    def __init__(self, native_resolution: int) -> None:
        self.native_resolution = native_resolution
        self._roots: dict[tuple[Grid, torch.device, torch.dtype], Tensor] = {}

    @abstractmethod
    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        """A_k ≥ 0, float64, for integer wavenumbers of broadcastable shapes."""

    def state(self) -> dict[str, Tensor]:
        """What was drawn at random and must be kept with a trained model, as real tensors."""
        return {}

    def spectrum(self, grid: Grid) -> Tensor:
        """λ_k in the layout of `rfft2`, shape (N, N//2 + 1), float64.

        On an even grid an index at Nyquist stands for k_i = N/2 and −N/2; it carries the mean of λ over these signs, which
        keeps coloured fields real. Only there do restricted noise and noise of the small grid differ in law.
        """
        n = grid.resolution
        k1, k2 = wavenumbers(n)
        signs_1, signs_2 = (k1, torch.where(2 * k1 == -n, -k1, k1)), (k2, torch.where(2 * k2 == n, -k2, k2))
        squares = [self.amplitude(a, b).square() for a, b in itertools.product(signs_1, signs_2)]
        return torch.stack(squares).mean(dim=0) / self.native_resolution**2

    def color(self, values: Tensor, grid: Grid) -> Tensor:
        """Q^½ applied to fields of shape (..., N, N)."""
        return _multiply(values, self._root(values, grid))

    def sample(
        self, n: int, grid: Grid, generator: Rng = None, dtype: torch.dtype = torch.float32, *, seed: int | None = None
    ) -> Tensor:
        """`n` draws η = Q^½ ξ, shape (n, N, N), ξ white noise, from a generator and on its device, or from a seed."""
        return self.color(white_noise(n, grid, either(generator, seed), dtype), grid)

    def whiten(self, values: Tensor, grid: Grid) -> Tensor:
        """Q^(−½) applied to the component of a field (..., N, N) in the range of Q: color(whiten(u)) = project(u)."""
        root = self._root(values, grid)
        return _multiply(values, torch.where(root > 0, 1 / root, 0))

    def log_density(self, values: Tensor, grid: Grid) -> Tensor:
        """log density of N(0,Q) for the values (..., N, N) on a grid, relative to Lebesgue measure on the N² values (nats).

            −½ ‖Q^(−½) u‖² − ½ Σ_k log(2π N² λ_k)

        It has no limit as the grid is refined. Modes with λ_k = 0 are left out.
        """
        spectrum = self.spectrum(grid)
        logs = torch.where(spectrum > 0, (2 * math.pi * grid.resolution**2 * spectrum).log(), 0) * multiplicity(grid)
        return -0.5 * (squared_norm(self.whiten(values, grid)) + logs.sum().item())

    def kernel(self, grid: Grid) -> Tensor:
        """Where λ_k = 0, in the layout of `rfft2`: the modes that the forward process leaves without noise."""
        return self.spectrum(grid) == 0

    def project(self, values: Tensor, grid: Grid) -> Tensor:
        """The component of a field (..., N, N) in the closure of the range of Q: modes with λ_k = 0 are removed."""
        root = self._root(values, grid)
        return values if root.all() else _multiply(values, (root > 0).to(root))

    def share_in_kernel(self, fields: Tensor, grid: Grid) -> float:
        """Σ‖u − Pu‖² / Σ‖u‖² over fields u of shape (n, N, N), P the projection onto the range of Q."""
        return (squared_norm(fields - self.project(fields, grid)).sum() / squared_norm(fields).sum()).item()

    def trace(self, grid: Grid) -> float:
        """Σ λ_k over the modes of the grid: E‖η‖²_{L²}."""
        return float((self.spectrum(grid) * multiplicity(grid)).sum())

    def pixel_std(self, grid: Grid) -> float:
        """Standard deviation of one pixel of η, the same at every pixel."""
        return math.sqrt(self.trace(grid))

    def _root(self, values: Tensor, grid: Grid) -> Tensor:
        key = (grid, values.device, values.dtype)
        if key not in self._roots:
            self._roots[key] = self.spectrum(grid).sqrt().to(values)
        return self._roots[key]


class Standard(Prior):
    """White noise, A_k = 1. Not trace class: the pixel standard deviation is N / N_native."""

    trace_class = False

    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        return torch.ones(torch.broadcast_shapes(k1.shape, k2.shape), dtype=torch.float64)


class FNOPrior(Prior):
    """Finite rank: A_k = |w_k| on the modes of one Fourier layer with `weights` w as `draw_mode_weights` gives them."""

    trace_class = True

    def __init__(self, native_resolution: int, weights: Tensor) -> None:
        super().__init__(native_resolution)
        self.weights = weights

    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        return _mode_weights_at(self.weights, k1, k2).abs()

    def state(self) -> dict[str, Tensor]:
        return {"weights": torch.view_as_real(self.weights)}


class Laplacian(Prior):
    """Q^½ = (s / N_native) (−Δ)^(−0.55), s = `scale` > 0, on fields of mean zero; the mean is in the kernel."""

    trace_class = True

    def __init__(self, native_resolution: int, scale: float) -> None:
        super().__init__(native_resolution)
        self.scale = scale

    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        return self.scale * _inverse_laplacian(k1, k2)


class Bessel(Prior):
    """Q^½ = (c − Δ)^(−p) / N_native, c = `shift` > 0 and p = `power`; trace class for p > ½."""

    def __init__(self, native_resolution: int, shift: float, power: float) -> None:
        super().__init__(native_resolution)
        self.shift, self.power = shift, power
        self.trace_class = power > 0.5

    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        return (self.shift + _laplacian(k1, k2)) ** -self.power


class Combined(FNOPrior):
    """The fno prior's modes, of `fno_scale` s₂, on the laplacian's tail, of `scale` s: trace class, full rank for generic w."""

    def __init__(self, native_resolution: int, weights: Tensor, scale: float, fno_scale: float) -> None:
        super().__init__(native_resolution, weights)
        self.scale, self.fno_scale = scale, fno_scale

    def amplitude(self, k1: Tensor, k2: Tensor) -> Tensor:
        low = _mode_weights_at(self.weights, k1, k2)
        return (self.fno_scale * low + self.scale * _inverse_laplacian(k1, k2)).abs()


def draw_mode_weights(modes: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The weights w_k = U + iV, U ~ U(0.2, 1.0), V ~ U(0, 0.8), of the `fno` and `combined` priors.

    Drawn for k₂ > 0 and, at k₂ = 0, for k₁ ≥ 0 and k₁ = −m₁; the rest of k₂ = 0 is the mirror image w_−k = conj w_k of a
    real kernel. With `modes` (m₁, m₂) the shape is (2 m₁ + 1, m₂), complex128: row k₁ + m₁ for −m₁ ≤ k₁ ≤ m₁, column k₂. At
    k₁ = m₁ only the mirror image of (−m₁, 0) is not zero.
    """
    m1, m2 = modes
    u, v = torch.rand((2, 2 * m1, m2), generator=generator, dtype=torch.float64)
    weights = torch.zeros(2 * m1 + 1, m2, dtype=torch.complex128)
    weights[:-1] = torch.complex(0.2 + 0.8 * u, 0.8 * v)
    weights[m1 + 1 :, 0] = torch.cat([weights[m1 + 1 : -1, 0], weights[:1, 0].conj()])
    weights[1:m1, 0] = weights[m1 + 1 : 2 * m1, 0].conj().flip(0)
    return weights


def multiplicity(grid: Grid) -> Tensor:
    """How many modes of the full spectrum an entry of the `rfft2` layout stands for: 1 or 2, shape (1, N//2 + 1)."""
    n = grid.resolution
    _, k2 = wavenumbers(n)
    return torch.where((k2 == 0) | (2 * k2 == n), 1.0, 2.0).double()


def _laplacian(k1: Tensor, k2: Tensor) -> Tensor:
    return (2 * math.pi) ** 2 * (k1**2 + k2**2).double()


def _inverse_laplacian(k1: Tensor, k2: Tensor) -> Tensor:
    mu = _laplacian(k1, k2)
    return torch.where(mu > 0, mu, torch.inf) ** -LAPLACIAN_POWER


def _mode_weights_at(weights: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
    """w_k at any wavenumber, zero off the modes; a k outside the half-plane k₂ ≥ 0 takes conj w_−k."""
    m1, m2 = weights.shape[0] // 2, weights.shape[1]
    k1, k2 = torch.broadcast_tensors(k1, k2)
    flip = k2 < 0
    k1, k2 = torch.where(flip, -k1, k1), k2.abs()
    inside = (k1.abs() <= m1) & (k2 < m2)
    found = weights[k1.clamp(-m1, m1) + m1, k2.clamp(max=m2 - 1)]
    return torch.where(inside, torch.where(flip, found.conj(), found), 0)


def _multiply(values: Tensor, multiplier: Tensor) -> Tensor:
    return torch.fft.irfft2(torch.fft.rfft2(values) * multiplier, s=values.shape[-2:])
