"""Settings of the priors N(0,Q); their formulas are in `priors`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count, Kinds, Positive, Settings

__all__ = [
    "BesselSettings",
    "CombinedSettings",
    "FNOPriorSettings",
    "LaplacianSettings",
    "PriorBase",
    "PriorSettings",
    "StandardSettings",
]

Scale = Annotated[
    Positive | Literal["auto"],
    Field(
        description="Amplitude s of the laplacian part. `auto` takes it from the variance of the training data, so that "
        "noise and data are in the ratio that the paper's `combined` prior has on the digits (`models.NOISE_TO_DATA`)."
    ),
]
Modes = Annotated[
    tuple[Count, Count], Field(description="(m₁, m₂): the modes −m₁ ≤ k₁ < m₁, 0 ≤ k₂ < m₂ and their mirror images.")
]


class PriorBase(Settings):
    """A kind of prior; a plugin derives from it."""


class StandardSettings(PriorBase):
    """White noise, which is not trace class."""

    kind: Literal["standard"] = Field(description="White noise: A_k = 1.")


class FNOPriorSettings(PriorBase):
    """The finite-rank prior of one Fourier layer with random weights."""

    kind: Literal["fno"] = Field(description="Finite rank: A_k = |w_k| on the modes of a Fourier layer.")
    modes: Modes


class LaplacianSettings(PriorBase):
    """A power of the Laplacian on fields of mean zero."""

    kind: Literal["laplacian"] = Field(description="A_k = s μ_k^(−0.55), A_0 = 0.")
    scale: Scale


class BesselSettings(PriorBase):
    """A Bessel potential."""

    kind: Literal["bessel"] = Field(description="A_k = (c + μ_k)^(−p).")
    shift: Positive = Field(description="c.")
    power: Positive = Field(description="p; the prior is trace class for p > ½.")


class CombinedSettings(PriorBase):
    """The fno prior's modes on top of the laplacian's tail."""

    kind: Literal["combined"] = Field(description="A_k = |s₂ w_k + s μ_k^(−0.55)|.")
    scale: Scale
    fno_scale: Positive = Field(description="s₂, amplitude of the fno part.")
    modes: Modes


PriorSettings = Annotated[PriorBase, Kinds(PriorBase)]
