"""Figures of numbers against a number: evaluations of a sampler, points per side, the size of the work."""

from __future__ import annotations

import itertools
import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UserError
from .style import PAPER_WIDTH, SAMPLER_LOOKS, STYLE, log_ticks, sampler_name

__all__ = ["cost", "log_density", "samplers"]

METRIC_LABELS = {
    "sliced_wasserstein": "sliced Wasserstein\n(units of $u$)",
    "spectrum_distance": "log-spectrum distance\n(decades)",
}
TRACES = {"exact": "exact", "hutchinson": "Hutchinson's"}
TIME_STYLES = {"uniform": ":", "log-snr": "--", "karras": "-.", "angle": (0, (6, 1, 1, 1, 1, 1))}
"""Lines of samplers at other times than their own."""
OTHER_LOOKS = (("C5", "h"), ("C9", "<"), ("C8", ">"), ("C6", "d"))
"""Of samplers without a colour of their own, in the order in which they come."""
STOCHASTIC = ("euler-maruyama", "ancestral", "predictor-corrector")
"""Kinds of sampler that draw noise if nothing else is said."""
COST_AXES = {"resolution": "points per side $N$", "batch": "fields per step", "width": "channels"}
COST_UNITS = {"resolution": "$N$ = {}", "batch": "{} fields", "width": "{} channels"}


@matplotlib.rc_context(STYLE)
def samplers(rows: pd.DataFrame) -> Figure:
    """Distance of samples to the test set against evaluations of the denoiser: one row per metric, one column per field and
    resolution.

    Mean over seeds, in a band from the least to the greatest. A colour is a kind of sampler; full points are of stochastic ones,
    open points of samplers of the ODE. Grey: the floor ± the Monte Carlo error of one set of samples; dotted: Euler–Maruyama
    with the most evaluations.

    Args:
        rows: CONVERGENCE_COLUMNS of one arm, as `mld convergence` writes them.

    Raises:
        UserError: if the rows are of several arms, or there is no Euler–Maruyama to compare with.
    """
    rows = rows.assign(field=_fields_of_one_arm(rows))
    columns = list(dict.fromkeys(zip(rows.field, rows.resolution, strict=True)))
    metrics = [metric for metric in METRIC_LABELS if metric in set(rows.metric)]
    kinds = dict.fromkeys(name.partition("(")[0] for name in rows.sampler)
    looks = dict(zip([kind for kind in kinds if kind not in SAMPLER_LOOKS], itertools.cycle(OTHER_LOOKS), strict=False))
    looks |= SAMPLER_LOOKS
    figure = Figure(figsize=(PAPER_WIDTH, 1.7 * len(metrics) + 0.8), layout="constrained")
    grid = figure.subplots(len(metrics), len(columns), sharex=True, sharey="row", squeeze=False)
    for panels, metric in zip(grid, metrics, strict=True):
        panels[0].set_ylabel(METRIC_LABELS[metric])
        for axes, (field, resolution) in zip(panels, columns, strict=True):
            here = rows[(rows.metric == metric) & (rows.field == field) & (rows.resolution == resolution)]
            floor, error = here.floor.mean(), here.stderr.mean()
            band = max(floor - error, 0.05 * floor), floor + error
            axes.axhspan(*band, color="0.85", linewidth=0, label="floor ± Monte Carlo error")
            paper = here[here.sampler == "euler-maruyama"].groupby("evaluations").value.mean()
            if paper.empty:
                wrong = f"no euler-maruyama of {field} to compare with, for {metric} at {resolution}"
                raise UserError(f"TABLES: {wrong}; give whole tables of `mld convergence`")
            label = f"{sampler_name('euler-maruyama')}, {paper.index[-1]:g} evaluations"
            axes.axhline(paper.iloc[-1], color="0.3", linestyle=":", linewidth=0.8, label=label)
            for name in rows.sampler.unique():
                color, marker = looks[name.partition("(")[0]]
                line = next((line for times, line in TIME_STYLES.items() if f"times={times}" in name), "-")
                look = {"linestyle": line, "marker": marker}
                look |= {} if _stochastic(name) else {"markerfacecolor": "white"}
                seeds = here[here.sampler == name].groupby("evaluations").value
                axes.plot(seeds.mean(), color=color, label=sampler_name(name), **look)
                axes.fill_between(seeds.mean().index, seeds.min(), seeds.max(), color=color, alpha=0.12, linewidth=0)
            axes.set(xscale="log", yscale="log")
        log_ticks(panels[0].yaxis)
    for above, below, column in zip(grid[0], grid[-1], columns, strict=True):
        above.set_title("{}, {}".format(*column))
        below.set_xlabel("evaluations")
        log_ticks(below.xaxis)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def log_density(rows: pd.DataFrame) -> Figure:
    """Log densities of fields: how they approach their limit (left), and how far estimates are from the closed form (right).

    Root mean square over the fields and seeds, in nats. The law of a network need not have a density relative to N(0,Q); then its
    error grows with the grid.

    Args:
        rows: DENSITY_COLUMNS of one arm, as `mld log-density` writes them, rows of the exact score among them.

    Raises:
        UserError: if the rows are of several arms, or none is of the exact score with its exact trace.
    """
    rows = rows.assign(kind=_fields_of_one_arm(rows))
    exact = rows[(rows.network == "exact") & (rows.trace == "exact")]
    if exact.empty:
        raise UserError("TABLES: the figure needs the table of the exact score beside the tables of networks")

    def draw(axes: Axes, errors: pd.Series, line: str, **look: object) -> None:
        axes.plot(np.sqrt((errors**2).groupby(rows.resolution).mean()), line, **look)

    figure = Figure(figsize=(PAPER_WIDTH, 2.7), layout="constrained")
    limit, error = figure.subplots(1, 2, sharey=True)
    for column, color, line, label in (
        ("plain", "#c1272d", "s-", "plain: density of the grid values"),
        ("closed_form", "black", "o-", "relative to $N(0,Q)$, closed form"),
        ("estimate", "#1f4e9e", "x-", "relative to $N(0,Q)$, along the flow"),
    ):
        draw(limit, exact[column] - exact.finest, line, color=color, markersize=4, label=label)
    limit.set(ylabel=f"distance to the closed form at {exact.drawn_on.max()} (nats)", title="refining the grid")
    for (kind, trace), group in rows.groupby(["kind", "trace"], sort=False):
        color, line = "#1f4e9e" if kind == "exact score" else "#b58900", "o-" if trace == "exact" else "o--"
        label = f"{kind}, {TRACES[trace]} trace"
        draw(error, group.estimate - group.closed_form, line, color=color, markersize=3, label=label)
    label = "exact, started from $p_1$ instead of $N(0,Q)$"
    draw(error, exact.estimate + exact.start - exact.closed_form, "o:", color="#1f4e9e", markersize=3, label=label)
    error.set(ylabel="error of the estimate (nats)", title="error on the same grid")
    for axes in (limit, error):
        axes.set(xscale="log", yscale="log", xlabel="points per side $N$")
        ticks = sorted(rows.resolution.unique())
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.legend(loc="upper left")
    _make_room(limit, 0.4)
    log_ticks(limit.yaxis)
    return figure


