"""Settings of the networks N_θ."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Count, Kinds, Settings, up_to

Channels = Annotated[
    int, Field(ge=4, multiple_of=2, strict=True), up_to(10**9)
]  # the time embedding of fewer is not finite


class NetworkBase(Settings):
    """A kind of network; a plugin derives from it."""

    preconditioning: Literal["none", "gaussian"] = Field(
        "none", description="gaussian: the network learns only what the Gaussian baseline leaves."
    )

    @property
    def divisor(self) -> int:
        """What a resolution must be a multiple of."""
        return 1

    @property
    def needs(self) -> str:
        """What it needs of a resolution, in words."""
        return f"multiples of {self.divisor}"

    def takes(self, resolution: int) -> bool:
        """Whether it has values on a grid of so many points per side."""
        return resolution % self.divisor == 0

    @property
    def has_law(self) -> bool:
        """Whether the Gaussian fit of the data is a part of the denoiser."""
        return self.preconditioning == "gaussian"

    @property
    def fields(self) -> int:
        """How many fields the network is given: u_t and, if preconditioned, the data prediction of the Gaussian baseline."""
        return 2 if self.has_law else 1


class GaussianSettings(NetworkBase):
    kind: Literal["gaussian"] = Field(description="No network: the Gaussian baseline, which needs no training.")

    @property
    def has_law(self) -> bool:
        return True


class FNOSettings(NetworkBase):
    kind: Literal["fno"] = Field(description="Fourier neural operator: any grid.")
    width: Count = Field(description="Channels of the hidden fields.")
    layers: Count = Field(description="Fourier layers.")
    modes: Count = Field(description="m: Fourier modes per direction that a layer mixes.")
    head: Count = Field(description="Hidden channels of the pointwise head.")


class UNetSettings(NetworkBase):
    kind: Literal["unet"] = Field(description="U-Net of DDPM, a control that sees pixels: grids that its levels halve.")
    channels: tuple[Channels, ...] = Field(min_length=1, description="Channels of each level; a level halves the grid.")
    blocks: Count = Field(description="Residual blocks per level.")
    groups: Count = Field(description="Groups of channels normalised together; they divide every level's channels.")

    @model_validator(mode="after")
    def _groups_are_equal(self) -> Self:
        for channels in self.channels:
            if channels % self.groups:
                raise ValueError(f"groups: {channels} channels do not fall into {self.groups} equal groups")
        return self

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.channels) - 1)

    @property
    def needs(self) -> str:
        return f"multiples of {self.divisor}, as its levels halve the grid, down to more than a single point"

    def takes(self, resolution: int) -> bool:
        return super().takes(resolution) and resolution > self.divisor


NetworkSettings = Annotated[NetworkBase, Kinds(NetworkBase)]
