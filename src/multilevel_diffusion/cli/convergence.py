from __future__ import annotations

from typing import Annotated

import typer

from ..config import Gain
from .options import Field, Output, Resolution, Samples, Seed


def convergence(
    source: Field,
    resolution: Resolution,
    sampler: Annotated[list[str], typer.Option(help="As in `mld sample`; several may be given.")],
    evaluations: Annotated[list[int], typer.Option(min=1, help="Of the denoiser; several may be given.")],
    reference_evaluations: Annotated[
        int, typer.Option(min=1, help="Euler-Maruyama is run with as many, to compare with.")
    ],
    samples: Samples,
    projections: Annotated[int, typer.Option(min=2, help="Directions of the sliced Wasserstein distance.")],
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
) -> None:
    """Distance of samples of the mixture to the truth against the number of evaluations, a row a sampler, number and metric.

    The reference is 11 sets of true data of as many fields, pooled; the floor is what a set of true data has as distance to it,
    and the standard error its spread over 12 such sets. All samplers start from the same noise.
    """
    import math
    import time
    from functools import partial

    import numpy as np
    import pandas as pd
    import torch

    from .. import metrics
    from ..config import ArmSpec, parse_sampler
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..sample import BLOCK, time_grid
    from ..storage import generator, provenance, write_csv
    from ..tables import CONVERGENCE_COLUMNS
    from .build import device, read_field
    from .prior import require_mixture
    from .progress import progress
    from .sampler import build_sampler, draw, steps_within

    start, on = time.perf_counter(), device()
    settings, denoiser, _ = read_field(source, gain, on)
    learned = isinstance(settings, ArmSpec)
    require_mixture(settings, source)
    grid, key = Torus(resolution), (settings.experiment, settings.arm, resolution)
    mixture = GaussianMixture(denoiser.prior)
    truths = [
        mixture.sample(samples, grid, generator(seed, "convergence truth", *key, i), torch.float64).numpy()
        for i in range(12)
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

    curves = [(parse_sampler("euler-maruyama", "--sampler"), [reference_evaluations])]
    curves += [(parse_sampler(name, "--sampler"), evaluations) for name in sampler]
    solvers = {chosen: build_sampler(chosen, denoiser) for chosen, _ in curves}
    plan = [(chosen, steps_within(count, solvers[chosen])) for chosen, counts in curves for count in counts]
    jobs = [(chosen, solvers[chosen], steps) for chosen, steps in dict.fromkeys(plan)]
    rows, blocks = [], math.ceil(samples / BLOCK)
    with progress(blocks * sum(steps for _, _, steps in jobs), f"convergence at {resolution}") as advance:
        for chosen, solver, steps in jobs:
            drawn = draw(
                solver,
                time_grid(chosen.times, steps, denoiser.sde),
                samples,
                grid,
                lambda block: generator(seed, "convergence", *key, block, device=on),
                partial(advance, str(chosen)),
                source,
            )
            for metric, distance in distances.items():
                rows.append(
                    settings.labels
                    | {
                        "gain": gain if learned else None,
                        "seed": seed,
                        "sampler": str(chosen),
                        "steps": steps,
                        "evaluations": solver.evaluations(steps),
                        "resolution": resolution,
                        "metric": metric,
                        "value": distance(reference, drawn.cpu().numpy()).value,
                        "stderr": floors[metric].stderr,
                        "floor": floors[metric].value,
                        "n_samples": samples,
                        "n_projections": projections if metric == "sliced_wasserstein" else None,
                    }
                )
    facts = provenance(
        settings=settings.model_dump(mode="json"),
        seed=seed,
        device=str(on),
        seconds=round(time.perf_counter() - start, 3),
    )
    write_csv(output, pd.DataFrame(rows, columns=CONVERGENCE_COLUMNS), facts)
