"""How true standard errors are: those that `mld evaluate` reports, against the spread of values over repetitions."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from .. import metrics
from ..builders import build_prior
from ..data.sets import FLOORS, mixture_sets
from ..grids import Torus
from ..metrics import Estimate, Subset
from ..mixture import GaussianMixture
from ..settings import TargetSpec, parse
from ..stages.evaluate import Measures, measures_of
from ..storage import generator

TARGET = {
    "experiment": "bench",
    "arm": "errors",
    "kind": "mixture",
    "native_resolution": 32,
    "prior_seed": 1,
    "prior": {"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": [14, 7]},
}
REFERENCE = 512
LAWS = {"true": 1.0, "variance 50 % too high": 1.5, "variance 20 % too low": 0.8}
"""By name, what the covariance of the samples within their components is multiplied by."""


def errors(
    resolution: int, samples: int, projections: int, repetitions: int, advance: Callable[[], object]
) -> pd.DataFrame:
    """Measure sets of samples of the Gaussian mixture against one reference of 512 fields, in the same directions.

    Returns:
        One row per law of the samples and metric. value: the mean over the repetitions. spread: their standard deviation.
        stderr: the root mean square of what `metrics.jackknife` adds for the samples (the error of directions, which are kept,
        is left out). ratio: stderr / spread, known to about 1 / √(2 repetitions). plain: the ratio without interactions.
    """
    spec, grid = parse(TargetSpec, TARGET, "bench errors"), Torus(resolution)
    mixture = GaussianMixture(build_prior(spec))
    measures = measures_of(mixture_sets(mixture, spec, resolution, REFERENCE // FLOORS), projections)
    rows = []
    for law, factor in LAWS.items():
        found, plain = [], []
        for i in range(repetitions):
            stream = generator(0, "bench errors", law, i)
            component = torch.randint(2, (samples,), generator=stream)
            noise = mixture.prior.sample(samples, grid, stream)
            x = Subset((mixture.means(grid).float()[component] + factor**0.5 * noise).numpy())
            found.append(_without_directions(measures).with_errors(x))
            plain.append(metrics.jackknife(_without_directions(measures), x))
            advance()
        for name in found[0]:
            value = np.array([each[name].value for each in found])
            stderr, simple = (np.sqrt(np.mean([each[name].stderr ** 2 for each in these])) for these in (found, plain))
            spread = value.std(ddof=1)
            row = {"law": law, "metric": name, "value": value.mean(), "spread": spread, "stderr": stderr}
            rows.append(row | {"ratio": stderr / spread, "plain": simple / spread})
    return pd.DataFrame(rows)


def _without_directions(measures: Measures) -> Measures:
    """The same values, without errors of their own."""
    bare = [
        {name: (lambda x, metric=metric: Estimate(metric(x).value)) for name, metric in group.items()}
        for group in (measures.distances, measures.others)
    ]
    return Measures(*bare, measures.tests, measures.scales)
