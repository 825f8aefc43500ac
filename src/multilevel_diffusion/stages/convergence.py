"""Distance of samples to the test set against the number of evaluations of the denoiser."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from .. import metrics
from ..builders import build, build_grid
from ..checkpoints import Checkpoint
from ..columns import CONVERGENCE_COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..mixture import GaussianMixture
from ..models import ExactModel, Model, require_mixture
from ..sample import BLOCK, Sampler
from ..settings import EulerMaruyamaSettings, Gain, SamplerBase, Start
from ..storage import generator
from . import Progress, quiet

SETS = 12
"""Independent sets of true fields, at most; all but the first are the reference."""


def convergence(
    source: Model | ExactModel,
    samplers: Sequence[SamplerBase],
    tests: FieldSets | None = None,
    *,
    resolution: int,
    evaluations: Sequence[int],
    reference_evaluations: int,
    samples: int,
    projections: int,
    seed: int,
    gain: Gain | None = None,
    start: Start = Start.PRIOR,
    keep: Checkpoint | None = None,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Distances of samples to the test set, for each sampler within each number of evaluations.

    There are K = 12 sets of true fields, as many as samples in each: drawn from a mixture, and of other data as many as the test
    fields suffice for. The reference is K − 1 of them, pooled. All samplers start from the same noise.

    Args:
        tests: `reference` and `floor` on the grid of the samples; None for a mixture.
        evaluations: of the denoiser; a sampler takes as many steps as they pay for.
        reference_evaluations: of the Euler–Maruyama that comes first, to compare all others with.
        keep: where what is done is kept.

    Returns:
        One row per sampler, number of steps and metric (sliced_wasserstein, spectrum_distance), of CONVERGENCE_COLUMNS. floor:
        what a set of true fields has as distance to the others; stderr: its spread over the K sets, which divided by √K is
        floor_stderr. evaluations: those made.

    Raises a UserError if the law of the data is neither known nor given, or the test fields are of another, or make no two sets;
    and as `Model.sample`.
    """
    gain = gain or source.gain
    settings, denoiser = source.settings, source.denoiser(gain)
    grid, key = build_grid(settings, resolution), (settings.experiment, settings.arm, resolution)
    if tests is None:
        require_mixture(settings, settings.name)
        mixture = GaussianMixture(source.prior)
        streams = (generator(seed, "convergence truth", *key, i) for i in range(SETS))
        truths = [mixture.sample(samples, grid, stream, torch.float64).numpy() for stream in streams]
    else:
        truths = _test_sets(tests, source, resolution, samples)
    directions = metrics.projections(resolution, projections, generator(0, "projections", resolution))
    distances = {name: getattr(metrics.Reference, name) for name in ("sliced_wasserstein", "spectrum_distance")}
    floors = {
        name: metrics.floor(lambda x, y, distance=distance: distance(metrics.Reference(y, directions), x), truths)
        for name, distance in distances.items()
    }
    reference = metrics.Reference(np.concatenate(truths[1:]), directions)

    curves = [(EulerMaruyamaSettings(kind="euler-maruyama"), [reference_evaluations])]
    curves += [(each, evaluations) for each in samplers]
    plan = dict.fromkeys((way, _steps_within(most, build(way, denoiser))) for way, counts in curves for most in counts)
    drawing = {"resolution": resolution, "seed": seed, "gain": gain, "start": start}
    same = {"gain": gain if isinstance(source, Model) else None, "seed": seed, "resolution": resolution}
    rows, blocks, keep = [], math.ceil(samples / BLOCK), keep or Checkpoint()
    with progress(blocks * sum(steps for _, steps in plan), f"convergence at {resolution}") as advance:
        for number, (chosen, steps) in enumerate(plan):
            told = partial(advance, str(chosen))
            options = {"sampler": chosen, "steps": steps, "progress": told, "stage": "convergence"}
            options["keep"] = keep.at(f"{number}")
            drawn = source.sample(samples, **drawing, **options, dtype=torch.float64).cpu().numpy()
            about = {"sampler": str(chosen), "steps": steps, "n_samples": samples}
            about["evaluations"] = build(chosen, denoiser).evaluations(steps)
            for metric, distance in distances.items():
                floor, of_units = floors[metric], metric == "sliced_wasserstein"
                found = {"metric": metric, "value": distance(reference, drawn).value, "stderr": floor.stderr}
                found |= {"floor": floor.value, "floor_stderr": floor.stderr / len(truths) ** 0.5}
                found |= {"floor_sets": len(truths), "scale": reference.deviation if of_units else 1.0}
                found["n_projections"] = projections if of_units else None
                rows.append(tidy_row(settings.labels, CONVERGENCE_COLUMNS, **same, **about, **found))
    return pd.DataFrame(rows, columns=CONVERGENCE_COLUMNS)


def _test_sets(tests: FieldSets, source: Model | ExactModel, resolution: int, samples: int) -> list[metrics.Fields]:
    """The test fields in sets of as many as there are samples, at most SETS."""
    fields = torch.cat([tests.fields["reference"], tests.fields["floor"]]).double()
    if (tests.target, tests.grid) != (source.target, build_grid(source.settings, resolution)):
        raise UserError(f"{source.settings.name}: the test fields are of another data set or grid; give its own")
    if len(fields) < 2 * samples:
        raise UserError(
            f"{source.settings.name}: {len(fields)} test fields make no two sets of {samples}; take fewer samples"
        )
    return [part.numpy() for part in fields.split(samples) if len(part) == samples][:SETS]


def _steps_within(evaluations: int, sampler: Sampler) -> int:
    """The most steps that `evaluations` ≥ 1 evaluations of the denoiser pay for."""
    return max(steps for steps in range(1, evaluations + 1) if sampler.evaluations(steps) <= evaluations)
