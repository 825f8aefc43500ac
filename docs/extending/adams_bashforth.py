"""The two-step Adams–Bashforth method as a sampler of `multilevel_diffusion`."""

from typing import Literal

from pydantic import Field

from multilevel_diffusion import builds
from multilevel_diffusion.sample import Sampler
from multilevel_diffusion.settings import SamplerBase


class AdamsBashforthSettings(SamplerBase):
    """The two-step Adams–Bashforth method for the probability-flow ODE."""

    kind: Literal["adams-bashforth"] = Field(description="Two-step Adams–Bashforth for the probability-flow ODE.")


class AdamsBashforth(Sampler):
    """u_s / a_s = u_t / a_t + h (η̂_t + (η̂_t − η̂') h / 2h'), h = σ_s − σ_t and h' = σ_t − σ', the step before.

    Order 2, one evaluation per step. The first step and the last take η̂_t alone: the last step is E[X_0 | u_t].
    """

    def step(self, now, s, before, grid, noise):
        h, eta = self.sigma(s) - self.sigma(now.t), now.eta
        if before is not None and s > 0:
            eta = eta + (eta - before.eta) * h / (2 * (self.sigma(now.t) - self.sigma(before.t)))
        return self.sde.mean_scale(s) * (now.u / self.sde.mean_scale(now.t) + h * eta)

    def sigma(self, t):
        """σ_t = b_t / a_t."""
        return self.sde.noise_scale(t) / self.sde.mean_scale(t)


@builds(AdamsBashforthSettings)
def adams_bashforth(settings, denoiser):
    return AdamsBashforth(denoiser)
