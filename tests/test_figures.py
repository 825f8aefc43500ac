import numpy as np
import pandas as pd
import pytest

from multilevel_diffusion import figures


def scores(arm, gains=("values", "coefficients")):
    return pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "gain": gain, "epoch": epoch, "resolution": n, "drawn_on": drawn_on}
            | {"reference_resolution": 32, "relative": seed / epoch, "loss": 1 + 1 / epoch, "exact_loss": 1.0}
            for seed in (1, 2, 4)
            for epoch in (1, 2, 3)
            for gain in gains
            for n, drawn_on in ((32, 32), (64, 64), (32, 64))
            if n == drawn_on or gain == gains[0]
        ]
    )


def test_figure_1_draws_the_median_over_seeds_inside_their_range():
    error, loss = figures.fig1(scores("a")).axes
    line = next(line for line in error.lines if line.get_label() == "64")
    np.testing.assert_allclose(line.get_ydata(), [2, 1, 2 / 3])
    band = error.collections[[line.get_label() for line in error.lines].index("64")].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((1 / 3, 4))
    assert {line.get_label() for line in error.lines} == {"32", "64", "64, coefficients"}
    assert {line.get_label() for line in loss.lines} == {"32", "64", "64 restricted to 32", "exact field, 32"}


def test_figure_1_keeps_arms_apart_and_needs_no_particular_gain():
    assert len(figures.fig1(pd.concat([scores("a"), scores("b")])).axes) == 4
    error, _ = figures.fig1(scores("a", gains=("coefficients",))).axes
    assert {line.get_label() for line in error.lines} == {"32", "64, coefficients"}


def test_every_axis_of_figure_1_is_labelled():
    for axes in figures.fig1(scores("a")).axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()


def test_figure_10_shows_the_first_fields_with_one_colour_scale():
    rng = np.random.default_rng(0)
    rows = {
        "truth": {n: rng.standard_normal((5, n, n)) for n in (8, 9)},
        "network": {9: 100 * rng.standard_normal((5, 9, 9))},
    }
    figure = figures.fig10(rows, count=2)
    images = [image for axes in figure.axes for image in axes.images if image.get_array().ndim == 2]
    shown = [(image.get_array().T, image.get_clim()) for image in images if image.get_array().shape[0] in (8, 9)]
    expected = [*rows["truth"][8][:2], *rows["truth"][9][:2], *rows["network"][9][:2]]
    assert len({limits for _, limits in shown}) == 1
    assert len(shown) == len(expected)
    for field, (drawn, _) in zip(expected, shown, strict=True):
        np.testing.assert_array_equal(drawn, field)
