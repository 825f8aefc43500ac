import base64
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from multilevel_diffusion import figures
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.figures.style import LOSS_LABEL, PANEL, SAMPLER_LOOKS, SHARP
from multilevel_diffusion.storage import read_csv, read_tensors, write_csv, write_tensors


def scores(arm, gains=("values", "coefficients"), network="fno"):
    return pd.DataFrame(
        [
            {"arm": arm, "network": network, "prior": "p", "seed": seed, "gain": gain, "epoch": epoch}
            | {"resolution": n, "drawn_on": drawn_on}
            | {"reference_resolution": 32, "relative": seed / epoch, "loss": 1 + 1 / epoch, "exact_loss": 1.0}
            for seed in (1, 2, 4)
            for epoch in (1, 2, 3)
            for gain in gains
            for n, drawn_on in ((32, 32), (64, 64), (32, 64))
            if n == drawn_on or gain == gains[0]
        ]
    )


def test_the_figure_of_score_errors_draws_the_median_over_seeds_inside_their_range():
    error, loss = figures.score_error(scores("a")).axes
    line = next(line for line in error.lines if line.get_label() == "64")
    np.testing.assert_allclose(line.get_ydata(), [2, 1, 2 / 3])
    band = error.collections[[line.get_label() for line in error.lines].index("64")].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((1 / 3, 4))
    assert {line.get_label() for line in error.lines} == {"32", "64", "64, coefficients"}
    assert {line.get_label() for line in loss.lines} == {"32", "64", "64 restricted to 32", "exact score, 32"}


def test_the_figure_of_score_errors_keeps_arms_apart_and_needs_no_particular_gain():
    assert len(figures.score_error(pd.concat([scores("a"), scores("b")])).axes) == 4
    error, _ = figures.score_error(scores("a", gains=("coefficients",))).axes
    assert {line.get_label() for line in error.lines} == {"32", "64, coefficients"}


def test_the_gaussian_baseline_is_a_level_beside_the_arms_of_its_prior():
    """In the figures of score errors, losses, ladders and distances; it has no panel, and is not a curve of one point."""
    gaussian = scores("gaussian", ("values",), "gaussian").query("epoch == 1")
    assert len(figures.score_error(pd.concat([scores("a"), gaussian.assign(prior="q")])).axes[0].lines) == 3
    error, loss = figures.score_error(pd.concat([scores("a"), gaussian])).axes
    for axes, height in ((error, 2.0), (loss, 2.0)):
        (level,) = (line for line in axes.lines if line.get_label() == "Gaussian baseline, 64")
        assert set(level.get_ydata()) == {height}  # the median over seeds

    history = skills(("fno-a", "a")).assign(validation_32=lambda rows: 4.0 * (1 - rows.skill_32))
    alone = history.query("epoch == 1").assign(
        arm="gaussian", network="gaussian", step=0, skill_32=0.0, validation_32=4.0
    )
    for rows in (history, pd.concat([history, alone])):
        (axes,) = (axes for axes in figures.losses(rows).axes if axes.get_title())
        assert [set(line.get_ydata()) for line in axes.lines if line.get_linestyle() == ":"] == [{4.0}]

    level = ladder_histories().query("epoch == 1").assign(arm="gaussian", network="gaussian", test_64=7.0, seconds=0.0)
    for axes in figures.ladders(pd.concat([ladder_histories(), level])).axes:
        (line,) = (line for line in axes.lines if line.get_label() == "Gaussian baseline")
        assert set(line.get_ydata()) == {7.0}

    rows = along_training()
    level = rows[rows.epoch == rows.epoch.min()].assign(arm="gaussian", network="gaussian", value=3.0)
    axes = figures.along_training(pd.concat([rows, level])).axes[0]
    (line,) = (line for line in axes.lines if line.get_label() == "Gaussian baseline")
    assert set(line.get_ydata()) == {3.0}


def test_every_axis_of_the_figure_of_score_errors_is_labelled_and_those_that_are_compared_are_shared():
    *_, error, loss = axes = figures.score_error(pd.concat([scores("a"), scores("b").assign(loss=9.0)])).axes
    assert [each.get_xlabel() for each in axes] == ["", "", "epoch", "epoch"]
    assert all(each.get_ylabel() for each in axes)
    assert (error.get_ylim(), loss.get_ylim()) == (axes[0].get_ylim(), axes[1].get_ylim())


