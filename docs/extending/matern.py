"""A Matérn prior for `multilevel_diffusion`."""

import math
from typing import Literal

from pydantic import Field

from multilevel_diffusion import Prior, builds
from multilevel_diffusion.settings import Positive, PriorBase


class MaternSettings(PriorBase):
    """The Matérn covariance, made periodic."""

    kind: Literal["matern"] = Field(description="The Matérn covariance, made periodic.")
    std: Positive = Field(description="σ, the standard deviation of a pixel on a grid that resolves ℓ.")
    length: Positive = Field(description="ℓ, as a part of the period.")
    smoothness: Positive = Field(description="ν; the prior is trace class for every ν > 0.")


class Matern(Prior):
    """A_k = N_native (2π)^½ σ ℓ (1 + ℓ² μ_k / 2ν)^(−(ν+1)/2), μ_k = (2π|k|)²."""

    trace_class = True

    def __init__(self, native_resolution, std, length, smoothness):
        super().__init__(native_resolution)
        self.std, self.length, self.smoothness = std, length, smoothness

    def amplitude(self, k1, k2):
        mu = (2 * math.pi) ** 2 * (k1.double() ** 2 + k2.double() ** 2)  # amplitudes are float64
        decay = 1 + self.length**2 * mu / (2 * self.smoothness)
        scale = self.native_resolution * math.sqrt(2 * math.pi) * self.std * self.length
        return scale * decay ** (-(self.smoothness + 1) / 2)


@builds(MaternSettings)
def matern(settings, native_resolution, generator, state):
    return Matern(native_resolution, settings.std, settings.length, settings.smoothness)
