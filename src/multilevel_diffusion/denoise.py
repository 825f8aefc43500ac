"""Denoisers: everything a sampler needs of a model is E[η | X_t = u_t].

The Q-score follows from it, Q∇log p_t(u) = −E[η | X_t = u] / b_t. The paper's network F stands for √α_t Q∇log p_t, so a
learned denoiser reads E[η | u_t] = −(b_t / √α_t) F(u_t, t), and F(u, t) = N_θ(γu, t)/γ wraps a network N_θ with a gain γ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from .grids import Grid
from .priors import Prior
from .sde import ForwardSDE
from .settings import Gain

__all__ = ["Denoiser", "LearnedDenoiser", "gain_factor", "q_score"]


class Denoiser(Protocol):
    """E[η | X_t = u_t] for the forward process `sde` with noise η ~ `prior`."""

    sde: ForwardSDE
    prior: Prior

    def noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E[η | X_t = u_t], shape (batch, N, N) as u_t; t of shape (batch,)."""
        ...


def q_score(denoiser: Denoiser, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
    """Q∇log p_t(u_t) = −E[η | u_t] / b_t, shape (batch, N, N), for t > 0 of shape (batch,)."""
    return -denoiser.noise(u_t, t, grid) / denoiser.sde.noise_scale(t)[:, None, None]


def gain_factor(gain: Gain, *, native: int, reference: int, resolution: int) -> float:
    """The amplitude γ with which a network is fed on a grid.

    `values`: γ = N_native / N_ref on every grid, N_ref the finest training level. `coefficients`: γ = N_native / N, as in the
    authors' release. They agree at N = N_ref.
    """
    return native / (reference if gain is Gain.VALUES else resolution)


class LearnedDenoiser:
    """The denoiser of a network F(u, t) = N_θ(γu, t)/γ.

    Args:
        network: N_θ(values, t, grid), fields of shape (batch, N, N).
        gain: γ as a function of the resolution.
    """

    def __init__(self, network: nn.Module, sde: ForwardSDE, prior: Prior, gain: Callable[[int], float]) -> None:
        self.network, self.sde, self.prior, self.gain = network, sde, prior, gain
        self.dtype = next(network.parameters()).dtype

    def noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """−(b_t / √α_t) F(u_t, t), computed in the network's precision and returned in that of u_t."""
        gamma = self.gain(grid.resolution)
        out = self.network((gamma * u_t).to(self.dtype), t.to(self.dtype), grid).to(u_t.dtype) / gamma
        return -(self.sde.noise_scale(t) / self.sde.alpha(t).sqrt())[:, None, None] * out
