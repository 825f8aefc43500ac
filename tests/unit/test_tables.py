import math

import pandas as pd
import pytest
import torch
from scipy import stats

from multilevel_diffusion.columns import (
    COLUMNS,
    CONVERGENCE_COLUMNS,
    HISTORY_COLUMNS,
    LABELS,
    LADDER_COLUMNS,
    tidy_row,
)
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.grids import CellCentred, Torus, restrict
from multilevel_diffusion.priors import Bessel, FNOPrior, Laplacian, Prior, Standard
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import ClaimsSettings, parse
from multilevel_diffusion.storage import read_csv, write_csv
from multilevel_diffusion.tables import (
    claims,
    compare,
    distances_by_prior,
    ladder_summary,
    ladders,
    read_tables,
    sampler_summary,
    score_error_metrics,
    skill_metrics,
    summary,
    tidy,
    transfer,
)
from multilevel_diffusion.tables.estimates import debiased
from multilevel_diffusion.tables.priors import priors


def scores(seed, errors, baseline=float("nan")):
    common = {
        "experiment": "mixture",
        "arm": "a",
        "network": "fno",
        "prior": "combined",
        "gain": "values",
        "ladder": "32",
    }
    return pd.DataFrame(
        [
            common
            | {"seed": seed, "epoch": epoch, "resolution": n, "drawn_on": drawn_on, "relative": factor * error}
            | {"stderr": epoch / 10, "n_samples": 8, "loss": error, "gaussian_loss": baseline}
            for epoch, error in enumerate(errors, start=1)
            for n, drawn_on, factor in ((32, 32, 1), (64, 64, 2), (32, 64, 100))
        ]
    )


def test_the_score_error_is_the_median_of_the_last_ten_epochs_on_its_own_grid():
    table = score_error_metrics(scores(1, [9.0] * 20 + [0, 1, 2, 3, 4, 5, 6, 7, 8, 100]))
    assert dict(zip(table.resolution, table.value, strict=True)) == {32: 4.5, 64: 9.0}
    assert table.stderr.tolist() == pytest.approx([2.55, 2.55])
    assert list(table.columns) == COLUMNS


def test_the_last_ten_epochs_are_those_of_each_training():
    short = scores(1, [1.0] * 12).assign(arm="b")
    table = score_error_metrics(pd.concat([scores(1, [9.0] * 30), short]))
    pd.testing.assert_frame_equal(table[table.arm == "b"].reset_index(drop=True), score_error_metrics(short))


def test_skill_of_a_mixture_is_that_of_its_last_ten_epochs_on_the_draws_of_the_gaussian():
    table = score_error_metrics(scores(1, [99.0] * 9 + [1.0] * 5 + [3.0] * 5, baseline=4.0))
    skills = table[table.metric == "skill"]
    assert dict(zip(skills.resolution, skills.value, strict=True)) == {32: 0.5, 64: 0.5}
    assert skills.stderr.isna().all()
    assert set(score_error_metrics(scores(1, [1.0] * 12)).metric) == {"relative_score_error"}


def test_the_summary_gives_mean_and_spread_over_seeds_beside_the_floor():
    rows = tidy([score_error_metrics(scores(seed, [float(seed)] * 12)) for seed in (1, 2, 3)])
    table = summary(rows)
    assert table[32].item() == "2 ± 1 (0)"
    assert table[64].item() == "4 ± 2 (0)"


def test_the_summary_keeps_arms_apart():
    other = scores(1, [3.0] * 12).assign(arm="b")
    assert len(summary(tidy([score_error_metrics(scores(1, [1.0] * 12)), score_error_metrics(other)]))) == 2


def test_counts_are_whole_numbers_and_what_does_not_apply_is_empty():
    rows = tidy([score_error_metrics(scores(1, [1.0] * 12))])
    assert str(rows.n_samples.dtype) == "Int64"
    assert rows.steps.isna().all()
    assert rows.value.tolist() == pytest.approx([1, 2])


