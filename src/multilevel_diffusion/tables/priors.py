"""How the noise of each prior compares with the data."""

import math
from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch import Tensor

from ..grids import Grid, squared_norm, wavenumbers
from ..priors import Prior, multiplicity
from ..sde import ForwardSDE

CHUNK = 128
"""Fields that are transformed together, to bound memory."""


def priors(arms: Iterable[tuple[Mapping[str, str | None], Prior, Grid, Tensor]]) -> pd.DataFrame:
    """One row per arm and grid: what its noise leaves of the data, what it never reaches, and which of the two falls faster.

    pixel_std: the standard deviation of the noise's values. variance_in_kernel, power_in_kernel: the share of E‖u − Eu‖² and of
    E‖u‖² in modes without noise. signal_to_noise: what is left at t = 1, (a₁² E‖u‖² / b₁² tr Q)^½, which sampling takes for 0.

    data_exponent, noise_exponent: p of E|û_k − E û_k|² and of λ_k ~ |k|^(−p), see `_exponent`. noise_as_rough: whether p of the
    noise is no greater, which arXiv 2509.02971 asks for. κ_k = E|û_k − E û_k|² / λ_k is over the modes |k_i| < N/2 in the range
    of Q. kappa_min, kappa_max: its range. more_data_than_noise: the share of modes with κ_k > 1. start_error:
    max_k (a₁² κ_k + b₁²)^½ − 1, where the root is the standard deviation of the Gaussian fit at t = 1 over the standard
    deviation of N(0,Q), from which sampling starts. Fourier modes are of the index grid; nothing here knows a network.

    Args:
        arms: the labels of an arm, its prior, a grid, and two or more fields u of shape (n, N, N), in float64, of the data on it.
    """
    rows = []
    for labels, prior, grid, fields in arms:
        centred = fields - fields.mean(dim=0)
        row = {name: labels[name] for name in ("experiment", "arm", "network", "prior")}
        row |= {"resolution": grid.resolution, "pixel_std": prior.pixel_std(grid)}
        row |= {"variance_in_kernel": prior.share_in_kernel(centred, grid)}
        row |= {"power_in_kernel": prior.share_in_kernel(fields, grid)}
        row |= {"signal_to_noise": ForwardSDE().signal_at_end(squared_norm(fields).mean().item(), prior.trace(grid))}
        rows.append(row | _spectra(centred, prior, grid))
    return pd.DataFrame(rows)


def _spectra(centred: Tensor, prior: Prior, grid: Grid) -> dict[str, float | bool]:
    """The columns of `priors` from data_exponent on."""
    powers = (torch.fft.rfft2(part, norm="forward").abs().square().sum(dim=0) for part in centred.split(CHUNK))
    data, noise = sum(powers) / (len(centred) - 1), prior.spectrum(grid)
    below = min(grid.resolution, prior.native_resolution) / 3
    exponents = {"data": _exponent(data, grid, below), "noise": _exponent(noise, grid, below)}

    k1, k2 = wavenumbers(grid.resolution)
    seen = (2 * k1.abs() < grid.resolution) & (2 * k2 < grid.resolution) & (noise > 0)
    kappa, weight = (data / noise)[seen], multiplicity(grid).expand_as(noise)[seen]
    end = torch.ones(1, dtype=torch.float64)
    a, b = ForwardSDE().mean_scale(end), ForwardSDE().noise_scale(end)
    return {
        **{f"{name}_exponent": value for name, value in exponents.items()},
        "noise_as_rough": exponents["noise"] <= exponents["data"],
        "kappa_min": kappa.min().item(),
        "kappa_max": kappa.max().item(),
        "more_data_than_noise": (weight[kappa > 1].sum() / weight.sum()).item(),
        "start_error": (a**2 * kappa.max() + b**2).sqrt().item() - 1,
    }


def _exponent(power: Tensor, grid: Grid, below: float) -> float:
    """p of the power law |k|^(−p) through the powers of the modes, in the layout of `rfft2`.

    Let P be the mean power and K the mean |k| of a shell r − ½ ≤ |k| < r + ½. Then −p is the slope of log P on log K by least
    squares over 2 ≤ r < `below`. `priors` takes a third of the points per side, of the native grid where that is coarser.
    Infinite if a shell has no power, and not a number for fewer than two shells.
    """
    k1, k2 = wavenumbers(grid.resolution)
    k = (k1.square() + k2.square()).double().sqrt()
    shell, weight = k.round().long().flatten(), multiplicity(grid).expand_as(k)
    total, weights, ks = (torch.bincount(shell, (each * weight).flatten()) for each in (power, torch.ones_like(k), k))
    shells = slice(2, math.ceil(below))
    x, mean = (ks / weights)[shells].log(), (total / weights)[shells]
    if len(x) < 2:
        return math.nan
    if not (mean > 0).all():
        return math.inf
    x = x - x.mean()
    return -((x * mean.log()).sum() / x.square().sum()).item()
