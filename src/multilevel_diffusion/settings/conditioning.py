"""Settings of observations and of the methods that condition on them; the formulas are in `observations` and `conditioning`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from .base import (
    Count,
    Finite,
    Kinds,
    Name,
    Positive,
    Removable,
    Resolution,
    Resolutions,
    SetSize,
    Settings,
    Several,
    Start,
    parse,
)
from .samplers import SamplerSettings
from .text import read_yaml, shortened

Fraction = Annotated[Finite, Field(ge=0, le=1)]


class ObservedBase(Settings):
    """What is seen of a field, the same on every grid.

    random: whether each field is seen elsewhere.
    """

    random: ClassVar[bool] = False
    noise: Annotated[Finite, Field(ge=0)] = Field(
        description="Standard deviation of the errors, in units of the field."
    )


class ObservedPointsSettings(ObservedBase):
    random = True
    kind: Literal["points"] = Field(
        description="Values at random points, uniform in the square, others for each field."
    )
    count: Count = Field(description="How many points.")


class ObservedCoarseSettings(ObservedBase):
    kind: Literal["coarse"] = Field(description="The values on a coarser grid: super-resolution.")
    resolution: Resolution = Field(description="Points per side of the coarser grid.")


class ObservedOutsideSettings(ObservedBase):
    kind: Literal["outside"] = Field(description="The values on a grid outside a box: inpainting.")
    resolution: Resolution = Field(description="Points per side of that grid.")
    low: tuple[Fraction, Fraction] = Field((0.25, 0.25), description="Lower corner of the box.")
    high: tuple[Fraction, Fraction] = Field((0.75, 0.75), description="Upper corner of the box.")

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("low: must be below high on both axes")
        return self


class ObservedModesSettings(ObservedBase):
    kind: Literal["modes"] = Field(description="Coefficients of Fourier modes, between walls of cosines.")
    radius: Count = Field(description="r, of the modes |k_i| ≤ r.")


ObservedSettings = Annotated[ObservedBase, Kinds(ObservedBase)]


class MethodBase(Settings):
    """A way to condition a denoiser; a plugin derives from it."""

    def __str__(self) -> str:
        """The kind, and in brackets what differs from the default, as "guided(derivative=denoiser)"."""
        options = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        return f"{self.kind}({', '.join(f'{key}={value}' for key, value in options.items())})" if options else self.kind

    def takes(self, noise: float) -> bool:
        """Whether it is for observations of this noise."""
        return True


class GuidedSettings(MethodBase):
    kind: Literal["guided"] = Field(description="Guidance by the likelihood, with the covariance of the Gaussian fit.")
    derivative: Literal["gaussian", "denoiser"] = Field(
        "gaussian",
        description="Whose derivative: the derivative of the Gaussian fit, which costs nothing, or of the network.",
    )


class DPSSettings(MethodBase):
    kind: Literal["dps"] = Field(description="Diffusion posterior sampling, without a covariance.")
    scale: Positive = Field(1.0, description="ζ, length of its steps.")

    def takes(self, noise: float) -> bool:
        return noise > 0


class ProjectedSettings(MethodBase):
    kind: Literal["projected"] = Field(description="Moves the data prediction onto what was seen, without noise.")

    def takes(self, noise: float) -> bool:
        return noise == 0


MethodSettings = Annotated[MethodBase, Kinds(MethodBase, alone=True)]
"""A method by its kind alone, or as a mapping with its options."""


class ConditioningSettings(Settings):
    """Posteriors of partly observed fields, by each method that takes the noise, beside the exact posteriors."""

    networks: Count = Field(description="How many networks are used, of the first seeds.")
    observed: Removable[dict[Name, ObservedSettings]] = Field(description="What is seen, by name; null removes one.")
    methods: Several[MethodSettings] = Field(description="Methods that are compared.")
    sampler: SamplerSettings = Field(description="A kind of sampler, or a mapping of its kind and options.")
    steps: Count = Field(description="Steps from t = 1 to t = 0.")
    start: Start = Field(Start.PRIOR, description="Where networks start at t = 1, as in `sampling`.")
    truths: SetSize = Field(description="How many fields are observed, one after another.")
    samples: SetSize = Field(description="Samples of each posterior.")
    resolutions: Resolutions = Field(description="Points per side of the grids.")

    @model_validator(mode="after")
    def _something_is_seen(self) -> Self:
        if not self.observed:
            raise ValueError("observed: name something that is seen")
        for name, each in self.observed.items():
            if not any(method.takes(each.noise) for method in self.methods):
                raise ValueError(f"methods: none is for the noise of observed.{name}, {each.noise:g}")
            if not self.sampler.takes(each.noise):
                wrong = "does not end with the data prediction, and would miss"
                raise ValueError(f"sampler: {self.sampler} {wrong} observed.{name}, which has no noise")
        return self


def parse_method(given: str | Mapping[str, Any] | MethodBase, source: str) -> MethodBase:
    """A method as config.yaml has it, as text or not. Raises a UserError if there is none such, or an option is wrong."""
    found = read_yaml(given, f"{source}: '{shortened(given)}'") if isinstance(given, str) else given
    return parse(MethodSettings, found, source)
