"""Figures of fields on the grids they were drawn on, in rows by what drew them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import UserError
from ..settings import distinct_gains
from .style import PAPER_WIDTH, STYLE, sampler_name, short_name
from .training import draw_losses, split

__all__ = ["TEST_SET", "Rows", "arrange", "fields"]

Rows = dict[str, dict[int, NDArray[np.floating]]]
"""Name of the row, then resolution, to fields."""
TEST_SET = "test set"
LEFT, RIGHT = 0.07, 0.915
TOP, BOTTOM = 0.3, 0.25
"""Margins: parts of the width, and inches."""
LOSSES = 1.8
"""Inches of the panels of losses below the fields."""
LETTER = 4.2
"""Points that a letter of a row's name takes along the row."""
PARTS = {"epoch": "epoch {}".format, "seed": "seed {}".format, "sampler": sampler_name, "steps": "{} steps".format}
"""What a row's name has where files of one arm and gain differ in it."""


@matplotlib.rc_context(STYLE)
def fields(rows: Rows, count: int = 3, *, rows_down: bool = False, history: pd.DataFrame | None = None) -> Figure:
    """The first `count` fields of each row and resolution, under the colour limits of the first row.

    Args:
        rows: name to resolution to fields of shape (n, N, N). The first has all resolutions; one that another row lacks is where
            it agrees with the row above.
        rows_down: x₁ downwards, as the rows of images; otherwise x₁ is to the right and x₂ upwards.
        history: as for `losses`, whose panels are then below the fields, one panel per arm.
    """
    below = 0.0 if history is None else LOSSES
    count = min(count, *(len(drawn) for row in rows.values() for drawn in row.values()))
    panel = PAPER_WIDTH * (RIGHT - LEFT) / (len(next(iter(rows.values()))) * (count + 0.2))
    figure = Figure(figsize=(PAPER_WIDTH, panel * len(rows) * 1.06 + TOP + BOTTOM + below))
    _draw_fields(figure, rows, count, rows_down, below)
    if history is not None:
        _draw_losses_below(figure, history)
    return figure


def arrange(files: Iterable[tuple[Path, Mapping[str, NDArray[Any]], Mapping[str, Any]]]) -> tuple[Rows, bool]:
    """The rows of `fields`, and whether the fields are images, whose first axis goes down.

    The test set, where it is given, comes first. A network's gains are one below the other, first the one on the grid where it
    was trained: there they agree, and one file is enough.

    Args:
        files: path, arrays and header of files of data and of samples, as `data.checks.read_fields` has them.

    Raises:
        UserError: if a row has a resolution twice, or lacks one that another row has.
    """
    files = list(files)
    of_rows = [None if "reference" in arrays else header for _, arrays, header in files]
    rows, headers = {}, {}
    for name, of_row, (path, arrays, header) in zip(_names(of_rows), of_rows, files, strict=True):
        n = header["resolution"]
        if n in rows.setdefault(name, {}):
            raise UserError(f"{path}: {' '.join(name.split())} at resolution {n} is there already; give it once")
        rows[name][n] = arrays["samples" if of_row else "reference"]
        headers.setdefault(name, of_row)

    networks = list(dict.fromkeys(map(_network, headers.values())))

    def place(name: str) -> tuple[bool, int, bool]:
        header = headers[name]
        return name != TEST_SET, networks.index(_network(header)), _reference(header) not in rows[name]

    order = sorted(rows, key=place)
    resolutions = sorted({resolution for row in rows.values() for resolution in row})
    for above, name in zip([None, *order], order, strict=False):
        missing = [n for n in resolutions if n not in rows[name]]
        if above and _network(headers[above]) == _network(headers[name]):
            gains, reference = [headers[above]["gain"], headers[name]["gain"]], _reference(headers[name])
            missing = [n for n in missing if n not in rows[above] or len(distinct_gains(gains, n, reference)) > 1]
        if missing:
            stage = "data" if name == TEST_SET else "sample"
            raise UserError(
                f"FILES: no {' '.join(name.split())} at resolution {missing}; add the files of `mld {stage}`"
            )
    images = any(header["target"].get("images") for _, _, header in files)
    return {name: {n: rows[name][n] for n in resolutions if n in rows[name]} for name in order}, images


