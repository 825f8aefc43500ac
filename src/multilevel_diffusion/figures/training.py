"""Figures of what changes along training: score errors, distances of samples, losses of priors and of ladders."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..columns import skill_resolutions
from .style import LOSS_LABEL, PAPER_WIDTH, STYLE, color_of, draw_curve, short_name

__all__ = ["along_training", "draw_losses", "ladders", "losses", "score_error", "skill", "split"]

LEAST_SKILL = -100.0
"""Where the axis of skill ends, whatever lies below."""

NETWORKS = {"fno": "FNO", "unet": "U-Net"}
BASELINE = "gaussian"
"""The kind of network that is not trained: a level beside the curves of others."""


@matplotlib.rc_context(STYLE)
def score_error(scores: pd.DataFrame) -> Figure:
    """Relative squared score error (left) and denoising loss (right) along training, a row of panels per arm.

    Median over seeds, in a band from the least to the greatest, as in all figures of this module. The Gaussian baseline is a
    dashed level beside the arms that have its prior.

    Args:
        scores: rows of the score-error tables of all arms and seeds, with SCORE_COLUMNS.
    """
    arms, levels = list(_trained(scores).groupby("arm", sort=False)), scores[scores.network == BASELINE]
    figure = Figure(figsize=(PAPER_WIDTH, 2.7 * len(arms)), layout="constrained")
    for (error, loss), (arm, rows) in zip(figure.subplots(len(arms), 2, squeeze=False), arms, strict=True):
        trained = rows.resolution == rows.reference_resolution  # there the gains agree
        values = rows[(rows.gain == "values") | trained]
        direct = values[values.drawn_on == values.resolution]
        for n, curve in direct.groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), "-", f"{n}")
        for n, curve in rows[(rows.gain == "coefficients") & ~trained].groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), ":", f"{n}, coefficients")
        for (n, drawn_on), curve in values.groupby(["resolution", "drawn_on"]):
            if drawn_on == n:
                draw_curve(loss, curve, "loss", color_of(n), "-", f"{n}")
            else:
                draw_curve(loss, curve, "loss", "#777777", "--", f"{drawn_on} restricted to {n}")
        for n, curve in direct[direct.resolution == direct.reference_resolution].groupby("resolution"):
            draw_curve(loss, curve, "exact_loss", "black", ":", f"exact field, {n}")
        level = levels[(levels.prior == rows.prior.iloc[0]) & (levels.drawn_on == levels.resolution)]
        for n, curve in level.groupby("resolution"):
            draw_curve(error, curve, "relative", color_of(n), "--", f"Gaussian, {n}")
            draw_curve(loss, curve, "loss", color_of(n), "--", f"Gaussian, {n}")
        title = "score error at resolution" if len(arms) == 1 else f"{arm}: score error at resolution"
        error.set(title=title, ylabel=r"relative error $E\|F_\theta-F\|^2\,/\,E\|F\|^2$")
        loss.set(title="denoising loss at resolution", ylabel=LOSS_LABEL)
        for axes in (error, loss):
            axes.set(yscale="log", xlabel="epoch")
            axes.legend(ncols=2)
    return figure


@matplotlib.rc_context(STYLE)
def along_training(rows: pd.DataFrame) -> Figure:
    """Sliced Wasserstein distance to the test set along training, one curve per arm, one panel per gain. Grey: the floor.

    Args:
        rows: ALONG_TRAINING_COLUMNS, as `mld along-training` writes them.
    """
    gains = list(dict.fromkeys(rows.gain))
    figure = Figure(figsize=(PAPER_WIDTH, 2.9), layout="constrained")
    panels = figure.subplots(1, len(gains), sharey=True, squeeze=False)[0]
    for axes, gain in zip(panels, gains, strict=True):
        here = rows[rows.gain == gain]
        axes.axhline(here.floor.mean(), color="0.6", linewidth=2.5, label="floor: a second test set")
        for i, (arm, curve) in enumerate(here.groupby("arm", sort=False)):
            network = curve.network.iloc[0]
            label = f"{NETWORKS.get(network, network)}, {short_name(arm, network)}"
            look = ("0.3", ":", "Gaussian baseline") if network == BASELINE else None
            draw_curve(axes, curve, "value", *(look or (f"C{i % 10}", "-" if network == "fno" else "--", label)))
        axes.set(yscale="log", xlabel="epoch", title=f"gain {gain}")
    panels[0].set_ylabel(f"sliced Wasserstein at {rows.resolution.iloc[0]}\n(units of $u$)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def losses(history: pd.DataFrame) -> Figure:
    """Denoising loss along training, one panel per arm: on training data, and on validation data at each resolution.

    Dotted: that of the Gaussian baseline under the prior of the arm, where the history has skills.

    Args:
        history: rows of the histories of all arms and seeds, with HISTORY_COLUMNS and validation_N for some resolutions N.
    """
    arms, resolutions = split(history)
    columns = min(3, len(arms))
    height = math.ceil(len(arms) / columns)
    figure = Figure(figsize=(PAPER_WIDTH, 1.9 * height + 0.5), layout="constrained")
    grid = figure.subplots(height, columns, squeeze=False)
    draw_losses(grid.flat, arms, resolutions)
    for axes in grid[:, 0]:
        axes.set_ylabel(LOSS_LABEL)
    for i in range(columns):
        last = max(row for row in range(height) if row * columns + i < len(arms))
        grid[last, i].set_xlabel("epoch")
    for axes in list(grid.flat)[len(arms) :]:
        axes.axis("off")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@matplotlib.rc_context(STYLE)
def ladders(history: pd.DataFrame, against: Sequence[Literal["epoch", "seconds"]] = ("epoch", "seconds")) -> Figure:
    """Loss on the test set on the finest grid, a panel for each of `against`: epochs, or the time of training.

    Against time a line is a seed. A vertical line is where a finer level begins; of times it is the mean over seeds.

    Args:
        history: rows of the histories of some arms and their seeds, with HISTORY_COLUMNS and test_N, N the finest level.
    """
    finest = history.resolution.max()
    size, columns = ((PAPER_WIDTH, 2.7), 4) if len(against) > 1 else ((0.6 * PAPER_WIDTH, 2.9), 2)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(against), sharey=True, squeeze=False)[0]
    for axes, x in zip(panels, against, strict=True):
        changes = set()
        for i, (arm, rows) in enumerate(history.groupby("arm", sort=False)):
            label, color = f"{arm} ({rows.ladder.iloc[0].replace('-', '→')})", f"C{i}"
            if rows.network.iloc[0] == BASELINE:
                draw_curve(axes, rows, f"test_{finest}", "0.3", ":", "Gaussian baseline")
            elif x == "epoch":
                draw_curve(axes, rows, f"test_{finest}", color, "-", label)
            else:
                for j, (_, run) in enumerate(rows.groupby("seed")):
                    axes.plot(run[x], run[f"test_{finest}"], color=color, label=None if j else label)
            last_of_level = rows[rows.resolution < rows.groupby("seed").resolution.shift(-1)]
            changes |= set(last_of_level.groupby("epoch")[x].mean().round(3))
        for change in changes:
            axes.axvline(change, color="black", linewidth=0.8)
        axes.set(yscale="log", xlabel="epoch" if x == "epoch" else "time of training (s)")
    panels[0].set_ylabel(f"test loss at {finest} (units of $u^2$)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    return figure


@matplotlib.rc_context(STYLE)
def skill(history: pd.DataFrame) -> Figure:
    """Skill 1 − L / L_G on validation fields against training steps, one panel per resolution. Grey: the Gaussian baseline, 0.

    One line per arm; those of one network and prior share a colour, the second is dashed. The axis is linear from −1 to 1 and
    logarithmic below, and ends at LEAST_SKILL. What is not trained has no line.

    Args:
        history: rows of the histories of some arms and their seeds, with SKILL_COLUMNS and skill_N for some resolutions N.

    Raises:
        UserError: if there is no skill.
    """
    resolutions, history = skill_resolutions(history), _trained(history)
    figure = Figure(figsize=(PAPER_WIDTH, 3.2), layout="constrained")
    panels = figure.subplots(1, len(resolutions), sharey=True, squeeze=False)[0]
    looks = {}
    for arm, network, prior in history[["arm", "network", "prior"]].drop_duplicates().itertuples(index=False):
        looks.setdefault((network, prior), []).append(arm)
    for axes, n in zip(panels, resolutions, strict=True):
        for i, ((network, _), arms) in enumerate(looks.items()):
            for arm, style in zip(arms, itertools.cycle(("-", "--", ":", "-."))):
                rows = history[history.arm == arm]
                draw_curve(
                    axes, rows.assign(epoch=rows.step), f"skill_{n}", f"C{i % 10}", style, short_name(arm, network)
                )
        axes.axhline(0, color="0.6", linewidth=2.5, label="Gaussian baseline", zorder=1.9)
        axes.set_yscale("symlog", linthresh=1, linscale=3)
        axes.set(xlabel="training steps", title=f"resolution {n}")
    least = min(-1.0, max(LEAST_SKILL, history[[f"skill_{n}" for n in resolutions]].min().min()))
    panels[0].set(ylim=(1.1 * least, 1), ylabel=r"skill $1 - L\,/\,L_G$ on validation data")
    ticks = [tick for tick in (-100, -10, -1, -0.5, 0, 0.5, 1) if tick >= 1.1 * least]
    panels[0].set_yticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def split(history: pd.DataFrame) -> tuple[list[pd.DataFrame], list[int]]:
    """The rows of each arm that is trained, and the resolutions N of the columns validation_N."""
    arms = [rows for _, rows in _trained(history).groupby("arm", sort=False)]
    return arms, sorted(int(name.removeprefix("validation_")) for name in history if name.startswith("validation_"))


def draw_losses(panels: Iterable[Axes], arms: list[pd.DataFrame], resolutions: list[int]) -> None:
    """The curves of `losses`, one panel per arm."""
    for axes, rows in zip(panels, arms, strict=False):
        draw_curve(axes, rows, "loss", "0.5", "--", "training data")
        for n in resolutions:
            draw_curve(axes, rows, f"validation_{n}", color_of(n), "-", f"validation data, {n}")
            if f"skill_{n}" in rows:
                axes.axhline(
                    (rows[f"validation_{n}"] / (1 - rows[f"skill_{n}"])).median(), linestyle=":", color=color_of(n)
                )
        if any(f"skill_{n}" in rows for n in resolutions):
            axes.plot([], [], ":", color="0.3", label="Gaussian baseline")
        axes.set(yscale="log", title=short_name(rows.arm.iloc[0], rows.network.iloc[0]))


def _trained(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without those of Gaussian baselines, if others are left."""
    others = rows[rows.network != BASELINE]
    return rows if others.empty else others
