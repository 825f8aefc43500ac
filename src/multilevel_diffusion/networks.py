"""Neural operators N_θ(values, t): functions to functions, on whichever grid the values come.

The Fourier neural operator (Li et al. 2021, arXiv 2010.08895) is built from neuraloperator's layers. Its spectral
convolution multiplies the modes k₁ ∈ [−m, m), k₂ ∈ [0, m) by learned matrices; here the truncated transforms are matrix
products, so that any grid, odd or even, CPU or GPU, computes the same real function:

    X_k = (1/N²) Σ_x exp(−2πi k·x) v(x),    Y_k = X_k W_k,    (K v)(x) = Re Σ_{k₁, k₂} (2 − δ_{k₂0}) exp(2πi k·x) Y_k.

Tensors inside are laid out (x₂, x₁, batch, channel): then transforms, mode mixing and pointwise layers are all plain
matrix products and nothing is ever transposed. Modes a grid does not resolve (2|k_i| ≥ N) are left out.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from neuralop.layers.channel_mlp import LinearChannelMLP
from neuralop.layers.spectral_convolution import SpectralConv
from torch import Tensor, nn
from torch.nn.functional import gelu

from .grids import Grid

__all__ = ["FNO", "SpectralConvolution"]


class SpectralConvolution(SpectralConv):
    """neuraloperator's `SpectralConv` (its weights and their layout) without bias, on fields laid out (x₂, x₁, batch, channel).

    Args:
        width: channels C in and out.
        modes: m; the weight has shape (C, C, 2m, m), complex64, rows k₁ = −m … m−1, columns k₂ = 0 … m−1.
    """

    def __init__(self, width: int, modes: int) -> None:
        super().__init__(width, width, (2 * modes, 2 * modes - 2), bias=False)
        self.modes = modes

    def forward(self, fields: Tensor) -> Tensor:
        n, _, batch, channels = fields.shape
        m = self.modes
        analysis_2, analysis_1, synthesis_1, synthesis_2 = _truncated_fourier(n, m, fields.dtype, fields.device)

        spectrum = (analysis_2 @ fields.reshape(n, -1)).view(m, 2 * n, -1)
        spectrum = torch.matmul(analysis_1, spectrum).view(m, 2, 2 * m, batch, channels)
        real, imag = (part.reshape(-1, batch, channels) for part in spectrum.unbind(1))

        weight = torch.view_as_real(self.weight.to_tensor()).to(fields.dtype)
        weight = weight.permute(4, 3, 2, 0, 1).reshape(2, -1, channels, channels)
        mixed = torch.stack(
            [
                torch.baddbmm(real @ weight[0], imag, weight[1], alpha=-1).view(m, -1),
                torch.baddbmm(real @ weight[1], imag, weight[0]).view(m, -1),
            ],
            dim=1,
        )
        mixed = torch.matmul(synthesis_1, mixed.view(m, 4 * m, -1))
        return (synthesis_2 @ mixed.view(2 * m, -1)).view(n, n, batch, channels)


class FNO(nn.Module):
    """Fourier neural operator on (value, x₁, x₂, t), with GELU once between layers and none after the last.

    Spectral weights start as (U + iV)/C² with U, V ~ U(0, 1), all other weights as PyTorch's linear layers.

    Args:
        width: channels C of the hidden fields.
        layers: number of Fourier layers, each a spectral convolution plus a pointwise linear map.
        modes: m, Fourier modes a direction.
        head: channels of the hidden layer of the pointwise head.
        generator: source of the initial weights; the global CPU generator is left as it was.
    """

    def __init__(self, width: int, layers: int, modes: int, head: int, generator: torch.Generator) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.randint(2**62, (), generator=generator).item())
            self.lift = LinearChannelMLP([4, width])
            self.spectral = nn.ModuleList(SpectralConvolution(width, modes) for _ in range(layers))
            self.pointwise = nn.ModuleList(LinearChannelMLP([width, width]) for _ in range(layers))
            self.head = LinearChannelMLP([width, head, 1])
            with torch.no_grad():
                for convolution in self.spectral:
                    weight = torch.view_as_real(convolution.weight.to_tensor())
                    weight.copy_(torch.rand_like(weight) / width**2)

    def forward(self, values: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """N_θ(values, t), shape (batch, N, N), for values of that shape on `grid` and t of shape (batch,)."""
        x = grid.points(values.device).to(values.dtype)
        channels = values.permute(2, 1, 0), x[None, :, None], x[:, None, None], t
        hidden = self.lift(torch.stack(torch.broadcast_tensors(*channels), dim=-1))
        for i, (convolution, pointwise) in enumerate(zip(self.spectral, self.pointwise, strict=True)):
            hidden = gelu(hidden) if i else hidden
            hidden = convolution(hidden) + pointwise(hidden)
        return self.head(hidden)[..., 0].permute(2, 1, 0)


@lru_cache(maxsize=32)
def _truncated_fourier(n: int, m: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Real matrices of the truncated transforms, rows and columns (k₂, re/im), (re/im, k₁), (re/im, x₁) as they are used."""
    x = torch.arange(n, dtype=torch.float64) / n
    k1, k2 = torch.arange(-m, m, dtype=torch.float64), torch.arange(m, dtype=torch.float64)
    angle_1, angle_2 = (2 * math.pi * k[:, None] * x for k in (k1, k2))
    cos_1, sin_1 = (f(angle_1) * (2 * k1.abs() < n)[:, None] for f in (torch.cos, torch.sin))
    wave_2 = torch.stack([angle_2.cos(), -angle_2.sin()], dim=1) * (2 * k2 < n)[:, None, None]

    analysis_2 = wave_2.reshape(2 * m, n) / n
    analysis_1 = torch.cat([torch.cat([cos_1, sin_1], 1), torch.cat([-sin_1, cos_1], 1)]) / n
    synthesis_1 = torch.cat([torch.cat([cos_1, sin_1], 1), torch.cat([-sin_1, cos_1], 1)]).T
    synthesis_2 = (wave_2 * torch.where(k2 > 0, 2, 1)[:, None, None]).reshape(2 * m, n).T
    return tuple(a.to(device, dtype).contiguous() for a in (analysis_2, analysis_1, synthesis_1, synthesis_2))
