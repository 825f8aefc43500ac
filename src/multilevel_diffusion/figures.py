"""Pictures from artifacts. One style, colour limits shared within a figure, always the first samples.

Each function takes tables or arrays and returns a matplotlib figure; `save` writes it as SVG and PNG.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .storage import write_atomically

__all__ = ["SCORE_COLUMNS", "fig1", "fig10", "save"]

PAPER_WIDTH = 6.75
"""Inches: two columns."""
COLORS = {32: "#c1272d", 51: "#b58900", 64: "#1f4e9e"}
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


def fig10(rows: dict[str, dict[int, NDArray[np.floating]]], count: int = 3) -> Figure:
    """Figure 10: fields on the grids they were drawn on, a row a source and the first `count` fields a resolution.

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
            axes[0, count // 2].set_title(f"resolution {resolution}")
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
            "$x_1$ to the right, $x_2$ upwards, both from 0 to 1",
            ha="center",
        )
        figure.colorbar(image, cax=figure.add_axes((0.93, 0.3, 0.013, 0.4)), extend="both", label="$u$")
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
        ylabel=r"$E\,\frac{1}{2}\|\eta-E_\theta[\eta\,|\,u_t]\|^2$ (units of $u^2$)",
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
