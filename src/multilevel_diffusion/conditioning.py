"""Denoisers given observations y = A X_0 + ε: wrappers of any denoiser, so that every sampler draws from a posterior.

Conditioning adds Q∇log p(y | u_t) to the Q-score, which moves the data prediction D_t = E[X_0 | u_t] by

    Δ_t = (b_t² / a_t) Q∇log p(y | u_t),        E[η | u_t, y] = E[η | u_t] − (a_t / b_t) Δ_t.

The methods differ in what they take for p(y | u_t) = ∫ N(y; A x, σ² I) p(x | u_t) dx. Gradients are in L², and Q before
them makes Δ_t a function whatever the grid. `law` is the Gaussian fit N(m, C) with C_t the covariance of X_0 given u_t that
follows from it (`GaussianLaw.covariance`). By default it is the fit of the denoiser, or N(0,Q) if it has none. Then C_t = b_t² Q,
the covariance within a component of the mixture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .denoise import Denoiser
from .errors import ObservationsError
from .gaussian import GaussianLaw, prior_law
from .grids import Grid
from .observations import Observations
from .posteriors import Posterior, factor

__all__ = ["DPS", "Conditioned", "Guided", "Projected"]


class Conditioned(ABC):
    """A denoiser given observations. A subclass writes `_moved`."""

    def __init__(self, denoiser: Denoiser, observations: Observations, law: GaussianLaw | None = None) -> None:
        self.denoiser, self.observations = denoiser, observations
        self.sde, self.prior = denoiser.sde, denoiser.prior
        if hasattr(denoiser, "law"):  # where samplers may start
            self.law: GaussianLaw = denoiser.law
        self._covariances = law or getattr(denoiser, "law", None) or prior_law(denoiser.prior)

    @abstractmethod
    def _moved(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """E[η | u_t] and Δ_t, shapes (batch, N, N); t of shape (batch,), all equal."""

    def predict_noise(self, u_t: Tensor, t: Tensor, grid: Grid) -> Tensor:
        """E[η | u_t, y], shape (batch, N, N) as u_t; t > 0 of shape (batch,)."""
        result = torch.empty_like(u_t)
        for time in t.unique():
            chosen = t == time
            eta, moved = self._moved(u_t[chosen], t[chosen], grid)
            result[chosen] = eta - self.sde.mean_scale(time) / self.sde.noise_scale(time) * moved
        return result

    def begin(self, u_1: Tensor, t: Tensor, grid: Grid, streams: Sequence[torch.Generator], block: int) -> Tensor:
        """u_1 with a_1 X in the kernel of Q, X drawn from the posterior of the law: no noise ever moves what lies there.

        Shape (n, N, N) as u_1, for t of shape (1,); each stream draws `block` fields.
        """
        if not self.prior.kernel(grid).any():
            return u_1
        posterior = Posterior(self._covariances, self.observations, grid)
        x = torch.cat([posterior.sample(block, each) for each in streams])[: len(u_1)].to(u_1)
        return self.prior.project(u_1, grid) + self.sde.mean_scale(t).to(u_1) * (x - self.prior.project(x, grid))

    def _data(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """E[η | u_t] and D_t."""
        eta = self.denoiser.predict_noise(u_t, t, grid)
        a, b = self.sde.mean_scale(t)[:, None, None], self.sde.noise_scale(t)[:, None, None]
        return eta, (u_t - b * eta) / a

    def _solved(self, residuals: Tensor, t: Tensor | None, grid: Grid) -> Tensor:
        """(A C_t A* + σ² I)⁻¹ r for r of shape (batch, m), with C where no t is given; float64, since it may be large."""
        of = self.observations
        found = factor(of.operator, self._covariances, of.noise, grid, residuals.device, t)
        return torch.cholesky_solve(residuals.T.double(), found).T

    def _pulled(self, u_t: Tensor, t: Tensor, grid: Grid, weigh: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """E[η | u_t], and (b_t² / a_t) Q (∂D_t/∂u_t)* A* z with z the `weigh` of y − A D_t, both of shape (batch, m)."""
        of = self.observations
        with torch.enable_grad():
            u = u_t.detach().requires_grad_()
            eta, data = self._data(u, t, grid)
            z = weigh(of.residual(data.detach(), grid))
            (pulled,) = torch.autograd.grad(data, u, of.operator.adjoint(z, grid).to(data))
        scale = (self.sde.noise_scale(t) ** 2 / self.sde.mean_scale(t))[:, None, None]
        return eta.detach(), scale * self.prior.color(self.prior.color(pulled, grid), grid)

    def _spread(self, z: Tensor, t: Tensor | None, grid: Grid) -> Tensor:
        """C_t A* z for z of shape (batch, m)."""
        return self._covariances.covariance(self.observations.operator.adjoint(z, grid), grid, t)


class Guided(Conditioned):
    """X_0 given u_t taken for N(D_t, C_t), so that p(y | u_t) ≈ N(A D_t, S_t) with S_t = A C_t A* + σ² I, and

        Δ_t = (b_t² / a_t) Q (∂D_t/∂u_t)* A* S_t⁻¹ (y − A D_t).

    ΠGDM (Song et al. 2023, "Pseudoinverse-guided diffusion models for inverse problems", eq. 7 and 8) with the covariance of the
    Gaussian fit instead of a multiple of the identity. Exact for Gaussian data. There ∂D_t/∂u_t = (a_t / b_t²) C_t Q⁻¹, and Δ_t =
    C_t A* S_t⁻¹ (y − A D_t) is kriging around D_t: without noise A D_t(y) = y at every step.

    That derivative costs nothing and serves other data too, if C is theirs. With C = Q it is blind to what of them is not within
    a component, as which one y speaks for. The derivative of the denoiser sees that, and with the exact score finds the weights
    of components.
    But near t = 1 it multiplies the errors of a network by b_t³ / a_t², and samples may run away.

    Args:
        by_derivative: whether ∂D_t/∂u_t is the derivative of the denoiser, by a vector–Jacobian product, or else of the fit.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observations: Observations,
        law: GaussianLaw | None = None,
        *,
        by_derivative: bool = False,
    ) -> None:
        super().__init__(denoiser, observations, law)
        self.by_derivative = by_derivative

    def _moved(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        if self.by_derivative:
            return self._pulled(u_t, t, grid, lambda residuals: self._solved(residuals, t[:1], grid))
        eta, data = self._data(u_t, t, grid)
        z = self._solved(self.observations.residual(data, grid), t[:1], grid)
        return eta, self._spread(z, t[:1], grid).to(eta)


class DPS(Conditioned):
    """Diffusion posterior sampling: X_0 given u_t taken for D_t, p(y | u_t) ≈ N(A D_t, σ² I) (Chung et al. 2022,
    arXiv 2209.14687).

    Their algorithm 1 does not follow the gradient of that, which no sampler can where σ is small, but one divided by the norm of
    the residual. So Δ_t = (b_t² / a_t) Q (∂D_t/∂u_t)* A* z with

        z = ζ m^½ (y − A D_t) / (σ ‖y − A D_t‖),

    which is (y − A D_t) / σ² once the residual is as large as the noise.

    Args:
        scale: ζ > 0.

    Raises:
        UserError: if σ = 0.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observations: Observations,
        law: GaussianLaw | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__(denoiser, observations, law)
        if not observations.noise > 0:
            raise ObservationsError("dps: it divides by the noise, and that is 0; give one, or take another method")
        self.scale = scale

    def _moved(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        return self._pulled(u_t, t, grid, self._normalised)

    def _normalised(self, residuals: Tensor) -> Tensor:
        norm = residuals.norm(dim=1, keepdim=True).clamp(min=torch.finfo(residuals.dtype).tiny)
        return self.scale * residuals.shape[1] ** 0.5 / self.observations.noise * residuals / norm


class Projected(Conditioned):
    """D_t moved onto {A u = y}, Δ_t = C A* (A C A*)⁻¹ (y − A D_t): the smallest move in the norm ‖C^(−½) ·‖, at every step.

    The correction of ECI sampling (Cheng et al. 2024, arXiv 2412.01786, section 3.1), whose norm is the L² norm. For observations
    without noise.

    Raises:
        UserError: if σ > 0.
    """

    def __init__(self, denoiser: Denoiser, observations: Observations, law: GaussianLaw | None = None) -> None:
        super().__init__(denoiser, observations, law)
        if observations.noise > 0:
            raise ObservationsError("projected: it is for observations without noise; take another method")

    def _moved(self, u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        eta, data = self._data(u_t, t, grid)
        z = self._solved(self.observations.residual(data, grid), None, grid)
        return eta, self._spread(z, None, grid).to(eta)