def cells(image):
    """The values of a field, each of which is drawn as a square."""
    drawn = image.get_array()
    n = next(n for n in (8, 9, 16) if len(drawn) == n * (SHARP // n))
    values = drawn[:: SHARP // n, :: SHARP // n]
    np.testing.assert_array_equal(drawn, np.kron(values, np.ones((SHARP // n,) * 2)))
    return values


def test_a_figure_of_fields_shows_the_first_ones_with_one_colour_scale():
    rng = np.random.default_rng(0)
    rows = {
        "test set": {n: rng.standard_normal((5, n, n)) for n in (8, 9)},
        "network": {9: 100 * rng.standard_normal((5, 9, 9))},
    }
    figure = figures.fields(rows, count=2)
    shown = [(cells(image).T, image.get_clim()) for axes in figure.axes for image in axes.images]
    expected = [*rows["test set"][8][:2], *rows["test set"][9][:2], *rows["network"][9][:2]]
    assert len({limits for _, limits in shown}) == 1
    assert len(shown) == len(expected)
    for field, (drawn, _) in zip(expected, shown, strict=True):
        np.testing.assert_array_equal(drawn, field)


def convergence(networks=("exact", "fno"), resolutions=(32, 64)):
    return pd.DataFrame(
        [
            {"network": network, "resolution": n, "metric": metric, "sampler": sampler, "evaluations": evaluations}
            | {"arm": "a", "gain": None if network == "exact" else "values"}
            | {"seed": seed, "value": seed / evaluations, "stderr": 0.01, "floor": 0.02}
            for network in networks
            for n in resolutions
            for metric in ("sliced_wasserstein", "spectrum_distance")
            for sampler in ("euler-maruyama", "heun(times=karras)")
            for evaluations in (5, 10)
            for seed in (1, 3)
        ]
    )


def test_the_samplers_figure_draws_the_mean_over_seeds_in_a_panel_a_field_resolution_and_metric():
    figure = figures.samplers(convergence())
    assert len(figure.axes) == 8
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["exact score, 32", "exact score, 64", "network, 32", "network, 64"]
    curves = {line.get_label(): line for line in figure.axes[0].lines}
    np.testing.assert_allclose(curves["Heun, Karras times"].get_ydata(), [0.4, 0.2])
    assert curves["Heun, Karras times"].get_linestyle() == "-."
    assert curves["Euler–Maruyama, 10 evaluations"].get_ydata()[0] == pytest.approx(0.2)
    (band,) = (patch for patch in figure.axes[0].patches if "floor" in patch.get_label())
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.01, 0.03))
    looks = {(line.get_color(), line.get_marker()) for label, line in curves.items() if "evaluations" not in label}
    assert len(looks) == 2
    filled = {label: line.get_markerfacecolor() != "white" for label, line in curves.items()}
    assert (filled["Euler–Maruyama"], filled["Heun, Karras times"]) == (True, False)


def test_a_kind_of_sampler_looks_the_same_whatever_stands_beside_it():
    def looks(rows):
        lines = figures.samplers(rows).axes[0].lines
        return {line.get_label(): (line.get_color(), line.get_marker()) for line in lines}

    both, alone = convergence(), convergence().query("sampler != 'heun(times=karras)'")
    mine = pd.concat([alone, alone[alone.sampler == "euler-maruyama"].assign(sampler="mine")])
    assert looks(both).items() >= looks(alone).items()
    assert looks(mine)["mine"] not in SAMPLER_LOOKS.values()


def test_no_two_samplers_look_alike():
    kinds = [
        f"gaussian-exponential{inside}" for inside in ("", "(times=uniform)", "(times=karras)", "(stochasticity=1)")
    ]
    rows = convergence()
    made = [
        rows[rows.sampler == "euler-maruyama"],
        *(rows[rows.sampler != "euler-maruyama"].assign(sampler=kind) for kind in kinds),
    ]
    lines = [line for line in figures.samplers(pd.concat(made)).axes[0].lines if "evaluations" not in line.get_label()]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker(), line.get_markerfacecolor()) for line in lines}
    assert len(looks) == len(lines) == 5


def test_the_samplers_figure_keeps_gains_apart_and_refuses_several_arms():
    rows = pd.concat([convergence(), convergence(("fno",)).assign(gain="coefficients", value=1.0)])
    titles = [axes.get_title() for axes in figures.samplers(rows).axes[:6]]
    assert titles[2:] == [f"network, {gain}, {n}" for gain in ("values", "coefficients") for n in (32, 64)]
    with pytest.raises(UserError, match="one arm"):
        figures.samplers(pd.concat([convergence(), convergence().assign(arm="b")]))


def test_the_log_density_figure_draws_root_mean_squares():
    rows = pd.DataFrame(
        [
            {"arm": "a", "gain": None if network == "exact" else "values"}
            | {"network": network, "trace": trace, "resolution": n, "drawn_on": 64, "finest": 10.0, "closed_form": 12.0}
            | {"plain": 10.0 + sign * n, "estimate": 12.0 + 3 * sign, "start": -2.5 * sign}
            for network, trace in (("exact", "exact"), ("exact", "hutchinson"), ("fno", "hutchinson"))
            for n in (16, 32)
            for sign in (-1, 1)
        ]
    )
    with pytest.raises(UserError, match="needs the table of the exact score"):
        figures.log_density(rows[rows.network != "exact"])
    limit, error = figures.log_density(rows).axes
    curves = {line.get_label(): line.get_ydata() for axes in (limit, error) for line in axes.lines}
    np.testing.assert_allclose(curves["plain: density of the grid values"], [16, 32])
    np.testing.assert_allclose(curves["exact score, exact trace"], [3, 3])
    np.testing.assert_allclose(curves["network, Hutchinson's trace"], [3, 3])
    np.testing.assert_allclose(curves["exact, started from $p_1$ instead of $N(0,Q)$"], [0.5, 0.5])


def test_the_figure_of_losses_has_a_panel_an_arm_with_the_loss_on_every_grid():
    rows = pd.DataFrame(
        [
            {"arm": f"fno-{prior}", "network": "fno", "seed": seed, "epoch": epoch, "loss": seed / epoch}
            | {"resolution": 32, "validation_32": 2 * seed / epoch, "validation_128": 3 * seed / epoch}
            for prior in ("standard", "fno", "bessel", "combined")
            for seed in (1, 2, 4)
            for epoch in (1, 2)
        ]
    )
    below = figures.fields({"test set": {8: np.zeros((1, 8, 8))}}, history=rows)
    assert len(below.axes) == 1 + 4 + 1  # the field, losses, colours
    panels = figures.losses(rows).axes
    assert [axes.get_title() for axes in panels[:4]] == ["white noise", "FNO prior", "Bessel prior", "combined prior"]
    curves = {line.get_label(): line.get_ydata() for line in panels[2].lines}
    np.testing.assert_allclose(curves["training data"], [2, 1])
    np.testing.assert_allclose(curves["validation data, 128"], [6, 3])


def skills(*arms, least=-0.5):
    return pd.DataFrame(
        [
            {
                "experiment": "e",
                "arm": arm,
                "network": "fno",
                "prior": prior,
                "ladder": "32",
                "seed": seed,
                "epoch": epoch,
            }
            | {"resolution": 32, "step": 7 * epoch, "loss": 1.0, "seconds": 1.0}
            | {"skill_32": seed * least / epoch, "skill_64": 0.1 * seed}
            for arm, prior in arms
            for seed in (1, 2, 4)
            for epoch in (1, 2)
        ]
    )


def test_the_figure_of_skill_has_a_panel_a_grid_and_a_colour_a_prior():
    rows = skills(("fno-a-gaussian", "a"), ("fno-a", "a"), ("fno-b", "b"))
    untrained = skills(("gaussian", "a")).assign(step=0, network="gaussian")
    panels = figures.skill(pd.concat([rows, untrained])).axes
    assert [axes.get_title() for axes in panels] == ["resolution 32", "resolution 64"]
    curves = {line.get_label(): line for line in panels[0].lines}
    assert list(curves) == ["a, preconditioned", "a", "b", "Gaussian baseline"]
    assert set(curves["Gaussian baseline"].get_ydata()) == {0}
    np.testing.assert_allclose(curves["a"].get_xdata(), [7, 14])
    np.testing.assert_allclose(curves["a"].get_ydata(), [-1, -0.5])
    looks = {name: (curves[name].get_color(), curves[name].get_linestyle()) for name in list(curves)[:3]}
    assert looks == {"a, preconditioned": ("C0", "--"), "a": ("C0", "-"), "b": ("C1", "-")}


def test_curves_are_named_at_their_ends_in_their_colours_from_above_to_below_without_overlap():
    curves = [("cold", 1.0), ("warm", 1.01), ("mixed", 1.02), ("equal-32-64", 3.0)]
    rows = pd.concat([ladder_histories().query("arm == 'cold'").assign(arm=arm, test_64=loss) for arm, loss in curves])
    figure = figures.ladders(rows, ["epoch"])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    names = sorted(axes.texts, key=lambda text: text.get_window_extent().y0)
    assert [text.get_text().partition(" (")[0] for text in names] == [
        "cold start",
        "warm start",
        "mixed grids",
        "equal time",
    ]
    boxes = [text.get_window_extent() for text in names]
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    colors = {line.get_label(): line.get_color() for line in axes.lines}
    assert all(text.get_color() == colors[text.get_text()] for text in names)


def test_the_axis_of_skill_reaches_to_the_worst_and_no_further_than_minus_a_hundred():
    for least, expected in ((0.1, -1.1), (-5.0, -22.0), (-1e6, -110.0)):
        axes = figures.skill(skills(("a", "p"), least=least)).axes[0]
        assert axes.get_ylim() == pytest.approx((expected, 0.5))
    assert figures.skill(skills(("a", "p"), least=0.2)).axes[0].get_ylim()[1] == 1


def test_the_change_of_level_is_marked_on_every_curve_and_named_once_where_they_change_together():
    ladder = {"resolution": lambda rows: rows.epoch.map({1: 16, 2: 32})}
    rows = skills(("fno-a-gaussian", "a"), ("fno-b", "b")).assign(**ladder)
    for axes in figures.skill(rows).axes:
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert [line.get_xdata() for line in points] == [[7], [7]]
        (label,) = (text for text in axes.texts if text.get_text() == "→32")
        assert label.xy[0] == 7
        assert label.get_color() in {line.get_color() for line in points}
    (axes,) = (axes for axes in figures.losses(rows.assign(validation_8=2.0, validation_9=3.0)).axes[:1])
    (label,) = (text for text in axes.texts if text.get_text() == "→32")
    assert label.xy == (1, 3)


def test_a_figure_of_skill_needs_a_history_with_skill(mld, tmp_path):
    rows = skills(("a", "p"))
    write_csv(tmp_path / "with.csv", rows, {})
    write_csv(tmp_path / "without.csv", rows.drop(columns=["skill_32", "skill_64"]), {})
    assert mld("figure", "skill", tmp_path / "with.csv", "-o", tmp_path / "f.svg").code == 0
    assert len(read_csv(tmp_path / "f.csv")) == len(rows)
    refused = mld("figure", "skill", tmp_path / "without.csv", "-o", tmp_path / "g.svg").refusal
    assert "no history has a column skill_N" in refused


def along_training(**changed):
    return pd.DataFrame(
        [
            {"arm": arm, "network": network, "prior": "standard", "gain": gain, "seed": seed, "epoch": epoch}
            | {"resolution": 64, "value": seed / epoch * (1 if gain == "values" else 2)}
            | {"floor": 0.1, "floor_stderr": 0.01, "floor_sets": 4}
            | changed
            for arm, network in (("fno-standard", "fno"), ("unet-standard", "unet"), ("fno-fno", "fno"))
            for gain in ("values", "coefficients")
            for seed in (1, 2, 4)
            for epoch in (1, 2)
        ]
    )


def test_the_figure_along_training_has_a_panel_a_prior_and_a_curve_a_network_and_gain():
    panels = figures.along_training(along_training()).axes
    assert [axes.get_title() for axes in panels] == ["white noise", "FNO prior"]
    curves = {line.get_label(): line for line in panels[0].lines}
    assert list(curves) == [f"{name}, gain {gain}" for name in ("FNO", "U-Net") for gain in ("values", "coefficients")]
    for gain, factor in (("values", 1), ("coefficients", 2)):
        np.testing.assert_allclose(curves[f"U-Net, gain {gain}"].get_ydata(), [2 * factor, factor])
        fno, unet = (curves[f"{name}, gain {gain}"] for name in ("FNO", "U-Net"))
        assert fno.get_color() == unet.get_color()
        assert fno.get_marker() != unet.get_marker()
    (band,) = panels[0].patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.08, 0.12))


def test_what_is_above_the_axis_along_training_is_a_triangle_at_its_end():
    far = along_training().assign(value=lambda rows: rows.value.where(rows.epoch == 2, 1e6))
    axes = figures.along_training(far).axes[0]
    assert axes.get_ylim()[1] == pytest.approx(figures.training.GREATEST_DISTANCE * 0.1)
    above = [line for line in axes.lines if line.get_marker() == "^"]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in above] == 4 * [([1], [1])]


