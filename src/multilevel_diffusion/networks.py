"""Networks N_θ(values, t, grid): a neural operator, functions to functions on whichever grid the values come; a U-Net as control.

The spectral convolution of the Fourier neural operator (Li et al. 2021, arXiv 2010.08895) multiplies the modes
k₁ ∈ [−m, m), k₂ ∈ [0, m) by learned matrices. On even grids it equals neuraloperator's, but for the layout of weights. Here
the truncated transforms are matrix products, so that any grid, odd or even, CPU or GPU, computes the same real function:

    X_k = (1/N²) Σ_x exp(−2πi k·x) v(x),    Y_k = X_k W_k,    (K v)(x) = Re Σ_{k₁, k₂} (2 − δ_{k₂0}) exp(2πi k·x) Y_k.

Tensors inside are laid out (batch, x₂, x₁, channel): then transforms, mode mixing and pointwise layers are all plain matrix
products, each of a field within reach of a cache. Modes a grid does not resolve (2|k_i| ≥ N) are left out.

For the backward pass each layer keeps its input, C numbers per point; what pointwise layers make of it is computed again.

The U-Net of DDPM (Ho et al. 2020, arXiv 2006.11239) sees pixels: its convolutions reach as many of them on every grid.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import gelu
from torch.utils.checkpoint import checkpoint

from .grids import Grid


class SpectralConvolution(nn.Module):
    """The layer K of the formula above, without bias, on fields laid out (batch, x₂, x₁, channel).

    With C = `width` and m = `modes` the weight is (2, 2m, m, C, C): real and imaginary parts of W_k, k₁ = −m … m−1,
    k₂ = 0 … m−1. So the matrices of a grid lie side by side, and Adam sees real numbers. They start as complex normal numbers
    of variance 1/C.
    """

    def __init__(self, width: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        weight = torch.empty(width, width, 2 * modes, modes, dtype=torch.complex64)
        self.weight = nn.Parameter(matrices_of(weight.normal_(0, width**-0.5)))

    def matrices(self, n: int) -> tuple[Tensor, ...]:
        """Real and imaginary parts of the W_k that n points per side resolve, shapes (K₁ K₂, C, C)."""
        k1, k2 = _resolved_modes(n, self.modes)
        return self.weight[:, k1[0] + self.modes : k1[-1] + self.modes + 1, : len(k2)].flatten(1, 2).unbind()

    def forward(self, fields: Tensor, matrices: tuple[Tensor, ...], plus: Tensor) -> Tensor:
        """K v + `plus`, shape (batch, N, N, C) as both; without gradients it is written over `plus`."""
        batch, n, _, channels = fields.shape
        k1, k2 = _resolved_modes(n, self.modes)
        fourier = _truncated_fourier(n, self.modes, fields.dtype, fields.device)
        analysis_2, analysis_1, synthesis_1, synthesis_2 = fourier

        spectrum = (analysis_2 @ fields.reshape(batch, n, -1)).view(batch * len(k2), 2 * n, channels)
        spectrum = (analysis_1 @ spectrum).view(batch, len(k2), 2, len(k1), channels)
        real, imag = (part.permute(2, 1, 0, 3).reshape(-1, batch, channels) for part in spectrum.unbind(2))

        mixed_real = torch.baddbmm(real @ matrices[0], imag, matrices[1], alpha=-1)
        mixed_imag = torch.baddbmm(real @ matrices[1], imag, matrices[0])
        mixed = torch.stack([mixed_real, mixed_imag]).view(2, len(k1), len(k2), batch, channels).permute(3, 2, 0, 1, 4)
        mixed = (synthesis_1 @ mixed.reshape(batch * len(k2), 2 * len(k1), channels)).view(batch, 2 * len(k2), -1)
        add = Tensor.baddbmm if torch.is_grad_enabled() else Tensor.baddbmm_
        return add(plus.view(batch, n, -1), synthesis_2.expand(batch, -1, -1), mixed).view_as(fields)


class FNO(nn.Module):
    """Fourier neural operator on (value, x₁, x₂, t), with GELU once between layers and none after the last.

    Spectral weights start as (U + iV)/C² with U, V ~ U(0, 1), all other weights as PyTorch's linear layers. Then each layer
    makes its fields smaller, and at the last they hardly depend on u_t. A network of several fields starts as He et al. (2015,
    arXiv 1502.01852) have it, which keeps their size, and its output starts as 0.

    Args:
        width: channels C of the hidden fields.
        layers: number of Fourier layers, each a spectral convolution plus a pointwise linear map.
        modes: m, Fourier modes per direction.
        head: channels of the hidden layer of the pointwise head.
        generator: source of the initial weights; the global CPU generator is left as it was.
        fields: how many fields are given together.
    """

    def __init__(self, width: int, layers: int, modes: int, head: int, generator: Generator, fields: int = 1) -> None:
        super().__init__()
        with _initial_weights_from(generator):
            self.lift = nn.Linear(3 + fields, width)
            self.spectral = nn.ModuleList(SpectralConvolution(width, modes) for _ in range(layers))
            self.pointwise = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
            self.head = nn.ModuleList([nn.Linear(width, head), nn.Linear(head, 1)])
            with torch.no_grad():
                for convolution in self.spectral:
                    weight = torch.rand(width, width, 2 * modes, modes, 2) / width**2
                    convolution.weight.copy_(matrices_of(torch.view_as_complex(weight)))
            first, last = self.head
            if fields > 1:
                for linear in (self.lift, *self.pointwise, first):
                    nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu")
                    nn.init.zeros_(linear.bias)
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, values: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """N_θ(values, t), shape (batch, N, N), for values of that shape, or (batch, fields, N, N),
        on `grid` and t of shape (batch,).
        """
        fields = values[:, None] if values.ndim == 3 else values
        matrices = [convolution.matrices(grid.resolution) for convolution in self.spectral]
        if torch.is_grad_enabled():
            return self._operate(fields, t, grid, matrices)
        points = len(values) * grid.resolution**2
        parts = max(1, min(len(values) // 2, points // _at_once(values.device)))  # a field alone rounds otherwise
        out = torch.empty_like(fields[:, 0])
        for part, *given in zip(*(tensor.tensor_split(parts) for tensor in (out, fields, t)), strict=True):
            part.copy_(self._operate(*given, grid, matrices))
        return out

    def _operate(self, fields: Tensor, t: Tensor, grid: Grid, matrices: list[tuple[Tensor, ...]]) -> Tensor:
        x = grid.points(fields.device).to(fields.dtype)
        channels = *fields.mT.unbind(1), x, x[:, None], t[:, None, None]
        hidden = torch.stack(torch.broadcast_tensors(*channels), dim=-1)
        activate: Callable[[Tensor], Tensor] = partial(_pointwise, self.lift)
        for convolution, weights, pointwise in zip(self.spectral, matrices, self.pointwise, strict=True):
            activated, mapped = _recomputed(_activated, activate, pointwise, hidden)
            hidden, activate = convolution(activated, weights, mapped), gelu
        parts = hidden.split(max(1, _at_once(fields.device) // grid.resolution**2))
        return torch.cat([_recomputed(_head, *self.head, part) for part in parts]).mT


class UNet(nn.Module):
    """DDPM's U-Net without attention, from diffusers: GroupNorm, SiLU, the raw t ∈ [0, 1] as its time.

    The second convolution of each residual block and the last one start near zero, as in DDPM (weights × 10⁻⁵, no bias).
    Normalisation takes the mean of each group out of the field, before the last convolution too. With a group for each channel
    the network hardly sees the mean of its input, and cannot predict the mean of the noise.

    Args:
        channels: of each level; a level halves the grid.
        blocks: residual blocks per level on the way down, one more on the way up.
        groups: of channels that are normalised together; they divide the channels of every level.
        generator: source of the initial weights; the global CPU generator is left as it was.
        fields: how many fields are given together; the output of several starts as 0.
    """

    def __init__(
        self, channels: Sequence[int], blocks: int, groups: int, generator: Generator, fields: int = 1
    ) -> None:
        super().__init__()
        from diffusers import UNet2DModel  # takes seconds to import

        levels = len(channels)
        self.divisor = 2 ** (levels - 1)
        with _initial_weights_from(generator), torch.no_grad():
            self.unet = UNet2DModel(
                in_channels=fields,
                out_channels=1,
                block_out_channels=tuple(channels),
                down_block_types=("DownBlock2D",) * levels,
                up_block_types=("UpBlock2D",) * levels,
                layers_per_block=blocks,
                add_attention=False,
                norm_num_groups=groups,
                norm_eps=1e-6,
                freq_shift=1,
                flip_sin_to_cos=False,
            )
            last = [module.conv2 for module in self.unet.modules() if hasattr(module, "conv2")]
            for convolution in (*last, self.unet.conv_out):
                convolution.weight *= 1e-5
                convolution.bias.zero_()
            for parameter in self.unet.conv_out.parameters() if fields > 1 else ():
                parameter.zero_()

    def forward(self, values: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """N_θ(values, t), shape (batch, N, N), for values of that shape and t of shape (batch,).

        Raises a ValueError if the levels do not halve the grid evenly.
        """
        if grid.resolution % self.divisor:
            raise ValueError(f"the U-Net needs a resolution that {self.divisor} divides, not {grid.resolution}")
        return self.unet(values[:, None] if values.ndim == 3 else values, t, return_dict=False)[0][:, 0]


@contextmanager
def _initial_weights_from(generator: Generator) -> Iterator[None]:
    """PyTorch's initialisers draw from `generator`; the global CPU generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.randint(2**62, (), generator=generator).item())
        yield


