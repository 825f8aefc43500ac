"""Pictures from artifacts. One style, colour limits shared within a figure, always the first samples.

Each function takes tables or arrays and returns a matplotlib figure; `save` writes it as SVG and PNG.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .storage import write_atomically

__all__ = ["HISTORY_COLUMNS", "SCORE_COLUMNS", "fields", "fig1", "fig9", "log_density", "samplers", "save"]

PAPER_WIDTH = 6.75
"""Inches: two columns."""
COLORS = {32: "#c1272d", 51: "#b58900", 64: "#1f4e9e", 128: "#2e7d32", 256: "#6a1b9a"}
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "legend.frameon": False,
    "image.cmap": "viridis",
    "image.interpolation": "nearest",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "multilevel-diffusion",
    "svg.fonttype": "none",
}


LOSS_LABEL = r"$E\,\frac{1}{2}\|\eta-E_\theta[\eta\,|\,u_t]\|^2$ (units of $u^2$)"
HISTORY_COLUMNS = ("arm", "prior", "seed", "epoch", "loss")
"""What figure 9 reads of the histories of training."""

METRIC_LABELS = {
    "sliced_wasserstein": "sliced Wasserstein\n(units of $u$)",
    "spectrum_distance": "log-spectrum distance\n(decades)",
}
TRACES = {"exact": "exact", "hutchinson": "Hutchinson's"}
TIME_STYLES = {"uniform": "-", "log-snr": "--", "karras": "-."}
MARKERS = "osv^Dx*Ph+d"

SCORE_COLUMNS = (
    "arm",
    "seed",
    "gain",
    "epoch",
    "resolution",
    "drawn_on",
    "reference_resolution",
    "relative",
    "loss",
    "exact_loss",
)
"""What figure 1 reads of the tables of score errors."""


def fig1(scores: pd.DataFrame) -> Figure:
    """Figure 1: relative squared score error (left) and denoising loss (right) along training, a row of panels an arm.

    Args:
        scores: rows of the score-error tables of all arms and seeds, with SCORE_COLUMNS.
    """
    arms = list(scores.groupby("arm", sort=False))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.7 * len(arms)), layout="constrained")
        for (error, loss), (arm, rows) in zip(figure.subplots(len(arms), 2, squeeze=False), arms, strict=True):
            _draw_scores(error, loss, rows)
            if len(arms) > 1:
                error.set_title(f"{arm}: {error.get_title()}")
        return figure


def fields(rows: dict[str, dict[int, NDArray[np.floating]]], count: int = 3) -> Figure:
    """Figures 7, 8 and 10: fields on the grids they were drawn on, a row a source and the first `count` fields a resolution.

    Args:
        rows: source, then resolution, to fields of shape (n, N, N). The first source is the truth and has all
            resolutions; one that another source lacks is where it agrees with the source above.
    """
    resolutions = list(next(iter(rows.values())))
    truth = next(iter(rows.values()))
    low = min(float(np.quantile(fields, 0.001)) for fields in truth.values())
    high = max(float(np.quantile(fields, 0.999)) for fields in truth.values())
    count = min(count, *(len(fields) for row in rows.values() for fields in row.values()))
    blocks, left, right, top, bottom = len(resolutions), 0.07, 0.915, 0.3, 0.25
    with matplotlib.rc_context(STYLE | {"axes.grid": False}):
        height = PAPER_WIDTH * (right - left) / (blocks * (count + 0.2)) * len(rows) * 1.06 + top + bottom
        figure = Figure(figsize=(PAPER_WIDTH, height))
        outer = figure.add_gridspec(
            1, blocks, wspace=0.07, left=left, right=right, bottom=bottom / height, top=1 - top / height
        )
        for spec, resolution in zip(outer, resolutions, strict=True):
            axes = spec.subgridspec(len(rows), count, wspace=0.06, hspace=0.06).subplots(squeeze=False)
            place = spec.get_position(figure)
            figure.text(0.5 * (place.x0 + place.x1), place.y1 + 0.05 / height, f"resolution {resolution}", ha="center")
            for panels, (source, fields) in zip(axes, rows.items(), strict=True):
                if resolution == resolutions[0]:
                    panels[0].set_ylabel(source)
                for i, axis in enumerate(panels):
                    axis.set(xticks=[], yticks=[])
                    axis.spines[:].set_visible(False)
                    axis.patch.set_visible(False)
                    if resolution in fields:
                        image = axis.imshow(fields[resolution][i].T, origin="lower", vmin=low, vmax=high)
                if resolution not in fields:
                    panels[count // 2].text(0.5, 0.5, "as the row above", ha="center", va="center", color="0.4")
        figure.text(
            0.5 * (left + right),
            0.25 * bottom / height,
            "$x_1$ to the right, $x_2$ upwards",
            ha="center",
        )
        figure.colorbar(image, cax=figure.add_axes((0.93, 0.3, 0.013, 0.4)), extend="both", label="$u$")
        return figure


def fig9(history: pd.DataFrame) -> Figure:
    """Figure 9: denoising loss along training, a panel a prior: on training data, and on validation data at each resolution.

    Median over seeds, in a band from the least to the greatest.

    Args:
        history: rows of the histories of all arms and seeds, with HISTORY_COLUMNS and validation_N for some resolutions N.
    """
    arms = list(history.groupby("arm", sort=False))
    resolutions = sorted(int(name.removeprefix("validation_")) for name in history if name.startswith("validation_"))
    columns = min(3, len(arms))
    height = math.ceil(len(arms) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 1.9 * height + 0.5), layout="constrained")
        grid = figure.subplots(height, columns, squeeze=False)
        for axes, (_, rows) in zip(grid.flat, arms, strict=False):
            _curve(axes, rows, "loss", "0.5", "--", "training data")
            for resolution in resolutions:
                _curve(
                    axes, rows, f"validation_{resolution}", _color(resolution), "-", f"validation data, {resolution}"
                )
            axes.set(yscale="log", title=rows.prior.iloc[0])
        for axes in grid[:, 0]:
            axes.set_ylabel(LOSS_LABEL)
        for i in range(columns):
            last = max(row for row in range(height) if row * columns + i < len(arms))
            grid[last, i].set_xlabel("epoch")
        for axes in list(grid.flat)[len(arms) :]:
            axes.axis("off")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figure


def samplers(rows: pd.DataFrame) -> Figure:
    """Distance of samples to the truth against evaluations of the denoiser: a row a metric, a column a field and resolution.

    Mean over seeds, in a band from the least to the greatest. Grey: the floor ± the Monte Carlo error of one set of samples;
    dotted: Euler–Maruyama with the most evaluations.

    Args:
        rows: tables.CONVERGENCE_COLUMNS of one arm, as `mld convergence` writes them.

    Raises:
        ValueError: if the rows are of several arms.
    """
    if rows.arm.nunique() > 1:
        raise ValueError(f"the figure is of one arm, not of {', '.join(rows.arm.unique())}")
    rows = rows.assign(field=_fields_of(rows))
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
                label = f"euler-maruyama, {paper.evaluations.max():g} evaluations"
                axes.axhline(most, color="0.3", linestyle=":", linewidth=0.8, label=label)
                for name, (color, style, marker) in zip(names, looks, strict=True):
                    seeds = here[here.sampler == name].groupby("evaluations").value
                    mean = seeds.mean()
                    axes.plot(mean.index, mean, color=color, linestyle=style, marker=marker, markersize=2.5, label=name)
                    axes.fill_between(mean.index, seeds.min(), seeds.max(), color=color, alpha=0.12, linewidth=0)
                axes.set(xscale="log", yscale="log")
                if metric == metrics[0]:
                    axes.set_title(f"{field}, {resolution}")
        for axes in grid[-1]:
            axes.set_xlabel("evaluations")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure


def log_density(rows: pd.DataFrame) -> Figure:
    """Log densities of true fields: how they approach their limit (left), and how far estimates are from the closed form (right).

    Root mean square over the fields and seeds, in nats. The law of a network need not have a density relative to N(0,Q); then its
    error grows with the grid.

    Args:
        rows: tables.DENSITY_COLUMNS of one arm, as `mld log-density` writes them, those of the exact field among them.

    Raises:
        ValueError: if the rows are of several arms, or none is of the exact field with its exact trace.
    """
    if rows.arm.nunique() > 1:
        raise ValueError(f"the figure is of one arm, not of {', '.join(rows.arm.unique())}")
    if not ((rows.network == "exact") & (rows.trace == "exact")).any():
        raise ValueError("the figure needs the table of the exact field beside those of networks")
    rows = rows.assign(kind=_fields_of(rows))

    def rms(group: pd.DataFrame, values: pd.Series) -> pd.Series:
        return np.sqrt((values**2).groupby(group.resolution).mean())

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.7), layout="constrained")
        limit, error = figure.subplots(1, 2)
        exact = rows[(rows.network == "exact") & (rows.trace == "exact")]
        finest = exact.drawn_on.max()
        for column, color, marker, label in (
            ("plain", "#c1272d", "s", "plain: density of the grid values"),
            ("closed_form", "black", "o", "relative to $N(0,Q)$, closed form"),
            ("estimate", "#1f4e9e", "x", "relative to $N(0,Q)$, along the flow"),
        ):
            curve = rms(exact, exact[column] - exact.finest)
            limit.plot(curve.index, curve, color=color, marker=marker, markersize=4, label=label)
        limit.set(ylabel=f"distance to the closed form at {finest} (nats)", title="refining the grid")
        for (kind, trace), group in rows.groupby(["kind", "trace"], sort=False):
            name = f"{kind}, {TRACES[trace]} trace"
            color = "#1f4e9e" if kind == "exact field" else "#b58900"
            curve = rms(group, group.estimate - group.closed_form)
            error.plot(
                curve.index,
                curve,
                color=color,
                linestyle="-" if trace == "exact" else "--",
                marker="o",
                markersize=3,
                label=name,
            )
        start = rms(exact, exact.estimate + exact.start - exact.closed_form)
        error.plot(
            start.index,
            start,
            color="#1f4e9e",
            linestyle=":",
            marker="o",
            markersize=3,
            label="exact, started from $p_1$ instead of $N(0,Q)$",
        )
        error.set(ylabel="error of the estimate (nats)", title="error on the same grid")
        for axes in (limit, error):
            axes.set(xscale="log", yscale="log", xlabel="points per side $N$")
            ticks = sorted(rows.resolution.unique())
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** 0.4)  # room for the legend
            axes.legend(loc="upper left")
        return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png, without dates, so that equal figures are equal files."""
    with matplotlib.rc_context(STYLE):
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            with write_atomically(stem.with_suffix(suffix)) as partial:
                partial.write_bytes(buffer.getvalue())