def test_the_fewest_evaluations_are_those_that_come_near_euler_maruyama():
    """Two seeds whose means are: Euler–Maruyama 1.0 at 100, standard error of a difference 0.2, so the bounds are 1.4 and 1.5."""
    curves = {
        "euler-maruyama": {10: 3.0, 100: 1.0, 50: 1.25},
        "heun": {9: 1.45, 19: 1.39},
        "lucky": {5: 1.0, 10: 1.45, 20: 1.41, 50: 1.0},
        "ancestral": {10: 9.0, 20: 1.51},
    }
    rows = pd.DataFrame(
        [
            {"network": "exact", "metric": "m", "resolution": 32, "sampler": sampler, "evaluations": evaluations}
            | {"arm": "a", "gain": None, "seed": seed, "value": value + change, "stderr": 0.2, "floor": 0.5}
            for sampler, curve in curves.items()
            for evaluations, value in curve.items()
            for seed, change in ((1, -0.5), (2, 0.5))
        ]
    )
    table = sampler_summary(rows).set_index("sampler")["m, 32"]
    assert table["heun"] == "19 / 9"
    assert table["euler-maruyama"] == "50 / 50"
    assert table["lucky"] == "50 / 5"
    assert table["ancestral"] == "– / –"
    assert table["euler-maruyama at 100: distance ± error (floor)"] == "1.0000 ± 0.1414 (0.5000)"


def test_gains_and_arms_have_rows_of_their_own():
    rows = pd.DataFrame(
        [
            {
                "network": "fno",
                "metric": "m",
                "resolution": 32,
                "sampler": "euler-maruyama",
                "evaluations": 5,
                "seed": 1,
            }
            | {"arm": arm, "gain": gain, "value": 1.0, "stderr": 0.1, "floor": 0.5}
            for arm in ("a", "b")
            for gain in ("values", "coefficients")
        ]
    )
    assert len(sampler_summary(rows)) == 2 * 4


def distances(values, stderr=0.1):
    """Rows of metrics.csv from (arm, seed, gain, resolution) to a sliced Wasserstein distance."""
    return pd.DataFrame(
        [
            {"experiment": "mnist", "arm": arm, "network": "fno", "prior": "bessel", "gain": gain, "ladder": "16-32"}
            | {"seed": seed, "resolution": n, "metric": "sliced_wasserstein", "value": value, "stderr": stderr}
            | {"floor": 0.5, "floor_stderr": 0.01, "floor_sets": 8, "scale": 2.0, "n_samples": 64, "n_reference": 10**9}
            for (arm, seed, gain, n), value in values.items()
        ]
    )


def test_the_table_of_distances_is_of_sliced_wasserstein_outside_the_mixture_and_keeps_arms_apart():
    rows = distances({("a", 1, "values", 32): 1.0, ("a", 2, "values", 32): 3.0, ("b", 1, "values", 32): 7.0})
    others = [rows.assign(metric="moment_sliced_wasserstein"), rows.assign(experiment="mixture")]
    table = distances_by_prior(pd.concat([rows, *others]), ["mnist"])
    assert table.arm.tolist() == ["a", "b"]
    one = debiased(rows.tail(1), "sliced_wasserstein").interval(0.95, samples=True)
    assert [cell.split(";")[0] for cell in table[32]] == ["2", "7"]
    assert table[32][1].split("; ")[1] == "{:.2g} [{:.2g}, {:.2g}]".format(*one)
    assert one[0] == pytest.approx((49 - 0.25 - 7e-4) ** 0.5 / 2)
    assert one[2] ** 2 - one[0] ** 2 == pytest.approx(
        stats.t.ppf(0.975, 7) * math.hypot(2 * 7 * 0.1, 0.01) / 4, rel=1e-3
    )


