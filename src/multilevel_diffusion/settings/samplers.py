"""Settings of the samplers; their formulas are in `sample`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Count, Finite, Kinds, Resolutions, SetSize, Settings, Start, TimeGrid, parse
from .text import read_yaml, shortened

Stochasticity = Annotated[Finite, Field(ge=0, le=1)]


class SamplerBase(Settings):
    """A kind of sampler; a plugin derives from it."""

    times: TimeGrid = Field(TimeGrid.UNIFORM, description="Equal steps in t, λ_t, σ_t^(1/7) or the angle.")

    def __str__(self) -> str:
        """The kind, and in brackets what differs from the default, as "dpm-solver++(times=karras)"."""
        options = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        words = (
            f"{key}={value:.15g}" if isinstance(value, float) else f"{key}={value}" for key, value in options.items()
        )
        return f"{self.kind}({', '.join(words)})" if options else self.kind

    def takes(self, noise: float) -> bool:
        """Whether it is for observations of this noise. One that does not end with the data prediction misses exact ones."""
        return True


class _EndsElsewhere(SamplerBase):
    """A sampler whose last step adds noise to the data prediction, or extrapolates."""

    def takes(self, noise: float) -> bool:
        return noise > 0


class EulerMaruyamaSettings(_EndsElsewhere):
    kind: Literal["euler-maruyama"] = Field(description="Euler–Maruyama for the reverse SDE, as in the paper.")


class HeunSettings(SamplerBase):
    kind: Literal["heun"] = Field(description="Heun's method for the probability-flow ODE, two evaluations per step.")


class AncestralSettings(SamplerBase):
    kind: Literal["ancestral"] = Field(description="Steps between DDIM and DDPM.")
    stochasticity: Stochasticity = Field(1.0, description="0 is DDIM, 1 is DDPM.")


class DPMSolverSettings(SamplerBase):
    kind: Literal["dpm-solver++"] = Field(description="DPM-Solver++ 2M, an exponential integrator.")
    stochasticity: Stochasticity = Field(0.0, description="0 solves the ODE, 1 the SDE.")


class GaussianExponentialSettings(_EndsElsewhere):
    kind: Literal["gaussian-exponential"] = Field(
        description="What a network adds, along the exact flow of its Gaussian fit."
    )
    times: TimeGrid = Field(TimeGrid.ANGLE, description="Equal steps in t, λ_t, σ_t^(1/7) or the angle.")
    stochasticity: Literal[0, 1] = Field(0, description="0 solves the ODE, 1 the SDE.")


class PredictorCorrectorSettings(_EndsElsewhere):
    kind: Literal["predictor-corrector"] = Field(description="Euler–Maruyama, then Langevin steps preconditioned by Q.")
    corrections: Count = Field(1, description="Langevin steps after each prediction.")
    snr: Annotated[Finite, Field(gt=0, le=1)] = Field(0.16, description="Signal to noise of Langevin.")


SamplerSettings = Annotated[SamplerBase, Kinds(SamplerBase, alone=True)]
"""A sampler by its kind alone, or as a mapping with its options."""


class SamplingSettings(Settings):
    """Samples of every trained network."""

    sampler: SamplerSettings = Field(description="A kind of sampler, or a mapping of its kind and options.")
    steps: Count = Field(description="Steps from t = 1 to t = 0.")
    start: Start = Field(
        Start.PRIOR, description="Where samples start at t = 1: N(0,Q), or the law of the Gaussian fit there."
    )
    samples: SetSize = Field(description="Fields drawn on each grid.")
    resolutions: Resolutions = Field(description="Points per side of the grids that are sampled on.")


def parse_sampler(given: str | Mapping[str, Any] | SamplerBase, source: str) -> SamplerBase:
    """A sampler as config.yaml has it, as text or not. Raises a UserError if there is none such, or an option is wrong."""
    found = read_yaml(given, f"{source}: '{shortened(given)}'") if isinstance(given, str) else given
    return parse(SamplerSettings, found, source)
