"""Figures of posteriors: what was seen of a field, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import UserError
from .style import PANEL, SMALL, STYLE, field_colors, method_name, show

__all__ = ["posterior", "posterior_rows"]

Row = Mapping[str, NDArray[np.floating]]
SAMPLES = 3
TITLES = ("truth", "seen", "mean", "standard\ndeviation", *["sample"] * SAMPLES)
COLUMNS = (0.9, 0.9, 1.5, 1.5, *[1.87] * SAMPLES)
"""Inches left of each column that are not fields: of what is seen, of methods, and of the scale of standard deviations."""
PAGE, RIGHT, TOP, GAP = 8.6, 0.45, 0.25, 0.12
"""Inches: the greatest height of all rows, margins, and what lies between what is seen in different ways."""


def posterior_rows(
    files: Iterable[tuple[Path, Mapping[str, NDArray[Any]], Mapping[str, Any]]],
) -> dict[str, dict[str, Row]]:
    """The groups of rows of `posterior`, by what is seen and then by method, from files of `mld condition`.

    Raises a UserError if one is of something else, or is there twice.
    """
    rows: dict[str, dict[str, Row]] = {}
    for path, arrays, header in files:
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, values in arrays.items():
            row, _, part = name.rpartition("/")
            parts.setdefault(row, {})[part] = values
        for row, found in sorted(parts.items(), key=_place):
            if "mean" not in found:
                continue
            seen, _, method = row.partition("/")
            if not _are_fields(found | parts.get(seen, {})):
                raise UserError(f"{path}: not fields of posteriors; give files of `mld condition`")
            group = rows.setdefault(_seen(seen, parts[seen], header), {})
            name = method_name(method, header.get("field", ""))
            if name in group and method not in ("exact", "gaussian"):
                raise UserError(f"{path}: {seen} by {name} is there already; give it once")
            group.setdefault(name, found | parts[seen])
    if not rows:
        raise UserError("FILES: no posteriors in them; give files of `mld condition`")
    return rows


def _seen(name: str, parts: Row, header: Mapping[str, Any]) -> str:
    """What is seen, how many values, and the standard deviation of their errors, where the file says it."""
    noise = header.get("observed", {}).get(name, {}).get("noise")
    lines = [name, *([f"{len(parts['points'])} values"] if "points" in parts else [])]
    return "\n".join([*lines, *([] if noise is None else [f"σ = {noise:g}" if noise else "no noise"])])


def _are_fields(row: Row) -> bool:
    """Whether a row has what is drawn of it, in the right shapes, and finite."""
    shape = row["mean"].shape
    shapes = {"truth": shape, "mean": shape, "spread": shape, "samples": (len(row.get("samples", ())), *shape)}
    shapes |= {"points": (len(row["points"]), 3)} if "points" in row else {}
    return len(shape) == 2 and all(
        name in row and row[name].shape == wanted and row[name].size and np.isfinite(row[name]).all()
        for name, wanted in shapes.items()
    )


def _place(entry: tuple[str, object]) -> tuple[str, bool, bool]:
    """What is exact comes first of what is seen alike."""
    seen, _, method = entry[0].partition("/")
    return seen, method != "exact", method != "gaussian"


@matplotlib.rc_context(STYLE)
def posterior(groups: Mapping[str, Mapping[str, Row]], *, rows_down: bool = False) -> Figure:
    """One row per posterior: its mean, standard deviation and samples; beside the first of what is seen alike the truth and the
    values.

    Fields share the colour limits of the truths. Standard deviations of what is seen alike have a scale from 0 to the greatest of
    the first row, beside it.

    Args:
        groups: as `posterior_rows` makes them.
    """
    count = sum(map(len, groups.values()))
    side = min(PANEL, PAGE / count)
    lefts = [left + i * side for i, left in enumerate(COLUMNS)]
    width, height = lefts[-1] + side + RIGHT, side * count + GAP * (len(groups) - 1) + TOP + 0.05
    figure = Figure(figsize=(width, height))
    truths = [next(iter(rows.values()))["truth"] for rows in groups.values()]
    look = field_colors(truths, images=rows_down)

    def panel(column: int, y: float) -> Axes:
        return figure.add_axes((lefts[column] / width, y / height, 0.94 * side / width, 0.94 * side / height))

    def scale(image: AxesImage, column: int, y: float, extend: str) -> Axes:
        place = (lefts[column] + side + 0.03) / width, y / height, 0.05 / width, 0.94 * side / height
        bar = figure.add_axes(place)
        figure.colorbar(image, cax=bar, extend=extend)
        bar.grid(False)
        bar.yaxis.set_major_locator(MaxNLocator(2))
        bar.tick_params(labelsize=SMALL - 1, length=2, pad=1)
        return bar

    def say(x: float, y: float, words: str, **how: Any) -> None:
        figure.text(x / width, y / height, words, fontsize=SMALL, **{"ha": "right", "va": "center"} | how)

    y = height - TOP
    for group, (seen, rows) in enumerate(groups.items()):
        spread = {"cmap": "magma", "vmin": 0.0, "vmax": float(next(iter(rows.values()))["spread"].max())}
        for i, (name, row) in enumerate(rows.items()):
            y -= side
            say(lefts[2] - 0.05, y + 0.47 * side, name.replace(", ", ",\n").replace(" (", "\n("))
            image = show(panel(2, y), row["mean"], look, rows_down=rows_down)
            deviation = show(panel(3, y), row["spread"], spread, rows_down=rows_down)
            for column, sample in enumerate(row["samples"][:SAMPLES], 4):
                show(panel(column, y), sample, look, rows_down=rows_down)
            if not i:
                say(lefts[0] - 0.07, y + 0.47 * side, seen)
                show(panel(0, y), row["truth"], look, rows_down=rows_down)
                _draw_points(panel(1, y), row, look, rows_down)
                scale(deviation, 3, y, "max")
            if not i and not group:
                scale(image, -1, y, "both").set_title("$u$", pad=4)
                for title, x in zip(TITLES, lefts, strict=True):
                    say(x + 0.47 * side, height - TOP + 0.02, title, ha="center", va="bottom", linespacing=0.95)
        y -= GAP
    return figure


def _draw_points(axes: Axes, row: Row, look: Mapping[str, Any], rows_down: bool) -> None:
    """The points with the colours of their values; of modes, which have no place, nothing."""
    axes.set(xlim=(0, 1), ylim=(1, 0) if rows_down else (0, 1), xticks=[], yticks=[], facecolor="#e9e4d4")
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
    if "points" in row:
        x1, x2, values = row["points"].T
        place = (x2, x1) if rows_down else (x1, x2)
        size = min(9.0, 150 / len(values))
        axes.scatter(*place, c=values, s=size, marker="s", linewidths=0, **look)