def test_transfer_is_the_difference_to_the_training_grid_of_the_same_network():
    values = {("a", 1, "values", 32): 2.0, ("a", 1, "values", 64): 3.0, ("a", 1, "coefficients", 64): 8.0}
    values |= {("a", 2, "values", 32): 1.0, ("a", 2, "values", 64): 3.5}
    exact = distances({("a", 1, None, 64): 5.0}).assign(ladder=None, network="exact")
    table = transfer(pd.concat([distances(values), exact]), ["mnist"]).set_index("gain")
    apart = {key: (value**2 - 0.25 - 7e-4) ** 0.5 / 2 for key, value in values.items()}
    first, second = (apart["a", seed, "values", 64] - apart["a", seed, "values", 32] for seed in (1, 2))
    assert table.loc["values", 64].startswith(f"{(first + second) / 2:.2g} [")
    single = apart["a", 1, "coefficients", 64] - apart["a", 1, "values", 32]
    assert table.loc["coefficients", 64].startswith(f"{single:.2g} [")
    assert list(table.columns) == ["experiment", "arm", "network", "prior", 64]
    for rows, experiments in ((distances(values), ["other"]), (distances({("a", 1, "values", 32): 2.0}), ["mnist"])):
        with pytest.raises(UserError, match="no network is sampled"):
            transfer(rows, experiments)


def run_of(arm, ladder, seed, losses, levels, seconds):
    """A training history: an epoch of 10 steps each, `seconds` a step on each level."""
    rows = [
        {"experiment": "warm-start", "arm": arm, "ladder": ladder, "seed": seed, "epoch": epoch, "step": 10 * epoch}
        | {"resolution": level, "test_64": loss}
        for epoch, (level, loss) in enumerate(zip(levels, losses, strict=True), start=1)
    ]
    return pd.DataFrame(rows).assign(seconds=10 * pd.Series([seconds[level] for level in levels]).cumsum())


COST = {16: 0.5, 32: 1.0, 64: 4.0}


def compared(*runs):
    rows = ladders(pd.concat(runs), "cold")
    return rows, rows.set_index(["arm", "seed", "quantity"]).value


def test_ladders_are_compared_with_the_baseline_of_their_seed():
    rows, values = compared(
        run_of("cold", "64", 1, [8.0, 6.0, 5.0, 4.0], [64] * 4, COST),
        run_of("cold", "64", 2, [8.0, 6.0, 5.0, 1.0], [64] * 4, COST),
        run_of("warm", "32-64", 1, [10.0, 9.0, 5.0, 3.0], [32, 32, 64, 64], COST),
        run_of("warm", "32-64", 2, [10.0, 9.0, 5.5, 3.0], [32, 32, 64, 64], COST),
    )
    assert values["warm", 1, "seconds_per_step_32"] == 1
    assert values["warm", 1, "seconds_per_step_64"] == values["cold", 1, "seconds_per_step_64"] == 4
    assert values["cold", 1, "seconds"] == 160
    assert values["warm", 1, "test_loss"] == 3
    assert values["warm", 1, "speedup"] == pytest.approx(160 / (20 + 40 + 20))  # 4 is half-way through its fourth epoch
    assert pd.isna(values["warm", 2, "speedup"])
    assert values["warm", 1, "loss_at_equal_time"] == pytest.approx(
        3 / 5.5
    )  # after 100 s the cold one is half-way from 6 to 5
    assert values["warm", 1, "gap"] == 3  # 9 against 6
    assert values["warm", 1, "epochs_to_close"] == 1  # 5 against 5
    assert pd.isna(values["warm", 2, "epochs_to_close"])
    assert "speedup" not in values["cold", 1].index

    table = ladder_summary(rows).set_index("arm")
    assert table.loc["warm", "speedup"] == "2 (1 of 2 seeds)"
    assert table.loc["cold", "speedup"] == "–"
    assert table.loc["cold", "test_loss"] == "2.5 ± 2.1"
    assert list(table.columns[2:4]) == ["seconds_per_step_32", "seconds_per_step_64"]


