"""How the noise of each prior compares with the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

    from ..grids import Grid
    from ..priors import Prior

__all__ = ["priors"]


def priors(arms: Iterable[tuple[Mapping[str, str | None], Prior, Grid, Tensor]]) -> pd.DataFrame:
    """A row an arm and grid: what its noise leaves of the data, and what it never reaches.

    pixel_std: the standard deviation of the noise's values. variance_in_kernel, power_in_kernel: the share of E‖u − Eu‖² and of
    E‖u‖² in modes without noise. signal_to_noise: what is left at t = 1, (a₁² E‖u‖² / b₁² tr Q)^½, which sampling takes for 0.

    Args:
        arms: the labels of an arm, its prior, a grid, and fields u of shape (n, N, N), in float64, of the data on it.
    """
    from ..grids import squared_norm
    from ..sde import ForwardSDE

    rows = [
        {name: labels[name] for name in ("experiment", "arm", "network", "prior")}
        | {
            "resolution": fields.shape[-1],
            "pixel_std": prior.pixel_std(grid),
            "variance_in_kernel": prior.share_in_kernel(fields - fields.mean(dim=0), grid),
            "power_in_kernel": prior.share_in_kernel(fields, grid),
            "signal_to_noise": ForwardSDE().signal_at_end(squared_norm(fields).mean().item(), prior.trace(grid)),
        }
        for labels, prior, grid, fields in arms
    ]
    return pd.DataFrame(rows)
