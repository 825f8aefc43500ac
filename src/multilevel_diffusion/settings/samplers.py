"""Settings of the samplers; their formulas are in `sample`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from .base import Count, Kinds, Resolutions, SetSize, Settings, TimeGrid, kinds_of, parse

__all__ = [
    "AncestralSettings",
    "DPMSolverSettings",
    "EulerMaruyamaSettings",
    "HeunSettings",
    "PredictorCorrectorSettings",
    "SamplerBase",
    "SamplerSettings",
    "SamplingSettings",
    "parse_sampler",
    "sampler_kinds",
]

Stochasticity = Annotated[float, Field(ge=0, le=1, strict=True)]


class SamplerBase(Settings):
    """A kind of sampler; a plugin derives from it."""

    times: TimeGrid = Field(
        TimeGrid.UNIFORM, description="Where the denoiser is evaluated: equal steps in t, in λ_t, or in σ_t^(1/7)."
    )

    def __str__(self) -> str:
        """The kind, and in brackets what differs from the default, as "dpm-solver++(times=karras)"."""
        options = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        changed = ", ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
        )
        return f"{self.kind}({changed})" if changed else self.kind


class EulerMaruyamaSettings(SamplerBase):
    """The paper's sampler."""

    kind: Literal["euler-maruyama"] = Field(description="Euler–Maruyama for the reverse SDE, as in the paper.")


class HeunSettings(SamplerBase):
    """Heun's method for the probability-flow ODE."""

    kind: Literal["heun"] = Field(description="Heun's method for the probability-flow ODE, two evaluations a step.")


class AncestralSettings(SamplerBase):
    """DDIM and DDPM."""

    kind: Literal["ancestral"] = Field(description="Steps between DDIM and DDPM.")
    stochasticity: Stochasticity = Field(1.0, description="0 is DDIM, 1 is DDPM.")


class DPMSolverSettings(SamplerBase):
    """DPM-Solver++ 2M."""

    kind: Literal["dpm-solver++"] = Field(description="DPM-Solver++ 2M, an exponential integrator.")
    stochasticity: Stochasticity = Field(0.0, description="0 solves the ODE, 1 the SDE.")


class PredictorCorrectorSettings(SamplerBase):
    """Euler–Maruyama with Langevin corrections."""

    kind: Literal["predictor-corrector"] = Field(description="Euler–Maruyama, then Langevin steps preconditioned by Q.")
    corrections: Count = Field(1, description="Langevin steps after each prediction.")
    snr: Annotated[float, Field(gt=0, le=1, strict=True)] = Field(
        0.16, description="Signal-to-noise ratio of a Langevin step."
    )


SamplerSettings = Annotated[SamplerBase, Kinds(SamplerBase, alone=True)]
"""A sampler by its kind alone, or as a mapping with its options."""


class SamplingSettings(Settings):
    """Samples of every trained network."""

    sampler: SamplerSettings = Field(description="A kind of sampler, or a mapping of its kind and options.")
    steps: Count = Field(description="Steps from t = 1 to t = 0.")
    samples: SetSize = Field(description="Fields drawn on each grid.")
    resolutions: Resolutions = Field(description="Points per side of the grids that are sampled on.")


def sampler_kinds() -> list[str]:
    """The kinds of sampler, in words for help."""
    return list(kinds_of(SamplerBase))


def parse_sampler(text: Any, source: str) -> SamplerBase:
    """A sampler as the command line gives it: its kind, or a YAML mapping as in config.yaml.

    Raises:
        UserError: if there is no such sampler, or an option is unknown or out of range.
    """
    try:
        data = yaml.safe_load(text) if isinstance(text, str) else text
    except yaml.YAMLError:
        data = text
    return parse(SamplerSettings, data, source)