def test_what_is_not_trained_is_on_no_ladder():
    cold = run_of("cold", "64", 1, [8.0, 6.0], [64] * 2, COST)
    gaussian = run_of("gaussian", "64", 2, [1.0], [64], COST).assign(step=0)
    pd.testing.assert_frame_equal(compared(cold, gaussian)[0], compared(cold)[0])


def test_both_times_are_those_of_the_first_descent_to_the_final_loss():
    """The baseline passes its final loss in its second epoch already; the same curve on the same level is no faster."""
    losses = [7.0, 2.0, 5.0, 4.0]
    cold, same = (run_of(arm, "64", 1, losses, [64] * 4, COST) for arm in ("cold", "same"))
    _, values = compared(cold, same, run_of("quick", "32-64", 1, [3.0, 4.5], [32, 64], COST))
    assert values["same", 1, "speedup"] == pytest.approx(1)
    assert "gap" not in values["same", 1].index
    first = 40 + 40 * (7 - 4) / (7 - 2)
    assert values["quick", 1, "speedup"] == pytest.approx(first / 10)  # after its first epoch
    assert values["quick", 1, "test_loss"] == 4.5


def test_the_gap_is_measured_where_the_finest_level_begins_and_against_the_final_loss_of_a_baseline_that_has_ended():
    _, values = compared(
        run_of("cold", "64", 1, [8.0, 3.0], [64] * 2, COST),
        run_of("three", "16-32-64", 1, [2.0, 9.0, 7.0, 4.0, 3.0, 2.0], [16, 32, 32, 64, 64, 64], COST),
    )
    assert values["three", 1, "gap"] == 7 - 3
    assert values["three", 1, "epochs_to_close"] == 2


def test_the_speedup_has_its_confidence_interval():
    names = {"experiment": "e", "arm": "warm", "ladder": "32-64", "quantity": "speedup"}
    rows = pd.DataFrame([names | {"seed": seed, "value": value} for seed, value in ((1, 1.0), (2, 2.0), (3, 3.0))])
    half = 4.302653 / 3**0.5  # Student's t for two degrees of freedom
    assert ladder_summary(rows).speedup.item() == f"2 ± 1 [{2 - half:.3g}, {2 + half:.3g}]"
    assert ladder_summary(rows.assign(value=float("nan"))).speedup.item() == "not reached"
    rows.loc[0, "value"] = float("nan")
    assert ladder_summary(rows).speedup.item() == "2.5 ± 0.71 (2 of 3 seeds)"


def test_runs_are_compared_in_units_of_the_standard_error_of_the_difference():
    a = distances({("several", 1, "values", 32): 1.0, ("several", 2, "values", 32): 3.0, ("one", 1, "values", 32): 5.0})
    b = distances({("several", 7, "values", 32): 2.0, ("several", 8, "values", 32): 8.0, ("one", 1, "values", 32): 6.0})
    c = distances({("equal", 1, None, 32): 2.0}, stderr=0.0)
    exact = distances({("exact", 1, None, 32): 2.0}, stderr=0.0)
    sides = pd.concat([a, c, exact]), pd.concat([b, c, exact.assign(value=3.0)])
    rows = compare(*sides).set_index("arm")
    several = rows.loc["several"]  # means 2 ± 2^½/2^½ and 5 ± 18^½/2^½
    assert (several.a, several.b, several.difference) == (2, 5, 3)
    assert several.stderr == pytest.approx((1 + 9) ** 0.5)
    welch = stats.ttest_ind([2, 8], [1, 3], equal_var=False)
    assert several.sigmas == pytest.approx(stats.norm.isf(welch.pvalue / 2))
    assert rows.loc["several", "sigmas"] < 3 / 10**0.5
    assert rows.loc["one", "sigmas"] == pytest.approx(1 / (0.1 * 2**0.5))
    assert rows.loc["equal", "sigmas"] == 0
    assert rows.loc["exact", "sigmas"] == pytest.approx(1 / (3e-6 * 2**0.5))
    assert compare(*sides, relative_floor=0).set_index("arm").loc["exact", "sigmas"] == math.inf


