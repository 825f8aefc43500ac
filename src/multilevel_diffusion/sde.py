"""The forward process dX_t = −½ α_t X_t dt + √α_t dW^Q_t on t ∈ [0, 1], with α_t = β_min + (β_max − β_min) t.

Given X_0 = u_0 it is u_t = a_t u_0 + b_t η with η ~ N(0,Q),

    a_t = exp(−½ ∫₀ᵗ α_r dr) = exp(−¼ (β_max − β_min) t² − ½ β_min t),        b_t² = 1 − a_t²

(Hagemann et al., arXiv 2303.04772, section 3; the schedule is from Song et al. 2021, arXiv 2011.13456, eq. 32).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def half_log_snr(self, t: Tensor) -> Tensor:
        """λ_t = log(a_t / b_t), same shape as t, decreasing, ∞ at t = 0."""
        return self.log_mean_scale(t) - self.noise_scale(t).log()

    def signal_at_end(self, power: float, trace: float) -> float:
        """(a_1² E‖u‖² / b_1² tr Q)^½: what is left of data of power E‖u‖² at t = 1, which sampling from N(0,Q) takes for 0."""
        return self.half_log_snr(torch.ones(1, dtype=torch.float64)).exp().item() * (power / trace) ** 0.5

    def time(self, half_log_snr: Tensor) -> Tensor:
        """The t at which λ_t is this, same shape: the root of −log a_t = ½ log(1 + e^(−2λ)), a quadratic."""
        c = 0.5 * torch.nn.functional.softplus(-2 * half_log_snr)
        return 2 * c / (0.5 * self.beta_min + (0.25 * self.beta_min**2 + (self.beta_max - self.beta_min) * c).sqrt())

    def perturb(self, u_0: Tensor, t: Tensor, eta: Tensor) -> Tensor:
        """u_t = a_t u_0 + b_t η; u_0 and η of shape (batch, N, N), t of shape (batch,)."""
        return self.mean_scale(t)[:, None, None] * u_0 + self.noise_scale(t)[:, None, None] * eta

    def transition(self, u_t: Tensor, t: Tensor, s: Tensor, eta: Tensor) -> Tensor:
        """u_s = (a_s/a_t) u_t + (1 − a_s²/a_t²)^½ η for s ≥ t, the exact step along a path; shapes as in `perturb`."""
        log_ratio = self.log_mean_scale(s) - self.log_mean_scale(t)
        return log_ratio.exp()[:, None, None] * u_t + (-torch.expm1(2 * log_ratio)).sqrt()[:, None, None] * eta
