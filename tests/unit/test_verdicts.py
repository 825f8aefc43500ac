"""Claims, the power of metrics, and distances without their floor."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multilevel_diffusion.errors import UserError
from multilevel_diffusion.settings import ClaimsSettings, parse
from multilevel_diffusion.settings.claims import CriterionSettings
from multilevel_diffusion.tables import claims, power, power_summary
from multilevel_diffusion.tables.claims import holm, probability
from multilevel_diffusion.tables.estimates import Quantity, debiased, excess, root


def distances(values, experiment="mnist", metric="sliced_wasserstein", **columns):
    """Rows of metrics.csv from (arm, seed, gain, resolution) to a value; the floor is 0.5 ± 0.01 of 8 sets."""
    floors = {"floor": 0.5, "floor_stderr": 0.01, "floor_sets": 8, "scale": 1.0, "n_samples": 64, "n_reference": 10**9}
    return pd.DataFrame(
        [
            {"experiment": experiment, "arm": arm, "network": "fno", "prior": "bessel", "gain": gain, "ladder": "16-32"}
            | {"seed": seed, "resolution": n, "metric": metric, "value": value, "stderr": 0.1}
            | (floors | columns)
            for (arm, seed, gain, n), value in values.items()
        ]
    )


def errors(values):
    """The same of numbers that are not about samples, and need no power."""
    return distances(values, metric="relative_score_error", floor=0.0, floor_stderr=0.0, floor_sets=None)


def settled(quantity, confidence=0.95, power=5, **claim):
    rows = {"it": {"figure": "fig1", "statement": "it does", "quantity": {"table": "metrics", **quantity}, **claim}}
    return parse(ClaimsSettings, {"seeds": 3, "confidence": confidence, "power": power, "rows": rows}, "claims")


def verdict(ratios, **bound):
    values = {("other", 1, "values", 32): 9.0} | {("a", seed, "values", 32): 2.0 for seed in range(len(ratios))}
    values |= {("a", seed, "values", 64): 2.0 * ratio for seed, ratio in enumerate(ratios)}
    quantity = {"of": {"arm": "a", "resolution": 64}, "over": {"resolution": 32}}
    written = {"quantity": {"table": "metrics", **quantity}, **bound}
    return claims(settled(quantity, first_written=written, **bound), {"metrics": errors(values)}).iloc[0]


RATIOS = [
    ([1.0, 1.1, 1.2], {"at_most": 1.5}, "reproduced"),
    ([1.0, 1.1, 1.2], {"at_most": 1.3}, "undecided"),  # the interval is about 1.1 ± 0.248
    ([1.0, 1.1, 1.2], {"at_most": 0.8}, "not reproduced"),
    ([1.0, 1.1, 1.2], {"at_least": 0.8}, "reproduced"),
    ([1.0, 1.1, 1.2], {"at_least": 1.2}, "undecided"),
    ([1.0, 1.1, 1.2], {"at_least": 1.4}, "not reproduced"),
    ([1.0, 1.0], {"at_most": 1.5}, "undecided"),  # too few seeds
    ([1.0], {"at_most": 1.5}, "undecided"),
    ([1.0, 1.1, 1.2], {"at_least": 1.0}, "undecided"),
    ([1.0, 1.1, 1.2, math.nan], {"at_most": 1.5}, "undecided"),  # it did not come to pass in one
    ([], {"at_most": 1.5}, "not measured"),
]


@pytest.mark.parametrize(("ratios", "bound", "expected"), RATIOS)
def test_a_claim_is_settled_by_its_whole_confidence_interval_and_by_three_seeds_at_least(ratios, bound, expected):
    row = verdict(ratios, **bound)
    assert row.verdict == expected
    assert row.first_written.endswith(expected)
    assert (row.seeds, row.reached) == (len(ratios), sum(ratio == ratio for ratio in ratios))
    assert row.criterion == f"≤ {bound['at_most']:g}" if "at_most" in bound else f"≥ {bound['at_least']:g}"
    if len(ratios) == 3:
        mean, half = np.log(ratios).mean(), 4.302653 * np.log(ratios).std(ddof=1) / 3**0.5  # Student's t
        assert (row.value, row.low, row.high) == pytest.approx(tuple(np.exp([mean, mean - half, mean + half])))
        assert row.first_written.startswith("1.1 (")


def test_the_interval_has_the_confidence_that_is_asked_for():
    table = distances({("a", seed, "values", 64): value for seed, value in enumerate((1.0, 1.1, 1.2))})
    row = claims(settled({"of": {"arm": "a"}}, confidence=0.8, at_most=2), {"metrics": table}).iloc[0]
    assert row.high - row.value == pytest.approx(1.885618 * 0.1 / 3**0.5)


@pytest.mark.parametrize("bound", [{"at_most": 1.0}, {"at_least": 1.0}, {"within": 1.0}])
def test_at_its_bound_a_claim_is_settled_either_way_in_one_run_of_twenty_together(bound):
    """Half of these each way; by an interval of one side it would be twice as often."""
    draws = np.random.default_rng(0).normal(1.0, 0.1, size=(2000, 4))
    criterion = parse(CriterionSettings, {"quantity": {"table": "metrics", "of": {"arm": "a"}}, **bound}, "claim")
    found = [probability(criterion, Quantity(pd.Series(row))) for row in draws]
    for way in (True, False):
        settled = np.mean([met is way and p <= 0.05 for met, p in found])
        assert settled == pytest.approx(0.025, abs=4 * (0.025 / len(found)) ** 0.5)


def test_a_claim_about_each_of_several_is_a_row_for_every_combination():
    values = {("a", 1, gain, n): n / 32 for gain in ("values", "coefficients") for n in (32, 64, 128)}
    each = {"gain": ["values", "coefficients"], "resolution": [64, 128]}
    rule = settled(
        {"of": {"arm": "a"}, "over": {"resolution": 32}}, each=each, at_most=1, statement="it does at {resolution}"
    )
    rows = claims(rule, {"metrics": distances(values)})
    assert rows.claim.tolist() == ["it values 64", "it values 128", "it coefficients 64", "it coefficients 128"]
    assert rows.statement.tolist() == ["it does at 64", "it does at 128"] * 2
    assert rows.value.tolist() == pytest.approx([2, 4, 2, 4])


def test_a_quantity_is_against_another_arm_against_the_floor_or_alone():
    values = {("a", 1, "values", 64): 3.0, ("b", 1, "values", 64): 2.0}
    tables, of = {"metrics": distances(values)}, {"arm": "a", "resolution": 64}
    for against, expected in (
        ({"over": {"arm": "b"}}, 1.5),
        ({"over": {"column": "floor"}}, 6.0),
        ({"less": {"arm": "b"}}, 1.0),
        ({"less": {"column": "floor"}}, 2.5),
        ({}, 3.0),
    ):
        assert claims(settled({"of": of} | against, at_most=1), tables).value.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("of", "word"), [({"arm": "a"}, "several rows of a seed"), ({"amr": "a", "resolution": 64}, "no column amr")]
)
def test_a_claim_about_no_row_or_several_is_refused_by_name(of, word):
    tables = {"metrics": distances({("a", 1, "values", 64): 3.0, ("a", 1, "coefficients", 64): 2.0})}
    with pytest.raises(UserError, match=f"claim it: .*{word}"):
        claims(settled({"of": of}, at_most=1), tables)


def test_a_debiased_claim_about_a_table_of_before_says_to_make_it_again():
    old = distances({("a", 1, "values", 64): 3.0}).drop(columns=["floor_sets", "scale"])
    rule = settled({"of": {"arm": "a", "metric": "sliced_wasserstein"}, "debiased": True}, at_most=1)
    with pytest.raises(UserError, match="claim it: its table has no column floor_sets, scale; make it again"):
        claims(rule, {"metrics": old})


def test_a_claim_about_a_table_without_rows_or_one_that_is_not_there_is_not_measured():
    rule = settled({"of": {"arm": "a"}}, at_most=1)
    assert claims(rule, {"metrics": distances({("a", 1, "values", 64): 1.0}).head(0)}).verdict.item() == "not measured"
    assert claims(rule, {"ladders": distances({("a", 1, "values", 64): 1.0})}).verdict.item() == "not measured"


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        ({"at_most": 1, "at_least": 1}, "one of at_most, at_least and within"),
        ({}, "one of at_most, at_least and within"),
        ({"at_most": 0, "quantity": {"of": {"arm": "a"}, "over": {"arm": "b"}}}, "judged by their logarithms"),
        ({"at_most": 1, "quantity": {"of": {"arm": "a"}, "over": {"arm": "b"}, "less": {"arm": "b"}}}, "not both"),
    ],
)
def test_a_claim_without_one_clear_criterion_is_refused(claim, word):
    quantity = claim.pop("quantity", {"of": {"arm": "a"}})
    with pytest.raises(UserError, match=word):
        settled(quantity, **claim)


def test_holm_is_no_stricter_than_bonferroni_and_keeps_the_order():
    """The example of Holm's step-down procedure: the least p times m, the next times m − 1, and so on, never falling."""
    assert holm({0: 0.01, 1: 0.04, 2: 0.03, 3: 0.005}) == pytest.approx({3: 0.02, 0: 0.03, 2: 0.06, 1: 0.06})
    p = dict(enumerate(np.random.default_rng(1).uniform(size=20)))
    corrected = holm(p)
    assert all(p[i] <= corrected[i] <= min(1, 20 * p[i]) for i in p)
    assert holm({7: 0.03}) == {7: 0.03}


