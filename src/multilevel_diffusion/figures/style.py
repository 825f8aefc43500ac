"""What all figures share: one style, fixed colours, names as the field gives them, and files that are equal for equal figures."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import UserError
from ..provenance import software
from ..storage import write_atomically

__all__ = [
    "BASELINE",
    "LOSS_LABEL",
    "NETWORKS",
    "PANEL",
    "PAPER_WIDTH",
    "SAMPLER_LOOKS",
    "SMALL",
    "STYLE",
    "arm_looks",
    "arm_names",
    "color_of",
    "draw_curve",
    "field_colors",
    "is_preconditioned",
    "label_ends",
    "log_ticks",
    "method_name",
    "number",
    "prior_name",
    "sampler_name",
    "save",
    "show",
    "styles_legend",
]

PAPER_WIDTH = 6.75
"""Inches: two columns."""
PANEL = 0.42
"""Inches: the most that the side of a field takes."""
SHARP = 256
"""Points per side to which coarser fields are repeated before they are drawn."""
SMALL = 6.5
"""Points: names of rows and curves, ticks and legends."""
COLORS = {32: "#c1272d", 51: "#b58900", 64: "#1f4e9e", 128: "#2e7d32", 256: "#6a1b9a"}
STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "legend.frameon": False,
    "image.interpolation": "auto",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "multilevel-diffusion",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}

LOSS_LABEL = "denoising loss (units of $u^2$)"
BASELINE = "gaussian"
"""The kind of network that is not trained: a level beside the curves of others, and the end of the name of an arm on it."""
NETWORKS = {"fno": "FNO", "unet": "U-Net", BASELINE: "Gaussian baseline"}
ARMS = {
    "standard": "white noise",
    "fno": "FNO prior",
    "laplacian": "Laplacian prior",
    "bessel": "Bessel prior",
    "combined": "combined prior",
    "cold": "cold start",
    "warm": "warm start",
    "warm-coefficients": "warm start, coefficients",
    "mixed": "mixed grids",
}
"""What the field calls an arm, by its name without the name of the network."""
ARM_COLORS = {
    "standard": "#7f7f7f",
    "fno": "#1f4e9e",
    "laplacian": "#c1272d",
    "bessel": "#2e7d32",
    "combined": "#b36b00",
}
ARM_COLORS |= {"cold": "#1f4e9e", "warm": "#c1272d", "warm-coefficients": "#b36b00", "mixed": "#6a1b9a"}
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
SAMPLER_LOOKS = {
    "euler-maruyama": ("#7f7f7f", "o"),
    "ancestral": ("#1f4e9e", "s"),
    "heun": ("#2e7d32", "^"),
    "dpm-solver++": ("#c1272d", "v"),
    "predictor-corrector": ("#6a1b9a", "D"),
    "gaussian-exponential": ("#b36b00", "p"),
}
"""Colour and marker of each kind of sampler."""
OPTIONS = {"times=uniform": "uniform times", "times=log-snr": "log-SNR times", "times=karras": "Karras times"}
OPTIONS |= {"times=angle": "equal angles"}
OPTIONS |= {"derivative=denoiser": "own derivative"}
METHODS = {"exact": "exact", "gaussian": "kriging", "dps": "DPS"}


def save(figure: Figure, path: Path, stamp: str = "") -> None:
    """Write a figure with the software that drew it, without dates: equal figures are equal files.

    Letters are paths in an SVG and an embedded font in a PDF. The PNG has 200 dots per inch and at most 256 colours, as a colour
    map has: less than half the bytes, and no difference to the eye.

    Args:
        path: its suffix says what is written: .pdf a PDF, .png a PNG, .svg or none both an SVG and a PNG.
        stamp: what is written across it, as of a run whose numbers mean nothing.

    Raises:
        UserError: if it has another suffix.
    """
    kinds = {".pdf": ("pdf",), ".png": ("png",), ".svg": ("svg", "png"), "": ("svg", "png")}
    if path.suffix not in kinds:
        raise UserError(f"{path}: a figure is written as .svg, .png or .pdf, not as {path.suffix}")
    if stamp:
        figure.text(0.5, 0.5, stamp, fontsize=28, rotation=30, color="#c1272d", alpha=0.35, ha="center", va="center")
    description = json.dumps(software())
    with matplotlib.rc_context(STYLE):
        drawn = {kind: _drawn(figure, kind, description) for kind in kinds[path.suffix]}
    for kind, data in drawn.items():
        with write_atomically(path.with_suffix(f".{kind}")) as partial:
            partial.write_bytes(data)


def _drawn(figure: Figure, kind: str, description: str) -> bytes:
    file = io.BytesIO()
    if kind != "png":
        date, text = ("CreationDate", "Subject") if kind == "pdf" else ("Date", "Description")
        figure.savefig(file, format=kind, metadata={date: None, text: description})
        return file.getvalue()
    dpi, about, png = STYLE["savefig.dpi"], PngInfo(), io.BytesIO()
    about.add_text("Description", description)
    figure.savefig(file, format="png")
    image = Image.open(file).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
    image.save(png, "PNG", optimize=True, pnginfo=about, dpi=(dpi, dpi))
    return png.getvalue()


def arm_names(arms: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the field calls the arms of a figure: "Laplacian prior, preconditioned" for fno-laplacian-gaussian.

    The network is named where the figure has several. An arm that is not named by network and prior keeps its name.

    Args:
        arms: pairs of an arm and the kind of its network.
    """
    networks = dict(arms)
    several = len(set(networks.values()) - {BASELINE}) > 1
    names = {}
    for arm, network in networks.items():
        named = [NETWORKS.get(network, network)] * (several or network == BASELINE)
        named += [prior_name(arm, network)] * (network != BASELINE)
        names[arm] = ", ".join([*dict.fromkeys(named), *["preconditioned"] * is_preconditioned(arm, network)])
    return names


