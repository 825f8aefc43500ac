"""The forward process dX_t = −½ α_t X_t dt + √α_t dW^Q_t on t ∈ [0, 1], with α_t = β_min + (β_max − β_min) t.

Given X_0 = u_0 it is u_t = a_t u_0 + b_t η with η ~ N(0,Q),

    a_t = exp(−½ ∫₀ᵗ α_r dr) = exp(−¼ (β_max − β_min) t² − ½ β_min t),        b_t² = 1 − a_t²

(Hagemann et al., arXiv 2303.04772, section 3; the schedule is that of Song et al. 2021, arXiv 2011.13456, eq. 32).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ForwardSDE"]


@dataclass(frozen=True)
class ForwardSDE:
    """The variance-preserving process with linear α_t. Times are tensors of shape (batch,), fields (batch, N, N)."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def alpha(self, t: Tensor) -> Tensor:
        """α_t, same shape as t."""
        return self.beta_min + (self.beta_max - self.beta_min) * t

    def log_mean_scale(self, t: Tensor) -> Tensor:
        """log a_t, same shape as t."""
        return -0.25 * (self.beta_max - self.beta_min) * t**2 - 0.5 * self.beta_min * t

    def mean_scale(self, t: Tensor) -> Tensor:
        """a_t, same shape as t."""
        return self.log_mean_scale(t).exp()

    def noise_scale(self, t: Tensor) -> Tensor:
        """b_t = (1 − a_t²)^½, same shape as t; exact for small t."""
        return (-torch.expm1(2 * self.log_mean_scale(t))).sqrt()

    def perturb(self, u_0: Tensor, t: Tensor, eta: Tensor) -> Tensor:
        """u_t = a_t u_0 + b_t η; u_0 and η of shape (batch, N, N), t of shape (batch,)."""
        return self.mean_scale(t)[:, None, None] * u_0 + self.noise_scale(t)[:, None, None] * eta