def _draw_scores(error: Axes, loss: Axes, scores: pd.DataFrame) -> None:
    values = scores[(scores.gain == "values") | (scores.resolution == scores.reference_resolution)]
    coefficients = scores[(scores.gain == "coefficients") & (scores.resolution != scores.reference_resolution)]
    direct = values[values.drawn_on == values.resolution]
    for resolution, rows in direct.groupby("resolution"):
        _curve(error, rows, "relative", _color(resolution), "-", f"{resolution}")
    for resolution, rows in coefficients.groupby("resolution"):
        _curve(error, rows, "relative", _color(resolution), ":", f"{resolution}, coefficients")
    error.set(
        yscale="log",
        xlabel="epoch",
        ylabel=r"relative error $E\|F_\theta-F\|^2\,/\,E\|F\|^2$",
        title="score error at resolution",
    )
    error.legend(ncols=2)

    for (resolution, drawn_on), rows in values.groupby(["resolution", "drawn_on"]):
        if drawn_on == resolution:
            _curve(loss, rows, "loss", _color(resolution), "-", f"{resolution}")
        else:
            _curve(loss, rows, "loss", "#777777", "--", f"{drawn_on} restricted to {resolution}")
    for resolution, rows in direct[direct.resolution == direct.reference_resolution].groupby("resolution"):
        _curve(loss, rows, "exact_loss", "black", ":", f"exact field, {resolution}")
    loss.set(
        yscale="log",
        xlabel="epoch",
        ylabel=LOSS_LABEL,
        title="denoising loss at resolution",
    )
    loss.legend(ncols=2)


def _color(resolution: int) -> str:
    return COLORS.get(resolution, "#2e7d32")


def _curve(axes: Axes, rows: pd.DataFrame, column: str, color: str, style: str, label: str) -> None:
    """The median over seeds against the epoch, in a band from the least to the greatest."""
    seeds = rows.groupby("epoch")[column]
    median = seeds.median()
    axes.plot(median.index, median, style, color=color, label=label)
    axes.fill_between(median.index, seeds.min(), seeds.max(), color=color, alpha=0.15, linewidth=0)


def _fields_of(rows: pd.DataFrame) -> pd.Series:
    """What each row's denoiser is: the exact field, or a network, by its gain if there are several."""
    several = rows.gain.nunique() > 1
    named = "network, " + rows.gain.astype(str) if several else "network"
    return pd.Series(np.where(rows.network == "exact", "exact field", named), index=rows.index)


def _times(sampler: str) -> str:
    """The grid of times in the name of a sampler."""
    return next((name for name in TIME_STYLES if f"times={name}" in sampler), "uniform")