def test_what_is_in_one_run_only_has_no_difference():
    a, b = distances({("a", 1, "values", 32): 1.0}), distances({("a", 1, "values", 64): 1.0})
    rows = compare(a, b)
    assert rows.sigmas.isna().all()
    assert rows.a.notna().tolist() == [True, False]


def test_a_row_has_every_column_in_order_and_no_other():
    labels = {"experiment": "e", "arm": "a", "network": "fno", "prior": "bessel", "ladder": "8-16"}
    row = tidy_row(labels, seed=1, resolution=16, gain="values", metric="m", value=0.5)
    assert list(row) == COLUMNS
    assert {name: value for name, value in row.items() if value is not None} == {
        **labels,
        "gain": "values",
        **{"seed": 1, "resolution": 16, "metric": "m", "value": 0.5},
    }
    assert tidy_row(labels, CONVERGENCE_COLUMNS, seed=1, resolution=16, evaluations=9)["evaluations"] == 9
    with pytest.raises(TypeError, match="no column evaluations"):
        tidy_row(labels, seed=1, resolution=16, evaluations=9)


@pytest.mark.parametrize("name", ["32", "007", "nan", "null", "NA", "#1", "1e5", "True"])
def test_labels_are_text_whatever_they_look_like(tmp_path, name):
    table = pd.DataFrame({"value": [1.5, 2.5], **{key: [name, None] for key in LABELS}})
    write_csv(tmp_path / "t.csv", table, {})
    read = read_csv(tmp_path / "t.csv")
    assert read.value.tolist() == [1.5, 2.5]
    for label in LABELS:
        assert read[label][0] == name
        assert pd.isna(read[label][1])


def settled(of):
    rows = {"it": {"figure": "f", "statement": "s", "quantity": {"table": "metrics", "of": of}, "at_most": 1}}
    return parse(ClaimsSettings, {"seeds": 3, "confidence": 0.95, "power": 5, "rows": rows}, "claims")


def test_arms_named_by_numbers_go_through_the_tables(mld, tmp_path):
    rows = tidy([distances({("007", 1, None, 32): 1.0, ("nan", 1, "values", 32): 3.0}).reindex(columns=COLUMNS)])
    write_csv(tmp_path / "metrics.csv", rows, {})
    done = mld("table", "distances", tmp_path / "metrics.csv", "--experiment", "mnist", "-o", tmp_path / "made.csv")
    assert done.code == 0, done.err
    made = read_csv(tmp_path / "made.csv")
    assert made.arm.tolist() == ["007", "nan"]
    assert [cell.split(";")[0] for cell in made["32"]] == ["1", "3"]
    assert "| 007" in (tmp_path / "made.md").read_text()
    rule = settled({"arm": 7})
    assert claims(rule, {"metrics": read_csv(tmp_path / "metrics.csv")}).verdict.item() == "not measured"
    rule = settled({"arm": "007"})
    assert claims(rule, {"metrics": read_csv(tmp_path / "metrics.csv")}).value.item() == 1


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("value", math.inf, "a number that is not finite in column value"),
        ("value", None, "an empty cell in column value"),
        ("value", "many", "text among the numbers of column value"),
        ("seed", None, "an empty cell in column seed"),
        ("resolution", 32.5, "a number that is not whole in column resolution"),
        ("n_reference", math.inf, "a number that is not finite in column n_reference"),
        ("arm", None, "an empty cell in column arm"),
        ("metric", None, "an empty cell in column metric"),
        ("ladder", "coarse", "something else than"),
        ("gain", "large", "something else than values|coefficients in column gain"),
    ],
)
def test_a_table_with_a_wrong_cell_is_refused_by_every_command_that_reads_it(mld, root, tmp_path, column, value, said):
    table, out = tmp_path / "metrics.csv", tmp_path / "out" / "t"
    rows = distances({("a", 1, "values", 32): 1.0, ("a", 2, "values", 32): 3.0}).reindex(columns=COLUMNS)
    rows = rows.assign(network="fno", prior="bessel").astype({column: object})
    rows.loc[1, column] = value
    write_csv(table, rows, {})
    config = [root / "config.yaml", "--set", "preset=smoke"]
    for command in (
        ["table", "metrics", table, "-o", out],
        ["table", "distances", table, "--experiment", "mnist", "-o", out],
        ["table", "power", table, "-o", out],
        ["compare", table, table, "-o", out],
        *(
            [["table", "claims", *config, "--table", f"metrics={table}", "-o", out]]
            if column in ("seed", "value")
            else []
        ),
    ):
        assert mld(*command).refusal.startswith(f"mld: {table}: {said}")
        assert not out.parent.exists()


