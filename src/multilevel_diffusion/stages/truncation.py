"""What truncating the forward process costs (Hagemann et al., arXiv 2303.04772, theorem 3.2)."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Generator, Tensor

from ..columns import COLUMNS, tidy_row
from ..errors import UserError
from ..grids import Grid, Torus, prolong, restrict, squared_norm
from ..mixture import GaussianMixture
from ..models import ExactModel, device_of
from ..priors import Prior
from ..sde import ForwardSDE
from ..storage import generator


@torch.no_grad()
def truncation_errors(
    sde: ForwardSDE, prior: Prior, u_0: Tensor, grid: Grid, coarse: Sequence[Grid], times: Tensor, generator: Generator
) -> Tensor:
    """max_t ‖X_t − X_t^M‖²_{L²} along paths of the forward process and of its truncations to the modes of M points per side.

    X^M starts from the truncated u_0, is driven by the truncated noise, and lives on its own grid. The process converges
    uniformly in t, as fast as the tails of E‖X_0‖² and of tr Q (theorem 3.2).

    Args:
        u_0: shape (n, N, N) on `grid`, the finest.
        times: increasing from 0, shape (steps + 1,); the maximum is over them.

    Returns:
        Shape (len(coarse), n).
    """

    def distances() -> Tensor:
        return torch.stack([squared_norm(u - prolong(v, low, grid)) for v, low in zip(truncated, coarse, strict=True)])

    u, truncated = u_0, [restrict(u_0, grid, small) for small in coarse]
    worst = distances()
    for t, s in pairwise(times.to(u_0)):
        between = t.expand(len(u_0)), s.expand(len(u_0))
        eta = prior.sample(len(u_0), grid, generator, u_0.dtype)
        u = sde.transition(u, *between, eta)
        noises = [restrict(eta, grid, low) for low in coarse]
        truncated = [sde.transition(v, *between, noise) for v, noise in zip(truncated, noises, strict=True)]
        worst = torch.maximum(worst, distances())
    return worst


ROUNDING = 1e-12
"""Part of the trace of a prior, below which a tail is nothing."""


def truncation(
    exact: ExactModel, *, resolutions: Sequence[int], drawn_on: int, samples: int, steps: int, seed: int
) -> pd.DataFrame:
    """What truncating the forward process of a mixture costs, and how fast that falls as the grid is refined.

    Args:
        resolutions: two at least; the modes below each one's Nyquist frequency are kept.
        drawn_on: points per side of the finer grid on which paths are drawn.
        samples: paths.
        steps: times at which they are compared.

    Returns:
        Rows of COLUMNS. truncation_error: E max_t ‖X_t − X_t^M‖², one row per resolution, in squared L² units, which have no
        scale; floor: what truncating X_0 alone costs, in closed form. truncation_rate: the slope of the logarithm of the first
        over the logarithm of the second, 1 where they fall alike.

    Raises a UserError if all grids keep the same modes, and a ValueError if `drawn_on` is not the finest grid.
    """
    settings, on = exact.settings, device_of()
    mixture, finest = GaussianMixture(exact.prior), Torus(drawn_on)
    stream = generator(seed, "truncation", settings.experiment, settings.arm, device=on)
    u_0 = mixture.sample(samples, finest, stream)
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    coarse = [Torus(n) for n in resolutions]
    errors = truncation_errors(ForwardSDE(), mixture.prior, u_0, finest, coarse, times, stream).double()
    means, floors = errors.mean(dim=1).tolist(), [mixture.tail(finest, grid) for grid in coarse]
    if min(floors) <= ROUNDING * mixture.prior.trace(finest):
        raise UserError("--resolution: a grid keeps all modes of the prior, and cuts nothing off; give coarser ones")
    if len(set(floors)) < 2:
        raise UserError("--resolution: all keep the same modes, and a rate needs two; give grids that differ by more")
    slope = stats.linregress(np.log(floors), np.log(means))
    row = partial(tidy_row, settings.labels, metric="truncation_error", seed=seed, steps=steps, n_samples=samples)
    rows = [
        row(resolution=n, value=mean, stderr=(part.std() / samples**0.5).item(), floor=floor, floor_stderr=0.0)
        for n, mean, part, floor in zip(resolutions, means, errors, floors, strict=True)
    ]
    rate = {"value": slope.slope, "stderr": slope.stderr, "floor": 1.0, "floor_stderr": 0.0, "scale": 1.0}
    rows += [row(metric="truncation_rate", resolution=drawn_on, **rate)]
    return pd.DataFrame(rows, columns=COLUMNS)