@matplotlib.rc_context(STYLE)
def cost(rows: pd.DataFrame) -> Figure:
    """Time (above) and memory (below) of a training step as the work grows, one column per direction in which it grows.

    Points: measured. Dashed: expected by counting, the time from the roofline. A slope p in the legend means growth as x^p at
    the three largest x.

    Args:
        rows: COST_COLUMNS, as `mld bench scaling` writes them.
    """
    sweeps = [(against, sweep.sort_values("value")) for against, sweep in rows.groupby("against", sort=False)]
    quantities = {"seconds": (1.0, "time of a step (s)"), "bytes": (1e-9, "memory of a step (GB)")}
    figure = Figure(figsize=(PAPER_WIDTH, 4.4), layout="constrained")
    grid = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False)
    for panels, (quantity, (unit, label)) in zip(grid, quantities.items(), strict=True):
        panels[0].set_ylabel(label)
        for axes, (_, sweep) in zip(panels, sweeps, strict=True):
            for name, column, color, line in (
                ("measured", quantity, "#1f4e9e", "o-"),
                ("expected", f"expected_{quantity}", "0.3", "--"),
            ):
                slope = _slope(sweep.value.tail(3), sweep[column].tail(3))
                label = f"{name}: slope {slope:.2f}"
                axes.plot(sweep.value, unit * sweep[column], line, color=color, markersize=3, label=label)
            axes.set(xscale="log", yscale="log")
            axes.legend(loc="upper left", handlelength=1.5)
    for above, below, (against, sweep) in zip(*grid, sweeps, strict=True):
        below.set_xlabel(COST_AXES[against])
        below.set_xticks(sweep.value, [str(value) for value in sweep.value])
        below.minorticks_off()
        fixed = [units.format(sweep[name].iloc[0]) for name, units in COST_UNITS.items() if name != against]
        above.set_title(", ".join(fixed))
    for panels in grid:
        _make_room(panels[0], 0.35)
        log_ticks(panels[0].yaxis)
    return figure


def _make_room(axes: Axes, part: float) -> None:
    """Room for the legend above the curves: a part more of the decades there are."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** part)


def _slope(x: pd.Series, y: pd.Series) -> float:
    """The exponent p of the power law y ∝ x^p that fits best, by least squares on both logarithms; nan for a single point."""
    x, y = np.log(x), np.log(y)
    return x.cov(y) / x.var() if len(x) > 1 else math.nan


def _stochastic(sampler: str) -> bool:
    """Whether a sampler of the tables draws noise in its steps."""
    kind, _, options = sampler.partition("(")
    return "stochasticity=0" not in options and ("stochasticity" in options or kind in STOCHASTIC)


def _fields_of_one_arm(rows: pd.DataFrame) -> pd.Series:
    """What each row's denoiser is: the exact score, or a network, by its gain if there are several."""
    if rows.arm.nunique() > 1:
        raise UserError(
            f"TABLES: the figure is of one arm, not of {', '.join(rows.arm.unique())}; draw one figure per arm"
        )
    named = "network, " + rows.gain.astype(str) if rows.gain.nunique() > 1 else "network"
    return pd.Series(np.where(rows.network == "exact", "exact score", named), index=rows.index)
