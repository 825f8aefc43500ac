"""Figures of what changes along training: score errors, distances of samples, losses of priors and of ladders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..columns import skill_resolutions
from .style import (
    BASELINE,
    LOSS_LABEL,
    NETWORKS,
    PAPER_WIDTH,
    SMALL,
    STYLE,
    arm_looks,
    arm_names,
    color_of,
    draw_curve,
    is_preconditioned,
    label_ends,
    log_ticks,
    prior_name,
    styles_legend,
)

__all__ = [
    "along_training",
    "draw_losses",
    "ladders",
    "loss_looks",
    "losses",
    "panels_of_losses",
    "score_error",
    "skill",
]

LEAST_SKILL = -100.0
"""Where the axis of skill ends, whatever lies below."""
GREATEST_DISTANCE = 1000.0
"""Times the floor: where the axis of distances ends, whatever lies above."""
COLUMNS = 5
"""Panels side by side, at most."""


@matplotlib.rc_context(STYLE)
def score_error(scores: pd.DataFrame) -> Figure:
    """Relative squared score error (left) and denoising loss (right) along training, a row of panels per arm.

    Median over seeds, in a band from the least to the greatest, as in all figures of this module. The Gaussian baseline is a
    dashed level beside the arms that have its prior. A colour is a resolution; the axes of a column are shared.

    Args:
        scores: rows of the score-error tables of all arms and seeds, with SCORE_COLUMNS.
    """
    arms, levels = list(_trained(scores).groupby("arm", sort=False)), scores[scores.network == BASELINE]
    names, looks = arm_names(_arms(scores)), {"network": {"color": "0.2"}}
    figure = Figure(figsize=(PAPER_WIDTH, 1.65 * len(arms) + 0.4), layout="constrained")
    grid = figure.subplots(len(arms), 2, squeeze=False, sharex=True, sharey="col")
    for (error, loss), (arm, rows) in zip(grid, arms, strict=True):
        trained = rows.resolution == rows.reference_resolution  # there the gains agree
        values = rows[(rows.gain == "values") | trained]
        direct = values[values.drawn_on == values.resolution]
        for n, curve in direct.groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), "-", f"{n}")
        for n, curve in rows[(rows.gain == "coefficients") & ~trained].groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), ":", f"{n}, coefficients")
            looks["network, gain coefficients"] = {"color": "0.2", "linestyle": ":"}
        for (n, drawn_on), curve in values.groupby(["resolution", "drawn_on"]):
            if drawn_on == n:
                draw_curve(loss, curve, "loss", color_of(n), "-", f"{n}")
            else:
                draw_curve(loss, curve, "loss", "0.6", "-", f"{drawn_on} restricted to {n}")
                looks[f"network, fields at {drawn_on} restricted to {n}"] = {"color": "0.6"}
        for n, curve in direct[direct.resolution == direct.reference_resolution].groupby("resolution"):
            draw_curve(loss, curve, "exact_loss", "black", ":", f"exact score, {n}")
            looks[f"exact score, {n}"] = {"color": "black", "linestyle": ":"}
        level = levels[(levels.prior == rows.prior.iloc[0]) & (levels.drawn_on == levels.resolution)]
        for n, curve in level.groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), "--", f"Gaussian baseline, {n}")
            draw_curve(loss, curve, "loss", color_of(n), "--", f"Gaussian baseline, {n}")
            looks["Gaussian baseline"] = {"color": "0.2", "linestyle": "--"}
        error.set(title=names[arm], ylabel="relative score error")
        loss.set(title=names[arm], ylabel=LOSS_LABEL.replace(" (", "\n("))
    for axes in grid.flat:
        axes.set_yscale("log")
        log_ticks(axes.yaxis)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    resolutions = {f"at {n}": {"color": color_of(n), "linewidth": 3} for n in sorted(scores.resolution.unique())}
    styles_legend(figure, resolutions | looks, 4)
    return figure


@matplotlib.rc_context(STYLE)
def along_training(rows: pd.DataFrame) -> Figure:
    """Sliced Wasserstein distance to the test set along training, one panel per prior, one line per network and gain.

    The band is the floor ± the Monte Carlo error of one set of fields. The axis ends at GREATEST_DISTANCE times the floor; a
    triangle at its end is a point above.

    Args:
        rows: ALONG_TRAINING_COLUMNS, as `mld along-training` writes them.
    """
    panels = _by_prior(_trained(rows))
    height, looks = math.ceil(len(panels) / COLUMNS), {}
    figure = Figure(figsize=(PAPER_WIDTH, 1.6 * height + 0.5), layout="constrained")
    grid = figure.subplots(height, min(COLUMNS, len(panels)), sharex=True, sharey=True, squeeze=False)
    floor, error = rows.floor.mean(), (rows.floor_stderr * rows.floor_sets**0.5).mean()
    for axes, (prior, arms) in zip(grid.flat, panels.items(), strict=False):
        axes.axhspan(max(floor - error, 0.05 * floor), floor + error, color="0.85", linewidth=0)
        for (arm, network, gain), curve in pd.concat(arms).groupby(["arm", "network", "gain"], sort=False):
            on = is_preconditioned(arm, network)
            label = f"{NETWORKS.get(network, network)}, {'preconditioned' if on else f'gain {gain}'}"
            color = "#c1272d" if on else "#b36b00" if gain == "coefficients" else "#1f4e9e"
            style = "s--" if network == "unet" else "o-"
            draw_curve(axes, curve, "value", color, style, label)
            looks[label] = {"color": color, "marker": style[0], "linestyle": style[1:]}
        for _, level in rows[rows.network == BASELINE].groupby("arm"):
            draw_curve(axes, level, "value", "0.3", ":", "Gaussian baseline")
            looks["Gaussian baseline"] = {"color": "0.3", "linestyle": ":"}
        axes.set(yscale="log", title=prior)
        axes.set_xlabel("epoch")
    for axes in list(grid.flat)[len(panels) :]:
        axes.axis("off")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"sliced Wasserstein at {rows.resolution.iloc[0]}\n(units of $u$)")
    top = min(grid[0, 0].get_ylim()[1], GREATEST_DISTANCE * floor)
    grid[0, 0].set_ylim(top=top)
    for axes in grid.flat:
        for line in axes.get_lines():
            above = line.get_xdata(orig=False)[line.get_ydata(orig=False) > top]
            if len(above):
                place = {"transform": axes.get_xaxis_transform(), "clip_on": False}
                axes.plot(above, [1] * len(above), "^", color=line.get_color(), **place)
    log_ticks(grid[0, 0].yaxis)
    styles_legend(figure, looks | {"floor ± Monte Carlo error": {"color": "0.85", "linewidth": 5}}, 4)
    return figure


@matplotlib.rc_context(STYLE)
def losses(history: pd.DataFrame) -> Figure:
    """Denoising loss along training, one panel per arm: on training data, and on validation data at each resolution.

    Arms of one prior are in one column and share its axis. Dotted: the loss of the Gaussian baseline under the prior of the arm,
    where the history has skills.

    Args:
        history: rows of the histories of all arms and seeds, with HISTORY_COLUMNS and validation_N for some resolutions N.
    """
    lines = panels_of_losses(history)
    figure = Figure(figsize=(PAPER_WIDTH, 1.5 * len(lines) + 0.5), layout="constrained")
    draw_losses(figure.subplots(len(lines), len(lines[0]), squeeze=False), lines)
    figure.supylabel(LOSS_LABEL, fontsize=STYLE["axes.labelsize"])
    styles_legend(figure, loss_looks(history))
    return figure


@matplotlib.rc_context(STYLE)
def ladders(history: pd.DataFrame, against: Sequence[Literal["epoch", "seconds"]] = ("epoch", "seconds")) -> Figure:
    """Loss on the test set on the finest grid, a panel for each of `against`: epochs, or the time of training.

    Against epochs a line is the median over seeds, in a band from the least to the greatest. Against time there is one line per
    seed. A point on a line is where a finer level begins.

    Args:
        history: rows of the histories of some arms and their seeds, with HISTORY_COLUMNS and test_N, N the finest level.
    """
    loss, height = f"test_{history.resolution.max()}", 2.3
    names, looks, ends = arm_names(_arms(history)), arm_looks(_arms(history)), {}
    figure = Figure(figsize=((0.45 * len(against) + 0.1) * PAPER_WIDTH, height), layout="constrained")
    panels = figure.subplots(1, len(against), sharey=True, squeeze=False)[0]
    for axes, x in zip(panels, against, strict=True):
        curves: list[tuple[str, pd.DataFrame]] = []
        for arm, rows in history.groupby("arm", sort=False):
            color, style = looks[arm]
            label, runs = f"{names[arm]} ({rows.ladder.iloc[0].replace('-', '→')})", rows.groupby("seed")
            if rows.network.iloc[0] == BASELINE:
                label = "Gaussian baseline"
                draw_curve(axes, rows, loss, color, style, label)
            elif x == "epoch":
                draw_curve(axes, rows, loss, color, style, label)
                runs = [("median", _median(rows, x, loss))]
            else:
                for j, (_, run) in enumerate(runs):
                    axes.plot(run[x], run[loss], color=color, linestyle=style, label=None if j else label)
            ends[label] = rows[rows.epoch == rows.epoch.max()][loss].median(), color
            curves += [(color, run[[x, loss, "resolution"]]) for _, run in runs]
        axes.set(yscale="log", xlabel="epoch" if x == "epoch" else "time of training (s)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _mark_levels(axes, curves)
    log_ticks(panels[0].yaxis)
    panels[0].set_ylabel(f"test loss at {history.resolution.max()} (units of $u^2$)")
    label_ends(panels[-1], ends, height - 0.5)
    return figure


def _median(rows: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The median over seeds of one arm, with the level of each point."""
    return rows.groupby([x, "resolution"], as_index=False)[y].median()[[x, y, "resolution"]]