def test_claims_about_one_figure_are_judged_together_and_those_about_another_apart():
    ratios = (1.0, 1.1, 1.2)
    values = {("a", seed, "values", n): v for n in range(10) for seed, v in enumerate(ratios)}
    each = {"resolution": list(range(10))}
    rule, tables = settled({"of": {"arm": "a"}}, each=each, at_most=1.5), {"metrics": errors(values)}
    together = claims(rule, tables)
    alone = claims(settled({"of": {"arm": "a"}}, each={"resolution": [0]}, at_most=1.5), tables)
    assert together.p.iloc[0] == pytest.approx(10 * alone.p.item())
    assert alone.verdict.item() == "reproduced"
    assert set(together.verdict) == {"undecided"}
    assert set(together.points_to) == {"reproduced"}


@pytest.mark.parametrize("bound", [{"at_most": 1.25}, {"at_least": 1.15}, {"within": 1.2}])
def test_so_many_more_seeds_of_the_same_spread_decide(bound):
    ratios = (1.0, 1.1, 1.2)
    rule = settled({"of": {"arm": "a"}}, **bound)

    def judged(n):
        """n values with the mean and the standard deviation of those three."""
        z = stats.zscore(np.arange(n), ddof=1)
        values = {("a", i, None, 64): 1.1 + 0.1 * x for i, x in enumerate(z)}
        return claims(rule, {"metrics": errors(values)}).iloc[0]

    row = judged(len(ratios))
    assert row.verdict == "undecided"
    assert judged(3 + row.more_seeds).verdict == row.points_to
    assert judged(2 + row.more_seeds).verdict == "undecided"
    assert pd.isna(judged(3 + row.more_seeds).more_seeds)


