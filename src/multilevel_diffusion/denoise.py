"""Denoisers: everything a sampler needs of a model is E[η | X_t = u_t].

The Q-score follows from it, Q∇log p_t(u) = −E[η | X_t = u] / b_t. The paper's network F stands for √α_t Q∇log p_t, so a
learned denoiser reads E[η | u_t] = −(b_t / √α_t) F(u_t, t). F(u, t) = N_θ(γu, t)/γ wraps a network N_θ with a gain γ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from .gaussian import GaussianDenoiser, GaussianLaw, positive
from .grids import Grid
from .priors import Prior
from .sde import ForwardSDE
from .settings import Gain

__all__ = ["Denoiser", "LearnedDenoiser", "PreconditionedDenoiser", "gain_factor", "q_score"]


class Denoiser(Protocol):
    """E[η | X_t = u_t] for the forward process `sde` with noise η ~ `prior`."""

    sde: ForwardSDE
    prior: Prior

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E[η | X_t = u_t], shape (batch, N, N) as u_t; t of shape (batch,)."""
        ...


def q_score(denoiser: Denoiser, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
    """Q∇log p_t(u_t) = −E[η | u_t] / b_t, shape (batch, N, N), for t > 0 of shape (batch,)."""
    return -denoiser.predict_noise(u_t, t, grid) / denoiser.sde.noise_scale(t)[:, None, None]


def gain_factor(gain: Gain, *, native: int, reference: int, resolution: int) -> float:
    """The amplitude γ with which a network is fed on a grid.

    `values`: γ = N_native / N_ref on every grid, N_ref the finest training level. `coefficients`: γ = N_native / N, as in the
    authors' release. They agree at N = N_ref.
    """
    return native / {Gain.VALUES: reference, Gain.COEFFICIENTS: resolution}[gain]


class LearnedDenoiser:
    """The denoiser of a network F(u, t) = N_θ(γu, t)/γ.

    Args:
        network: N_θ(values, t, grid), fields of shape (batch, N, N).
        gain: γ as a function of the resolution.
    """

    def __init__(self, network: nn.Module, sde: ForwardSDE, prior: Prior, gain: Callable[[int], float]) -> None:
        self.network, self.sde, self.prior, self.gain = network, sde, prior, gain
        self.dtype = next(network.parameters()).dtype

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """−(b_t / √α_t) F(u_t, t), computed in the network's precision and returned in the precision of u_t."""
        gamma = self.gain(grid.resolution)
        out = self.network((gamma * u_t).to(self.dtype), t.to(self.dtype), grid).to(u_t.dtype) / gamma
        return -(self.sde.noise_scale(t) / self.sde.alpha(t).sqrt())[:, None, None] * out


class PreconditionedDenoiser:
    """What a preconditioned network adds to the Gaussian baseline:

        E_θ[η | u_t] = E_G[η | u_t] + s_t R_t N_θ(c_t u_t, E_G[X_0 | u_t] / σ, t).

    s_t² is the residual variance of the Gaussian fit on the finest training grid, c_t = (a_t² E‖X_0‖² + b_t² tr Q)^(−½), σ² =
    E‖X_0‖². R_t multiplies mode k by the standard deviation of the residual, (λ_k a_t² κ_k / (a_t² κ_k + b_t²))^½, relative to
    its largest on that grid: so the network adds nothing where the data have nothing. Where N_θ is 0 this is the baseline.

    Args:
        network: N_θ((two fields), t, grid), fields of shape (batch, 2, N, N).
        law: of the data, under the prior.
        reference: the finest training grid.
    """

    def __init__(self, network: nn.Module, law: GaussianLaw, reference: Grid) -> None:
        self.network, self.law, self.sde, self.prior = network, law, law.sde, law.prior
        self.gaussian, self.reference = GaussianDenoiser(law), reference
        self.dtype = next(network.parameters()).dtype
        self._power = law.variance + float(law.mean.square().mean())
        self._noise_power = law.prior.trace(law.grid)
        self._spectra: dict[tuple[Grid, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E_θ[η | u_t], shape (batch, N, N) as u_t; t > 0 of shape (batch,)."""
        eta, data = self.gaussian.predict(u_t, t, grid)
        a2, b2 = self.sde.mean_scale(t) ** 2, self.sde.noise_scale(t) ** 2
        scale = (a2 * self._power + b2 * self._noise_power).rsqrt()
        fields = torch.stack([scale[:, None, None] * u_t, data / self._power**0.5], dim=1)
        out = self.network(fields.to(self.dtype), t.to(self.dtype), grid).to(u_t.dtype)
        kappa, eigenvalues = self._spectrum(self.reference, u_t)
        largest = (eigenvalues * self._share(kappa, a2, b2)).amax(dim=(1, 2), keepdim=True)
        kappa, eigenvalues = self._spectrum(grid, u_t)
        multiplier = (eigenvalues * self._share(kappa, a2, b2) / largest).sqrt()
        shaped = torch.fft.irfft2(torch.fft.rfft2(out) * multiplier, s=out.shape[-2:])
        return eta + self.law.residual(t, self.reference).to(u_t).sqrt()[:, None, None] * shaped

    @staticmethod
    def _share(kappa: Tensor, a2: Tensor, b2: Tensor) -> Tensor:
        signal = a2[:, None, None] * kappa
        return signal / positive(signal + b2[:, None, None])

    def _spectrum(self, grid: Grid, like: Tensor) -> tuple[Tensor, Tensor]:
        key = (grid, like.device, like.dtype)
        if key not in self._spectra:
            self._spectra[key] = self.law.spectrum(grid).to(like), self.prior.spectrum(grid).to(like)
        return self._spectra[key]