def test_a_single_snapshot_is_a_point_along_training_and_a_training_that_has_none_a_level():
    rows = along_training()
    once = rows[(rows.network == "fno") | (rows.epoch == 2)]
    level = along_training(network="gaussian", arm="gaussian", epoch=1)
    lines = {line.get_label(): line for line in figures.along_training(pd.concat([once, level])).axes[0].lines}
    assert (lines["U-Net, gain values"].get_xdata(), lines["U-Net, gain values"].get_ydata()) == ([2], [1])
    assert lines["U-Net, gain values"].get_marker() == "s"
    assert len(set(lines["Gaussian baseline"].get_ydata())) == 1
    assert len(lines["Gaussian baseline"].get_xdata()) == 2


def test_the_figure_along_training_takes_a_network_that_it_has_no_name_for():
    axes = figures.along_training(along_training(network="cnn", arm="cnn-mine")).axes[0]
    assert (axes.get_title(), axes.lines[0].get_label()) == ("mine", "cnn, gain values")


@pytest.mark.parametrize("rows_down", [False, True])
def test_colours_span_the_test_set_around_0_and_images_are_grey_and_keep_their_rows(rows_down):
    field = np.linspace(-1, 1, 4 * 16).reshape(1, 8, 8)
    rows = {"test set": {8: field, 16: np.full((1, 16, 16), 3.0)}, "samples": {8: field, 16: np.full((1, 16, 16), 9.0)}}
    figure = figures.fields(rows, rows_down=rows_down)
    images = [image for axes in figure.axes for image in axes.get_images()]
    assert len(images) == 4
    for image in images:
        assert image.get_clim() == pytest.approx((np.quantile(field, 0.001), 3.0) if rows_down else (-3, 3))
        assert image.get_cmap().name == ("gray" if rows_down else "RdBu_r")
    np.testing.assert_array_equal(cells(images[0]), field[0] if rows_down else field[0].T)
    assert images[0].origin == ("upper" if rows_down else "lower")


