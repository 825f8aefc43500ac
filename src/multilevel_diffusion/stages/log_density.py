"""Log densities of true fields of a mixture relative to N(0,Q), see `likelihood`."""

from collections.abc import Sequence

import pandas as pd
import torch

from ..builders import build_grid
from ..checkpoints import Checkpoint
from ..columns import DENSITY_COLUMNS, tidy_row
from ..errors import UserError
from ..grids import Torus, restrict
from ..likelihood import hutchinson
from ..likelihood import log_density as along_flow
from ..mixture import GaussianMixture
from ..models import ExactModel, Model, device_of, require_mixture
from ..sample import time_grid
from ..settings import Gain, TimeGrid
from ..storage import generator
from . import Progress, quiet


def log_density(
    source: Model | ExactModel,
    *,
    resolutions: Sequence[int],
    drawn_on: int,
    samples: int,
    steps: int,
    probes: int,
    seed: int,
    gain: Gain | None = None,
    keep: Checkpoint | None = None,
    progress: Progress = quiet,
) -> pd.DataFrame:
    """Log densities of true fields relative to N(0,Q), followed to t = 1 along the probability-flow ODE on each grid.

    Args:
        drawn_on: points per side of the grid, finer than all others, on which the fields are drawn before they are restricted.
        steps: of the flow.
        probes: random directions per field that estimate the trace; of an exact score the exact trace is taken as well.
        keep: where the state of the flow is kept.

    Returns:
        One row per field, grid and way to take the trace, of DENSITY_COLUMNS, in nats. estimate: log ρ_0 with log ρ_1 = 0, as
        samples start from N(0,Q). start: the true log ρ_1. closed_form: the true log ρ_0. finest: the true log ρ_0 on the finer
        grid. plain: the log density of the values on the grid.

    Raises:
        UserError: if the law of the data is not known, the network does not take a resolution, or the density stops being finite.
        ValueError: if `drawn_on` is not the finest grid.
    """
    settings, on = source.settings, device_of()
    require_mixture(settings, settings.name)
    gain = gain or source.gain
    denoiser, key = source.to(on).denoiser(gain), (settings.experiment, settings.arm)
    prior, sde, learned = denoiser.prior, denoiser.sde, isinstance(source, Model)
    mixture, finest = GaussianMixture(prior), Torus(drawn_on)
    fields = mixture.sample(samples, finest, generator(seed, "log density", *key, device=on), torch.float64)
    unit = fields.new_ones(samples)
    traces = ("hutchinson",) if learned else ("exact", "hutchinson")
    at_finest, times = mixture.log_density(fields, unit, finest), time_grid(TimeGrid.UNIFORM, steps, sde)
    about, tables = {"gain": gain if learned else None, "seed": seed, "drawn_on": drawn_on, "steps": steps}, []
    about["field"], keep = range(samples), keep or Checkpoint()
    with progress(len(resolutions) * len(traces), f"log density of {settings.name}") as advance:
        for n in resolutions:
            grid = build_grid(settings, n)
            u_0 = restrict(fields, finest, grid)
            closed_form = mixture.log_density(u_0, unit, grid)
            for trace in traces:
                stream = generator(seed, "probes", *key, n, device=on)
                flow = denoiser.noise_and_trace if trace == "exact" else hutchinson(denoiser, stream, probes)
                try:
                    estimate, u_1 = along_flow(flow, prior, sde, u_0, grid, times, keep.at(f"{n}-{trace}"))
                except FloatingPointError as error:
                    raise UserError(f"{settings.name}: {error}; take more steps") from None
                measured = {
                    "estimate": estimate,
                    "start": mixture.log_density(u_1, unit * sde.mean_scale(times[0]), grid),
                    "closed_form": closed_form,
                    "plain": closed_form + prior.log_density(u_0, grid),
                    "finest": at_finest,
                }
                columns = about | {name: values.tolist() for name, values in measured.items()}
                columns |= {"resolution": n, "trace": trace, "probes": probes if trace == "hutchinson" else None}
                tables.append(pd.DataFrame(tidy_row(settings.labels, DENSITY_COLUMNS, **columns)))
                advance()
    return pd.concat(tables, ignore_index=True)
