"""Figures of fields on the grids they were drawn on, in rows by what drew them."""

from __future__ import annotations

import json
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
from .style import (
    LOSS_LABEL,
    PANEL,
    PAPER_WIDTH,
    SMALL,
    STYLE,
    arm_names,
    field_colors,
    number,
    sampler_name,
    show,
    styles_legend,
)
from .training import draw_losses, loss_looks, panels_of_losses

__all__ = ["TEST_SET", "Rows", "arrange", "distances", "fields"]

Rows = dict[str, dict[int, NDArray[np.floating]]]
"""Name of the row, then resolution, to fields."""
TEST_SET = "test set"
METRIC = "sliced_wasserstein"
LEFT, RIGHT, TOP, BOTTOM = 1.0, 0.5, 0.3, 0.2
"""Inches of the margins."""
COLUMN_WIDTH, WIDEST = 3.25, 3.2
"""Inches: the least that a figure is wide, and what the widest line of words takes."""
NARROW = 0.9
"""Inches of a block of fields, below which its words are shortened."""
LOSSES, LINE = 0.4, 1.1
"""Inches below the fields: of the legend of losses, and of a line of panels of them."""
GAP, STRIP = 0.04, 0.1
"""Inches between rows of fields, and of the distances above one."""
PARTS = {
    "ladder": str,
    "epoch": "epoch {}".format,
    "seed": "seed {}".format,
    "sampler": sampler_name,
    "steps": "{} steps".format,
}
"""What a row's name has where files of one arm and gain differ in it."""


@matplotlib.rc_context(STYLE)
def fields(
    rows: Rows,
    count: int = 3,
    *,
    rows_down: bool = False,
    history: pd.DataFrame | None = None,
    written: Mapping[str, Mapping[int, str]] | None = None,
) -> Figure:
    """The first `count` fields of each row and resolution, under the colour limits of the first row.

    Args:
        rows: name to resolution to fields of shape (n, N, N). The first has all resolutions; one that another row lacks is where
            it agrees with the row above.
        rows_down: x₁ downwards, as the rows of images, which are grey; otherwise x₁ is to the right and x₂ upwards.
        history: as for `losses`, whose panels are then below the fields.
        written: as `distances` makes it, above the fields of a row and resolution.
    """
    lines = [] if history is None else panels_of_losses(history)
    below = (LOSSES + LINE * len(lines)) * bool(lines)
    count = min(count, *(len(drawn) for row in rows.values() for drawn in row.values()))
    across = len(next(iter(rows.values()))) * (count + 0.2) - 0.2
    panel = (PAPER_WIDTH - LEFT - RIGHT) / across
    panel = panel if lines else min(PANEL, panel)
    above, bottom = GAP + STRIP * bool(written), below + BOTTOM + STRIP * bool(written)
    size = max(COLUMN_WIDTH, panel * across + LEFT + RIGHT), (panel + above) * len(rows) + TOP + bottom
    figure = Figure(figsize=size)
    _draw_fields(figure, rows, count, panel, rows_down, bottom, above, written or {})
    if lines:
        place = {"left": 0.08, "right": 0.99, "bottom": 0.55 / figure.get_figheight()}
        place |= {"top": (below - 0.35) / figure.get_figheight(), "wspace": 0.45, "hspace": 0.6}
        grid = figure.subplots(len(lines), len(lines[0]), squeeze=False, gridspec_kw=place)
        draw_losses(grid, lines)
        for axes in grid.flat:
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        figure.text(0.012, 0.5 * below / figure.get_figheight(), LOSS_LABEL, rotation=90, va="center")
        styles_legend(figure, loss_looks(history), loc="lower center", bbox_to_anchor=(0.5, 0))
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


def distances(
    files: Iterable[tuple[Path, Mapping[str, NDArray[Any]], Mapping[str, Any]]], metrics: pd.DataFrame
) -> dict[str, dict[int, str]]:
    """The sliced Wasserstein distance to the test set of the samples of each file, and the floor of test sets, as `arrange` names
    the rows.

    Args:
        metrics: COLUMNS of these very samples, as `mld evaluate` writes them, and the epoch where files differ in it. Of those
            that it lacks nothing is said.
    """
    files, found = list(files), metrics[metrics.metric == METRIC]
    written: dict[str, dict[int, str]] = {}
    of_rows = [None if "reference" in arrays else header for _, arrays, header in files]
    for name, header, (_, _, about) in zip(_names(of_rows), of_rows, files, strict=True):
        here = found[found.resolution == about["resolution"]]
        if header:
            here = here[(here.network == "exact") != _learned(header)]
            same = {key: header[key] for key in ("seed", "sampler", "steps")}
            same |= {"arm": header["spec"]["arm"], "gain": header["gain"]} if _learned(header) else {}
            same |= {"epoch": header["epoch"]} if "epoch" in here else {}
            here = here[np.logical_and.reduce([here[key] == value for key, value in same.items()])]
        if len(here):
            value = here.value if header else here.floor
            written.setdefault(name, {})[about["resolution"]] = (
                f"{'SW' if header else 'floor'} {_two_digits(value.iloc[0])}"
            )
    return written


