"""Pictures from artifacts. One style, colour limits shared within a figure, always the first samples.

Each function takes tables or arrays and returns a matplotlib figure; `save` writes it as SVG and PNG.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .storage import software, write_atomically

__all__ = [
    "COST_COLUMNS",
    "HISTORY_COLUMNS",
    "SCORE_COLUMNS",
    "cost",
    "fields",
    "fig1",
    "fig3",
    "fig4",
    "fig5",
    "fig5_gain",
    "fig5_tradeoff",
    "fig9",
    "log_density",
    "samplers",
    "save",
    "short_name",
]

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
PNG_BYTES = 300_000
PNG_QUALITIES = ((200, 256), (200, 64), (150, 64), (120, 64), (100, 32))
"""Dots an inch and colours: the first with which a file has no more than PNG_BYTES, or else the last."""

LOSS_LABEL = r"$E\,\frac{1}{2}\|\eta-E_\theta[\eta\,|\,u_t]\|^2$ (units of $u^2$)"
HISTORY_COLUMNS = ("arm", "network", "ladder", "seed", "epoch", "resolution", "seconds", "loss")
"""What figures read of the histories of training."""

METRIC_LABELS = {
    "sliced_wasserstein": "sliced Wasserstein\n(units of $u$)",
    "spectrum_distance": "log-spectrum distance\n(decades)",
}
Rows = dict[str, dict[int, NDArray[np.floating]]]
"""Source, then resolution, to fields."""
LEFT, RIGHT = 0.07, 0.915
TOP, BOTTOM = 0.3, 0.25
"""Margins of pictures of fields: parts of the width, and inches."""
NETWORKS = {"fno": "FNO", "unet": "U-Net"}
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

COST_COLUMNS = (
    "against",
    "value",
    "resolution",
    "batch",
    "width",
    "seconds",
    "expected_seconds",
    "bytes",
    "expected_bytes",
)
"""What the figure of costs reads of the table of `mld bench scaling`."""

COST_AXES = {"resolution": "points per side $N$", "batch": "fields a step", "width": "channels"}


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


def fields(rows: Rows, count: int = 3, *, rows_down: bool = False) -> Figure:
    """Figures 2, 7, 8 and 10: fields on the grids they were drawn on, a row a source and the first `count` fields a resolution.

    Args:
        rows: source, then resolution, to fields of shape (n, N, N). The first source is the truth and has all
            resolutions; one that another source lacks is where it agrees with the source above.
        rows_down: x₁ downwards, as the rows of images; otherwise x₁ is to the right and x₂ upwards.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, _height_of(rows, count)))
        _draw_fields(figure, rows, count, rows_down)
        return figure


def fig3(rows: Rows, history: pd.DataFrame, count: int = 3) -> Figure:
    """Figure 3: digits as in `fields`, above the denoising losses along training, a panel a prior.

    Args:
        history: as for `fig9`.
    """
    arms, resolutions = _arms_and_resolutions(history)
    below = 1.75
    with matplotlib.rc_context(STYLE):
        height = _height_of(rows, count) + below
        figure = Figure(figsize=(PAPER_WIDTH, height))
        _draw_fields(figure, rows, count, rows_down=True, below=below)
        panels = figure.subplots(
            1,
            len(arms),
            sharey=True,
            squeeze=False,
            gridspec_kw={"left": 0.1, "right": 0.99, "bottom": 0.6 / height, "top": 1.55 / height, "wspace": 0.12},
        )[0]
        _draw_losses(panels, arms, resolutions)
        panels[0].set_ylabel("denoising loss\n(units of $u^2$)")
        for axes in panels:
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=len(resolutions) + 1)
        return figure