def test_a_value_that_only_fewer_floors_could_decide_asks_for_no_seeds():
    values = {("a", seed, "values", 64): 0.55 for seed in range(3)}
    of = {"experiment": "mnist", "arm": "a", "metric": "sliced_wasserstein", "resolution": 64}
    rule = settled({"of": of, "debiased": True}, at_most=0.2)
    tables = {"metrics": distances(values, floor_stderr=0.2), "power": gaussian(tells=9.0)}
    row = claims(rule, tables).iloc[0]
    assert row.verdict == "undecided"
    assert pd.isna(row.more_seeds)
    assert claims(rule, tables | {"metrics": distances(values, floor_stderr=1e-6)}).verdict.item() == "not reproduced"


def gaussian(tells):
    row = {"experiment": "mnist", "metric": "sliced_wasserstein", "resolution": 64, "n_samples": 64, "power": tells}
    return pd.DataFrame([row])


def test_no_network_is_judged_by_a_metric_that_the_gaussian_passes():
    values = {("a", seed, "values", 64): 0.5 for seed in range(3)}
    of = {"experiment": "mnist", "arm": "a", "metric": "sliced_wasserstein", "resolution": 64}
    rule = settled({"of": of, "debiased": True}, at_most=1)
    tables = {"metrics": distances(values)}
    for known, expected in (
        ({"power": gaussian(4.9)}, "cannot be told by this metric"),
        ({"power": gaussian(5.1)}, "reproduced"),
        ({"power": gaussian(math.nan)}, "cannot be told by this metric"),
        ({"power": gaussian(9.0).assign(metric="mmd")}, "cannot be told by this metric"),
        ({"power": gaussian(9.0).assign(n_samples=1000)}, "cannot be told by this metric"),
        ({}, "cannot be told by this metric"),
    ):
        for quantity in ({"debiased": True}, {"over": {"column": "floor"}}, {"less": {"column": "floor"}}, {}):
            rule = settled({"of": of} | quantity, at_most=1.5)
            assert claims(rule, tables | known).verdict.item() == expected
    rule = settled({"of": {"metric": "sliced_wasserstein"}, "debiased": True}, at_most=1)
    assert claims(rule, tables | {"power": gaussian(9.0)}).power.item() == 9
    exact = settled({"of": of | {"network": "exact"}, "debiased": True}, at_most=1)
    of_the_truth = {"metrics": distances(values).assign(network="exact")}
    assert claims(exact, of_the_truth).verdict.item() == "reproduced"
    assert claims(rule, {"metrics": distances(values).head(0)}).verdict.item() == "not measured"