def matrices_of(weight: Tensor) -> Tensor:
    """The weight of a spectral convolution from complex numbers laid out as neuraloperator has them, (C, C, 2m, m)."""
    return torch.view_as_real(weight).permute(4, 2, 3, 0, 1).contiguous()


def _pointwise(linear: nn.Linear, fields: Tensor) -> Tensor:
    """The linear layer at every point: one product per field, since one over all points has slow gradients of its weights."""
    weight = linear.weight.T.expand(len(fields), -1, -1)
    return torch.baddbmm(linear.bias, fields.flatten(1, 2), weight).unflatten(1, fields.shape[1:3])


def _activated(activate: Callable[[Tensor], Tensor], linear: nn.Linear, fields: Tensor) -> tuple[Tensor, Tensor]:
    """The activated fields, and the linear layer of them."""
    activated = activate(fields)
    return activated, _pointwise(linear, activated)


def _head(first: nn.Linear, last: nn.Linear, fields: Tensor) -> Tensor:
    """The pointwise head, without its axis of one channel."""
    return last(gelu(_pointwise(first, fields)))[..., 0]


def _at_once(device: torch.device) -> int:
    """Points that go through the network together without gradients, and through its head: a CPU's cache, or a busy GPU."""
    return 2**15 if device.type == "cpu" else 2**18