@pytest.mark.parametrize("count", [1, 2])
def test_words_above_and_between_the_blocks_of_a_figure_of_fields_do_not_overlap(count):
    drawn = {n: np.zeros((2, 8, 8)) for n in (32, 64, 128, 256)}
    figure = figures.fields({"a": drawn, "b": {n: drawn[n] for n in (32, 256)}}, count)
    FigureCanvasAgg(figure).draw()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)]


@pytest.mark.parametrize("scale", [1, 0.7, 300])
def test_nothing_of_a_figure_of_fields_lies_outside_the_page(scale):
    """With ticks of any length at the colour bar, and distances above the fields."""
    field = scale * np.linspace(-1, 1, 64).reshape(1, 8, 8)
    rows = {"test set": {32: field, 64: field}, "a name\nin two lines": {32: field, 64: field}}
    figure = figures.fields(rows, count=1, written={"test set": {32: "floor 0.10", 64: "floor 0.12"}})
    FigureCanvasAgg(figure)
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= figure.get_figwidth()
    assert drawn.y1 <= figure.get_figheight()


def test_arms_have_the_names_that_the_field_gives_them():
    fno = ["fno-standard", "fno-laplacian-gaussian", "fno-fno", "fno", "mine"]
    names = ["white noise", "Laplacian prior, preconditioned", "FNO prior", "FNO", "mine"]
    assert figures.arm_names([(arm, "fno") for arm in fno]) == dict(zip(fno, names, strict=True))
    several = figures.arm_names([("fno-standard", "fno"), ("unet-standard", "unet"), ("gaussian", "gaussian")])
    assert list(several.values()) == ["FNO, white noise", "U-Net, white noise", "Gaussian baseline"]
    ladders = figures.arm_names([(arm, "fno") for arm in ("cold", "warm-coefficients", "equal-16-32-64")])
    assert list(ladders.values()) == ["cold start", "warm start, coefficients", "equal time"]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("exact", "exact"),
        ("gaussian", "kriging"),
        ("guided", "network, guided"),
        ("dps(scale=2.0)", "network, DPS, scale 2.0"),
    ],
)
def test_posteriors_have_the_names_that_the_field_gives_them(method, name):
    assert figures.method_name(method) == name


