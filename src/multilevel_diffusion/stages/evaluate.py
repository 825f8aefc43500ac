"""Metrics of samples against the test set."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
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
from ..mixture import GaussianMixture
from ..settings import TargetSpec, parse
from ..storage import generator
from .sample import Samples

DISTANCES = ("sliced_wasserstein", "moment_sliced_wasserstein", "spectrum_distance", "histogram_distance")


def evaluate(
    samples: Iterable[Samples], tests: Iterable[FieldSets], projections: int, classifier: Classifier | None = None
) -> pd.DataFrame:
    """Every metric of samples against the test set of their resolution, beside its floor, that of as many fields of the second.

    Args:
        tests: `reference` and `floor`, of a resolution each.
        classifier: of the same digits, to measure what it sees; see `features.DigitReference`.

    Returns:
        A row a set of samples and metric, of COLUMNS. metric: the distances of `metrics.Reference`; vendi_score; of a mixture
        component_share, the share of fields whose likelier component is the first; of digits moment_sliced_wasserstein_minmax,
        the distance of fields that are scaled to [0, 1] as in the authors' release. value: distances in units of the fields, but
        for the spectrum (decades) and the histogram (in [0, 1]). stderr: a jackknife over samples, see `metrics.jackknife`.

    Raises a UserError if there are no test fields at the resolution of samples, too few of them, or those of another law or grid;
    or if the classifier is of other digits.
    """
    known = {sets.grid.resolution: (sets, _measure_of(sets, projections, classifier)) for sets in tests}

    @cache
    def floor_of(n: int, count: int) -> dict[str, metrics.Estimate]:
        sets, measure = known[n]
        return measure(sets.fields["floor"][:count].numpy())

    rows = []
    for drawn in samples:
        n, count, spec = drawn.resolution, len(drawn.fields), drawn.settings
        if n not in known:
            raise UserError(f"{drawn.source}: samples at resolution {n}, but there are test fields at {sorted(known)}")
        sets, measure = known[n]
        if (drawn.target, getattr(spec, "grid", sets.geometry)) != (sets.target, sets.geometry):
            raise UserError(f"{drawn.source}: of another arm, prior, data set or grid than the test fields at {n}")
        if count > (available := len(sets.fields["floor"])):
            raise UserError(f"{drawn.source}: {count} samples at {n}, but there are only {available} test fields")
        about = {"gain": drawn.gain, "seed": drawn.seed, "sampler": drawn.sampler, "steps": drawn.steps}
        about |= {"resolution": n, "n_samples": count}
        for name, estimate in metrics.jackknife(measure, drawn.fields.cpu().numpy()).items():
            found = {"metric": name, "floor": floor_of(n, count)[name].value}
            found |= {"n_projections": projections if name == "sliced_wasserstein" else None}
            rows.append(tidy_row(spec.labels, **about, **found, **asdict(estimate)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _measure_of(
    sets: FieldSets, projections: int, classifier: Classifier | None
) -> Callable[[NDArray[np.floating]], dict[str, metrics.Estimate]]:
    """All metrics of fields, as a function of them."""
    grid, kind, mixture = sets.grid, sets.target["kind"], None
    if kind == "mixture":
        mixture = GaussianMixture(build_prior(parse(TargetSpec, sets.target, "the test fields")))
    directions = metrics.projections(grid.resolution, projections, generator(0, "projections", grid.resolution))
    reference = metrics.Reference(sets.fields["reference"].numpy(), directions)
    digits = _digits_of(sets, classifier) if classifier else None

    def measure(x: NDArray[np.floating]) -> dict[str, metrics.Estimate]:
        measured = {name: getattr(reference, name)(x) for name in DISTANCES} | {"vendi_score": metrics.vendi_score(x)}
        if kind == "mnist":
            measured["moment_sliced_wasserstein_minmax"] = reference.moment_sliced_wasserstein(metrics.rescaled(x))
        if digits:
            measured |= digits.measure(x)
        if mixture:
            fields = torch.from_numpy(x)
            odds = mixture.log_odds(fields, fields.new_ones(len(fields)), grid)
            measured["component_share"] = metrics.share((odds > 0).numpy())
        return measured

    return measure


def _digits_of(sets: FieldSets, classifier: Classifier) -> DigitReference:
    if any(sets.target.get(key) != value for key, value in classifier.target.items()):
        at = f"than the test fields at {sets.grid.resolution}"
        raise UserError(
            f"--classifier: of other digits {at}; make it by `mld classifier` of the same files and resolution"
        )
    return DigitReference(sets.fields["reference"].numpy(), classifier, sets.grid)
