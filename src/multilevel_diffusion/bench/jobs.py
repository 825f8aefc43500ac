"""What a job of the workflow takes, by counting what its stage evaluates and what was measured of one evaluation.

    seconds = start + Σ fields × points × evaluations × seconds per point      of one core
    bytes   = start + fields held + fields and points evaluated together × bytes per point

`Costs` are measured: of the paper's network by `mld bench scaling` (`fitted`), others as `workflow/resources.yaml` says.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import BaseModel

from ..settings import DRAWN, Config, ExperimentSettings, SampledDataSettings, SamplerBase

BLOCK = 64
"""Fields that are sampled together on a CPU."""
FLOAT = 4
SETS, FLOORS = 2, 8
"""Test sets in a file, the reference and the floor; and how many times as many fields as samples the sets of a mixture have."""


class NetworkCost(BaseModel, frozen=True, extra="forbid"):
    """Of a network at one point of one field: seconds of one core and bytes."""

    step: float
    step_bytes: float
    evaluation: float
    evaluation_bytes: float


class Costs(BaseModel, frozen=True, extra="forbid"):
    """What was measured.

    start: seconds and bytes of a job that does nothing. overhead: seconds per training step. networks: by kind; a plugin's costs
    what `unet` does, and the exact score what `gaussian` does. metrics: per field and direction, and per pair of samples;
    seconds are per point of their grid. solver: seconds per point and time step. gpu: the cores that a GPU is worth, and the
    bytes of its process on the host. threads: of a long job on a cluster. margin: what is asked over what is expected, and the
    least minutes.
    """

    start: dict[str, float]
    networks: dict[str, NetworkCost]
    overhead: float
    metrics: dict[str, float]
    solver: float
    classifier: dict[str, float]
    threads: int
    gpu: dict[str, float]
    margin: dict[str, float]


@dataclass(frozen=True)
class Take:
    """Seconds of one core, of which `network` could be a GPU's, and the most bytes held."""

    seconds: float = 0.0
    bytes: float = 0.0
    network: float = 0.0


@dataclass(frozen=True)
class _Job:
    """A job by its wildcards. learned: whether by a network, or else by the exact score of a mixture."""

    experiment: str
    settings: ExperimentSettings
    arm: str
    learned: bool
    resolution: int

    @property
    def gains(self) -> int:
        return len(self.settings.gains_of(self.arm)) if self.learned else 1