def ladder_histories():
    """Cold and warm, two seeds; the warm one changes its level after epoch 2, which takes the seeds 2 s and 4 s."""
    return pd.DataFrame(
        [
            {"arm": arm, "network": "fno", "ladder": ladder, "seed": seed, "epoch": epoch, "seconds": seed * epoch}
            | {"resolution": 32 if arm == "warm" and epoch <= 2 else 64, "test_32": 99.0, "test_64": seed / epoch}
            for arm, ladder in (("cold", "64"), ("warm", "32-64"))
            for seed in (1, 2)
            for epoch in (1, 2, 3)
        ]
    )


def test_the_figure_of_ladders_shows_the_test_loss_on_the_finest_grid_against_epochs_and_time():
    epochs, times = figures.ladders(ladder_histories()).axes
    assert epochs.get_ylabel() == "test loss at 64 (units of $u^2$)"
    curves = {line.get_label(): line for line in epochs.lines}
    cold, warm = curves["cold start (64)"], curves["warm start (32→64)"]
    np.testing.assert_allclose(warm.get_ydata(), [1.5, 0.75, 0.5])
    seeds = [line for line in times.lines if line.get_color() == cold.get_color() and line.get_marker() == "None"]
    assert [list(line.get_xdata()) for line in seeds[:2]] == [[1, 2, 3], [2, 4, 6]]
    for axes, changes in ((epochs, {2}), (times, {2, 4})):
        points = [line for line in axes.lines if line.get_marker() == "o"]
        assert {line.get_color() for line in points} == {warm.get_color()}
        assert {float(line.get_xdata()[0]) for line in points} == changes
        (label,) = (text for text in axes.texts if text.get_text() == "→64")
        assert label.get_color() == warm.get_color()
    assert [axes.get_xlabel() for axes in (epochs, times)] == ["epoch", "time of training (s)"]


def test_ladders_may_be_drawn_against_time_or_epochs_alone():
    for against, label in (("seconds", "time of training (s)"), ("epoch", "epoch")):
        (axes,) = figures.ladders(ladder_histories(), [against]).axes
        assert axes.get_xlabel() == label
        assert len({line.get_color() for line in axes.lines}) == 2


