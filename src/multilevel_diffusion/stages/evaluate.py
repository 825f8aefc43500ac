"""Metrics of samples against the test set."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from .. import metrics
from ..builders import build_prior
from ..classifier import Classifier
from ..columns import COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..features import DigitReference
from ..grids import Torus
from ..metrics import Estimate, Fields, Members, Reference, Subset
from ..mixture import GaussianMixture
from ..settings import TargetSpec, parse
from ..storage import generator
from .sample import Samples

Metric = Callable[[Subset], Estimate]

IN_UNITS = ("sliced_wasserstein", "moment_sliced_wasserstein", "max_sliced_wasserstein")
IN_UNITS += ("pixel_distance", "increment_distance_near", "increment_distance_far")
"""Metrics of all data in units of the fields."""
WITHOUT_UNITS = ("spectrum_distance", "histogram_distance", "increment_flatness_near", "increment_flatness_far")
WITHOUT_UNITS += ("mmd", "nearest_neighbour_accuracy")
TESTS = ("mmd_p_value", "nearest_neighbour_p_value")
DIRECTIONS = ("sliced_wasserstein", "max_sliced_wasserstein", "sliced_wasserstein_within")
"""Metrics that look at projections."""


@dataclass(frozen=True)
class Measures:
    """What is measured of fields, functions of them by the names of the metrics.

    distances: metrics whose errors know of interactions, see `metrics.jackknife`; others: metrics of which a jackknife is enough;
    tests: p-values, which have neither error nor floor. scales: what a metric is divided by to be without units, 1 if not named.
    """

    distances: dict[str, Metric]
    others: dict[str, Metric]
    tests: dict[str, Metric]
    scales: dict[str, float]

    def __call__(self, x: Subset) -> dict[str, Estimate]:
        """All but the tests."""
        return _measured(self.distances | self.others, x)

    def with_errors(self, x: Subset) -> dict[str, Estimate]:
        """All but the tests, with the errors of the jackknife."""
        distances = metrics.jackknife(lambda x: _measured(self.distances, x), x, interactions=True)
        return distances | metrics.jackknife(lambda x: _measured(self.others, x), x)


def evaluate(
    samples: Iterable[Samples], tests: Iterable[FieldSets], projections: int, classifier: Classifier | None = None
) -> pd.DataFrame:
    """Every metric of samples against the test set of their resolution, beside its floor, from as many fields of the second.

    Args:
        tests: `reference` and `floor`, one of each per resolution.
        classifier: of the same digits, to measure what it sees; see `features.DigitReference`.

    Returns:
        One row per set of samples and metric, of COLUMNS. metric: what `metrics.Reference` has, and vendi_score. Of a mixture
        also component_share, the share of fields whose likelier component is the first, and sliced_wasserstein_within. Of digits
        also moment_sliced_wasserstein_minmax, the distance of fields that are scaled to [0, 1] as in the authors' release.
        value: in units of the fields where it has a scale. stderr: a jackknife over samples, see `metrics.jackknife`. floor: see
        `metrics.floors`. p-values have neither.

    Raises a UserError if there are no test fields at the resolution of samples, or too few, or a single sample, or if
    they are of another law or grid. It also raises one if the classifier is of other digits.
    """
    known: dict[int, tuple[FieldSets, Measures]] = {}
    for sets in tests:
        if (n := sets.grid.resolution) in known:
            raise UserError(f"--data: two test sets at {n}; give one")
        known[n] = sets, measures_of(sets, projections, classifier)

    @cache
    def floors_of(n: int, count: int) -> tuple[dict[str, Estimate], int]:
        sets, measures = known[n]
        return metrics.floors(measures, sets.fields["floor"].numpy(), count)

    rows = []
    for drawn in samples:
        n, count, spec = drawn.resolution, len(drawn.fields), drawn.settings
        if n not in known:
            raise UserError(f"{drawn.source}: samples at resolution {n}, but there are test fields at {sorted(known)}")
        sets, measures = known[n]
        if (drawn.target, getattr(spec, "grid", sets.geometry)) != (sets.target, sets.geometry):
            raise UserError(f"{drawn.source}: of another arm, prior, data set or grid than the test fields at {n}")
        if count < 2:
            raise UserError(f"{drawn.source}: a single sample at {n} has no law to measure; draw at least 2")
        if count > (available := len(sets.fields["floor"])):
            raise UserError(f"{drawn.source}: {count} samples at {n}, but there are only {available} test fields")
        about = {"gain": drawn.gain, "seed": drawn.seed, "sampler": drawn.sampler, "steps": drawn.steps}
        about |= {"resolution": n, "n_samples": count, "n_reference": len(sets.fields["reference"])}
        floors, disjoint = floors_of(n, count)
        x = Subset(drawn.fields.cpu().numpy())
        for name, estimate in measures.with_errors(x).items():
            found = {"metric": name, "scale": measures.scales.get(name, 1.0)} | asdict(estimate)
            found |= {"floor": floors[name].value, "floor_stderr": floors[name].stderr, "floor_sets": disjoint}
            found |= {"n_projections": projections if name in DIRECTIONS else None}
            rows.append(tidy_row(spec.labels, **about, **found))
        for name, estimate in _measured(measures.tests, x).items():
            rows.append(tidy_row(spec.labels, **about, metric=name, value=estimate.value, scale=1.0))
    return pd.DataFrame(rows, columns=COLUMNS)


def measures_of(sets: FieldSets, projections: int, classifier: Classifier | None = None) -> Measures:
    """What is measured of fields against the reference of these sets."""
    grid, kind = sets.grid, sets.target["kind"]
    members = _first_component(sets) if kind == "mixture" else None
    directions = metrics.projections(grid.resolution, projections, generator(0, "projections", grid.resolution))
    truth = Reference(sets.fields["reference"].numpy(), directions, isinstance(grid, Torus), members)
    distances = {name: getattr(truth, name) for name in (*IN_UNITS, *WITHOUT_UNITS)}
    others: dict[str, Metric] = {"vendi_score": metrics.vendi_score}
    scales = dict.fromkeys(IN_UNITS, truth.deviation)
    if kind == "mnist":
        distances["moment_sliced_wasserstein_minmax"] = lambda x: truth.moment_sliced_wasserstein(
            metrics.rescaled(x.fields)
        )
        scales["moment_sliced_wasserstein_minmax"] = truth.deviation
    if members:
        distances["sliced_wasserstein_within"] = truth.sliced_wasserstein_within
        scales["sliced_wasserstein_within"] = truth.deviation
        others["component_share"] = lambda x: metrics.share(x.of_each(members))
    if classifier:
        digits = _digits_of(sets, classifier)
        distances |= {name: getattr(digits, name) for name in ("frechet_distance", "class_entropy")}
        others |= {name: getattr(digits, name) for name in ("density", "coverage", "legible_share")}
    return Measures(distances, others, {name: getattr(truth, name) for name in TESTS}, scales)


def _digits_of(sets: FieldSets, classifier: Classifier) -> DigitReference:
    if any(sets.target.get(key) != value for key, value in classifier.target.items()):
        at = f"than the test fields at {sets.grid.resolution}"
        raise UserError(
            f"--classifier: of other digits {at}; make it by `mld classifier` of the same files and resolution"
        )
    return DigitReference(sets.fields["reference"].numpy(), classifier, sets.grid)


def _first_component(sets: FieldSets) -> Members:
    """Whether the first component is the likelier one of fields (n, N, N), shape (n,)."""
    mixture = GaussianMixture(build_prior(parse(TargetSpec, sets.target, "the test fields")))

    def members(x: Fields) -> NDArray[np.bool_]:
        fields = torch.from_numpy(x)
        return (mixture.log_odds(fields, fields.new_ones(len(fields)), sets.grid) > 0).numpy()

    return members


def _measured(functions: dict[str, Metric], x: Subset) -> dict[str, Estimate]:
    return {name: function(x) for name, function in functions.items()}