def fig4(rows: pd.DataFrame) -> Figure:
    """Figure 4: sliced Wasserstein distance to the test set along training, a curve an arm, a panel a gain.

    Median over seeds, in a band from the least to the greatest; grey: the floor.

    Args:
        rows: tables.ALONG_TRAINING_COLUMNS, as `mld along-training` writes them.
    """
    gains = list(dict.fromkeys(rows.gain))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.9), layout="constrained")
        panels = figure.subplots(1, len(gains), sharey=True, squeeze=False)[0]
        for axes, gain in zip(panels, gains, strict=True):
            here = rows[rows.gain == gain]
            axes.axhline(here.floor.mean(), color="0.6", linewidth=2.5, label="floor: true digits")
            for i, (arm, curve) in enumerate(here.groupby("arm", sort=False)):
                network = curve.network.iloc[0]
                label = f"{NETWORKS.get(network, network)}, {short_name(arm, network)}"
                _curve(axes, curve, "value", f"C{i % 10}", "-" if network == "fno" else "--", label)
            axes.set(yscale="log", xlabel="epoch", title=f"gain {gain}")
        panels[0].set_ylabel(f"sliced Wasserstein at {rows.resolution.iloc[0]}\n(units of $u$)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figure


def fig5(history: pd.DataFrame) -> Figure:
    """Figure 5: loss on test fields on the finest grid, against epochs (left) and against the time of training (right).

    Median over seeds in a band from the least to the greatest, and a line a seed; vertical line: a finer level begins.

    Args:
        history: rows of the histories of some arms and their seeds, with HISTORY_COLUMNS and test_N.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 2.7), layout="constrained")
        epochs, times = figure.subplots(1, 2, sharey=True)
        _draw_ladders(epochs, history, "epoch")
        _draw_ladders(times, history, "seconds")
        epochs.set_ylabel(_test_loss_label(history))
        figure.legend(*epochs.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figure


def fig5_tradeoff(history: pd.DataFrame) -> Figure:
    """Loss on test fields on the finest grid against the time of training, a line an arm and seed; history as for `fig5`."""
    return _one_panel_of_ladders(history, "seconds")


def fig5_gain(history: pd.DataFrame) -> Figure:
    """Loss on test fields on the finest grid against epochs, for ladders that differ in the gain; history as for `fig5`."""
    return _one_panel_of_ladders(history, "epoch")


def fig9(history: pd.DataFrame) -> Figure:
    """Figure 9: denoising loss along training, a panel a prior: on training data, and on validation data at each resolution.

    Median over seeds, in a band from the least to the greatest.

    Args:
        history: rows of the histories of all arms and seeds, with HISTORY_COLUMNS and validation_N for some resolutions N.
    """
    arms, resolutions = _arms_and_resolutions(history)
    columns = min(3, len(arms))
    height = math.ceil(len(arms) / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(PAPER_WIDTH, 1.9 * height + 0.5), layout="constrained")
        grid = figure.subplots(height, columns, squeeze=False)
        _draw_losses(grid.flat, arms, resolutions)
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
        for axes, (against, sweep) in zip(grid[-1], sweeps, strict=True):
            axes.set_xlabel(COST_AXES[against])
            axes.set_xticks(sweep.value, [str(value) for value in sweep.value])
            axes.minorticks_off()
        for axes, (against, sweep) in zip(grid[0], sweeps, strict=True):
            fixed = {name: sweep[name].iloc[0] for name in COST_AXES if name != against}
            units = {"resolution": "$N$ = {}", "batch": "{} fields", "width": "{} channels"}
            axes.set_title(", ".join(units[name].format(value) for name, value in fixed.items()))
        for panels in grid:
            low, high = panels[0].get_ylim()
            panels[0].set_ylim(low, high * (high / low) ** 0.35)  # room for the legends
        return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png: with the software that drew them, without dates, so that equal figures are equal files.

    The PNG has at most 256 colours, as a colour map has: less than half the bytes, and no difference to the eye. Only pictures of
    noise, which no format can pack, then exceed PNG_BYTES: they have fewer colours and pixels than the SVG.
    """
    description, svg = json.dumps(software()), io.BytesIO()
    text = PngInfo()
    text.add_text("Description", description)
    with matplotlib.rc_context(STYLE):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Description": description})
        for dpi, colours in PNG_QUALITIES:
            pixels, png = io.BytesIO(), io.BytesIO()
            figure.savefig(pixels, format="png", dpi=dpi)
            image = Image.open(pixels).convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1)
            image.save(png, "PNG", optimize=True, pnginfo=text, dpi=(dpi, dpi))
            if png.tell() <= PNG_BYTES:
                break
    for suffix, drawn in ((".svg", svg), (".png", png)):
        with write_atomically(stem.with_suffix(suffix)) as partial:
            partial.write_bytes(drawn.getvalue())


def short_name(arm: str, network: str) -> str:
    """An arm's name without that of its network in front, as "laplacian" for fno-laplacian."""
    return arm.removeprefix(f"{network}-")


def _height_of(rows: Rows, count: int) -> float:
    """Inches that `_draw_fields` needs."""
    resolutions, count = len(next(iter(rows.values()))), _shown(rows, count)
    return PAPER_WIDTH * (RIGHT - LEFT) / (resolutions * (count + 0.2)) * len(rows) * 1.06 + TOP + BOTTOM


def _shown(rows: Rows, count: int) -> int:
    return min(count, *(len(fields) for row in rows.values() for fields in row.values()))