def prior_name(arm: str, network: str) -> str:
    """What the field calls an arm, whichever network it has and whether it is preconditioned or not.

    One with the name of its network is called as that: the name says nothing of the prior.
    """
    if arm == network:
        return NETWORKS.get(network, arm)
    short = _short(arm, network)
    return "equal time" if re.fullmatch(r"equal(-\d+)+", short) else ARMS.get(short, short)


def is_preconditioned(arm: str, network: str) -> bool:
    """Whether it is an arm whose network learns only what the Gaussian baseline leaves, by its name."""
    return network != BASELINE and arm.endswith(f"-{BASELINE}")


def arm_looks(arms: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Colour and style of the line of each arm: one colour per prior; preconditioned arms are dashed, and U-Nets have dots."""
    looks: dict[str, tuple[str, str]] = {}
    colors: dict[str, str] = {}
    for arm, network in dict(arms).items():
        short = _short(arm, network)
        color = colors.setdefault(short, ARM_COLORS.get(short, f"C{len(colors) % 10}"))
        style = "--" if is_preconditioned(arm, network) else "-." if network == "unet" else "-"
        looks[arm] = ("0.3", ":") if network == BASELINE else (color, style)
    return looks


def _short(arm: str, network: str) -> str:
    return arm.removeprefix(f"{network}-").removesuffix(f"-{BASELINE}")


def sampler_name(sampler: str) -> str:
    """What the field calls a sampler of the tables: "DDIM, Karras times" for "ancestral(stochasticity=0, times=karras)".

    A sampler without a name of its own keeps the name of its kind; options that no name stands for follow it.
    """
    kind, _, inside = sampler.removesuffix(")").partition("(")
    options = [option for option in inside.split(", ") if option]
    for option in options:
        if (known := f"{kind}({option})") in SAMPLERS:
            return ", ".join([SAMPLERS[known], *(_words(other) for other in options if other != option)])
    named = kind if any(option.startswith("stochasticity") for option in options) else SAMPLERS.get(kind, kind)
    return ", ".join([named, *map(_words, options)])


def _words(option: str) -> str:
    return OPTIONS.get(option, option.replace("=", " "))


def method_name(method: str, field: str = "learned") -> str:
    """What the field calls a way to a posterior: "network, DPS" for "dps", "kriging" for "gaussian"."""
    kind, _, inside = method.removesuffix(")").partition("(")
    if kind in ("exact", BASELINE):
        return METHODS[kind]
    network = "exact score" if field == "exact" else "network"
    return ", ".join([network, METHODS.get(kind, kind), *map(_words, filter(None, inside.split(", ")))])


def color_of(resolution: int) -> str:
    """The colour of a resolution in every figure: of others than the paper's by its logarithm."""
    return COLORS.get(resolution) or matplotlib.colors.to_hex(
        matplotlib.colormaps["turbo"](math.log2(resolution / 8) / 6)
    )


def draw_curve(axes: Axes, rows: pd.DataFrame, column: str, color: str, style: str, label: str) -> None:
    """The median over seeds against the epoch, in a band from the least to the greatest.

    One epoch alone is a horizontal line, or a point if the style, as "s--", has a marker.
    """
    seeds = rows.groupby("epoch")[column]
    median = seeds.median()
    if len(median) == 1 and not style.strip("-:."):
        axes.axhline(median.iloc[0], linestyle=style, color=color, label=label)
    else:
        axes.plot(median.index, median, style, color=color, label=label)
        axes.fill_between(median.index, seeds.min(), seeds.max(), color=color, alpha=0.15, linewidth=0)


def field_colors(first: Iterable[NDArray[np.floating]], *, images: bool) -> dict[str, Any]:
    """Colour map and limits of fields: grey for images, symmetric and diverging for fields around 0, else one hue after another.

    Args:
        first: fields all of whose values but the 0.1 % at either end lie within the limits.
    """
    low = min(float(np.quantile(drawn, 0.001)) for drawn in first)
    high = max(float(np.quantile(drawn, 0.999)) for drawn in first)
    if images or low >= 0 or high <= 0:
        return {"cmap": "gray" if images else "viridis", "vmin": low, "vmax": high}
    limit = max(-low, high)
    return {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}


def show(axes: Axes, field: NDArray[np.floating], look: Mapping[str, Any], *, rows_down: bool) -> AxesImage:
    """Draw a field whose grid cells are squares with sharp edges; those of less than two dots are averaged over the dots."""
    cells = np.kron(field if rows_down else field.T, np.ones((max(1, SHARP // len(field)),) * 2))
    dots = axes.get_position().width * axes.get_figure().get_figwidth() * STYLE["savefig.dpi"]
    interpolation = "nearest" if dots >= 2 * len(field) else "auto"
    axes.set(xticks=[], yticks=[], frame_on=False)
    axes.grid(False)
    return axes.imshow(cells, origin="upper" if rows_down else "lower", interpolation=interpolation, **look)


def log_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis that are few and plain numbers, or powers of ten where those are too long."""
    low, high = sorted(axis.get_view_interval())
    decades = math.log10(high / low)
    subs = (1,) if decades > 2.2 else (1, 3) if decades > 1.2 else (1, 2, 5)
    axis.set_major_locator(MaxNLocator(4) if decades < 0.5 else LogLocator(subs=subs, numticks=7))
    axis.set_major_formatter(lambda x, _: number(x))
    axis.set_minor_formatter(NullFormatter())


def number(x: float) -> str:
    """A number of four digits, or with a power of ten where it would be long."""
    if x == 0 or 0.001 <= abs(x) < 10_000:
        return f"{x:.4g}"
    digits, _, power = f"{x:.2e}".partition("e")
    power, digits = f"10^{{{int(power)}}}", digits.rstrip("0").rstrip(".")
    return f"${power}$" if digits == "1" else f"${digits}\\times {power}$"


def label_ends(axes: Axes, ends: Mapping[str, tuple[float, str]], height: float) -> None:
    """Write the names of curves beside their right ends, in their colours and moved apart where they would overlap.

    Args:
        ends: name to the last value and the colour.
        height: inches of the panel.
    """
    to_part = (axes.transScale + axes.transLimits).transform
    places = sorted((min(max(float(to_part((axes.get_xlim()[1], y))[1]), 0), 1), name) for name, (y, _) in ends.items())
    spread, step = [place for place, _ in places], 1.2 * SMALL / 72 / height
    for _ in range(100):
        for i in range(1, len(spread)):
            move = max(0.0, step - (spread[i] - spread[i - 1])) / 2
            spread[i - 1], spread[i] = spread[i - 1] - move, spread[i] + move
    for y, (place, name) in zip(spread, places, strict=True):
        color = ends[name][1]
        axes.plot([1.0, 1.03], [place, y], color=color, linewidth=0.6, clip_on=False, transform=axes.transAxes)
        axes.text(1.04, y, name, color=color, fontsize=SMALL, va="center", transform=axes.transAxes)


def styles_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]], columns: int = 8, **place: Any) -> None:
    """One legend of what colours and lines mean, below all panels."""
    lines = [Line2D([], [], **look) for look in looks.values()]
    figure.legend(lines, list(looks), ncols=min(columns, len(looks)), **{"loc": "outside lower center"} | place)