def test_the_figure_of_costs_has_the_slopes_of_power_laws():
    rows = pd.DataFrame(
        [
            {"against": against, "value": value, "resolution": 64, "batch": 16, "width": 32}
            | {
                "seconds": max(value, 2) ** 1.5,
                "expected_seconds": value**2,
                "bytes": 1e9 * value,
                "expected_bytes": 1e9,
            }
            for against, values in (("resolution", (32, 64, 128)), ("batch", (8, 1, 4, 2)), ("width", (8,)))
            for value in values
        ]
    )
    panels = figures.cost(rows).axes
    assert [axes.get_xlabel() for axes in panels[3:]] == ["points per side $N$", "fields per step", "channels"]
    assert [axes.get_ylabel() for axes in (panels[0], panels[3])] == ["time of a step (s)", "memory of a step (GB)"]
    assert panels[0].get_title() == "16 fields, 32 channels"
    labels = [line.get_label() for axes in (panels[1], panels[4]) for line in axes.lines]
    assert labels == ["measured: slope 1.50", "expected: slope 2.00", "measured: slope 1.00", "expected: slope 0.00"]
    assert list(panels[1].lines[0].get_xdata()) == [1, 2, 4, 8]


def test_the_png_has_the_pixels_of_the_drawing_in_256_colours(tmp_path):
    drawn = figures.fields({"test set": {64: np.random.default_rng(1).normal(size=(2, 64, 64))}}, 2, rows_down=False)
    figures.save(drawn, tmp_path / "drawn")
    png = Image.open(tmp_path / "drawn.png")
    assert 64 < len(png.getcolors()) <= 256
    assert png.info["dpi"][0] == pytest.approx(200, abs=0.1)
    canvas = FigureCanvasAgg(drawn)
    drawn.set_dpi(round(png.info["dpi"][0]))
    canvas.draw()
    difference = np.asarray(png.convert("RGB"), float) - np.asarray(canvas.buffer_rgba())[..., :3]
    assert np.abs(difference).mean() < 1


def test_the_svg_of_fields_has_as_many_pixels_as_the_png_is_drawn_with(tmp_path):
    drawn = figures.fields({"test set": {64: np.zeros((1, 64, 64))}}, 1, rows_down=False)
    figures.save(drawn, tmp_path / "drawn")
    encoded = re.findall(r"data:image/png;base64,([^\"]+)", (tmp_path / "drawn.svg").read_text())[0]
    inches = drawn.axes[0].get_position().width * drawn.get_figwidth()
    assert inches <= PANEL
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).width == pytest.approx(200 * inches, rel=0.02)


def test_the_png_of_much_noise_has_as_many_dots_an_inch_and_colours_as_any(tmp_path):
    noise = np.random.default_rng(1).normal(size=(2, 256, 256))
    drawn = figures.fields(
        {f"row {i}": dict.fromkeys((32, 64, 128, 256), noise) for i in range(10)}, 2, rows_down=False
    )
    figures.save(drawn, tmp_path / "drawn")
    png = Image.open(tmp_path / "drawn.png")
    assert png.info["dpi"][0] == pytest.approx(200, abs=0.1)
    assert png.width == pytest.approx(200 * drawn.get_figwidth(), abs=1)
    assert len(png.getcolors()) > 200


def test_no_letter_of_a_figure_needs_a_font_of_the_reader(tmp_path):
    for suffix in ("pdf", "svg"):
        figures.save(figures.losses(ladder_histories().assign(loss=1.0)), tmp_path / f"drawn.{suffix}")
    assert b"/FontFile2" in (tmp_path / "drawn.pdf").read_bytes()
    assert "<text" not in (tmp_path / "drawn.svg").read_text()


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("drawn", {"drawn.svg", "drawn.png"}),
        ("drawn.svg", {"drawn.svg", "drawn.png"}),
        ("drawn.png", {"drawn.png"}),
        ("drawn.pdf", {"drawn.pdf"}),
    ],
)
def test_the_suffix_says_what_is_written_and_equal_figures_are_equal_files(tmp_path, name, written):
    for folder in ("a", "b"):
        figures.save(figures.losses(ladder_histories().assign(loss=1.0)), tmp_path / folder / name)
    assert {path.name for path in (tmp_path / "a").iterdir()} == written
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert path.suffix != ".pdf" or path.read_bytes().startswith(b"%PDF")


