"""Distance of samples to the true law of a mixture against the number of evaluations of the denoiser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from .. import metrics
from ..columns import CONVERGENCE_COLUMNS, tidy_row
from ..mixture import GaussianMixture
from ..models import ExactModel, Model, build_grid, build_sampler, default_device, draw, require_mixture
from ..sample import BLOCK, Sampler
from ..settings import EulerMaruyamaSettings, Gain, SamplerBase
from ..storage import generator
from . import Progress, quiet

__all__ = ["convergence"]

SETS = 12
"""Independent sets of true fields; all but the first are the reference."""


def convergence(
    source: Model | ExactModel,
    samplers: Sequence[SamplerBase],
    *,
    resolution: int,
    evaluations: Sequence[int],
    reference_evaluations: int,
    samples: int,
    projections: int,
    seed: int,
    gain: Gain = Gain.VALUES,
    device: torch.device | str | None = None,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Distances of samples of a mixture to the true law, for each sampler within each number of evaluations.

    The reference is 11 sets of true fields, as many as samples in each, pooled. All samplers start from the same noise.

    Args:
        evaluations: of the denoiser; a sampler takes as many steps as they pay for.
        reference_evaluations: of the Euler–Maruyama that comes first, to compare all others with.
        projections: directions of the sliced Wasserstein distance.

    Returns:
        A row a sampler, number of steps and metric (sliced_wasserstein, spectrum_distance), of CONVERGENCE_COLUMNS. floor: what a
        set of true fields has as distance to the others; stderr: the spread of that over 12 sets. evaluations: those made.

    Raises:
        UserError: if the true law is not known, the network does not take the resolution, the fields stop being finite, or memory
            does not suffice.
    """
    settings, on = source.settings, torch.device(device) if device else default_device()
    require_mixture(settings, settings.name)
    denoiser = source.to(on).denoiser(gain)
    grid, key = build_grid(settings, resolution), (settings.experiment, settings.arm, resolution)
    mixture = GaussianMixture(denoiser.prior)
    truths = [
        mixture.sample(samples, grid, generator(seed, "convergence truth", *key, i), torch.float64).numpy()
        for i in range(SETS)
    ]
    directions = metrics.projections(resolution, projections, generator(0, "projections", resolution))
    distances = {
        "sliced_wasserstein": metrics.Reference.sliced_wasserstein,
        "spectrum_distance": metrics.Reference.spectrum_distance,
    }
    floors = {
        name: metrics.floor(lambda x, y, distance=distance: distance(metrics.Reference(y, directions), x), truths)
        for name, distance in distances.items()
    }
    reference = metrics.Reference(np.concatenate(truths[1:]), directions)

    curves = [(EulerMaruyamaSettings(kind="euler-maruyama"), [reference_evaluations])]
    curves += [(each, evaluations) for each in samplers]
    plan = dict.fromkeys(
        (each, _steps_within(count, build_sampler(each, denoiser))) for each, counts in curves for count in counts
    )
    rows, blocks = [], math.ceil(samples / BLOCK)
    with progress(blocks * sum(steps for _, steps in plan), f"convergence at {resolution}") as advance:
        for chosen, steps in plan:
            drawn = draw(
                chosen,
                denoiser,
                samples,
                grid,
                steps,
                lambda block: generator(seed, "convergence", *key, block, device=on),
                settings.name,
                partial(advance, str(chosen)),
            )
            for metric, distance in distances.items():
                rows.append(
                    tidy_row(
                        settings.labels,
                        CONVERGENCE_COLUMNS,
                        gain=gain if isinstance(source, Model) else None,
                        seed=seed,
                        sampler=str(chosen),
                        steps=steps,
                        evaluations=build_sampler(chosen, denoiser).evaluations(steps),
                        resolution=resolution,
                        metric=metric,
                        value=distance(reference, drawn.cpu().numpy()).value,
                        stderr=floors[metric].stderr,
                        floor=floors[metric].value,
                        n_samples=samples,
                        n_projections=projections if metric == "sliced_wasserstein" else None,
                    )
                )
    return pd.DataFrame(rows, columns=CONVERGENCE_COLUMNS)


def _steps_within(evaluations: int, sampler: Sampler) -> int:
    """The most steps that `evaluations` ≥ 1 evaluations of the denoiser pay for."""
    return max(steps for steps in range(1, evaluations + 1) if sampler.evaluations(steps) <= evaluations)