def _mark_levels(axes: Axes, curves: Sequence[tuple[str, pd.DataFrame]]) -> None:
    """A point where a finer level begins, and to which resolution beside the first curve of each colour.

    Of curves that go to one resolution at one place the highest alone is labelled.

    Args:
        curves: colour, and columns x, y and resolution, in the order of training.
    """
    found: dict[tuple[Any, ...], tuple[float, str]] = {}
    labelled: set[tuple[str, float]] = set()
    for color, curve in curves:
        finer = curve.resolution.shift(-1)
        changes = curve[curve.resolution < finer]
        for (x, y), resolution in zip(changes.iloc[:, :2].to_numpy(), finer[changes.index], strict=True):
            axes.plot(x, y, "o", color=color, markerfacecolor="white", markersize=2.5, zorder=3)
            if (color, resolution) not in labelled:
                labelled.add((color, resolution))
                found[x, resolution] = max(found.get((x, resolution), (-math.inf, color)), (y, color))
    left, right = axes.get_xlim()
    for (x, resolution), (y, color) in found.items():
        others = [np.interp(x, *curve.iloc[:, :2].to_numpy().T) for other, curve in curves if other != color]
        lowest = bool(others) and y <= min(others) and (x - left) / (right - left) > 0.15
        side = {"xytext": (-3, -3), "ha": "right", "va": "top"} if lowest else {"xytext": (3, 3)}
        around = [withStroke(linewidth=1, foreground="white")]
        says = {"textcoords": "offset points", "fontsize": SMALL - 1, "color": color, "path_effects": around}
        axes.annotate(f"→{resolution:.0f}", (x, y), **says, **side)