def test_a_stamp_is_written_across_the_picture(tmp_path):
    drawn = [figures.losses(ladder_histories().assign(loss=1.0)) for _ in range(2)]
    for figure, stamp in zip(drawn, ("", "smoke: meaningless"), strict=True):
        figures.save(figure, tmp_path / f"f{stamp[:5]}.png", stamp)
    assert [[text.get_text() for text in figure.texts][-1:] for figure in drawn] == [
        [LOSS_LABEL],
        ["smoke: meaningless"],
    ]
    plain, stamped = (np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in ("f.png", "fsmoke.png"))
    changed = (plain != stamped).any(-1)
    assert changed[:, : changed.shape[1] // 2].any()
    assert changed[:, changed.shape[1] // 2 :].any()


def test_another_suffix_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"drawn\.gif: a figure is written as .*pdf"):
        figures.save(figures.losses(ladder_histories().assign(loss=1.0)), tmp_path / "drawn.gif")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sampler", "name"),
    [
        ("euler-maruyama", "Euler–Maruyama"),
        ("ancestral", "DDPM"),
        ("ancestral(stochasticity=0)", "DDIM"),
        ("ancestral(stochasticity=0.5)", "ancestral, stochasticity 0.5"),
        ("heun(times=log-snr)", "Heun, log-SNR times"),
        ("dpm-solver++", "DPM-Solver++"),
        ("dpm-solver++(times=karras, stochasticity=1)", "DPM-Solver++ (SDE), Karras times"),
        ("predictor-corrector(corrections=2)", "predictor–corrector, corrections 2"),
        ("my-own(order=3)", "my-own, order 3"),
    ],
)
def test_samplers_have_the_names_that_the_field_gives_them(sampler, name):
    assert figures.sampler_name(sampler) == name


IMAGES = {"kind": "fields", "name": "mine", "images": True}


def samples(arm="fno-bessel", gain="values", resolution=8, **changed):
    """A file of samples of a network that was trained at 8, without its path."""
    spec = {"arm": arm, "network": {"kind": arm.partition("-")[0]}, "training": {"ladder": [{"resolution": 8}]}}
    header = {"target": IMAGES, "spec": spec, "field": "learned", "gain": gain, "resolution": resolution}
    header |= {"epoch": 3, "seed": 1, "sampler": "heun", "steps": 4} | changed
    return {"samples": np.zeros((2, resolution, resolution))}, header


def test_set(resolution):
    fields = np.ones((2, resolution, resolution))
    return {"reference": fields, "floor": fields}, {"target": IMAGES, "resolution": resolution}


test_set.__test__ = False


def arranged(*files):
    rows, images = figures.arrange((Path(f"file-{i}"), *file) for i, file in enumerate(files))
    return {" ".join(name.split()): list(row) for name, row in rows.items()}, images


def test_rows_of_fields_are_in_order_however_the_files_are():
    exact = samples(gain=None, field="exact", spec=None)
    files = [samples(gain="coefficients", resolution=12), samples(resolution=12), test_set(12), samples(), test_set(8)]
    rows, images = arranged(*files, exact, samples(gain=None, field="exact", spec=None, resolution=12))
    names = ["test set", "Bessel prior, values", "Bessel prior, coefficients", "exact score"]
    assert rows == dict(zip(names, [[8, 12], [8, 12], [12], [8, 12]], strict=True))
    assert list(rows) == names
    assert images


def test_rows_of_fields_are_named_by_what_tells_them_apart():
    assert list(arranged(samples(), samples(epoch=1), samples("fno-standard"))[0]) == [
        "Bessel prior, epoch 3",
        "Bessel prior, epoch 1",
        "white noise",
    ]
    twins = arranged(samples("fno-standard"), samples("unet-standard"))[0]
    assert list(twins) == ["FNO, white noise", "U-Net, white noise"]
    solvers = arranged(samples(), samples(sampler="ancestral(stochasticity=0)"))[0]
    assert list(solvers) == ["Bessel prior, Heun", "Bessel prior, DDIM"]
    ladders = [samples("equal-4-8", epoch=5), samples("equal-2-4-8")]
    for coarse, (_, header) in zip(((4,), (2, 4)), ladders, strict=True):
        header["spec"] |= {
            "network": {"kind": "fno"},
            "training": {"ladder": [{"resolution": n} for n in (*coarse, 8)]},
        }
    assert list(arranged(*ladders)[0]) == ["equal time, 4→8", "equal time, 2→4→8"]


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ([test_set(8), samples(), samples()], "file-2: Bessel prior at resolution 8 is there already"),
        ([test_set(8), test_set(12), samples()], r"FILES: no Bessel prior at resolution \[12\]"),
        ([test_set(8), samples(), samples(resolution=12)], r"FILES: no test set at resolution \[12\].*mld data"),
        ([samples(gain="coefficients", resolution=12), samples()], r"no Bessel prior, values at resolution \[12\]"),
        # the row above is of another network: where its gains agree tells nothing
        ([samples("fno-fno"), samples("fno-fno", resolution=12), samples(resolution=12)], r"at resolution \[8\]"),
    ],
)
def test_fields_that_make_no_figure_are_one_line(files, line):
    with pytest.raises(UserError, match=line):
        arranged(*files)


