"""Settings of the priors N(0,Q); their formulas are in `priors`."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Finite, Kinds, Settings

Amplitude = Annotated[Finite, Field(ge=1e-6, le=1e6)]  # whose squares are numbers in single precision
Scale = Annotated[
    Amplitude | Literal["auto"],
    Field(description="Amplitude s of the laplacian part; auto: by the variance of the data."),
]
Mode = Annotated[int, Field(ge=1, le=2**12, strict=True)]
Modes = Annotated[tuple[Mode, Mode], Field(description="m₁, m₂: −m₁ ≤ k₁ < m₁, 0 ≤ k₂ < m₂, and mirror images.")]


class PriorBase(Settings):
    """A kind of prior; a plugin derives from it."""


class StandardSettings(PriorBase):
    kind: Literal["standard"] = Field(description="White noise, which is not trace class: A_k = 1.")


class FNOPriorSettings(PriorBase):
    kind: Literal["fno"] = Field(description="Finite rank: A_k = |w_k| on the modes of a Fourier layer, w random.")
    modes: Modes


class LaplacianSettings(PriorBase):
    kind: Literal["laplacian"] = Field(description="A power of the Laplacian: A_k = s μ_k^(−0.55), A_0 = 0.")
    scale: Scale


class BesselSettings(PriorBase):
    kind: Literal["bessel"] = Field(description="A Bessel potential: A_k = (c + μ_k)^(−p).")
    shift: Annotated[Finite, Field(ge=1e-3, le=1e6)] = Field(description="c.")
    power: Annotated[Finite, Field(gt=0, le=4)] = Field(description="p; the prior is trace class for p > ½.")

    @model_validator(mode="after")
    def _has_numbers(self) -> Self:
        mean, first = (float(mu) ** -self.power for mu in (self.shift, self.shift + (2 * math.pi) ** 2))
        if not (first >= 1e-9 and mean <= 1e6 and mean <= 1e5 * first):
            said = f"amplitudes {mean:.1g} of the mean and {first:.1g} of the next modes"
            raise ValueError(f"shift, power: {said}; single precision needs 1e-9 to 1e6, and no factor of 1e5 between")
        return self


class CombinedSettings(PriorBase):
    kind: Literal["combined"] = Field(description="fno on top of the tail of laplacian: |s₂ w_k + s μ_k^(−0.55)|.")
    scale: Scale
    fno_scale: Amplitude = Field(description="s₂, amplitude of the fno part.")
    modes: Modes


PriorSettings = Annotated[PriorBase, Kinds(PriorBase)]