def _recomputed(function: Callable[..., Any], *inputs: Any) -> Any:
    """function(*inputs); what its backward pass needs is computed again from the inputs, and nothing else is kept."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


def _resolved_modes(n: int, m: int) -> tuple[range, range]:
    """The k₁ ∈ [−m, m) and k₂ ∈ [0, m) with 2|k_i| < n."""
    top = (n - 1) // 2
    return range(max(-m, -top), min(m, top + 1)), range(min(m, top + 1))


@lru_cache(maxsize=32)
def _truncated_fourier(n: int, m: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Real matrices of the truncated transforms, rows and columns (k₂, re/im), (re/im, k₁), (re/im, x₁) as they are used."""
    x = torch.arange(n, dtype=torch.float64) / n
    k1, k2 = (torch.tensor(modes, dtype=torch.float64) for modes in _resolved_modes(n, m))
    angle_1, angle_2 = (2 * math.pi * k[:, None] * x for k in (k1, k2))
    cos_1, sin_1 = angle_1.cos(), angle_1.sin()
    wave_2 = torch.stack([angle_2.cos(), -angle_2.sin()], dim=1)

    analysis_2 = wave_2.reshape(-1, n) / n
    wave_1 = torch.cat([torch.cat([cos_1, sin_1], 1), torch.cat([-sin_1, cos_1], 1)])
    synthesis_2 = (wave_2 * torch.where(k2 > 0, 2, 1)[:, None, None]).reshape(-1, n).T
    return tuple(a.to(device, dtype).contiguous() for a in (analysis_2, wave_1 / n, wave_1.T, synthesis_2))
