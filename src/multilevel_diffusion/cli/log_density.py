from __future__ import annotations

from typing import Annotated

import typer

from ..config import Gain
from .options import Field, Output, Samples, Seed


def log_density(
    source: Field,
    resolution: Annotated[list[int], typer.Option(min=3, help="Grid of the flow; several may be given.")],
    drawn_on: Annotated[int, typer.Option(min=3, help="Finer grid on which the fields are drawn, then restricted.")],
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the flow.")],
    probes: Annotated[int, typer.Option(min=1, help="Random directions a field that estimate the trace.")],
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
) -> None:
    """Log densities of true fields of the mixture relative to N(0,Q), a row a field, grid and way to take the trace.

    estimate: log ρ_0 along the probability-flow ODE with log ρ_1 = 0, as samples start from N(0,Q); start: the true one;
    closed_form: the true log ρ_0; finest: that on the finer grid; plain: the log density of the values on the grid.
    """
    import time

    import pandas as pd
    import torch

    from ..config import ArmSpec, TimeGrid, UserError
    from ..grids import Torus, restrict
    from ..likelihood import hutchinson
    from ..likelihood import log_density as measure
    from ..mixture import GaussianMixture
    from ..sample import time_grid
    from ..storage import generator, provenance, write_csv
    from ..tables import DENSITY_COLUMNS
    from .build import device, read_field
    from .prior import require_mixture
    from .progress import progress

    if max(resolution) >= drawn_on:
        raise UserError(f"--drawn-on: {drawn_on} must be finer than --resolution {max(resolution)}")
    start, on = time.perf_counter(), device()
    settings, denoiser, _ = read_field(source, gain, on)
    learned = isinstance(settings, ArmSpec)
    require_mixture(settings, source)
    prior, sde, key = denoiser.prior, denoiser.sde, (settings.experiment, settings.arm)
    mixture, finest = GaussianMixture(prior), Torus(drawn_on)
    fields = mixture.sample(samples, finest, generator(seed, "log density", *key, device=on), torch.float64)
    unit = fields.new_ones(samples)
    traces = ("hutchinson",) if learned else ("exact", "hutchinson")
    tables, times = [], time_grid(TimeGrid.UNIFORM, steps, sde)
    with progress(len(resolution) * len(traces), f"log density of {source}") as advance:
        for n in resolution:
            grid = Torus(n)
            u_0 = restrict(fields, finest, grid)
            closed_form = mixture.log_density(u_0, unit, grid)
            for trace in traces:
                stream = generator(seed, "probes", *key, n, device=on)
                flow = denoiser.noise_and_trace if trace == "exact" else hutchinson(denoiser, stream, probes)
                try:
                    estimate, u_1 = measure(flow, prior, sde, u_0, grid, times)
                except FloatingPointError as error:
                    raise UserError(f"{source}: {error}; take more steps") from None
                columns = {
                    "estimate": estimate,
                    "start": mixture.log_density(u_1, unit * sde.mean_scale(times[0]), grid),
                    "closed_form": closed_form,
                    "plain": closed_form + prior.log_density(u_0, grid),
                    "finest": mixture.log_density(fields, unit, finest),
                }
                facts = settings.labels | {
                    "gain": gain if learned else None,
                    "seed": seed,
                    "resolution": n,
                    "drawn_on": drawn_on,
                    "trace": trace,
                    "steps": steps,
                    "probes": probes if trace == "hutchinson" else None,
                    "field": range(samples),
                }
                tables.append(pd.DataFrame(facts | {name: value.tolist() for name, value in columns.items()}))
                advance()
    facts = provenance(
        settings=settings.model_dump(mode="json"),
        seed=seed,
        device=str(on),
        seconds=round(time.perf_counter() - start, 3),
    )
    write_csv(output, pd.concat(tables, ignore_index=True)[DENSITY_COLUMNS], facts)