@matplotlib.rc_context(STYLE)
def skill(history: pd.DataFrame) -> Figure:
    """Skill 1 − L / L_G on validation fields against training steps, one panel per resolution; the Gaussian baseline is 0.

    One line per arm; arms of one prior share a colour, and preconditioned ones are dashed. The axis is linear from −1 to 1 and
    logarithmic below, and ends at LEAST_SKILL; above it ends at 1, or at 0.5 where that is enough. A point on a line is where a
    finer level begins. What is not trained has no line.

    Args:
        history: rows of the histories of some arms and their seeds, with HISTORY_COLUMNS and skill_N for some resolutions N.

    Raises:
        UserError: if there is no skill.
    """
    resolutions, history = skill_resolutions(history), _trained(history)
    names, looks, height = arm_names(_arms(history)), arm_looks(_arms(history)), 2.6
    figure = Figure(figsize=(PAPER_WIDTH, height), layout="constrained")
    panels = figure.subplots(1, len(resolutions), sharey=True, squeeze=False)[0]
    for axes, n in zip(panels, resolutions, strict=True):
        ends: dict[str, tuple[float, str]] = {"Gaussian baseline": (0.0, "0.3")}
        curves: list[tuple[str, pd.DataFrame]] = []
        for arm, rows in history.groupby("arm", sort=False):
            draw_curve(axes, rows.assign(epoch=rows.step), f"skill_{n}", *looks[arm], names[arm])
            curves.append((looks[arm][0], _median(rows, "step", f"skill_{n}")))
            ends[names[arm]] = rows[rows.step == rows.step.max()][f"skill_{n}"].median(), looks[arm][0]
        axes.axhline(0, color="0.3", linestyle=":", label="Gaussian baseline", zorder=1.9)
        axes.set_yscale("symlog", linthresh=1, linscale=3)
        axes.set(xlabel="training steps", title=f"resolution {n}")
        _mark_levels(axes, curves)
    least = min(-1.0, max(LEAST_SKILL, history[[f"skill_{n}" for n in resolutions]].min().min()))
    below = "\n(logarithmic below −1)" if least < -1 else ""
    greatest = history[[f"skill_{n}" for n in resolutions]].max().max()
    most = 1.0 if greatest > 0.4 else 0.5
    panels[0].set(ylim=(1.1 * least, most), ylabel=r"skill $1 - L\,/\,L_G$ on validation data" + below)
    ticks = [tick for tick in (-100, -10, -1, -0.5, 0, 0.5, 1) if 1.1 * least <= tick <= most]
    panels[0].set_yticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    label_ends(panels[-1], ends, height - 0.7)
    return figure