@pytest.mark.parametrize(
    ("metric", "against"), [("density", {}), (None, {}), ("sliced_wasserstein", {"less": {"metric": "density"}})]
)
def test_what_is_no_distance_is_not_debiased(metric, against):
    both = [distances({("a", 1, None, 64): 1.0}, metric=name) for name in ("density", "sliced_wasserstein")]
    of, tables = ({"metric": metric}, pd.concat(both)) if metric else ({"arm": "a"}, both[1])
    with pytest.raises(UserError, match=r"claim it: debiased .*: only one metric, a distance"):
        claims(settled({"of": of, "debiased": True} | against, at_most=1), {"metrics": tables})
    with pytest.raises(UserError, match="without its floor already"):
        settled({"of": of, "less": {"column": "floor"}, "debiased": True}, at_most=1)


def test_one_seed_has_no_probability_and_what_is_not_finite_asks_for_no_seeds():
    quantity = {"of": {"arm": "a", "metric": "relative_score_error"}}
    criterion = settled(quantity, at_most=1).rows["it"]
    assert math.isnan(probability(criterion, Quantity(pd.Series([0.5])))[1])
    row = claims(settled(quantity, at_most=1), {"metrics": errors({("a", i, None, 64): math.inf for i in range(5)})})
    assert row.verdict.item() == "undecided"
    assert pd.isna(row.more_seeds.item())


