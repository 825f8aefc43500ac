"""Figures of posteriors: what was seen of a field, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import UserError
from .style import PAPER_WIDTH, STYLE

__all__ = ["posterior", "posterior_rows"]

Row = Mapping[str, NDArray[np.floating]]
COLUMNS = ("truth", "observations", "mean", "spread")
SAMPLES = 3


def posterior_rows(files: Iterable[tuple[Path, Mapping[str, NDArray[Any]], Mapping[str, Any]]]) -> dict[str, Row]:
    """The rows of `posterior` by their names, from files of `mld condition`.

    Raises a UserError if one is of something else, or is there twice.
    """
    rows: dict[str, Row] = {}
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
            field = "" if method in ("exact", "gaussian") else f" of the {header.get('field', 'network')}"
            name = f"{seen}\n{method}{field}"
            if name in rows and field:
                raise UserError(f"{path}: {' '.join(name.split())} is there already; give it once")
            rows.setdefault(name, found | parts[seen])
    if not rows:
        raise UserError("FILES: no posteriors in them; give files of `mld condition`")
    return rows


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
def posterior(rows: Mapping[str, Row], *, rows_down: bool = False) -> Figure:
    """One row per posterior: the true field, what was seen of it, posterior mean, standard deviation, and samples.

    Fields share the colour limits of the first truth; each spread has its own from 0 on, and its greatest value below it.
    """
    widths = len(COLUMNS) + SAMPLES
    panel = PAPER_WIDTH * 0.9 / widths
    figure = Figure(figsize=(PAPER_WIDTH, panel * 1.18 * len(rows) + 0.3))
    axes = figure.subplots(len(rows), widths, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.18})
    figure.subplots_adjust(left=0.1, right=0.995, bottom=0.01, top=1 - 0.28 / figure.get_figheight())
    first = next(iter(rows.values()))["truth"]
    look = {"vmin": float(first.min()), "vmax": float(first.max()), "origin": "upper" if rows_down else "lower"}
    for axis, title in zip(axes[0], [*COLUMNS, *["sample"] * SAMPLES], strict=True):
        axis.set_title(title, fontsize=7)
    for panels, (name, row) in zip(axes, rows.items(), strict=True):
        fields = [row["truth"], None, row["mean"], row["spread"], *row["samples"][:SAMPLES]]
        panels[0].set_ylabel(name, fontsize=6)
        for axis, title, values in zip(panels, [*COLUMNS, *["sample"] * SAMPLES], fields, strict=False):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            if title == "observations":
                _draw_points(axis, row, look, rows_down)
            elif title == "spread":
                axis.imshow(values if rows_down else values.T, origin=look["origin"], vmin=0, cmap="magma")
                axis.set_xlabel(f"≤ {values.max():.2g}", fontsize=6, labelpad=1)
            else:
                axis.imshow(values if rows_down else values.T, **look)
    return figure


def _draw_points(axis: Any, row: Row, look: Mapping[str, Any], rows_down: bool) -> None:
    """The points with the colours of their values; of modes, which have no place, nothing."""
    axis.set(xlim=(0, 1), ylim=(1, 0) if rows_down else (0, 1), aspect="equal", facecolor="0.85")
    if "points" in row:
        x1, x2, values = row["points"].T
        place = (x2, x1) if rows_down else (x1, x2)
        size = min(12.0, 1200 / len(values))
        axis.scatter(*place, c=values, s=size, marker="s", linewidths=0, vmin=look["vmin"], vmax=look["vmax"])
