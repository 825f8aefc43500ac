"""Two-phase media as data of `multilevel_diffusion`."""

from typing import Literal

import torch
from pydantic import Field

from multilevel_diffusion import Bessel, builds
from multilevel_diffusion.settings import Geometry, Positive, SampledDataSettings, Seed


class MediaSettings(SampledDataSettings):
    """Fields of ±1: where a smooth Gaussian field is above its mean, and where below."""

    geometries = (Geometry.TORUS,)
    kind: Literal["two-phase-media"] = Field(description="Periodic fields of two phases, 1 and −1.")
    shift: Positive = Field(
        9.0, description="c of the Gaussian field, of covariance (c − Δ)^(−2): less is coarser grain."
    )
    seed: Seed = Field(0, description="Seed of all four sets.")


@builds(MediaSettings)
def media(settings, grid):
    sizes = {"train": settings.train, "validation": settings.validation}
    sizes |= {"reference": settings.test, "floor": settings.test}  # the test set, and a second one
    law = Bessel(grid.resolution, shift=settings.shift, power=1)
    smooth = law.sample(sum(sizes.values()), grid, seed=settings.seed)
    fields = torch.where(smooth > smooth.mean((1, 2), keepdim=True), 1.0, -1.0)
    return dict(zip(sizes, fields.split(list(sizes.values())), strict=True))