def _draw_fields(figure: Figure, rows: Rows, count: int, rows_down: bool, below: float = 0.0) -> None:
    """Draw them on the upper part of a figure that has `below` inches left at its bottom."""
    truth = next(iter(rows.values()))
    resolutions, count, height = list(truth), _shown(rows, count), figure.get_figheight()
    low = min(float(np.quantile(fields, 0.001)) for fields in truth.values())
    high = max(float(np.quantile(fields, 0.999)) for fields in truth.values())
    look = {"vmin": low, "vmax": high, "origin": "upper" if rows_down else "lower"}
    outer = figure.add_gridspec(
        1,
        len(resolutions),
        wspace=0.07,
        left=LEFT,
        right=RIGHT,
        bottom=(below + BOTTOM) / height,
        top=1 - TOP / height,
    )
    for spec, resolution in zip(outer, resolutions, strict=True):
        axes = spec.subgridspec(len(rows), count, wspace=0.06, hspace=0.06).subplots(squeeze=False)
        place = spec.get_position(figure)
        figure.text(0.5 * (place.x0 + place.x1), place.y1 + 0.05 / height, f"resolution {resolution}", ha="center")
        for panels, (source, fields) in zip(axes, rows.items(), strict=True):
            if resolution == resolutions[0]:
                panels[0].set_ylabel(source, fontsize=7)
            for i, axis in enumerate(panels):
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.spines[:].set_visible(False)
                axis.patch.set_visible(False)
                if resolution in fields:
                    field = fields[resolution][i]
                    image = axis.imshow(field if rows_down else field.T, **look)
            if resolution not in fields:
                row = panels[0].get_position()
                middle = 0.5 * (place.x0 + place.x1), 0.5 * (row.y0 + row.y1)
                figure.text(*middle, "as the row above", ha="center", va="center", color="0.4")
    directions = "$x_1$ downwards, $x_2$ to the right" if rows_down else "$x_1$ to the right, $x_2$ upwards"
    figure.text(0.5 * (LEFT + RIGHT), (below + 0.25 * BOTTOM) / height, directions, ha="center")
    middle = 0.5 * (below + BOTTOM + height - TOP) / height
    bar = figure.add_axes((0.93, middle - 0.5 / height, 0.013, 1.0 / height))
    figure.colorbar(image, cax=bar, extend="both")
    bar.grid(False)
    bar.set_title("$u$", pad=8)


def _arms_and_resolutions(history: pd.DataFrame) -> tuple[list[pd.DataFrame], list[int]]:
    """The rows of each arm, and the resolutions N of the columns validation_N."""
    arms = [rows for _, rows in history.groupby("arm", sort=False)]
    return arms, sorted(int(name.removeprefix("validation_")) for name in history if name.startswith("validation_"))


def _draw_losses(panels: Iterable[Axes], arms: list[pd.DataFrame], resolutions: list[int]) -> None:
    for axes, rows in zip(panels, arms, strict=False):
        _curve(axes, rows, "loss", "0.5", "--", "training data")
        for resolution in resolutions:
            _curve(axes, rows, f"validation_{resolution}", _color(resolution), "-", f"validation data, {resolution}")
        axes.set(yscale="log", title=short_name(rows.arm.iloc[0], rows.network.iloc[0]))


def _one_panel_of_ladders(history: pd.DataFrame, against: str) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 * PAPER_WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        _draw_ladders(axes, history, against)
        axes.set_ylabel(_test_loss_label(history))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure


def _draw_ladders(axes: Axes, history: pd.DataFrame, against: str) -> None:
    """A curve an arm; the time of a level change is the mean over seeds."""
    column, changes = f"test_{_finest_tested(history)}", set()
    for i, (arm, rows) in enumerate(history.groupby("arm", sort=False)):
        label, color = f"{arm} ({'→'.join(rows.ladder.iloc[0].split('-'))})", f"C{i}"
        if against == "epoch":
            _curve(axes, rows, column, color, "-", label)
        else:
            for j, (_, run) in enumerate(rows.groupby("seed")):
                axes.plot(run[against], run[column], color=color, label=None if j else label)
        last_of_level = rows[rows.resolution < rows.groupby("seed").resolution.shift(-1)]
        changes |= {round(x, 3) for x in last_of_level.groupby("epoch")[against].mean()}
    for x in changes:
        axes.axvline(x, color="black", linewidth=0.8)
    axes.set(yscale="log", xlabel="epoch" if against == "epoch" else "time of training (s)")


def _finest_tested(history: pd.DataFrame) -> int:
    return max(int(name.removeprefix("test_")) for name in history if name.startswith("test_"))


def _test_loss_label(history: pd.DataFrame) -> str:
    return f"test loss at {_finest_tested(history)} (units of $u^2$)"


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


def _slope(x: pd.Series, y: pd.Series) -> float:
    """The exponent p of the power law y ∝ x^p that fits best, by least squares on both logarithms; nan for a single point."""
    x, y = np.log(x), np.log(y)
    return x.cov(y) / x.var() if len(x) > 1 else math.nan


def _fields_of(rows: pd.DataFrame) -> pd.Series:
    """What each row's denoiser is: the exact field, or a network, by its gain if there are several."""
    several = rows.gain.nunique() > 1
    named = "network, " + rows.gain.astype(str) if several else "network"
    return pd.Series(np.where(rows.network == "exact", "exact field", named), index=rows.index)


def _times(sampler: str) -> str:
    """The grid of times in the name of a sampler."""
    return next((name for name in TIME_STYLES if f"times={name}" in sampler), "uniform")
