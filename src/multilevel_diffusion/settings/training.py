"""Settings of the training up a ladder of levels, and of its validation."""

import itertools
import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from .base import Count, Finite, Positive, Resolution, Resolutions, Settings


class OtherGrid(Settings):
    """A coarser grid that batches of a level are drawn on now and then."""

    resolution: Resolution = Field(description="Points per side.")
    probability: Annotated[Finite, Field(gt=0, lt=1)] = Field(description="Probability that a batch is drawn on it.")


class Level(Settings):
    """A level of the training ladder, so many epochs or so many steps long."""

    resolution: Resolution = Field(description="Points per side.")
    others: tuple[OtherGrid, ...] = Field(
        (),
        description="Coarser grids among which each batch draws its own; the level's grid has the rest of the probability.",
    )
    epochs: Count | None = Field(None, description="Length in epochs.")
    steps: Count | None = Field(None, description="Length in steps, instead.")
    batch_size: Count | None = Field(None, description="Batch size of this level, if it has its own.")
    learning_rate: Positive | None = Field(None, description="Learning rate of this level, if it has its own.")

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"the level at {self.resolution} needs either epochs or steps")
        return self

    @model_validator(mode="after")
    def _others_are_coarser(self) -> Self:
        for other in self.others:
            if sum(other.resolution == each.resolution for each in self.others) > 1:
                raise ValueError(
                    f"others: {other.resolution} is there twice, at the level {self.resolution}; give it once"
                )
            if other.resolution >= self.resolution:
                raise ValueError(
                    f"others: {other.resolution}, which is not coarser than the level at {self.resolution}"
                )
        if self.shares[self.resolution] <= 0:
            raise ValueError(f"others: their probabilities must be below 1 together, at the level {self.resolution}")
        return self

    @property
    def shares(self) -> dict[int, float]:
        """Resolution to the probability that a batch is drawn on it, the level's own last."""
        others = {other.resolution: other.probability for other in self.others}
        return others | {self.resolution: 1 - sum(other.probability for other in self.others)}

    @property
    def label(self) -> str:
        """Its resolutions, as "16+32+64"."""
        return "+".join(map(str, self.shares))


def _climbing(ladder: tuple[Level, ...]) -> tuple[Level, ...]:
    resolutions = [level.resolution for level in ladder]
    if any(fine <= coarse for coarse, fine in itertools.pairwise(resolutions)):
        raise ValueError(f"the resolutions of the ladder must increase, got {resolutions}")
    return ladder


Ladder = Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(_climbing)]


class TrainingSettings(Settings):
    """Adam on the denoising loss, up a ladder of levels."""

    ladder: Ladder = Field(description="Levels of increasing resolution; the last one is N_ref.")
    steps_per_epoch: Count | None = Field(None, description="Steps of an epoch; null: one pass through the data.")
    batch_size: Count = Field(description="Fields per step.")
    learning_rate: Positive = Field(description="Learning rate of Adam; the highest one if the schedule is one-cycle.")
    weight_decay: Annotated[Finite, Field(ge=0)] = Field(
        0.0, description="Coupled weight decay of Adam, in units of the loss times N_native²."
    )
    schedule: Literal["constant", "one-cycle"] = Field(
        "constant", description="Schedule of the learning rate over the whole ladder."
    )
    averaging: Annotated[Finite, Field(ge=0, lt=1)] = Field(
        0.0, description="Decay of an exponential average of the weights, which is then the result; 0 for none."
    )
    snapshot_every: Count | None = Field(None, description="Epochs between snapshots of the network; null for none.")

    def epochs(self, fields: int | None) -> int:
        """How many there are, on so many fields; None for a mixture. See `training.epochs_of`."""

        def length(level: Level) -> int:
            steps = self.steps_per_epoch or math.ceil(fields / (level.batch_size or self.batch_size))
            return level.epochs or math.ceil(level.steps / steps)

        return sum(map(length, self.ladder))

    @property
    def reference_resolution(self) -> int:
        """N_ref, the finest training level."""
        return self.ladder[-1].resolution


class ValidationSettings(Settings):
    """Loss on validation data after each epoch, with fixed times and noises; the epoch of least loss at N_ref is kept."""

    resolutions: Resolutions = Field(description="Points per side of the grids it is measured on; N_ref is among them.")
    draws: Count = Field(1, description="Times and noises per field.")
    test: Annotated[int, Field(ge=0, strict=True)] = Field(0, description="Test fields with a loss, for figures.")
