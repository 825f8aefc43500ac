"""Metrics of samples against the test set."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from .. import metrics
from ..columns import COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..grids import Torus
from ..mixture import GaussianMixture
from ..models import build_prior
from ..settings import ArmSpec, TargetSpec, parse
from ..storage import generator
from .sample import Samples

__all__ = ["evaluate"]


def evaluate(samples: Iterable[Samples], tests: Iterable[FieldSets], projections: int) -> pd.DataFrame:
    """Every metric of samples against the test set of their resolution, beside its floor, that of as many fields of the second.

    Args:
        tests: `reference` and `floor`, of a resolution each.
        projections: directions of the sliced Wasserstein distance.

    Returns:
        A row a set of samples and metric, of COLUMNS. metric: the distances of `metrics.Reference`; vendi_score; of a mixture
        component_share, the share of fields whose likelier component is the first; of digits moment_sliced_wasserstein_minmax,
        the distance of fields that are scaled to [0, 1] as in the authors' release. value: distances in units of the fields, but
        for the spectrum (decades) and the histogram (in [0, 1]). stderr: a jackknife over samples, see `metrics.jackknife`.

    Raises:
        UserError: if there are no test fields at the resolution of samples, too few of them, or those of another law or grid.
    """
    known = {sets.grid.resolution: sets for sets in tests}
    measures = {resolution: _measure(sets, projections) for resolution, sets in known.items()}
    floors = {
        resolution: cache(lambda n, sets=sets, resolution=resolution: measures[resolution](_floor(sets, n)))
        for resolution, sets in known.items()
    }
    rows = []
    for drawn in samples:
        n, count, spec = drawn.resolution, len(drawn.fields), drawn.settings
        if n not in known:
            raise UserError(f"{drawn.source}: samples at resolution {n}, but there are test fields at {sorted(known)}")
        sets, own = known[n], spec.grid if isinstance(spec, ArmSpec) else known[n].geometry
        if (drawn.target, own) != (sets.target, sets.geometry):
            raise UserError(
                f"{drawn.source}: samples of another arm, prior, data set or grid than the test fields at {n}; give its own"
            )
        if count > len(sets.fields["floor"]):
            available = len(sets.fields["floor"])
            raise UserError(f"{drawn.source}: {count} samples at {n}, but there are only {available} test fields")
        floor = floors[n](count)
        for name, estimate in metrics.jackknife(measures[n], drawn.fields.cpu().numpy()).items():
            rows.append(
                tidy_row(
                    spec.labels,
                    gain=drawn.gain,
                    seed=drawn.seed,
                    sampler=drawn.sampler,
                    steps=drawn.steps,
                    resolution=n,
                    metric=name,
                    value=estimate.value,
                    stderr=estimate.stderr,
                    floor=floor[name].value,
                    n_samples=count,
                    n_projections=projections if name == "sliced_wasserstein" else None,
                )
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _measure(sets: FieldSets, projections: int) -> partial[dict[str, metrics.Estimate]]:
    """All metrics of fields, as a function of them."""
    n, kind, mixture = sets.grid.resolution, sets.target["kind"], None
    if kind == "mixture":
        mixture = GaussianMixture(build_prior(parse(TargetSpec, sets.target, "the test fields")))
    directions = metrics.projections(n, projections, generator(0, "projections", n))
    reference = metrics.Reference(sets.fields["reference"].numpy(), directions)
    return partial(_measured, reference=reference, kind=kind, mixture=mixture)


def _measured(
    x: NDArray[np.floating], reference: metrics.Reference, kind: str, mixture: GaussianMixture | None
) -> dict[str, metrics.Estimate]:
    measured = {
        "sliced_wasserstein": reference.sliced_wasserstein(x),
        "moment_sliced_wasserstein": reference.moment_sliced_wasserstein(x),
        "spectrum_distance": reference.spectrum_distance(x),
        "histogram_distance": reference.histogram_distance(x),
        "vendi_score": metrics.vendi_score(x),
    }
    if kind == "mnist":
        measured["moment_sliced_wasserstein_minmax"] = reference.moment_sliced_wasserstein(metrics.rescaled(x))
    if mixture:
        fields = torch.from_numpy(x)
        odds = mixture.log_odds(fields, fields.new_ones(len(fields)), Torus(fields.shape[-1]))
        measured["component_share"] = metrics.share((odds > 0).numpy())
    return measured


def _floor(sets: FieldSets, n: int) -> NDArray[np.floating]:
    return sets.fields["floor"][:n].numpy()