def test_what_does_not_apply_is_empty_and_a_power_may_be_infinite(tmp_path):
    rows = distances({("a", 1, None, 32): 1.0}).reindex(columns=COLUMNS).assign(network="exact", prior="bessel")
    write_csv(tmp_path / "metrics.csv", rows.assign(ladder=None, steps=None), {})
    assert read_csv(tmp_path / "metrics.csv", COLUMNS).gain.isna().all()
    known = {"experiment": ["e"], "metric": ["m"], "resolution": [8], "n_samples": [4], "power": [math.inf]}
    write_csv(tmp_path / "power.csv", pd.DataFrame(known), {})
    assert read_csv(tmp_path / "power.csv", list(known)).power.item() == math.inf


def test_a_table_is_written_as_what_its_suffix_says_or_refused(mld, tmp_path):
    rows = distances({("a", 1, "values", 32): 1.0}).reindex(columns=COLUMNS).assign(network="fno", prior="bessel")
    write_csv(tmp_path / "metrics.csv", rows, {})
    assert (
        "not as .xlsx" in mld("table", "metrics", tmp_path / "metrics.csv", "-o", tmp_path / "out" / "t.xlsx").refusal
    )
    assert not (tmp_path / "out").exists()


def test_tables_that_cannot_be_read_together_are_one_line_that_names_the_file(mld, tmp_path):
    rows = distances({("a", 1, "values", 32): 1.0}).reindex(columns=COLUMNS)
    made = {"good": rows, "copy": rows, "empty": rows.head(0), "text": rows.astype({"value": object})}
    made["text"].loc[0, "value"] = "many"
    for name, table in made.items():
        write_csv(tmp_path / f"{name}.csv", table, {})
    for name, line in (("copy", "its rows are there already"), ("empty", "without rows"), ("text", "column value")):
        for given in ([tmp_path / "good.csv", tmp_path / f"{name}.csv"], [tmp_path / f"{name}.csv"]):
            if name == "copy" and len(given) == 1:
                assert len(read_tables(given, COLUMNS)) == 1
            else:
                refused = mld("table", "metrics", *given, "-o", tmp_path / "out" / "metrics.csv").refusal
                assert f"{name}.csv: " in refused
                assert line in refused
    twice = [tmp_path / "good.csv"] * 2
    assert "good.csv: its rows" in mld("table", "metrics", *twice, "-o", tmp_path / "out" / "metrics.csv").refusal
    assert not (tmp_path / "out").exists()
    assert mld("table", "metrics", tmp_path / "good.csv", "-o", tmp_path / "out" / "metrics.csv").code == 0