class Jobs:
    """What the jobs of a configuration take, by the name of their rule and its wildcards."""

    def __init__(self, costs: Costs, config: Config) -> None:
        self.costs, self.config = costs, config

    def asked(self, rule: str, wildcards: Mapping[str, str], threads: int, gpu: int) -> tuple[int, int]:
        """The megabytes and minutes to ask for, with the margin."""
        take, margin = self.take(rule, wildcards), self.costs.margin
        held = take.bytes + (self.costs.gpu if gpu else self.costs.start)["bytes"]
        minutes = margin["seconds"] * self.seconds(take, threads, gpu) / 60
        return math.ceil(margin["bytes"] * held / 1e6), math.ceil(max(margin["least_minutes"], minutes))

    def seconds(self, take: Take, threads: int, gpu: int) -> float:
        """The seconds by the clock that are expected."""
        network = take.network / (self.costs.gpu["cores"] if gpu else threads)
        return self.costs.start["seconds"] + network + take.seconds / threads

    def take(self, rule: str, wildcards: Mapping[str, str]) -> Take:
        """What a job takes beyond a start: nothing, if its stage is not counted here."""
        stage = "data" if rule.startswith("data_") else rule.removesuffix("_values").removesuffix("_exact")
        count = getattr(self, f"_{stage}", None)
        if count is None:
            return Take()
        name, arm = wildcards.get("experiment", rule.removeprefix("data_")), wildcards.get("arm", "")
        learned = not rule.endswith("_exact") and rule != "truncation"
        return count(_Job(name, self.config.experiments[name], arm, learned, int(wildcards.get("resolution", 0))))

    def _network(self, job: _Job) -> NetworkCost:
        """The cost of a network, scaled from the sizes that were measured, or of the exact score."""
        known = self.costs.networks
        if not job.learned:
            return known["gaussian"]
        network = job.settings.arms[job.arm].network
        match network.kind:
            case "fno":
                deep, wide = network.layers / 4, network.width / 32
            case "unet":
                deep, wide = network.blocks / 2, max(network.channels) / 64
            case _:
                deep, wide = 1.0, 1.0
        cost, slower = known.get(network.kind, known["unet"]), deep * max(wide, 0.5) ** 1.75
        return NetworkCost(
            step=cost.step * slower,
            step_bytes=cost.step_bytes * deep * wide,
            evaluation=cost.evaluation * slower,
            evaluation_bytes=cost.evaluation_bytes * wide,
        )

    def _data_bytes(self, job: _Job) -> float:
        """The bytes of the file of data that an experiment is trained on."""
        data = self.config.data_of(job.experiment)
        fields = data.train + data.validation + SETS * data.test if isinstance(data, SampledDataSettings) else 0
        return FLOAT * fields * job.settings.native_resolution**2

    def _train(self, job: _Job) -> Take:
        training, validation = job.settings.training_of(job.arm), job.settings.validation
        data, cost, seconds, held = self.config.data_of(job.experiment), self._network(job), 0.0, 0.0
        for level in training.ladder:
            batch = level.batch_size or training.batch_size
            each = training.steps_per_epoch or math.ceil(data.train / batch)
            steps, points = level.steps or level.epochs * each, batch * level.resolution**2
            mean = batch * sum(share * resolution**2 for resolution, share in level.shares.items())
            seconds += steps * (self.costs.overhead + mean * cost.step)
            held = max(held, points * cost.step_bytes)
            if validation:
                fields = validation.draws * data.validation + validation.test
                seconds += steps / each * fields * cost.evaluation * _points(validation.resolutions)
        return Take(bytes=held + 3 * self._data_bytes(job), network=seconds)

    def _drawn(
        self, job: _Job, samples: int, resolutions: Iterable[int], evaluations: int, together: int = BLOCK
    ) -> Take:
        """Samples on some grids by so many evaluations, `together` at once."""
        cost, finest = self._network(job), max(resolutions) ** 2
        return Take(
            bytes=together * finest * cost.evaluation_bytes + 3 * FLOAT * samples * finest,
            network=samples * evaluations * _points(resolutions) * cost.evaluation,
        )

    def _measured(self, job: _Job, samples: int, test: int, resolutions: Iterable[int], times: int) -> Take:
        """Metrics of samples, `times` over, against both test sets."""
        cost, directions = self.costs.metrics, job.settings.metrics.projections
        fields = samples + SETS * (FLOORS * samples if job.settings.mixture else test)
        each = cost["direction"] * fields * directions + cost["pair"] * samples**2
        held = cost["direction_bytes"] * fields * directions + cost["pair_bytes"] * samples**2
        return Take(times * each * _points(resolutions), held + 3 * FLOAT * fields * max(resolutions) ** 2)

    def _sample(self, job: _Job) -> Take:
        how = job.settings.sampling_of(job.arm) if job.learned else job.settings.sampling
        each = how.steps * evaluations_of(how.sampler) * job.gains
        return self._drawn(job, how.samples, how.resolutions, each)

    _sample_snapshot = _sample

    def _evaluate(self, job: _Job) -> Take:
        how, test = job.settings.sampling, getattr(self.config.data_of(job.experiment), "test", 0)
        return self._measured(job, how.samples, test, how.resolutions, job.gains + job.settings.mixture)

    def _snapshots(self, job: _Job) -> int:
        training = job.settings.training_of(job.arm)
        epochs = training.epochs(getattr(self.config.data_of(job.experiment), "train", None))
        return math.ceil(epochs / (training.snapshot_every or epochs))

    def _score_error(self, job: _Job) -> Take:
        how, times = job.settings.score_error, 2 * job.gains * self._snapshots(job)
        return self._drawn(job, how.batch_size, how.resolutions, times * how.batches, how.batch_size)

    def _along_training(self, job: _Job) -> Take:
        how, times = job.settings.along_training, job.gains * self._snapshots(job)
        steps = how.steps * evaluations_of(job.settings.sampling_of(job.arm).sampler)
        test = self.config.data_of(job.experiment).test
        drawn = self._drawn(job, how.samples, (how.resolution,), steps * times)
        return _then(drawn, self._measured(job, how.samples, test, (how.resolution,), times))

    def _convergence(self, job: _Job) -> Take:
        how, grids = job.settings.convergence, (job.resolution,)
        drawn = self._drawn(
            job, how.samples, grids, how.reference_evaluations + len(how.samplers) * sum(how.evaluations)
        )
        times = 1 + len(how.samplers) * len(how.evaluations)
        return _then(drawn, self._measured(job, how.samples, how.samples, grids, times))

    def _log_density(self, job: _Job) -> Take:
        how, cost = job.settings.log_density, self._network(job)
        drawn = self._drawn(job, how.samples, how.resolutions, 2 * how.steps * (1 + 3 * how.probes))
        held = how.samples * (max(how.resolutions) ** 2 * cost.step_bytes + 3 * FLOAT * how.drawn_on**2)
        return Take(bytes=max(held, drawn.bytes), network=drawn.network)

    def _condition(self, job: _Job) -> Take:
        how = job.settings.conditioning
        ways = sum(method.takes(seen.noise) for seen in how.observed.values() for method in how.methods)
        derivative = 3  # a vector-Jacobian product besides the evaluation, at most
        each = how.steps * evaluations_of(how.sampler) * ways * derivative
        return self._drawn(job, how.truths * how.samples, (job.resolution,), each)

    def _truncation(self, job: _Job) -> Take:
        how = job.settings.truncation
        return self._drawn(job, how.samples, (*how.resolutions, how.drawn_on), 2 * how.steps)

    def _data(self, job: _Job) -> Take:
        size, steps = self._data_bytes(job), getattr(self.config.data_of(job.experiment), "steps", 1)
        return Take(bytes=4 * size, network=size / FLOAT * steps * self.costs.solver)

    def _gaussian_law(self, job: _Job) -> Take:
        size = self._data_bytes(job) or DRAWN * FLOAT * job.settings.native_resolution**2
        return Take(bytes=6 * size, seconds=size / FLOAT * self.costs.networks["gaussian"].evaluation)

    def _test_sets(self, job: _Job) -> Take:
        return Take(bytes=3 * self._data_bytes(job))

    def _mixture_data(self, job: _Job) -> Take:
        return Take(bytes=5 * FLOAT * SETS * FLOORS * job.settings.sampling.samples * job.resolution**2)

    def _classifier(self, job: _Job) -> Take:
        return Take(self.costs.classifier["seconds"], self.costs.classifier["bytes"])


def evaluations_of(sampler: SamplerBase) -> int:
    """Evaluations of the network in a step of a sampler, at most."""
    return {"heun": 2, "predictor-corrector": 1 + getattr(sampler, "corrections", 1)}.get(sampler.kind, 1)


def fitted(scaling: pd.DataFrame, threads: int) -> dict[str, float]:
    """Least squares of the table of `mld bench scaling`: seconds of one core per step and per point of it; bytes per point."""
    rows = scaling[scaling.width == 32].assign(points=scaling.batch * scaling.resolution**2)
    slope, overhead = np.polyfit(rows.points, threads * rows.seconds, 1, w=1 / rows.seconds)
    large = rows[rows.points >= rows.points.median()]
    return {"overhead": float(overhead), "step": float(slope), "step_bytes": float((large.bytes / large.points).max())}


def _points(resolutions: Iterable[int]) -> int:
    return sum(n**2 for n in resolutions)


def _then(drawn: Take, measured: Take) -> Take:
    """Samples and their metrics; memory of both is held."""
    return Take(measured.seconds, drawn.bytes + measured.bytes, drawn.network)
