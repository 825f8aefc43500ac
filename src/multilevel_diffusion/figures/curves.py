"""Figures of numbers against a number: evaluations of a sampler, points per side, the size of the work."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import UserError
from .style import PAPER_WIDTH, STYLE, sampler_name

__all__ = ["cost", "log_density", "samplers"]

METRIC_LABELS = {
    "sliced_wasserstein": "sliced Wasserstein\n(units of $u$)",
    "spectrum_distance": "log-spectrum distance\n(decades)",
}
TRACES = {"exact": "exact", "hutchinson": "Hutchinson's"}
TIME_STYLES = {"uniform": "-", "log-snr": "--", "karras": "-."}
MARKERS = "osv^Dx*Ph+d"
COST_AXES = {"resolution": "points per side $N$", "batch": "fields a step", "width": "channels"}
COST_UNITS = {"resolution": "$N$ = {}", "batch": "{} fields", "width": "{} channels"}


def samplers(rows: pd.DataFrame) -> Figure:
    """Distance of samples to the test set against evaluations of the denoiser: a row a metric, a column a field and resolution.

    Mean over seeds, in a band from the least to the greatest. Grey: the floor ± the Monte Carlo error of one set of samples;
    dotted: Euler–Maruyama with the most evaluations.

    Args:
        rows: CONVERGENCE_COLUMNS of one arm, as `mld convergence` writes them.

    Raises:
        UserError: if the rows are of several arms.
    """
    rows = rows.assign(field=_fields_of_one_arm(rows))
    names = list(dict.fromkeys(rows.sampler))
    looks = [(f"C{i % 10}", TIME_STYLES[_times(name)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)]
    columns = list(dict.fromkeys(zip(rows.field, rows.resolution, strict=True)))
    metrics = [metric for metric in METRIC_LABELS if metric in set(rows.metric)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.0 * len(metrics) + 0.9), layout="constrained")
        grid = figure.subplots(len(metrics), len(columns), sharex=True, sharey="row", squeeze=False)
        for panels, metric in zip(grid, metrics, strict=True):
            panels[0].set_ylabel(METRIC_LABELS[metric])
            for axes, (field, resolution) in zip(panels, columns, strict=True):
                here = rows[(rows.metric == metric) & (rows.field == field) & (rows.resolution == resolution)]
                floor, error = here.floor.mean(), here.stderr.mean()
                band = max(floor - error, 0.05 * floor), floor + error
                axes.axhspan(*band, color="0.85", linewidth=0, label="floor ± Monte Carlo error")
                paper = here[here.sampler == "euler-maruyama"]
                most = paper[paper.evaluations == paper.evaluations.max()].value.mean()
                label = f"{sampler_name('euler-maruyama')}, {paper.evaluations.max():g} evaluations"
                axes.axhline(most, color="0.3", linestyle=":", linewidth=0.8, label=label)
                for name, (color, style, marker) in zip(names, looks, strict=True):
                    seeds = here[here.sampler == name].groupby("evaluations").value
                    mean, look = seeds.mean(), {"linestyle": style, "marker": marker, "markersize": 2.5}
                    axes.plot(mean.index, mean, color=color, label=sampler_name(name), **look)
                    axes.fill_between(mean.index, seeds.min(), seeds.max(), color=color, alpha=0.12, linewidth=0)
                axes.set(xscale="log", yscale="log")
                if metric == metrics[0]:
                    axes.set_title(f"{field}, {resolution}")
        for axes in grid[-1]:
            axes.set_xlabel("evaluations")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure


def log_density(rows: pd.DataFrame) -> Figure:
    """Log densities of fields: how they approach their limit (left), and how far estimates are from the closed form (right).

    Root mean square over the fields and seeds, in nats. The law of a network need not have a density relative to N(0,Q); then its
    error grows with the grid.

    Args:
        rows: DENSITY_COLUMNS of one arm, as `mld log-density` writes them, those of the exact field among them.

    Raises:
        UserError: if the rows are of several arms, or none is of the exact field with its exact trace.
    """
    rows = rows.assign(kind=_fields_of_one_arm(rows))
    exact = rows[(rows.network == "exact") & (rows.trace == "exact")]
    if exact.empty:
        raise UserError("TABLES: the figure needs the table of the exact field beside those of networks")

    def draw(axes: Axes, group: pd.DataFrame, errors: pd.Series, **look: object) -> None:
        curve = np.sqrt((errors**2).groupby(group.resolution).mean())
        axes.plot(curve.index, curve, **look)

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.7), layout="constrained")
        limit, error = figure.subplots(1, 2)
        for column, color, marker, label in (
            ("plain", "#c1272d", "s", "plain: density of the grid values"),
            ("closed_form", "black", "o", "relative to $N(0,Q)$, closed form"),
            ("estimate", "#1f4e9e", "x", "relative to $N(0,Q)$, along the flow"),
        ):
            draw(limit, exact, exact[column] - exact.finest, color=color, marker=marker, markersize=4, label=label)
        limit.set(ylabel=f"distance to the closed form at {exact.drawn_on.max()} (nats)", title="refining the grid")
        for (kind, trace), group in rows.groupby(["kind", "trace"], sort=False):
            look = {"color": "#1f4e9e" if kind == "exact field" else "#b58900", "marker": "o", "markersize": 3}
            look |= {"linestyle": "-" if trace == "exact" else "--", "label": f"{kind}, {TRACES[trace]} trace"}
            draw(error, group, group.estimate - group.closed_form, **look)
        look = {"color": "#1f4e9e", "marker": "o", "markersize": 3, "linestyle": ":"}
        label = "exact, started from $p_1$ instead of $N(0,Q)$"
        draw(error, exact, exact.estimate + exact.start - exact.closed_form, label=label, **look)
        error.set(ylabel="error of the estimate (nats)", title="error on the same grid")
        for axes in (limit, error):
            axes.set(xscale="log", yscale="log", xlabel="points per side $N$")
            ticks = sorted(rows.resolution.unique())
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            _make_room(axes, 0.4)
            axes.legend(loc="upper left")
        return figure


def cost(rows: pd.DataFrame) -> Figure:
    """Time (above) and memory (below) of a training step as the work grows, a column a direction in which it grows.

    Points: measured. Dashed: expected by counting, the time from the roofline. A slope p in the legend means growth as x^p at
    the three largest x.

    Args:
        rows: COST_COLUMNS, as `mld bench scaling` writes them.
    """
    sweeps = [(name, rows[rows.against == name].sort_values("value")) for name in dict.fromkeys(rows.against)]
    quantities = {"seconds": (1.0, "time of a step (s)"), "bytes": (1e-9, "memory of a step (GB)")}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 4.4), layout="constrained")
        grid = figure.subplots(2, len(sweeps), sharex="col", sharey="row", squeeze=False)
        for panels, (quantity, (unit, label)) in zip(grid, quantities.items(), strict=True):
            panels[0].set_ylabel(label)
            for axes, (_, sweep) in zip(panels, sweeps, strict=True):
                for column, name, look in (
                    (quantity, "measured", {"color": "#1f4e9e", "marker": "o", "markersize": 3}),
                    (f"expected_{quantity}", "expected", {"color": "0.3", "linestyle": "--"}),
                ):
                    slope = _slope(sweep.value.tail(3), sweep[column].tail(3))
                    axes.plot(sweep.value, unit * sweep[column], label=f"{name}: slope {slope:.2f}", **look)
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
        return figure


def _make_room(axes: Axes, part: float) -> None:
    """Room for the legend above the curves: a part more of the decades there are."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** part)


def _slope(x: pd.Series, y: pd.Series) -> float:
    """The exponent p of the power law y ∝ x^p that fits best, by least squares on both logarithms; nan for a single point."""
    x, y = np.log(x), np.log(y)
    return x.cov(y) / x.var() if len(x) > 1 else math.nan


def _fields_of_one_arm(rows: pd.DataFrame) -> pd.Series:
    """What each row's denoiser is: the exact field, or a network, by its gain if there are several."""
    if rows.arm.nunique() > 1:
        raise UserError(
            f"TABLES: the figure is of one arm, not of {', '.join(rows.arm.unique())}; draw a figure an arm"
        )
    several = rows.gain.nunique() > 1
    named = "network, " + rows.gain.astype(str) if several else "network"
    return pd.Series(np.where(rows.network == "exact", "exact field", named), index=rows.index)


def _times(sampler: str) -> str:
    """The grid of times in the name of a sampler."""
    return next((name for name in TIME_STYLES if f"times={name}" in sampler), "uniform")