def test_what_was_first_written_may_be_an_equivalence():
    of = {"arm": "a", "metric": "relative_score_error"}
    tables = {"metrics": errors({("a", i, None, 64): 1 + 0.1 * i for i in range(3)})}
    for within, expected in ((2, "reproduced"), (0.5, "not reproduced"), (1.2, "undecided")):
        first = {"quantity": {"table": "metrics", "of": of}, "within": within}
        assert (
            claims(settled({"of": of}, at_most=9, first_written=first), tables)
            .first_written.item()
            .endswith(f": {expected}")
        )


def test_a_training_by_other_settings_than_the_paper_says_so():
    values = {("a", seed, "values", 64): 1.0 for seed in range(3)}
    of = {"experiment": "mnist", "arm": "a"}
    for row, expected in ((of, "tuned"), (of | {"network": "exact"}, "paper"), ({"arm": "a"}, "paper")):
        rule = settled({"of": row}, at_most=2)
        assert (
            claims(rule, {"metrics": distances(values)}, lambda *arm: arm == ("mnist", "a")).settings.item() == expected
        )
    rule = settled({"of": of | {"arm": "b"}, "less": {"arm": "a"}}, at_most=2)
    assert claims(rule, {"metrics": distances(values)}, lambda *arm: arm == ("mnist", "a")).settings.item() == "tuned"


def test_a_perfect_sampler_is_at_no_distance_and_a_shifted_one_at_its_shift():
    """Means of n values of unit variance: value² has the mean d² + 2/n, floor² that of 2/n."""
    rng, n, d = np.random.default_rng(2), 50, 0.3
    noise = rng.normal(size=(10, 100_000)) / n**0.5
    floors = np.abs(noise[2:] - noise[0])
    known = {"floor": floors.mean(0), "floor_stderr": floors.std(0, ddof=1) / 8**0.5, "floor_sets": 8}
    for true in (0, d):
        rows = pd.DataFrame(known | {"value": np.abs(true + noise[1] - noise[0])})
        squares = excess(rows, "sliced_wasserstein")
        assert squares.mean() == pytest.approx(true**2, abs=5 * squares.std() / 100_000**0.5)
        assert (rows.value**2 - rows.floor**2).mean() > true**2 + 5 * squares.std() / 100_000**0.5
    assert excess(pd.DataFrame([{"value": 4.0, "floor": 1.0, "floor_stderr": 0.5}]), "mmd").item() == 3
    assert root(pd.Series([-4.0, 9.0])).tolist() == [-2, 3]


@pytest.mark.parametrize("difference", [False, True])
@pytest.mark.parametrize(("d", "m", "seeds"), [(0.02, 512, 3), (0.2, 64, 3), (0.2, 64, 8)])
def test_intervals_of_debiased_distances_hold_the_truth_as_often_as_they_say(d, m, seeds, difference):
    """With seeds, samples, floors and references all drawn anew: means of n and of m in 30 dimensions, of variance 1 in all.

    Differences of distances that are both below the floor, here 0.125, hold it less often: roots are biased there.
    """
    rng, n, k, covered, runs = np.random.default_rng(3), 64, 30, 0, 600

    def rows(shift):
        truth = rng.normal(size=k) / (m * k) ** 0.5

        def distances(shift, size):
            means = shift / k**0.5 + rng.normal(size=(size, k)) / (n * k) ** 0.5
            return np.linalg.norm(means - truth, axis=1)

        floors = distances(0, 8)
        found = {"value": distances(shift, seeds), "stderr": 1 / (n * k) ** 0.5, "n_samples": n, "n_reference": m}
        found |= {"floor": floors.mean(), "floor_stderr": floors.std(ddof=1) / 8**0.5, "floor_sets": 8, "scale": 2.0}
        return pd.DataFrame(found)

    for _ in range(runs):
        low, high = debiased(rows(d), "sliced_wasserstein", rows(0.1) if difference else None).interval(0.95)[1:]
        covered += low <= (d - 0.1 if difference else d) / 2 <= high
    least = 0.92 if difference and d < 0.1 else 0.95
    assert covered / runs >= least - 3 * (least * (1 - least) / runs) ** 0.5


