"""Functions on the unit square, seen through their values on a grid.

A tensor of shape (..., N, N) holds the values of a function at x = ((i + o)/N, (j + o)/N). The offset o is 0 on the
torus and ½ on the cell-centred grid. Its Fourier coefficients are `torch.fft.rfft2(values, norm="forward")`, so that

    û_k = mean_x u(x) exp(−2πi k·x),        ‖u‖²_{L²} = mean_x u(x)² = Σ_k |û_k|²      (Parseval)

mean the same thing on every grid. Restriction and prolongation keep values (not coefficients times N, not pixel sums).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

Rng = torch.Generator | None


@dataclass(frozen=True)
class Grid(ABC):
    """A uniform grid of `resolution` points per side. Raises a ValueError if `resolution` is not an integer ≥ 2."""

    resolution: int
    offset: ClassVar[float]

    def __post_init__(self) -> None:
        if not isinstance(self.resolution, int) or self.resolution < 2:
            raise ValueError(f"resolution must be an integer ≥ 2, got {self.resolution!r}")

    def points(self, device: torch.device | str = "cpu") -> Tensor:
        """Coordinates along one axis, shape (N,), float64: x_i = (i + offset)/N."""
        return (torch.arange(self.resolution, dtype=torch.float64, device=device) + self.offset) / self.resolution

    @abstractmethod
    def resample(self, values: Tensor, target: "Grid") -> Tensor:
        """The values on `target` of the function whose lowest common modes `values` hold."""


@dataclass(frozen=True)
class Torus(Grid):
    """Points i/N of T² = [0, 1)², periodic; modes exp(2πi k·x)."""

    offset: ClassVar[float] = 0.0

    def resample(self, values: Tensor, target: Grid) -> Tensor:
        return _resample_fourier(values, self, target)


@dataclass(frozen=True)
class CellCentred(Grid):
    """Centres (i + ½)/N of the cells of [0, 1]², no-flux walls; modes cos(πk₁x₁) cos(πk₂x₂) (DCT-II)."""

    offset: ClassVar[float] = 0.5

    def resample(self, values: Tensor, target: Grid) -> Tensor:
        matrix = _cosine_resampling(self.resolution, target.resolution).to(values)
        return matrix @ values @ matrix.T


def restrict(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Values (..., N, N) on a coarser grid, (..., M, M): truncate the spectrum, keep the values.

    Torus: the modes |k_i| < M/2 stay, for odd M this is |k_i| ≤ (M−1)/2; an even M has its Nyquist row and column set
    to zero. Cell-centred: the cosine modes k_i < M stay.

    Raises a ValueError if `target` is finer than `source` or of another kind.
    """
    if target.resolution > source.resolution:
        raise ValueError(f"cannot restrict from {source} to the finer {target}: use prolong")
    return _checked(source, target).resample(values, target)


def prolong(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Values on a finer grid: `restrict(prolong(u)) = u` for every u without Nyquist modes. Arguments as `restrict`.

    Raises a ValueError if `target` is coarser than `source` or of another kind.
    """
    if target.resolution < source.resolution:
        raise ValueError(f"cannot prolong from {source} to the coarser {target}: use restrict")
    return _checked(source, target).resample(values, target)


def resample_noise(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Restrict or prolong a draw of N(0,Q), which is periodic on either kind of grid.

    On cell-centred grids the index grid of the FFT is moved by half a cell. So a coefficient gains the factor
    exp(iπ(k₁ + k₂)(1/M − 1/N)) on the way from N to M points.
    """
    return _resample_fourier(values, _checked(source, target), target)


def wavenumbers(resolution: int) -> tuple[Tensor, Tensor]:
    """Integer wavenumbers (k₁, k₂) of `rfft2`, shapes (N, 1) and (1, N//2 + 1), int64; Nyquist is k₁ = −N/2, k₂ = N/2."""
    k1 = torch.fft.fftfreq(resolution, 1 / resolution).round().long()
    return k1[:, None], torch.arange(resolution // 2 + 1)[None, :]


def cosines(x: Tensor, count: int) -> Tensor:
    """The first `count` orthonormal cosines, 1, √2 cos(πx), √2 cos(2πx), …, at points (n,); shape (count, n), float64."""
    k = torch.arange(count, dtype=torch.float64)
    return torch.cos(math.pi * k[:, None] * x) * k.clamp(max=1).add(1).sqrt()[:, None]


def squared_norm(values: Tensor) -> Tensor:
    """‖u‖²_{L²} = mean over the pixels of u², of shape (...) for values of shape (..., N, N)."""
    return values.square().mean(dim=(-2, -1))


def either(generator: Rng, seed: int | None) -> torch.Generator:
    """The generator, or a new one of this seed. Raises a ValueError if both are given, or neither."""
    if generator is not None and seed is None:
        return generator
    if seed is not None and generator is None:
        return torch.Generator().manual_seed(seed)
    raise ValueError("give either a generator or a seed")


def white_noise(n: int, grid: Grid, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """`n` draws ξ of white noise, shape (n, N, N), on the generator's device.

    Pixels are i.i.d. N(0, N²): then every Fourier coefficient has E|ξ̂_k|² = 1 on every grid.
    """
    shape = (n, grid.resolution, grid.resolution)
    return grid.resolution * torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


def _checked(source: Grid, target: Grid) -> Grid:
    if type(source) is not type(target):
        raise ValueError(f"{source} and {target} are grids of different kinds")
    return source


def _resample_fourier(values: Tensor, source: Grid, target: Grid) -> Tensor:
    n, m = source.resolution, target.resolution
    if n == m:
        return values
    top = (min(n, m) - 1) // 2
    spectrum = torch.fft.rfft2(values, norm="forward")
    kept = spectrum.new_zeros(*values.shape[:-2], m, m // 2 + 1)
    kept[..., : top + 1, : top + 1] = spectrum[..., : top + 1, : top + 1]
    if top:
        kept[..., -top:, : top + 1] = spectrum[..., -top:, : top + 1]
    if source.offset:
        k1, k2 = (k.to(values) for k in wavenumbers(m))
        kept = kept * torch.exp(2j * math.pi * source.offset * (1 / m - 1 / n) * (k1 + k2))
    return torch.fft.irfft2(kept, s=(m, m), norm="forward")


@cache
def _cosine_resampling(n: int, m: int) -> Tensor:
    """The (m, n) matrix that analyses n cell values into cosines k < min(n, m) and sums these at m cell centres."""
    if n == m:
        return torch.eye(n, dtype=torch.float64)
    k = torch.arange(min(n, m), dtype=torch.float64)
    analysis = torch.cos(math.pi * k[:, None] * CellCentred(n).points()) / n * torch.where(k > 0, 2.0, 1.0)[:, None]
    synthesis = torch.cos(math.pi * CellCentred(m).points()[:, None] * k)
    return synthesis @ analysis