def panels_of_losses(history: pd.DataFrame) -> list[list[pd.DataFrame | None]]:
    """The lines of panels of the arms that are trained; arms of one prior are below each other."""
    columns = list(_by_prior(_trained(history)).values())
    chunks = [columns[i : i + COLUMNS] for i in range(0, len(columns), COLUMNS)]
    return [
        [line[i] if i < len(line) else None for i in range(min(COLUMNS, len(columns)))]
        for chunk in chunks
        for line in itertools.zip_longest(*chunk)
    ]


def draw_losses(grid: NDArray[Any], lines: Sequence[Sequence[pd.DataFrame | None]]) -> None:
    """The curves of `losses` in a grid of panels: one per arm, with one axis for all of a prior."""
    for column, arms in zip(grid.T, zip(*lines, strict=True), strict=True):
        tops: dict[str, Axes] = {}
        for axes, rows, below in zip(column, arms, [*arms[1:], None], strict=True):
            if rows is None:
                axes.axis("off")
                continue
            arm, network = rows.arm.iloc[0], rows.network.iloc[0]
            if (top := tops.setdefault(prior_name(arm, network), axes)) is not axes:
                axes.sharey(top)
            draw_curve(axes, rows, "loss", "0.6", "-", "training data")
            curves = []
            for n in _validated(rows):
                draw_curve(axes, rows, f"validation_{n}", color_of(n), "-", f"validation data, {n}")
                curves.append((color_of(n), _median(rows, "epoch", f"validation_{n}")))
                if f"skill_{n}" in rows:
                    level = (rows[f"validation_{n}"] / (1 - rows[f"skill_{n}"])).median()
                    axes.axhline(level, linestyle=":", color=color_of(n))
            axes.set(yscale="log", title=arm_names([(arm, network)])[arm].replace(", ", ",\n"))
            _mark_levels(axes, curves)
            axes.tick_params(labelbottom=below is None)
            axes.set_xlabel("epoch" if below is None else "")
    for axes in grid.flat:
        if axes.axison:
            log_ticks(axes.yaxis)


def loss_looks(history: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """What colours and lines of `draw_losses` mean."""
    looks: dict[str, dict[str, Any]] = {"training data": {"color": "0.6"}}
    looks |= {f"validation data, {n}": {"color": color_of(n)} for n in _validated(history)}
    return looks | (
        {"Gaussian baseline": {"color": "0.3", "linestyle": ":"}} if any(history.filter(like="skill_")) else {}
    )


def _validated(history: pd.DataFrame) -> list[int]:
    """The resolutions N of the columns validation_N."""
    return sorted(int(name.removeprefix("validation_")) for name in history if name.startswith("validation_"))


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without the rows of Gaussian baselines, if others are left."""
    others = rows[rows.network != BASELINE]
    return rows if others.empty else others


def _arms(rows: pd.DataFrame) -> Iterable[tuple[str, str]]:
    return rows[["arm", "network"]].drop_duplicates().itertuples(index=False)


def _by_prior(rows: pd.DataFrame) -> dict[str, list[pd.DataFrame]]:
    """The rows of each arm by the name of what is below the Gaussian, in the order in which they come."""
    found: dict[str, list[pd.DataFrame]] = {}
    for (arm, network), of_arm in rows.groupby(["arm", "network"], sort=False):
        found.setdefault(prior_name(arm, network), []).append(of_arm)
    return found