def metrics(**changed):
    """Of the file of `samples`, and of two others; 0.1 is the floor."""
    rows = pd.DataFrame({"arm": ["fno-bessel"] * 3, "network": "fno", "gain": "values", "seed": [1, 2, 1], "steps": 4})
    rows = rows.assign(sampler="heun", resolution=[8, 8, 12], metric="sliced_wasserstein", value=[0.06, 7.0, 8.0])
    return rows.assign(floor=0.1, **changed)


def test_above_fields_stands_the_distance_of_these_very_samples_and_the_floor_above_the_test_set():
    files = [(Path(), *test_set(8)), (Path(), *samples()), (Path(), *samples("fno-standard"))]
    written = figures.distances(files, metrics())
    assert written == {"test set": {8: "floor 0.10"}, "Bessel prior": {8: "SW 0.060"}}
    rows, _ = figures.arrange(files)
    said = {text.get_text() for text in figures.fields(rows, 1, written=written).texts}
    assert {"floor 0.10", "SW 0.060"} <= said
    for other in ({"steps": 5}, {"gain": "coefficients"}, {"network": "exact"}, {"metric": "mmd"}):
        assert "Bessel prior" not in figures.distances(files, metrics(**other))
    of_epoch = metrics().assign(epoch=samples()[1]["epoch"])
    assert "Bessel prior" in figures.distances(files, of_epoch)
    assert "Bessel prior" not in figures.distances(files, of_epoch.assign(epoch=of_epoch.epoch + 1))
    exact = [(Path(), *samples(field="exact", spec=None, gain=None))]
    assert figures.distances(exact, metrics(network="exact", gain=None)) == {"exact score": {8: "SW 0.060"}}


def test_fields_are_drawn_from_files_of_samples_alone_under_the_colours_of_the_first_row(mld, files, tmp_path):
    both = ["--resolution", 8, "--resolution", 12, "--gain", "values", "--gain", "coefficients"]
    assert mld("sample", files.model, *both, "--samples", 2, "--steps", 1, "--seed", 1, "-o", tmp_path / "in").code == 0
    paths = sorted((tmp_path / "in").iterdir())
    assert [path.stem for path in paths] == ["coefficients-12", "values-12", "values-8"]
    done = mld("figure", "fields", *paths, "--count", 1, "-o", tmp_path / "out" / "samples.pdf")
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["samples.pdf"]

    low, high = np.zeros((1, 8, 8)), np.full((1, 8, 8), 7.0)
    drawn = figures.fields({"a": {8: np.concatenate([low, high])}, "b": {8: 100 + high}}, count=1)
    assert {image.get_clim() for axes in drawn.axes for image in axes.get_images()} == {(0, 7)}


@pytest.mark.parametrize("spoilt", ["a NaN", "another shape", "another header", "another file"])
def test_a_figure_of_spoilt_fields_is_refused_by_the_name_of_the_file(mld, files, tmp_path, spoilt):
    tensors, header = read_tensors(files.model if spoilt == "another file" else files.data)
    if spoilt == "a NaN":
        tensors["reference"][0, 1, 2] = torch.nan
    elif spoilt == "another shape":
        tensors["reference"] = tensors["reference"][:, 1:].contiguous()
    elif spoilt == "another header":
        header["resolution"] = 16
    write_tensors(tmp_path / "spoilt", tensors, header)
    line = mld("figure", "fields", tmp_path / "spoilt", "-o", tmp_path / "out" / "f").refusal
    assert line.startswith(f"mld: {tmp_path / 'spoilt'}: ")
    assert not (tmp_path / "out").exists()


def test_the_commands_write_the_numbers_beside_and_refuse_a_table_given_twice(mld, tmp_path):
    histories = ladder_histories().assign(experiment="e", prior="combined", step=1, loss=0.5)
    for arm, rows in histories.groupby("arm"):
        write_csv(tmp_path / f"{arm}.csv", rows, {})
    tables, out = [tmp_path / "cold.csv", tmp_path / "warm.csv"], tmp_path / "out"
    assert mld("figure", "ladders", *tables, "--against", "epoch", "-o", out / "f.svg").code == 0
    assert {path.name for path in out.iterdir()} == {"f.svg", "f.png", "f.csv"}
    assert len(read_csv(out / "f.csv")) == len(histories)
    assert (
        "warm.csv: its rows are there already"
        in mld("figure", "losses", *tables, tables[1], "-o", out / "g.svg").refusal
    )
    write_csv(tmp_path / "untested.csv", histories[histories.arm == "cold"].drop(columns="test_64"), {})
    refused = mld("figure", "ladders", tmp_path / "untested.csv", "-o", out / "g.svg").refusal
    assert "untested.csv: no loss on test fields at 64" in refused
    assert not (out / "g.svg").exists()
