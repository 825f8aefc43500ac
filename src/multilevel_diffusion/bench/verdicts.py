"""How often claims are judged rightly: samples of a perfect sampler and of wrong ones through metrics, floors and verdicts."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from .. import metrics
from ..builders import build_prior
from ..data.sets import FLOORS, FieldSets
from ..grids import Grid, Torus, wavenumbers
from ..metrics import Estimate, Subset
from ..mixture import GaussianMixture
from ..settings import ClaimsSettings, TargetSpec, parse
from ..stages.evaluate import measures_of
from ..storage import generator
from ..tables import claims
from .errors import TARGET

EXACT, SETS_OF_EXACT = 20_000, 4
"""Fields, and sets of them, from which the true value of a claim is known."""
NEAR = 0.1
"""Values so near a bound, in parts of it, are neither right nor wrong."""


def _same(eta: Tensor, grid: Grid) -> Tensor:
    return eta


def _louder(eta: Tensor, grid: Grid) -> Tensor:
    return 1.2**0.5 * eta


def _tilted(eta: Tensor, grid: Grid) -> Tensor:
    k1, k2 = wavenumbers(grid.resolution)
    shell = torch.hypot(k1.double(), k2.double()).round().long()
    factor = 10 ** (0.05 * torch.where(shell % 2 == 0, 1.0, -1.0))
    return torch.fft.irfft2(torch.fft.rfft2(eta) * factor, s=eta.shape[-2:])


def _diverged(eta: Tensor, grid: Grid) -> Tensor:
    return torch.cat([50 * eta[:1], eta[1:]])


LAWS: dict[str, tuple[Callable[[Tensor, Grid], Tensor], float]] = {
    "perfect": (_same, 1 / 2),
    "variance 20 % too high": (_louder, 1 / 2),
    "one component twice as heavy": (_same, 2 / 3),
    "spectrum off by 0.1 decades": (_tilted, 1 / 2),  # shells in turn up and down
    "one diverged sample": (_diverged, 1 / 2),  # 50 times as large
}
"""By name: what is done to the noise within the components, and the share of the first of them."""

NEAR_THE_DATA: dict[str, dict[str, Any]] = {
    "sliced_wasserstein": {"debiased": True, "at_most": 0.05},
    "sliced_wasserstein_within": {"debiased": True, "at_most": 0.05},
    "spectrum_distance": {"debiased": True, "at_most": 0.05},
    "component_share": {"less": {"column": "floor"}, "within": 0.1},
}
"""By metric: the claim that samples are near the data, as config.yaml makes it."""


def verdicts(
    resolution: int, samples: int, seeds: int, projections: int, repetitions: int, advance: Callable[[], object]
) -> pd.DataFrame:
    """Judge samples of each law, with reference, floors and seeds drawn anew each time; the true sets have 8 times `samples`.

    Returns:
        One row per law and metric. truth: the value of the claim for very many samples. criterion. holds: whether it meets it;
        empty near the bound, and no distance holds for a diverged sample, whose weight depends on `samples`. reproduced, not
        reproduced, undecided: how often that was the verdict, corrected for the four claims together. wrong: how often it was
        the false one.
    """
    spec, grid = parse(TargetSpec, TARGET, "bench verdicts"), Torus(resolution)
    mixture = GaussianMixture(build_prior(spec))

    def drawn(n: int, law: str, *key: str | int) -> Tensor:
        stream, (change, first) = generator(0, "bench verdicts", law, *key), LAWS[law]
        component = (torch.rand(n, generator=stream) >= first).long()
        return mixture.means(grid).float()[component] + change(mixture.prior.sample(n, grid, stream), grid)

    def judged(repetition: int, n: int, sets: int, count: int) -> dict[str, pd.DataFrame]:
        """The claims about `count` seeds of n samples of every law."""
        truth = {name: drawn(sets * n, "perfect", repetition, name) for name in ("reference", "floor")}
        measures = measures_of(FieldSets(truth, grid, spec.model_dump(mode="json")), projections)

        def measure(x: Subset) -> dict[str, Estimate]:
            return {name: (measures.distances | measures.others)[name](x) for name in NEAR_THE_DATA}

        floors, disjoint = metrics.floors(measure, truth["floor"].numpy(), n)
        known = {
            name: {"floor": floor.value, "floor_stderr": floor.stderr, "floor_sets": disjoint}
            | {"scale": measures.scales.get(name, 1.0), "n_samples": n, "n_reference": sets * n}
            for name, floor in floors.items()
        }
        found = {}
        for law in LAWS:
            rows = [
                {"metric": name, "seed": seed, "network": "exact", **asdict(estimate)} | known[name]
                for seed in range(count)
                for name, estimate in measure(Subset(drawn(n, law, repetition, seed).numpy())).items()
            ]
            found[law] = claims(_rule(count), {"metrics": pd.DataFrame(rows)}).assign(metric=[*NEAR_THE_DATA])
        return found

    exact = judged(-1, EXACT, SETS_OF_EXACT, 2)
    runs = []
    for repetition in range(repetitions):
        runs.append(judged(repetition, samples, FLOORS, seeds))
        advance()
    rows = []
    for law, true in exact.items():
        every = pd.concat([run[law] for run in runs])
        for row in true.itertuples():
            bound = NEAR_THE_DATA[row.metric].get("at_most", NEAR_THE_DATA[row.metric].get("within"))
            diverged = law == "one diverged sample" and row.metric != "component_share"
            clear = diverged or abs(abs(row.value) - bound) > NEAR * bound
            holds = abs(row.value) <= bound and not diverged if clear else None
            shares = every[every.metric == row.metric].verdict.value_counts(normalize=True)
            found = {name: shares.get(name, 0.0) for name in ("reproduced", "not reproduced", "undecided")}
            about = {"law": law, "metric": row.metric, "truth": row.value, "criterion": row.criterion, "holds": holds}
            rows.append(
                about | found | {"wrong": found["not reproduced" if holds else "reproduced"] if clear else None}
            )
    return pd.DataFrame(rows)


def _rule(seeds: int) -> ClaimsSettings:
    rows = {}
    for name, claim in NEAR_THE_DATA.items():
        criterion = {key: claim[key] for key in ("at_most", "within") if key in claim}
        form = {key: value for key, value in claim.items() if key not in criterion}
        quantity = {"table": "metrics", "of": {"metric": name, "network": "exact"}} | form
        rows[name.replace("_", "-")] = {"figure": "all", "statement": name, "quantity": quantity} | criterion
    return parse(ClaimsSettings, {"seeds": seeds, "confidence": 0.95, "power": 5, "rows": rows}, "bench verdicts")