def test_the_table_of_ladders_needs_every_seed_of_the_baseline(mld, tmp_path):
    runs = [run_of("cold", "64", 1, [3.0], [64], COST), run_of("warm", "64", 2, [2.0], [64], COST)]
    with pytest.raises(UserError, match=r"--baseline: no history of 'cold' for seeds \[2\]; the arms are cold, warm"):
        ladders(pd.concat(runs), "cold")
    write_csv(
        tmp_path / "cold.csv",
        runs[0].assign(network="fno", prior="bessel", loss=1.0)[[*HISTORY_COLUMNS, "test_64"]],
        {},
    )
    made = tmp_path / "ladders.csv"
    assert mld("table", "ladders", tmp_path / "cold.csv", "--baseline", "cold", "-o", made).code == 0
    assert list(read_csv(made).columns) == LADDER_COLUMNS


def compared_with_data(prior, law, grid, count=400, native=None):
    """The row of the table of priors for data drawn from another prior, on `native` and restricted."""
    labels = {"experiment": "e", "arm": "a", "network": "fno", "prior": "p"}
    fields = law.sample(count, native or grid, dtype=torch.float64, seed=1)
    return priors([(labels, prior, grid, restrict(fields, native or grid, grid))]).iloc[0]


class PowerLaw(Prior):
    """A_k = |k|^(−p/2), so that λ_k ~ |k|^(−p)."""

    trace_class = True

    def __init__(self, power, native_resolution=48):
        super().__init__(native_resolution)
        self.power = power

    def amplitude(self, k1, k2):
        return (k1**2 + k2**2).clamp(min=1).double() ** (-self.power / 4)


@pytest.mark.parametrize("grid", [Torus(33), CellCentred(48)])
def test_data_that_are_the_prior_have_as_much_of_each_mode_and_fall_as_fast(grid):
    row = compared_with_data(Bessel(48, 8, 0.55), Bessel(48, 8, 0.55), grid)
    assert row.data_exponent == pytest.approx(row.noise_exponent, abs=0.02)
    assert 0.7 < row.kappa_min < 1 < row.kappa_max < 1.35  # six standard errors of one mode
    assert row.more_data_than_noise == pytest.approx(0.5, abs=0.07)
    assert row.start_error == pytest.approx(0, abs=1e-5)


def test_a_power_law_has_its_exponent_and_rough_noise_the_smaller_one():
    for data, noise in ((3.0, 2.2), (1.0, 4.0)):
        row = compared_with_data(PowerLaw(noise), PowerLaw(data), Torus(48))
        assert row.noise_exponent == pytest.approx(noise, abs=0.05)
        assert row.data_exponent == pytest.approx(data, abs=0.07)
        assert row.noise_as_rough == (noise < data)
    assert compared_with_data(Standard(48), PowerLaw(2.0), Torus(48)).noise_exponent == pytest.approx(0)
    assert compared_with_data(Laplacian(48, 3.0), PowerLaw(2.0), Torus(24)).noise_exponent == pytest.approx(
        2.2, abs=0.05
    )


def test_data_on_their_scale_have_more_than_noise_and_are_missed_at_the_start():
    """With κ = 10⁶ in every mode; those at Nyquist, which are 0 after restriction, do not count."""
    loud = Standard(48)
    loud.amplitude = lambda k1, k2: 1000.0 * torch.ones(torch.broadcast_shapes(k1.shape, k2.shape), dtype=torch.float64)
    end = torch.ones(1, dtype=torch.float64)
    for grid in (Torus(48), Torus(24)):
        row = compared_with_data(Standard(48), loud, grid, native=Torus(48))
        assert row.more_data_than_noise == 1
        a, b = ForwardSDE().mean_scale(end).item(), ForwardSDE().noise_scale(end).item()
        assert row.start_error == pytest.approx((a**2 * row.kappa_max + b**2) ** 0.5 - 1)
        assert row.kappa_max == pytest.approx(1e6, rel=0.35)
        assert row.kappa_min > 6e5