def _names(headers: list[Mapping[str, Any] | None]) -> list[str]:
    """The names of the rows of files with these headers, None for the test set: what tells the files apart."""
    gains: dict[str, set[str]] = {}
    learned = [header for header in headers if _learned(header)]
    for header in learned:
        gains.setdefault(header["spec"]["arm"], set()).add(header["gain"])
    arms = arm_names((header["spec"]["arm"], header["spec"]["network"]["kind"]) for header in learned)
    names = []
    for header in headers:
        if _learned(header):
            arm = header["spec"]["arm"]
            parts = arms[arm].split(", ") + [header["gain"]] * (len(gains[arm]) > 1)
            names.append(",\n".join(parts))
        else:
            names.append("exact score" if header else TEST_SET)
    for part, words in PARTS.items():
        values: dict[str, set[Any]] = {}
        for name, header in zip(names, headers, strict=True):
            values.setdefault(name, set()).add(_part(header, part))
        names = [
            f"{name},\n{words(_part(header, part))}" if len(values[name]) > 1 else name
            for name, header in zip(names, headers, strict=True)
        ]
    return names


def _part(header: Mapping[str, Any] | None, part: str) -> Any:
    if part == "ladder" and _learned(header):
        return "→".join(str(level["resolution"]) for level in header["spec"]["training"]["ladder"])
    return header and header.get(part)


def _two_digits(x: float) -> str:
    return number(float(f"{x:.1g}")) if x >= 1000 else f"{x:.0f}" if x >= 10 else f"{x:#.2g}"


def _learned(header: Mapping[str, Any] | None) -> bool:
    return header is not None and header["field"] != "exact"


def _network(header: Mapping[str, Any] | None) -> str:
    """What has the same value for the gains of one network."""
    return json.dumps(header and [header.get(key) for key in ("field", "spec", *PARTS)])


def _reference(header: Mapping[str, Any] | None) -> int | None:
    """N_ref, where the gains of a network agree."""
    return header["spec"]["training"]["ladder"][-1]["resolution"] if _learned(header) else None


def _draw_fields(
    figure: Figure,
    rows: Rows,
    count: int,
    panel: float,
    rows_down: bool,
    bottom: float,
    above: float,
    written: Mapping[str, Mapping[int, str]],
) -> None:
    """Draw them, in inches: fields of side `panel`, with `above` above each row and `bottom` below all."""
    width, height = figure.get_size_inches()
    first = next(iter(rows.values()))
    look = field_colors(first.values(), images=rows_down)

    def say(x: float, y: float, words: str, size: float = SMALL, **how: str) -> None:
        figure.text(x / width, y / height, words, fontsize=size, **how)

    for i, (name, row) in enumerate(rows.items()):
        y = height - TOP - (panel + above) * (i + 1) + GAP
        say(LEFT - 0.07, y + 0.5 * panel, name, ha="right", va="center", linespacing=1.05)
        for j, resolution in enumerate(first):
            x = LEFT + j * panel * (count + 0.2)
            middle = x + 0.5 * panel * count
            narrow = panel * count < NARROW
            if not i:
                title = f"N = {resolution}" if narrow else f"resolution {resolution}"
                say(middle, height - 0.5 * TOP, title, STYLE["font.size"], ha="center", va="center")
            if resolution not in row:
                words = "as\nabove" if narrow else "as the row above"
                say(middle, y + 0.5 * panel, words, ha="center", va="center", color="0.4")
                continue
            if said := written.get(name, {}).get(resolution):
                say(x, y + panel, said, SMALL - 1, va="bottom")
            for k, field in enumerate(row[resolution][:count]):
                place = (x + k * panel) / width, y / height, 0.94 * panel / width, 0.94 * panel / height
                image = show(figure.add_axes(place), field, look, rows_down=rows_down)
    lines = ["$x_1$ downwards, $x_2$ to the right" if rows_down else "$x_1$ to the right, $x_2$ upwards"]
    lines[0] += "; N: points per side" * (panel * count < NARROW)
    lines += ["SW: sliced Wasserstein distance to the test set (units of $u$)"] * bool(written)
    say(min(LEFT, width - WIDEST) if written else LEFT, bottom - 0.05, "\n".join(lines), va="top")
    right = LEFT + panel * (len(first) * (count + 0.2) - 0.2)
    tall = min(0.8, (panel + above) * len(rows) - above - GAP)
    place = (right + 0.07) / width, 1 - (TOP + above - GAP + tall) / height, 0.07 / width, tall / height
    bar = figure.add_axes(place)
    figure.colorbar(image, cax=bar, extend="both")
    bar.grid(False)
    bar.set_title("$u$", pad=6)
