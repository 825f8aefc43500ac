"""Posteriors of partly observed fields: by conditioned samplers, by kriging and, of a mixture, exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..builders import build, build_grid
from ..checkpoints import Checkpoint
from ..columns import CONDITIONING_COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..gaussian import GaussianLaw
from ..grids import Grid
from ..mixture import GaussianMixture
from ..models import ExactModel, Model, require_mixture
from ..observations import Observations, Points, observe
from ..posteriors import Posterior
from ..sample import BLOCK
from ..settings import Gain, MethodBase, ObservedBase, SamplerBase, Start
from ..storage import generator
from . import Progress, quiet

BAND = (0.05, 0.95)
"""Levels of the quantiles whose band is to hold nine tenths."""
SHOWN = 3
"""Samples of each posterior that are kept for pictures."""


@dataclass
class Conditioned:
    """What `condition` finds: a table of CONDITIONING_COLUMNS, and fields for pictures by NAME/PART.

    NAME is OBSERVED/METHOD with the parts mean, spread (N, N) and samples (3, N, N) of the first field. The field itself is
    OBSERVED/truth (N, N). Where points are seen, OBSERVED/points (m, 3) has their coordinates and values.
    """

    table: pd.DataFrame
    fields: dict[str, Tensor] = field(default_factory=dict)


def condition(
    source: Model | ExactModel,
    tests: FieldSets | None = None,
    *,
    observed: Mapping[str, ObservedBase],
    methods: Sequence[MethodBase],
    sampler: SamplerBase,
    resolution: int,
    steps: int,
    truths: int,
    samples: int,
    seed: int,
    law: GaussianLaw | None = None,
    gain: Gain | None = None,
    start: Start = Start.PRIOR,
    keep: Checkpoint | None = None,
    progress: Progress = quiet,
) -> Conditioned:
    """How near the posteriors of each method are to the truth and, of a mixture, to the exact ones.

    The same fields, points and errors are seen by all methods, and on every grid the same points. `gaussian` is the posterior of
    the law, and `exact` the posterior of the mixture.

    Args:
        tests: whose `reference` is seen, on the grid of the samples; of a mixture None, and fields are drawn.
        observed: what is seen, by name; methods that do not take its noise are left out, but one must.
        law: of the data, for `gaussian` and the covariances of methods; by default the law of the model, if it has one.
        keep: where what is done is kept.

    Returns:
        Over fields and, but for the rmse of the posterior mean, pixels: crps, rmse, and coverage of the true values by the
        central 90 % of the samples. crps_gain and rmse_gain: by how much crps and rmse are lower than for `gaussian`, with the
        standard error of the paired differences. Of a mixture over pixels, in units of the exact posterior's standard deviation:
        exact_mean_error; exact_mean_floor, the least error that so many samples have; exact_spread. exact_coverage: of draws of
        the exact posterior. exact_weight_error: the distance of the weights of a component. seconds: of one sample; and
        seconds_ratio, over the seconds of a sample by the same sampler without observations.

    Raises a UserError if the law of the data is neither known nor given, or the test fields are of another law or too few. It
    also raises one if no method takes the noise of something that is seen; and as `Model.sample`.
    """
    gain = gain or source.gain
    settings, keep, law = source.settings, keep or Checkpoint(), law or getattr(source, "law", None)
    grid, key = build_grid(settings, resolution), (settings.experiment, settings.arm)
    mixture = GaussianMixture(source.prior) if settings.mixture else None
    fields = _fields(source, tests, grid, truths, seed)
    drawing = {"resolution": resolution, "steps": steps, "seed": seed, "sampler": sampler, "gain": gain, "start": start}
    drawing |= {"dtype": torch.float64}
    plan = [(name, each) for name, seen in observed.items() for each in methods if each.takes(seen.noise)]
    if nobody := observed.keys() - {name for name, _ in plan}:
        name = min(nobody)
        raise UserError(f"{settings.name}: no method is for the noise of {name}, {observed[name].noise:g}; give one")
    for name, what in observed.items():  # before anything is drawn
        operator = build(what, type(grid), generator(seed, "condition", *key, name, 0))
        operator.demand_memory(grid)
        Observations(operator, torch.zeros(operator.count), what.noise)
    blocks, found = -(-samples // BLOCK), Conditioned(pd.DataFrame(columns=CONDITIONING_COLUMNS))
    rows: list[dict[str, Any]] = []
    about = {"seed": seed, "resolution": resolution, "gain": gain if isinstance(source, Model) else None}
    about |= {"n_truths": truths, "n_samples": samples}
    with progress(blocks * steps * truths * len(plan), f"condition at {resolution}") as advance:

        def drawn(name: str, number: int, seen: Observations | None, method: MethodBase | None) -> tuple[Tensor, float]:
            """Samples of a posterior, or without observations of the model, and the seconds that one takes: NaN after a stop."""
            part, stage = keep.at(f"{name}-{number}"), f"condition {name} {number}"
            begun = math.nan if part.begun else time.perf_counter()
            options = {"observations": seen, "method": method, "law": law} if seen else {}
            options |= {"progress": partial(advance, str(method))} if seen else {}
            made = source.sample(samples, **drawing, **options, keep=part, stage=stage)
            took = [{"seconds": (time.perf_counter() - begun) / samples}]
            return made.cpu(), part.rows("took", lambda: took)[0]["seconds"]

        def exactly(name: str, number: int, given: str, of: Posterior) -> tuple[Tensor, float]:
            """The same of a posterior that is known."""
            begun = time.perf_counter()
            made = of.sample(samples, generator(seed, "condition", given, *key, name, number, resolution))
            return made, (time.perf_counter() - begun) / samples

        unconditional = math.nan
        for number in count():
            _, unconditional = drawn("prior", number, None, None)
            if number and not math.isnan(unconditional):  # the first warms up, and what was stopped tells no time
                break
        for name, what in observed.items():
            scores: dict[str, list[dict[str, float]]] = {}
            operator = None
            for number, truth in enumerate(fields):
                stream = generator(seed, "condition", *key, name, number)
                if operator is None or what.random:
                    operator = build(what, type(grid), stream)
                seen = observe(operator, truth, grid, what.noise, stream)
                exact = Posterior(mixture, seen, grid) if mixture else None
                known = {"exact": exact, "gaussian": Posterior(law, seen, grid) if law else None}
                every = {given: exactly(name, number, given, of) for given, of in known.items() if of}
                for index, method in enumerate(methods):
                    if method.takes(what.noise):
                        every[str(method)] = drawn(f"{name}-{index}", number, seen, method)
                for given, (made, seconds) in every.items():
                    score = _scores(made, truth) | (_against(made, exact) if exact else {})
                    score |= {"seconds": seconds, "seconds_ratio": seconds / unconditional}
                    scores.setdefault(given, []).append(score)
                if not number:
                    found.fields |= _pictures(name, truth, seen, {given: made for given, (made, _) in every.items()})
            said = about | {"observed": name, "n_observations": seen.operator.count}
            for given, of_truths in scores.items():
                by = {"sampler": str(sampler), "steps": steps} if given not in known else {}
                for posterior, value, stderr in _summary(of_truths, scores.get("gaussian")):
                    number_of = {"method": given, "posterior": posterior, "value": value, "stderr": stderr}
                    rows.append(tidy_row(settings.labels, CONDITIONING_COLUMNS, **said, **by, **number_of))
    found.table = pd.DataFrame(rows, columns=CONDITIONING_COLUMNS)
    return found


def _fields(source: Model | ExactModel, tests: FieldSets | None, grid: Grid, truths: int, seed: int) -> Tensor:
    """The fields that are seen, (n, N, N), float64: the first of the test set; of a mixture draws of the grid."""
    settings = source.settings
    if tests is None:
        require_mixture(settings, settings.name)
        stream = generator(seed, "condition truth", settings.experiment, settings.arm)
        return GaussianMixture(source.prior).sample(truths, grid, stream, torch.float64)
    if (tests.target, tests.grid) != (source.target, grid):
        raise UserError(f"{settings.name}: the test fields are of another data set or grid; give its own")
    fields = tests.fields["reference"]
    if len(fields) < truths:
        raise UserError(f"{settings.name}: {len(fields)} test fields, and {truths} are to be seen; take fewer")
    return fields[:truths].double()


def _scores(drawn: Tensor, truth: Tensor) -> dict[str, float]:
    """CRPS, with the unbiased spread of so many samples, rmse of their mean, and coverage, over pixels."""
    n = len(drawn)
    ordered = drawn.sort(dim=0).values
    ranks = 2 * torch.arange(1, n + 1, dtype=drawn.dtype) - n - 1
    spread = torch.tensordot(ranks, ordered, dims=1) / (n * (n - 1))
    crps = (drawn - truth).abs().mean(dim=0) - spread
    low, high = _band(drawn)
    return {
        "crps": crps.mean().item(),
        "rmse": (drawn.mean(dim=0) - truth).square().mean().sqrt().item(),
        "coverage": ((low <= truth) & (truth <= high)).double().mean().item(),
    }


def _band(drawn: Tensor) -> Tensor:
    """The quantiles of BAND of n ≥ 19 samples, shape (2, N, N), between which another draw of their law is nine times of ten:

    of the ordered samples number (n + 1) p (Weibull's; Hyndman and Fan 1996, type 6), since it exceeds number k with k / (n + 1).
    Of fewer samples the least and the greatest.
    """
    n = len(drawn)
    levels = ((n + 1) * torch.tensor(BAND, dtype=drawn.dtype) - 1) / (n - 1)
    return drawn.quantile(levels.clamp(0, 1), dim=0)


def _against(drawn: Tensor, exact: Posterior) -> dict[str, float]:
    """How far samples are from an exact posterior, in its standard deviation (root mean square over pixels)."""
    mixture, grid, n = exact.law, exact.grid, len(drawn)
    deviation = exact.variances().mean().sqrt()
    truth = exact.sample(n, generator(0, "condition", "exact posterior"))
    low, high = _band(drawn)
    weight = torch.sigmoid(mixture.log_odds(drawn, torch.ones(n, dtype=drawn.dtype), grid)).mean()
    return {
        "exact_mean_error": ((drawn.mean(dim=0) - exact.mean).square().mean().sqrt() / deviation).item(),
        "exact_mean_floor": n**-0.5,
        "exact_spread": (drawn.var(dim=0).mean().sqrt() / deviation).item(),
        "exact_coverage": ((low <= truth) & (truth <= high)).double().mean().item(),
        "exact_weight_error": (weight - exact.weights[0]).abs().item(),
    }


def _summary(
    scores: Sequence[Mapping[str, float]], gaussian: Sequence[Mapping[str, float]] | None
) -> list[tuple[str, float, float]]:
    """(name, mean, standard error) over fields of each score, and of what the score of kriging is above it; errors square."""

    def column(of: Sequence[Mapping[str, float]], name: str) -> Tensor:
        values = torch.tensor([each[name] for each in of], dtype=torch.float64)
        return values[~values.isnan()]  # of seconds those that were not stopped

    columns = {name: column(scores, name) for name in scores[0]}
    if gaussian and gaussian is not scores:
        columns |= {f"{name}_gain": column(gaussian, name) - columns[name] for name in ("crps", "rmse")}
    return [
        (
            name,
            (values.square().mean().sqrt() if name == "exact_mean_error" else values.mean()).item(),
            values.std().item() / len(values) ** 0.5,
        )
        for name, values in columns.items()
        if len(values) > 1
    ]


def _pictures(name: str, truth: Tensor, seen: Observations, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The fields of `Conditioned` of one field."""
    found = {f"{name}/truth": truth.float()}
    if isinstance(seen.operator, Points):
        found[f"{name}/points"] = torch.cat([seen.operator.positions, seen.values[:, None]], dim=1)
    for given, drawn in made.items():
        parts = {"mean": drawn.mean(dim=0), "spread": drawn.std(dim=0), "samples": drawn[:SHOWN]}
        found |= {f"{name}/{given}/{part}": values.float() for part, values in parts.items()}
    return found
