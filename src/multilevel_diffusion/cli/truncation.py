from __future__ import annotations

from typing import Annotated

import typer

from .options import Output, Samples, Seed, Target


def truncation(
    target: Target,
    resolution: Annotated[list[int], typer.Option(min=3, help="Grid whose modes are kept; two at least.")],
    drawn_on: Annotated[int, typer.Option(min=3, help="Finer grid, on which the paths are drawn.")],
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Times at which paths are compared.")],
    seed: Seed,
    output: Output,
) -> None:
    """What truncating the forward process of the mixture costs, and how fast that falls: rows of the table of metrics.

    truncation_error: E max_t |X_t - X_t^M|^2 along paths on the finer grid; floor: what truncating X_0 alone costs, in closed
    form. truncation_rate: the slope of the logarithm of the first over that of the second, 1 where they fall alike.
    """
    import time

    import numpy as np
    import pandas as pd
    import torch
    from scipy import stats

    from ..config import UserError
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..sde import ForwardSDE, truncation_errors
    from ..storage import generator, provenance, write_csv
    from ..tables import COLUMNS
    from .build import device
    from .prior import build_prior, read_target, require_mixture

    start, on, settings = time.perf_counter(), device(), read_target(target)
    require_mixture(settings, target)
    if len(set(resolution)) < 2:
        raise UserError("--resolution: give two at least, a rate needs them")
    if max(resolution) >= drawn_on:
        raise UserError(f"--drawn-on: {drawn_on} must be finer than --resolution {max(resolution)}")
    mixture, finest = GaussianMixture(build_prior(settings)), Torus(drawn_on)
    stream = generator(seed, "truncation", settings.experiment, settings.arm, device=on)
    u_0 = mixture.sample(samples, finest, stream)
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    coarse = [Torus(n) for n in resolution]
    errors = truncation_errors(ForwardSDE(), mixture.prior, u_0, finest, coarse, times, stream).double()
    means, floors = errors.mean(dim=1).tolist(), [mixture.tail(finest, grid) for grid in coarse]
    slope = stats.linregress(np.log(floors), np.log(means))
    measured = [
        ("truncation_error", n, mean, (part.std() / samples**0.5).item(), floor)
        for n, mean, part, floor in zip(resolution, means, errors, floors, strict=True)
    ]
    rows = [
        settings.labels
        | {"seed": seed, "resolution": n, "metric": metric, "value": value, "stderr": error, "floor": floor}
        | {"steps": steps, "n_samples": samples}
        for metric, n, value, error, floor in [
            *measured,
            ("truncation_rate", drawn_on, slope.slope, slope.stderr, 1.0),
        ]
    ]
    facts = provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3))
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS), facts)