def test_the_error_is_that_of_seeds_and_of_the_floor():
    seeds = pd.Series([1.0, 2.0, 4.0])
    error, freedom = Quantity(seeds, 0.3, 7).error()
    of_seeds = seeds.std() / 3**0.5
    assert error == pytest.approx(math.hypot(of_seeds, 0.3))
    assert freedom == pytest.approx(error**4 / (of_seeds**4 / 2 + 0.3**4 / 7))
    assert Quantity(seeds).error() == pytest.approx((of_seeds, 2))
    low, high = Quantity(seeds).interval(0.9)[1:]
    assert (low, high) == pytest.approx(stats.t.interval(0.9, 2, seeds.mean(), of_seeds))


def baseline(values, metric="sliced_wasserstein", **columns):
    rows = distances({("gaussian", i, "values", 32): v for i, v in enumerate(values)}, metric=metric, **columns)
    return rows.assign(network="gaussian")


def test_power_is_in_standard_errors_of_a_perfect_sampler():
    """Of value²: the error is 2 floor s, with s the spread 0.01 · 8^½ of one set and the error of the mean of eight."""
    row = power(baseline([0.7, 0.8]), 5).iloc[0]
    spread = 0.01 * 8**0.5
    standing = ((0.49 + 0.64) / 2 - 0.25 - 7 * 0.01**2) / (2 * 0.5 * math.hypot(spread, 0.01))
    assert row.power == pytest.approx(standing)
    assert row.samples_needed == math.ceil(64 * 5 / standing)
    assert (row.seeds, row.n_samples, row.floor_sets) == (2, 64, 8)


def test_power_is_nothing_below_the_floor_and_counts_both_sides_of_what_is_no_distance():
    below = power(baseline([0.4]), 5).iloc[0]
    assert below.power < 0
    assert pd.isna(below.samples_needed)
    for value in (0.4, 0.6):
        share = power(baseline([value], metric="component_share"), 5).iloc[0]
        assert share.power == pytest.approx(0.1 / (0.01 * 3))
        assert share.samples_needed == math.ceil(64 * (5 / share.power) ** 2)


def test_power_to_read_has_every_number_and_the_strongest_metric_first():
    values = {"weak": 0.51, "strong": 0.9, "below": 0.3}
    rows = power(pd.concat([baseline([value], metric=name) for name, value in values.items()]), 5)
    told = power_summary(rows)
    assert told.metric.tolist() == ["strong", "weak", "below"]
    for metric, cell in zip(told.metric, told[32], strict=True):
        row = rows.set_index("metric").loc[metric]
        assert cell == f"{row.power:.2g} ({'–' if row.power < 0 else row.samples_needed})"


def test_power_needs_a_gaussian_and_floors_with_an_error():
    with pytest.raises(UserError, match="no Gaussian baseline"):
        power(distances({("a", 1, "values", 32): 1.0}), 5)
    rows = pd.concat([baseline([0.7]), baseline([0.01], metric="mmd_p_value", floor=None, floor_stderr=None)])
    assert power(rows, 5).metric.tolist() == ["sliced_wasserstein"]


def test_power_where_true_fields_are_all_alike_and_where_nothing_tells():
    """A floor without spread is told from by any difference; a difference that is but rounding by no number of samples."""
    apart = power(baseline([0.2], metric="legible_share", floor=1.0, floor_stderr=0.0), 5).iloc[0]
    assert apart.power == math.inf
    assert power(baseline([1.0], metric="legible_share", floor=1.0, floor_stderr=0.0), 5).power.item() == 0
    alike = power(baseline([0.5 + 1e-15], metric="coverage"), 5).iloc[0]
    assert 0 < alike.power < 1e-10
    assert pd.isna(alike.samples_needed)
    with pytest.raises(UserError, match="no Gaussian baseline"):
        power(baseline([0.0], metric="skill", floor=0.0, floor_stderr=0.0, floor_sets=None), 5)
