"""What all figures share: one style, fixed colours, names as the field gives them, and files that are equal for equal figures."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import UserError
from ..provenance import software
from ..storage import write_atomically

__all__ = ["LOSS_LABEL", "PAPER_WIDTH", "STYLE", "color_of", "draw_curve", "sampler_name", "save", "short_name"]

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
    "pdf.fonttype": 42,
}
PNG_BYTES = 300_000
PNG_QUALITIES = ((200, 256), (200, 64), (150, 64), (120, 64), (100, 32))
"""Dots an inch and colours: the first with which a file has no more than PNG_BYTES, or else the last."""

LOSS_LABEL = r"$E\,\frac{1}{2}\|\eta-E_\theta[\eta\,|\,u_t]\|^2$ (units of $u^2$)"
SAMPLERS = {
    "euler-maruyama": "Euler–Maruyama",
    "heun": "Heun",
    "ancestral": "DDPM",
    "ancestral(stochasticity=0)": "DDIM",
    "dpm-solver++": "DPM-Solver++",
    "dpm-solver++(stochasticity=1)": "DPM-Solver++ (SDE)",
    "predictor-corrector": "predictor–corrector",
    "gaussian-exponential": "Gaussian exp.",
    "gaussian-exponential(stochasticity=1)": "Gaussian exp. (SDE)",
}
TIMES = {"times=log-snr": "log-SNR times", "times=karras": "Karras times"}


def save(figure: Figure, path: Path) -> None:
    """Write a figure with the software that drew it, without dates: equal figures are equal files.

    The PNG has at most 256 colours, as a colour map has: less than half the bytes, and no difference to the eye. Only pictures of
    noise, which no format can pack, then exceed PNG_BYTES: they have fewer colours and pixels than the SVG.

    Args:
        path: its suffix says what is written: .pdf a PDF, .png a PNG, .svg or none both an SVG and a PNG.

    Raises:
        UserError: if it has another suffix.
    """
    kinds = {".pdf": ("pdf",), ".png": ("png",), ".svg": ("svg", "png"), "": ("svg", "png")}
    if path.suffix not in kinds:
        raise UserError(f"{path}: a figure is written as .svg, .png or .pdf, not as {path.suffix}")
    description = json.dumps(software())
    with matplotlib.rc_context(STYLE):
        drawn = {kind: _drawn(figure, kind, description) for kind in kinds[path.suffix]}
    for kind, data in drawn.items():
        with write_atomically(path.with_suffix(f".{kind}")) as partial:
            partial.write_bytes(data)


def _drawn(figure: Figure, kind: str, description: str) -> bytes:
    if kind == "png":
        return _png(figure, description)
    date, text = ("CreationDate", "Subject") if kind == "pdf" else ("Date", "Description")
    file = io.BytesIO()
    figure.savefig(file, format=kind, metadata={date: None, text: description})
    return file.getvalue()


def _png(figure: Figure, description: str) -> bytes:
    text = PngInfo()
    text.add_text("Description", description)
    for dpi, colours in PNG_QUALITIES:
        pixels, png = io.BytesIO(), io.BytesIO()
        figure.savefig(pixels, format="png", dpi=dpi)
        image = Image.open(pixels).convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE, kmeans=1)
        image.save(png, "PNG", optimize=True, pnginfo=text, dpi=(dpi, dpi))
        if png.tell() <= PNG_BYTES:
            break
    return png.getvalue()


def short_name(arm: str, network: str) -> str:
    """An arm's name without that of its network in front, as "laplacian" for fno-laplacian."""
    return arm.removeprefix(f"{network}-")


def sampler_name(sampler: str) -> str:
    """What the field calls a sampler of the tables: "DDIM, Karras times" for "ancestral(stochasticity=0, times=karras)".

    A sampler without a name of its own keeps that of its kind; options that no name stands for follow it.
    """
    kind, _, inside = sampler.removesuffix(")").partition("(")
    options = [option for option in inside.split(", ") if option]
    for option in options:
        if (known := f"{kind}({option})") in SAMPLERS:
            return ", ".join([SAMPLERS[known], *(_words(other) for other in options if other != option)])
    named = kind if any(option.startswith("stochasticity") for option in options) else SAMPLERS.get(kind, kind)
    return ", ".join([named, *map(_words, options)])


def _words(option: str) -> str:
    return TIMES.get(option, option.replace("=", " "))


def color_of(resolution: int) -> str:
    """The colour of a resolution in every figure: of others than the paper's by its logarithm."""
    return COLORS.get(resolution) or matplotlib.colors.to_hex(
        matplotlib.colormaps["turbo"](math.log2(resolution / 8) / 6)
    )


def draw_curve(axes: Axes, rows: pd.DataFrame, column: str, color: str, style: str, label: str) -> None:
    """The median over seeds against the epoch, in a band from the least to the greatest; of one epoch alone a level."""
    seeds = rows.groupby("epoch")[column]
    median = seeds.median()
    if len(median) == 1:
        axes.axhline(median.iloc[0], linestyle=style, color=color, label=label)
    else:
        axes.plot(median.index, median, style, color=color, label=label)
        axes.fill_between(median.index, seeds.min(), seeds.max(), color=color, alpha=0.15, linewidth=0)
