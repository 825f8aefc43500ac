"""Settings of an experiment: data, arms, training, sampling, and what is measured; and the frozen slice that one arm needs."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from .base import (
    Count,
    Gain,
    Geometry,
    Line,
    Name,
    Removable,
    Resolution,
    Resolutions,
    Seed,
    SetSize,
    Settings,
    Several,
    Start,
)
from .conditioning import ConditioningSettings
from .data import DRAWN, DataSettings, MixtureDataSettings, SampledDataSettings, demand_geometry
from .networks import NetworkBase, NetworkSettings
from .priors import FNOPriorSettings, PriorBase, PriorSettings
from .samplers import SamplerSettings, SamplingSettings
from .training import TrainingSettings, ValidationSettings


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `overlay` on top; lists are replaced whole, and mappings by one that names its `kind`."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = merge(old, value) if both and "kind" not in value else value
    return merged


class ScoreErrorSettings(Settings):
    """The error of each snapshot against the exact score, on fresh samples."""

    resolutions: Resolutions = Field(description="Points per side of the grids it is measured on.")
    batches: Count = Field(description="Batches of samples.")
    batch_size: SetSize = Field(description="Samples per batch.")


class ConvergenceSettings(Settings):
    """Distance of samples to the test set against the number of evaluations of the denoiser, one curve per sampler."""

    networks: Count = Field(description="How many networks are sampled, of the first seeds.")
    samplers: Several[SamplerSettings] = Field(description="Samplers that are compared.")
    evaluations: Several[Count] = Field(description="Numbers of evaluations.")
    reference_evaluations: Count = Field(description="Evaluations of the Euler–Maruyama that all are compared with.")
    samples: SetSize = Field(description="Fields in each of the sets compared.")
    resolutions: Resolutions = Field(description="Points per side of the grids.")
    start: Start = Field(Start.PRIOR, description="Where networks start at t = 1, as in `sampling`.")


class _DrawnFinerSettings(Settings):
    """Fields drawn on a fine grid and restricted to coarser ones."""

    resolutions: Resolutions = Field(description="Points per side of the grids.")
    drawn_on: Resolution = Field(description="Points per side of the finer grid that fields are drawn on.")
    samples: SetSize = Field(description="How many fields.")
    steps: Count = Field(description="Steps in time.")

    @model_validator(mode="after")
    def _drawn_on_the_finest(self) -> Self:
        if max(self.resolutions) >= self.drawn_on:
            raise ValueError(f"drawn_on {self.drawn_on} must be finer than resolution {max(self.resolutions)}")
        return self


class LogDensitySettings(_DrawnFinerSettings):
    """Log densities of true fields relative to N(0,Q), followed to t = 1 along the probability-flow ODE."""

    networks: Count = Field(description="How many networks are used, of the first seeds.")
    probes: Count = Field(description="Random directions per field that estimate the trace.")


class TruncationSettings(_DrawnFinerSettings):
    """Theorem 3.2: paths of the forward process on a fine grid, and truncated to the modes of each resolution."""

    resolutions: Annotated[Resolutions, Field(min_length=2)] = Field(description="Points per side; a rate needs two.")


class AlongTrainingSettings(Settings):
    """Distance of samples to the test set at every snapshot, with the sampler of `sampling`."""

    resolution: Resolution = Field(description="Points per side.")
    steps: Count = Field(description="Steps of the sampler.")
    samples: SetSize = Field(description="Fields drawn at each snapshot.")


class MetricsSettings(Settings):
    """How samples are compared with the test set."""

    projections: SetSize = Field(1000, description="Directions of the sliced Wasserstein distances.")


class LawSettings(Settings):
    """The Gaussian fit N(m, C) of the data."""

    modes: Annotated[int, Field(ge=0, strict=True)] | Literal["auto"] = Field(
        "auto",
        description="Modes per direction of full covariance, on a torus; auto: up to 15, ten training fields for "
        "each of its rows.",
    )
    resolution: Resolution | None = Field(
        None,
        description="Estimated from the data on this grid; null: on the native one. On the training grid it knows no more "
        "than the network has seen, and takes finer modes to have no data.",
    )


class ArmSettings(Settings):
    """An arm: a network, a prior, and what of the training is its own."""

    network: NetworkSettings = Field(description="A kind of network with its sizes.")
    prior: PriorSettings = Field(description="A kind of prior with its parameters.")
    training: dict[str, Any] = Field({}, description="Keys of the experiment's training that differ for this arm.")
    sampling: dict[str, Any] = Field({}, description="Keys of the experiment's sampling that differ for this arm.")
    gain: Gain | None = Field(
        None, description="Gain of training and samples; null: trained under values, sampled under all gains."
    )


class ExperimentSettings(Settings):
    """Data, arms, training and sampling: an entry of `experiments`."""

    title: Line = Field("", description="Heading of its figures in the report.")
    data: DataSettings | None = Field(None, description="A kind of data with its settings.")
    data_set: Name | None = Field(None, description="Instead of `data`: the experiment whose data are used.")
    grid: Geometry = Field(description="torus has the points i/N, cell-centred (i + ½)/N with no-flux walls.")
    native_resolution: Resolution = Field(description="N_native: points per side of the data; λ_k = (A_k / N_native)².")
    prior_seed: Seed = Field(1, description="Draws the weights of fno and combined priors, once for all seeds.")
    seeds: Several[Seed] = Field((1,), description="Seeds of training, one run per arm and seed.")
    gains: Several[Gain] = Field((Gain.VALUES,), description="How a network's input is scaled off its training grid.")
    paired: bool = Field(
        False, description="Arms share first weights, batches and noises, and are trained one at a time: times compare."
    )
    law: LawSettings = Field(
        LawSettings(), description="The Gaussian fit of the data, for the baseline and for preconditioned networks."
    )
    arms: Removable[dict[Name, ArmSettings]] = Field(description="What is trained, by name; null removes an arm.")
    training: TrainingSettings = Field(description="Training of all arms; an arm may have keys of its own.")
    validation: ValidationSettings | None = Field(
        None, description="Validation losses; needed for all data but a mixture."
    )
    sampling: SamplingSettings = Field(description="Samples of every network, and of the exact score of a mixture.")
    metrics: MetricsSettings = Field(MetricsSettings(), description="How all samples are measured.")
    along_training: AlongTrainingSettings | None = Field(None, description="Distance to the test set at each snapshot.")
    score_error: ScoreErrorSettings | None = Field(None, description="Of a mixture: the score error at every snapshot.")
    convergence: ConvergenceSettings | None = Field(None, description="Distance of samples against evaluations.")
    log_density: LogDensitySettings | None = Field(
        None, description="Of a mixture: log densities relative to the prior."
    )
    conditioning: ConditioningSettings | None = Field(None, description="Posteriors of partly observed fields.")
    truncation: TruncationSettings | None = Field(
        None, description="Of a mixture: the cost of truncating the forward process."
    )

    def training_of(self, arm: str) -> TrainingSettings:
        """The training of an arm: the experiment's, with the arm's own keys on top."""
        return self._with_own_keys(arm, "training")

    def sampling_of(self, arm: str) -> SamplingSettings:
        """The sampling of an arm: the experiment's, with the arm's own keys on top."""
        return self._with_own_keys(arm, "sampling")

    def _with_own_keys(self, arm: str, section: str) -> Any:
        common, own = getattr(self, section), getattr(self.arms[arm], section)
        try:
            return common.model_validate(merge(common.model_dump(), own)) if own else common
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, ("arms", arm, section, *first["loc"])))
            raise ValueError(f"{key}: {first['msg'].removeprefix('Value error, ')}") from None

    def gains_of(self, arm: str) -> tuple[Gain, ...]:
        """The gains under which an arm is sampled; what has a law is given fields of one scale on every grid."""
        gain = Gain.VALUES if self.arms[arm].network.has_law else self.arms[arm].gain
        return (gain,) if gain else self.gains

    def is_transferred(self, arm: str) -> bool:
        """Whether an arm is sampled on the grid that it was trained on and on another."""
        grids = self.sampling.resolutions
        return len(grids) > 1 and self.training_of(arm).reference_resolution in grids

    @property
    def mixture(self) -> bool:
        """Whether the law of the data is known."""
        return isinstance(self.data, MixtureDataSettings)

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(arm, seed) of everything that is trained."""
        return [(arm, seed) for arm in self.arms for seed in self.seeds]

    @model_validator(mode="after")
    def _data_fit(self) -> Self:
        if (self.data is None) == (self.data_set is None):
            raise ValueError("an experiment has either data or data_set")
        if not self.arms:
            raise ValueError("arms: an experiment has one at least; give one, or remove the experiment by null")
        if self.data:
            self.data.demand_geometry(self.grid)
        if not self.mixture and self.validation is None:
            raise ValueError("validation: needed; give its resolutions, N_ref (where the ladder ends) among them")
        if self.mixture and self.validation is not None:
            raise ValueError("validation: a mixture has none, its score error tells more; leave it out")
        known = ("score_error", "log_density", "truncation")
        if extra := [name for name in known if getattr(self, name) and not self.mixture]:
            raise ValueError(f"{extra[0]}: of mixtures alone, whose score is known; leave it out")
        if self.mixture and self.along_training:
            raise ValueError("along_training: a mixture has score_error instead; leave it out")
        return self

    @model_validator(mode="after")
    def _arms_fit(self) -> Self:
        if (self.law.resolution or 0) > self.native_resolution:
            raise ValueError(f"law.resolution: {self.law.resolution} is finer than the data, {self.native_resolution}")
        if self.mixture:
            self._demand_law(DRAWN)
        where = {"sampling.resolutions": self.sampling.resolutions}
        where |= {
            "native_resolution": (self.native_resolution,),
            "law.resolution": (self.law.resolution or self.native_resolution,),
        }
        if self.along_training:
            where["along_training.resolution"] = (self.along_training.resolution,)
        if self.score_error:
            where["score_error.resolutions"] = self.score_error.resolutions
        if self.conditioning:
            where["conditioning.resolutions"] = self.conditioning.resolutions
        followed = [name for name in ("along_training", "score_error") if getattr(self, name)]
        for name, arm in self.arms.items():
            training, sampling = self.training_of(name), self.sampling_of(name)
            if self.mixture and getattr(arm.prior, "scale", None) == "auto":
                raise ValueError(
                    f"arms.{name}.prior.scale: auto is by the data, and a mixture is made of the prior's noise"
                )
            if self.truncation and 2 * max(_all_modes(arm.prior)) < max(self.truncation.resolutions):
                raise ValueError(
                    f"truncation.resolutions: the finest has all modes of arms.{name}.prior; give coarser ones"
                )
            if arm.network.has_law and arm.gain is Gain.COEFFICIENTS:
                raise ValueError(f"arms.{name}.gain: its network sees fields of one scale on every grid; leave it out")
            if sampling.start == "gaussian" and not arm.network.has_law:
                raise ValueError(f"arms.{name}: start: gaussian needs preconditioning or a network of that kind")
            if sampling.resolutions != self.sampling.resolutions or sampling.samples != self.sampling.samples:
                raise ValueError(f"arms.{name}.sampling: samples and resolutions belong to the experiment")
            _demand_that_arm_fits(name, arm.network, training, self.validation, self.native_resolution)
            if followed and training.snapshot_every is None:
                raise ValueError(f"training.snapshot_every: {followed[0]} needs snapshots; give a number")
            for key, resolutions in where.items():
                if not all(map(arm.network.takes, resolutions)):
                    raise ValueError(f"{key}: the network of {name} needs {arm.network.needs}")
        return self

    @model_validator(mode="after")
    def _enough_networks(self) -> Self:
        for name in ("convergence", "log_density", "conditioning"):
            if (section := getattr(self, name)) and section.networks > len(self.seeds):
                raise ValueError(f"{name}.networks: {section.networks} asked for, of {len(self.seeds)} seeds")
        return self

    def _demand_law(self, fields: int) -> None:
        """Raises a ValueError if the law has more modes than so many fields, or the grid, can give."""
        modes, resolution = self.law.modes, self.law.resolution or self.native_resolution
        most = min((resolution - 1) // 2, (math.isqrt(fields - 1) - 1) // 2)
        if self.grid is Geometry.CELL_CENTRED:
            most = 0
        if modes != "auto" and modes > most:
            raise ValueError(
                f"law.modes: {modes}, but {fields} fields of {resolution} points, {self.grid}, have {most}"
            )

    def demand_fields(self, data: SampledDataSettings) -> None:
        """Raises a ValueError if the data have too few test fields for the samples, or training fields for a batch or the law."""
        self._demand_law(data.train)
        counts = {"sampling.samples": self.sampling.samples, "validation.test": self.validation.test}
        if self.along_training:
            counts["along_training.samples"] = self.along_training.samples
        if self.convergence:
            counts["convergence.samples"] = self.convergence.samples
        if self.conditioning:
            counts["conditioning.truths"] = self.conditioning.truths
        for key, count in counts.items():
            if count > data.test:
                raise ValueError(f"{key}: {count}, but data.test has only {data.test} fields")
        for training in map(self.training_of, self.arms):
            for size in (training.batch_size, *(level.batch_size or 0 for level in training.ladder)):
                if size > data.train:
                    raise ValueError(f"training.batch_size: {size}, but data.train has only {data.train} fields")


def _all_modes(prior: PriorBase) -> tuple[float, ...]:
    """How many modes per direction a prior of finite rank has."""
    return prior.modes if isinstance(prior, FNOPriorSettings) else (math.inf,)


def _demand_that_arm_fits(
    name: str, network: NetworkBase, training: TrainingSettings, validation: ValidationSettings | None, native: int
) -> None:
    levels = [resolution for level in training.ladder for resolution in level.shares]
    if validation is None and training.steps_per_epoch is None:
        raise ValueError("training.steps_per_epoch: the mixture is drawn without end; give a number")
    if levels[-1] > native:
        raise ValueError(f"the ladder of {name} ends at {levels[-1]}, above native_resolution {native}")
    if validation and levels[-1] not in validation.resolutions:
        raise ValueError(f"validation.resolutions: {levels[-1]}, where the ladder of {name} ends, must be among them")
    if validation and max(validation.resolutions) > native:
        raise ValueError(f"validation.resolutions: above native_resolution {native}")
    for resolution in (*levels, *(validation.resolutions if validation else ())):
        if not network.takes(resolution):
            raise ValueError(f"{resolution}: the network of {name} needs {network.needs}")


class TargetSpec(Settings):
    """What the law of the data of an arm of a mixture depends on, its noise included."""

    kind: Name = Field(description="Kind of the data.")
    experiment: Name = Field(description="Experiment.")
    arm: Name = Field(description="Arm.")
    native_resolution: Resolution = Field(description="N_native.")
    prior_seed: Seed = Field(description="Seed of the weights of the prior.")
    prior: PriorSettings = Field(description="N(0,Q).")

    @property
    def mixture(self) -> bool:
        """Whether the law of the data is known."""
        return self.kind == "mixture"

    @property
    def name(self) -> str:
        """Experiment and arm, in words."""
        return f"{self.experiment}/{self.arm}"

    @property
    def labels(self) -> dict[str, str | None]:
        """How rows of tables name the exact score."""
        of = {"experiment": self.experiment, "arm": self.arm, "network": "exact"}
        return of | {"prior": self.prior.kind, "ladder": None}


class ArmSpec(TargetSpec):
    """The frozen settings of one arm: all that decides what its training computes, apart from the training seed and data."""

    data_set: Name | None = Field(description="The experiment whose data it is trained on; null for a mixture.")
    grid: Geometry = Field(description="Where the values of fields lie.")
    network: NetworkSettings = Field(description="The network.")
    gain: Gain = Field(description="The gain under which it is trained.")
    law: LawSettings = Field(LawSettings(), description="The Gaussian fit of the data.")
    paired: bool = Field(False, description="Whether the arms of the experiment share their random streams.")
    training: TrainingSettings = Field(description="The training, with the arm's own keys.")
    validation: ValidationSettings | None = Field(description="None for a mixture.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _demand_that_arm_fits(self.arm, self.network, self.training, self.validation, self.native_resolution)
        demand_geometry(self.kind, self.grid)
        if (self.validation is None) != self.mixture:
            raise ValueError("validation: what is trained on a file of data has one, and a mixture none")
        return self

    @property
    def stream(self) -> tuple[str, ...]:
        """The key of the random streams of its training; paired arms share them."""
        return (self.experiment,) if self.paired else (self.experiment, self.arm)

    @property
    def target(self) -> TargetSpec:
        """The part that data and the exact score of a mixture depend on."""
        return TargetSpec(**{name: getattr(self, name) for name in TargetSpec.model_fields})

    @property
    def reference_resolution(self) -> int:
        """N_ref, the finest training level."""
        return self.training.reference_resolution

    @property
    def labels(self) -> dict[str, str | None]:
        """How rows of tables name the arm: its ladder by its levels, as "16-32-64", or "16+32+64" of mixed grids."""
        ladder = "-".join(level.label for level in self.training.ladder)
        return super().labels | {"network": self.network.kind, "ladder": ladder}