def test_modes_without_noise_do_not_count_and_noise_of_few_modes_is_not_rough():
    few = FNOPrior(48, torch.ones(2 * 6 + 1, 6, dtype=torch.complex128))
    row = compared_with_data(few, Standard(48), Torus(48))
    assert row.noise_exponent == math.inf
    assert not row.noise_as_rough
    assert 0.7 < row.kappa_min < row.kappa_max < 1.35
    assert math.isnan(compared_with_data(Standard(48), Standard(48), Torus(8)).data_exponent)


def training(arm, seed, losses, skills, ladder="16-32"):
    rows = {"experiment": "mnist", "arm": arm, "network": "fno", "prior": "bessel", "ladder": ladder, "seed": seed}
    about = {"resolution": 32, "step": 1, "loss": 1.0, "seconds": 1.0, "validation_64": 0.0}
    return pd.DataFrame(
        [
            {**rows, "epoch": i, **about, "validation_32": loss, "skill_32": skill, "skill_64": skill - 1}
            for i, (loss, skill) in enumerate(zip(losses, skills, strict=True), start=1)
        ]
    )


def test_skill_is_that_of_the_network_that_is_kept(mld, tmp_path):
    runs = [
        training("a", 1, [2.0, 1.0, 1.0, 3.0], [0.1, 0.2, 0.3, 0.4]),
        training("a", 2, [1.0, 2.0], [0.5, 0.6]),
        training("b", 1, [1.0], [-10.0], "32").drop(columns=["skill_64", "validation_64"]),
        training("unvalidated", 1, [1.0], [0.0])[HISTORY_COLUMNS],
    ]
    rows = skill_metrics(pd.concat(runs, ignore_index=True)).set_index(["arm", "seed", "resolution"])
    assert rows.value.to_dict() == {
        **{("a", 1, 32): 0.3, ("a", 1, 64): -0.7, ("a", 2, 32): 0.5, ("a", 2, 64): -0.5},
        ("b", 1, 32): -10.0,
    }
    assert set(rows.metric) == {"skill"}
    assert (rows.floor == 0).all()
    assert rows[["sampler", "n_samples", "gain"]].isna().all(axis=None)

    write_csv(tmp_path / "m.csv", distances({("a", 1, "values", 32): 1.0}).reindex(columns=COLUMNS), {})
    paths = [tmp_path / f"history{i}.csv" for i in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        write_csv(path, run, {})
    given = [word for path in paths for word in ("--history", path)]
    done = mld("table", "metrics", tmp_path / "m.csv", *given, "-o", tmp_path / "out.csv")
    assert done.code == 0, done.err
    made = read_csv(tmp_path / "out.csv")
    assert list(made.columns) == COLUMNS
    assert made.metric.value_counts().to_dict() == {"skill": 5, "sliced_wasserstein": 1}
    assert "0.4 ± 0.14 (0)" in (tmp_path / "out.md").read_text()
    refused = mld("table", "metrics", tmp_path / "m.csv", "--history", paths[3], "-o", tmp_path / "no.csv").refusal
    assert "no history has a column skill_N" in refused
    write_csv(paths[0], runs[0].drop(columns="validation_32"), {})
    refused = mld("table", "metrics", tmp_path / "m.csv", "--history", paths[0], "-o", tmp_path / "no.csv").refusal
    assert "--history: no validation_32 of arms on the ladder 16-32" in refused


def test_the_skill_of_one_training_a_side_has_no_error_and_is_not_compared():
    row = {"experiment": "e", "arm": "a", "network": "fno", "prior": "bessel", "gain": None, "ladder": "8", "seed": 1}
    row |= {"resolution": 8, "metric": "skill", "floor": 0.0}
    a, b = (tidy([pd.DataFrame([row | {"value": value}]).reindex(columns=COLUMNS)]) for value in (0.4, 0.5))
    assert compare(a, b).sigmas.isna().all()
    assert summary(a)[8].item() == "0.4 (0)"