def _names(headers: list[Mapping[str, Any] | None]) -> list[str]:
    """The names of the rows of files with these headers, None for the test set: what tells the files apart."""
    names, shorts = [], {}
    for header in filter(_learned, headers):
        shorts.setdefault(_short(header), set()).add(header["spec"]["arm"])
    for header in headers:
        if _learned(header):
            name = _short(header) if len(shorts[_short(header)]) == 1 else header["spec"]["arm"]
            names.append(f"{name},\n{header['gain']}")
        else:
            names.append("exact field" if header else TEST_SET)
    for part, words in PARTS.items():
        values: dict[str, set[Any]] = {}
        for name, header in zip(names, headers, strict=True):
            values.setdefault(name, set()).add(header and header.get(part))
        names = [
            f"{name},\n{words(header[part])}" if len(values[name]) > 1 else name
            for name, header in zip(names, headers, strict=True)
        ]
    return names


def _learned(header: Mapping[str, Any] | None) -> bool:
    return header is not None and header["field"] != "exact"


def _short(header: Mapping[str, Any]) -> str:
    return short_name(header["spec"]["arm"], header["spec"]["network"]["kind"])


def _network(header: Mapping[str, Any] | None) -> str:
    """What has the same value for the gains of one network."""
    return json.dumps(header and [header.get(key) for key in ("field", "spec", *PARTS)])


def _reference(header: Mapping[str, Any] | None) -> int | None:
    """N_ref, where the gains of a network agree."""
    return header["spec"]["training"]["ladder"][-1]["resolution"] if _learned(header) else None


def _draw_fields(figure: Figure, rows: Rows, count: int, rows_down: bool, below: float) -> None:
    """Draw them on the upper part of a figure that has `below` inches left at its bottom."""
    first = next(iter(rows.values()))
    resolutions, height = list(first), figure.get_figheight()
    low = min(float(np.quantile(drawn, 0.001)) for drawn in first.values())
    high = max(float(np.quantile(drawn, 0.999)) for drawn in first.values())
    look = {"vmin": low, "vmax": high, "origin": "upper" if rows_down else "lower"}
    place = {"left": LEFT, "right": RIGHT, "bottom": (below + BOTTOM) / height, "top": 1 - TOP / height}
    outer = figure.add_gridspec(1, len(resolutions), wspace=0.07, **place)
    for spec, resolution in zip(outer, resolutions, strict=True):
        axes = spec.subgridspec(len(rows), count, wspace=0.06, hspace=0.06).subplots(squeeze=False)
        place = spec.get_position(figure)
        figure.text(0.5 * (place.x0 + place.x1), place.y1 + 0.05 / height, f"resolution {resolution}", ha="center")
        for panels, (name, row) in zip(axes, rows.items(), strict=True):
            if resolution == resolutions[0]:
                letters = int(72 * panels[0].get_position().height * height / LETTER)
                wrapped = [textwrap.wrap(part, letters, break_long_words=False) for part in name.split("\n")]
                lines = [line for part in wrapped for line in part]
                panels[0].set_ylabel("\n".join(lines), fontsize=min(7, 7 * letters / max(map(len, lines))))
            for i, axis in enumerate(panels):
                axis.set(xticks=[], yticks=[], frame_on=False)
                axis.grid(False)
                if resolution in row:
                    field = row[resolution][i]
                    image = axis.imshow(field if rows_down else field.T, **look)
            if resolution not in row:
                line = panels[0].get_position()
                middle = 0.5 * (place.x0 + place.x1), 0.5 * (line.y0 + line.y1)
                figure.text(*middle, "as the row above", ha="center", va="center", color="0.4")
    directions = "$x_1$ downwards, $x_2$ to the right" if rows_down else "$x_1$ to the right, $x_2$ upwards"
    figure.text(0.5 * (LEFT + RIGHT), (below + 0.25 * BOTTOM) / height, directions, ha="center")
    middle = 0.5 * (below + BOTTOM + height - TOP) / height
    bar = figure.add_axes((0.93, middle - 0.5 / height, 0.013, 1.0 / height))
    figure.colorbar(image, cax=bar, extend="both")
    bar.grid(False)
    bar.set_title("$u$", pad=8)


def _draw_losses_below(figure: Figure, history: pd.DataFrame) -> None:
    arms, resolutions = split(history)
    height = figure.get_figheight()
    place = {"left": 0.1, "right": 0.99, "bottom": 0.6 / height, "top": 1.5 / height, "wspace": 0.12}
    panels = figure.subplots(1, len(arms), sharey=True, squeeze=False, gridspec_kw=place)[0]
    draw_losses(panels, arms, resolutions)
    panels[0].set_ylabel("denoising loss\n(units of $u^2$)")
    for axes in panels:
        axes.set_title(axes.get_title().replace("-", "-\n"), fontsize=7)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="lower center", bbox_to_anchor=(0.5, 0), ncols=len(handles[1]))
