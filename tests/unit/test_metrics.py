import gc
import math
import weakref

import numpy as np
import ot
import pytest
import torch
from scipy import stats

from multilevel_diffusion import metrics
from multilevel_diffusion.builders import build_prior
from multilevel_diffusion.grids import Torus, prolong, white_noise
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.priors import Laplacian
from multilevel_diffusion.settings import ArmSpec, parse
from multilevel_diffusion.stages.evaluate import IN_UNITS, TESTS, WITHOUT_UNITS
from multilevel_diffusion.storage import generator, read_csv, read_tensors, write_tensors


def smooth(n, count, seed, scale=1.0):
    """`count` smooth random fields, known on 16 points and seen on n."""
    return prolong(
        Laplacian(16, scale).sample(count, Torus(15), generator(seed), torch.float64), Torus(15), Torus(n)
    ).numpy()


def reference_of(fields, directions=2):
    n = fields.shape[-1]
    return metrics.Reference(fields, metrics.projections(n, directions, generator(1, "directions")))


def test_directions_are_unit_vectors_and_measure_the_l2_norm():
    directions = metrics.projections(16, 4000, generator(0))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1)
    u = smooth(16, 1, 1)[0]
    assert ((u.reshape(-1) @ directions) ** 2).mean() == pytest.approx((u**2).mean(), rel=0.1)


def test_sliced_wasserstein_of_a_shift_is_known_for_every_direction():
    directions, c = metrics.projections(16, 250, generator(2)), smooth(16, 1, 3)[0]
    x = smooth(16, 50, 4)
    estimate = metrics.Reference(x + c, directions).sliced_wasserstein(x)
    squares = (c.reshape(-1) @ directions) ** 2
    assert estimate.value == pytest.approx(math.sqrt(squares.mean()), rel=1e-10)
    assert estimate.stderr == pytest.approx(
        squares.std(ddof=1) / math.sqrt(250) / 2 / math.sqrt(squares.mean()), rel=1e-10
    )
    assert metrics.Reference(x[::-1], directions).sliced_wasserstein(x).value == pytest.approx(0, abs=1e-12)


def test_sliced_wasserstein_of_a_scaling_is_known():
    """W₂(θ·x, 2 θ·x)² = mean (θ·x)² over the sample, for any sample."""
    directions, x = metrics.projections(16, 150, generator(5)), smooth(16, 60, 6)
    expected = math.sqrt(((x.reshape(60, -1) @ directions) ** 2).mean())
    assert metrics.Reference(2 * x, directions).sliced_wasserstein(x).value == pytest.approx(expected, rel=1e-10)


def test_the_standard_error_is_the_spread_over_directions():
    x, y = smooth(16, 80, 7), smooth(16, 80, 8, scale=1.5)
    estimates = [
        metrics.Reference(y, metrics.projections(16, 100, generator(9, i))).sliced_wasserstein(x) for i in range(40)
    ]
    spread = np.std([e.value for e in estimates], ddof=1)
    assert np.mean([e.stderr for e in estimates]) == pytest.approx(spread, rel=0.35)


@pytest.mark.parametrize("measure", ["sliced", "moment"])
def test_distances_of_the_same_functions_agree_across_grids(measure):
    values, errors = [], []
    for n in (16, 33, 64):
        x, y = smooth(n, 100, 10), 0.5 + smooth(n, 100, 11, scale=2.0)
        if measure == "sliced":
            estimate = metrics.Reference(y, metrics.projections(n, 400, generator(12, n))).sliced_wasserstein(x)
        else:
            estimate = reference_of(y).moment_sliced_wasserstein(x)
        values.append(estimate.value)
        errors.append(estimate.stderr)
    assert np.ptp(values) < 5 * max(errors) + 1e-12


def test_the_moment_distance_cannot_tell_smooth_fields_from_white_noise():
    x, again = smooth(16, 2000, 13), smooth(16, 2000, 16)
    xi = white_noise(2000, Torus(16), generator(14), torch.float64).numpy()
    xi *= math.sqrt(x.var(axis=0).mean() / xi.var(axis=0).mean())
    directions = metrics.projections(16, 200, generator(15))
    blind = reference_of(again).moment_sliced_wasserstein(x).value
    assert reference_of(xi).moment_sliced_wasserstein(x).value < 1.5 * blind
    floor = metrics.Reference(again, directions).sliced_wasserstein(x)
    assert metrics.Reference(xi, directions).sliced_wasserstein(x).value > floor.value + 5 * floor.stderr
    assert reference_of(xi).spectrum_distance(x).value > 20 * reference_of(again).spectrum_distance(x).value


def test_the_moment_distance_is_its_formula():
    x, y = smooth(16, 40, 17), 1 + 2 * smooth(16, 40, 17)
    shift = ((1 + x.mean(axis=0)) ** 2).mean()
    expected = math.sqrt(shift + x.var(axis=0).mean())
    assert reference_of(y).moment_sliced_wasserstein(x).value == pytest.approx(expected)


@pytest.mark.parametrize("n", [16, 17, 32])
def test_the_spectrum_of_a_wave_is_one_shell_and_keeps_its_power_on_every_grid(n):
    x = np.arange(n) / n
    u = 3 * np.cos(2 * np.pi * (3 * x[:, None] + 4 * x))[None]
    spectrum = metrics.radial_spectrum(u)
    k = np.fft.fftfreq(n, 1 / n)
    members = (np.floor(np.hypot(k[:, None], k) + 0.5) == 5).sum()
    assert spectrum[5] * members == pytest.approx(9 / 2)
    assert np.delete(spectrum, 5).max() < 1e-25
    assert len(spectrum) == (n + 1) // 2


def test_the_spectrum_distance_counts_decades():
    x = white_noise(20, Torus(16), generator(18), torch.float64).numpy()
    assert reference_of(x).spectrum_distance(10 * x).value == pytest.approx(2)
    assert reference_of(x).spectrum_distance(x + 5).value == pytest.approx(0, abs=1e-12)


def test_the_spectrum_distance_leaves_out_shells_without_power():
    x = smooth(32, 20, 20)
    assert reference_of(x).spectrum_distance(x + 1e-9 * smooth(32, 20, 21)).value < 1e-6


def test_the_vendi_score_counts_orthogonal_samples():
    u = np.zeros((12, 4, 4))
    u.reshape(12, 16)[np.arange(12), np.arange(12)] = 1
    assert metrics.vendi_score(u).value == pytest.approx(12)
    assert metrics.vendi_score(np.repeat(u[:3], 4, axis=0)).value == pytest.approx(3)
    assert metrics.vendi_score(np.ones((5, 4, 4))).value == pytest.approx(1)
    assert metrics.vendi_score(np.zeros((5, 4, 4))).value == pytest.approx(1)


def test_histograms_of_equal_and_of_disjoint_pixels():
    x = smooth(16, 10, 19)
    assert reference_of(x[::-1]).histogram_distance(x).value == 0
    assert reference_of(x + 2 * np.ptp(x)).histogram_distance(x).value == pytest.approx(1)


DISTANCES = (*IN_UNITS, *WITHOUT_UNITS)


@pytest.mark.parametrize("name", DISTANCES)
def test_what_a_reference_keeps_changes_no_distance(name):
    """Nor does single precision of the fields, beyond its own rounding."""
    y, within, beyond = smooth(16, 30, 30), 0.5 * smooth(16, 20, 31), 3 * smooth(16, 20, 32)
    kept, single = reference_of(y), reference_of(y.astype(np.float32))
    for x in (within, beyond, within):
        fresh = getattr(reference_of(y), name)(x)
        assert getattr(kept, name)(x) == fresh
        assert getattr(single, name)(x.astype(np.float32)).value == pytest.approx(fresh.value, rel=1e-4)


def test_sliced_wasserstein_is_that_of_pot_for_more_fields_and_directions_than_go_at_once():
    x, y, directions = smooth(16, 230, 33), 2 * smooth(16, 130, 34), metrics.projections(16, 250, generator(35))
    flat = (fields.reshape(len(fields), -1) for fields in (x, y))
    expected = ot.sliced_wasserstein_distance(*flat, projections=directions, p=2)
    assert metrics.Reference(y, directions).sliced_wasserstein(x).value == pytest.approx(expected, rel=1e-12)


def test_fields_on_another_grid_than_the_reference_have_no_distance_to_it():
    with pytest.raises(ValueError, match="mismatch"):
        reference_of(smooth(32, 4, 36)).sliced_wasserstein(smooth(16, 16, 37))


def test_a_reference_that_is_dropped_is_gone_without_the_garbage_collector():
    reference = reference_of(smooth(16, 4, 38))
    for name in DISTANCES:
        getattr(reference, name)(smooth(16, 4, 39))
    for name in TESTS:
        getattr(reference, name)(smooth(16, 4, 39))
    gone = weakref.ref(reference)
    gc.disable()
    try:
        del reference
        assert gone() is None
    finally:
        gc.enable()


def test_a_share_has_the_binomial_error():
    assert metrics.share(np.array([True, True, True, False])).value == 0.75


def test_the_floor_is_the_distance_of_each_set_to_the_others():
    sets = [np.full((2, 3, 3), value, dtype=float) for value in (0.0, 1.0, 5.0)]
    estimate = metrics.floor(lambda x, y: metrics.Estimate(abs(x.mean() - y.mean())), sets)
    distances = [3.0, 1.5, 4.5]
    assert estimate.value == pytest.approx(np.mean(distances))
    assert estimate.stderr == pytest.approx(np.std(distances, ddof=1))


def test_the_vendi_score_is_that_of_the_similarities_for_few_fields_and_for_many():
    rng = np.random.default_rng(0)
    for n in (5, 40):  # fewer and more than the 16 pixels
        x = rng.normal(size=(n, 4, 4))
        rows = x.reshape(n, -1) / np.linalg.norm(x.reshape(n, -1), axis=1, keepdims=True)
        eigenvalues = np.linalg.eigvalsh(rows @ rows.T / n)
        entropy = -sum(value * np.log(value) for value in eigenvalues if value > 1e-12)
        assert metrics.vendi_score(x).value == pytest.approx(np.exp(entropy))


def test_rescaling_takes_offset_and_amplitude_away():
    x = np.random.default_rng(0).uniform(size=(3, 4, 4))
    low, high = x.min(axis=(1, 2), keepdims=True), x.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(metrics.rescaled(7 - 0.01 + 5 * x), (x - low) / (high - low))
    assert metrics.rescaled(np.full((1, 4, 4), 3.0)).tolist() == np.zeros((1, 4, 4)).tolist()


def test_the_jackknife_of_a_mean_is_its_standard_error_and_adds_to_that_of_directions():
    x = np.random.default_rng(0).normal(size=(8, 2, 2))
    means = x.mean(axis=(1, 2))
    error = means.std(ddof=1) / 8**0.5
    plain = metrics.jackknife(lambda x: {"mean": metrics.Estimate(float(x.mean()))}, x)
    drawn = metrics.jackknife(lambda x: {"mean": metrics.Estimate(float(x.mean()), 3.0)}, x)
    assert plain["mean"].value == drawn["mean"].value == pytest.approx(means.mean())
    assert plain["mean"].stderr == pytest.approx(error)
    assert drawn["mean"].stderr == pytest.approx((error**2 + 9) ** 0.5)


@pytest.mark.parametrize("n", [2, 3, 20])
def test_the_jackknife_leaves_every_field_out_once(n):
    seen = []

    def measure(x):
        seen.append(x[:, 0, 0].astype(int).tolist())
        return {"count": metrics.Estimate(len(x))}

    metrics.jackknife(measure, np.arange(n)[:, None, None] * np.ones((1, 2, 2)))
    left_out = [set(range(n)) - set(kept) for kept in seen if len(kept) < n]
    assert len(left_out) == min(n, 8)
    assert sorted(i for part in left_out for i in part) == list(range(n))


def test_the_jackknife_predicts_how_distances_vary_between_sets_of_samples():
    rng = np.random.default_rng(0)
    reference = reference_of(rng.normal(size=(400, 6, 6)), 50)

    def measure(x):
        return {
            "sliced_wasserstein": metrics.Estimate(reference.sliced_wasserstein(x).value),
            "spectrum_distance": reference.spectrum_distance(x),
            "vendi_score": metrics.vendi_score(x),
        }

    sets = [metrics.jackknife(measure, 0.7 + rng.normal(size=(64, 6, 6))) for _ in range(40)]
    for name in sets[0]:
        spread = np.std([estimates[name].value for estimates in sets], ddof=1)
        predicted = np.mean([estimates[name].stderr for estimates in sets])
        assert predicted == pytest.approx(spread, rel=0.5), name


def test_mld_evaluate_gives_the_values_and_errors_of_the_jackknife(files):
    x, y = read_tensors(files.samples)[0]["samples"].numpy(), read_tensors(files.data)[0]["reference"].numpy()
    reference = metrics.Reference(y, metrics.projections(8, 4, generator(0, "projections", 8)))

    def measure(x):
        return {
            "sliced_wasserstein": reference.sliced_wasserstein(x),
            "moment_sliced_wasserstein": reference.moment_sliced_wasserstein(x),
            "spectrum_distance": reference.spectrum_distance(x),
            "histogram_distance": reference.histogram_distance(x),
            "vendi_score": metrics.vendi_score(x),
        }

    rows = read_csv(files.metrics).set_index("metric")
    expected = metrics.jackknife(measure, x, interactions=True)
    expected["vendi_score"] = metrics.jackknife(measure, x)["vendi_score"]
    for name, estimate in expected.items():
        assert (rows.value[name], rows.stderr[name]) == pytest.approx((estimate.value, estimate.stderr), rel=1e-6)


def test_mld_evaluate_counts_the_fields_of_the_first_component(mld, files, tiny, tmp_path):
    prior = build_prior(parse(ArmSpec, tiny(), "tiny"))
    first, second = GaussianMixture(prior).means(Torus(8)).float()
    samples, out = prior.sample(4, Torus(8), generator(1, "fields")), tmp_path / "metrics.csv"
    samples += torch.stack([first] * 3 + [second])
    write_tensors(tmp_path / "samples", {"samples": samples}, read_tensors(files.samples)[1])
    assert mld("evaluate", tmp_path / "samples", "--data", files.data, "--projections", 2, "-o", out).code == 0
    assert read_csv(out).set_index("metric").value["component_share"] == 3 / 4


def white(count, seed, n=8, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(count, n, n))


@pytest.mark.parametrize("count", [24, 30, 7])
def test_the_greatest_sliced_distance_is_that_of_pot(count):
    x, y, directions = smooth(16, count, 40), 1.5 * smooth(16, 30, 41), metrics.projections(16, 150, generator(42))
    flat = (fields.reshape(len(fields), -1) for fields in (x, y))
    expected = ot.sliced.max_sliced_wasserstein_distance(*flat, projections=directions, p=2)
    reference = metrics.Reference(y, directions)
    assert reference.max_sliced_wasserstein(x).value == pytest.approx(expected, rel=1e-12)
    assert reference.max_sliced_wasserstein(x).value > reference.sliced_wasserstein(x).value


@pytest.mark.parametrize("name", DISTANCES)
def test_a_part_of_a_set_is_measured_as_if_nothing_else_were_known(name):
    """Nearest neighbours aside, which are sought among as many true fields as the whole set has."""
    reference, x = reference_of(smooth(16, 30, 43), 20), 1.2 * smooth(16, 20, 44)
    kept, again = np.arange(20) % 4 != 1, np.arange(15) % 5 != 2
    part = metrics.Subset(x)[kept][again]
    if name != "nearest_neighbour_accuracy":
        expected = getattr(reference, name)(x[kept][again]).value
        assert getattr(reference, name)(part).value == pytest.approx(expected, rel=1e-9)
    assert metrics.vendi_score(part).value == pytest.approx(metrics.vendi_score(x[kept][again]).value)
    assert len(part) == 12


def test_the_shells_of_the_spectrum_begin_half_a_wavenumber_below_their_radius():
    """Radii rounded down would put (2, 2) elsewhere, rounded up (1, 1)."""
    x = np.arange(16) / 16
    for (k1, k2), shell in {(1, 1): 1, (2, 1): 2, (2, 2): 3, (3, 2): 4, (3, 3): 4}.items():
        u = np.cos(2 * np.pi * (k1 * x[:, None] + k2 * x))[None]
        assert metrics.radial_spectrum(u).argmax() == shell


def test_the_histogram_has_fifty_equal_bins_over_the_range_of_the_reference():
    """More would tell values within a bin apart, fewer would not tell neighbouring bins apart."""
    bins = np.arange(50)

    def distance(x, y):
        return reference_of(np.array(y)[:, None, None]).histogram_distance(np.array(x)[:, None, None]).value

    early, late = [0, *(bins + 0.25), 50], [0, *(bins + 0.75), 50]
    assert distance(late, early) == pytest.approx(0, abs=1e-12)
    even, odd = [0, *(bins[::2] + 0.5), 50], bins[1::2] + 0.5
    assert distance(odd, even) == pytest.approx(26 / 27)  # 50 is in the last bin
    assert distance([-1, 51], even) == pytest.approx(1)


def test_a_far_sample_cannot_spoil_the_histogram():
    x, y = smooth(16, 20, 45), 3 + smooth(16, 20, 46)
    before = reference_of(y).histogram_distance(x).value
    far = np.concatenate([x, np.full((1, 16, 16), 1e6)])
    assert reference_of(y).histogram_distance(far).value == pytest.approx((20 * before + 1) / 21, abs=1 / 21)
    assert reference_of(y).histogram_distance(far).value > 0.9 * before


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.3), (0.4, 1.0), (0.0, 1.0), (30.0, 1.0), (0.0, 20.0)])
def test_the_pixel_distance_is_the_wasserstein_distance_of_all_pixels(shift, scale):
    x, y = shift + scale * smooth(16, 20, 47), smooth(16, 30, 48)
    expected = stats.wasserstein_distance(x.ravel(), y.ravel())
    assert reference_of(y).pixel_distance(x).value == pytest.approx(expected, abs=1e-3 * np.ptp(y), rel=1e-6)


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize(("n", "near", "far"), [(8, 1, 1), (32, 1, 4), (50, 2, 6), (64, 2, 8)])
def test_increments_are_of_whole_steps_along_both_axes(n, near, far, wraps):
    x, y = white(3, 49, n), white(4, 50, n, 1.4)
    reference = metrics.Reference(y, metrics.projections(n, 2, generator(51)), wraps=wraps)

    def increments(u, h):
        pairs = [(np.roll(u, -h, axis) - u).swapaxes(1, axis) for axis in (1, 2)]
        return np.concatenate([d if wraps else d[:, : n - h] for d in pairs]).ravel()

    for name, h in {"near": near, "far": far}.items():
        dx, dy = increments(x, h), increments(y, h)
        found = getattr(reference, f"increment_distance_{name}")(x).value
        assert found == pytest.approx(stats.wasserstein_distance(dx, dy), abs=1e-3 * np.ptp(dy))
        flatness = [(d**4).mean() / (d**2).mean() ** 2 for d in (dx, dy)]
        found = getattr(reference, f"increment_flatness_{name}")(x).value
        assert found == pytest.approx(abs(math.log10(flatness[0] / flatness[1])))


def test_flatness_is_blind_to_amplitude_and_tells_jumps_from_waves():
    x = smooth(16, 20, 52)
    reference = reference_of(x)
    assert reference.increment_flatness_far(7 * x).value == pytest.approx(0, abs=1e-12)
    assert reference.increment_flatness_far(np.sign(x)).value > 0.05
    assert math.isfinite(reference.increment_flatness_near(np.ones_like(x)).value)


def kernel(x, y, width):
    squares = ((x[:, None] - y) ** 2).mean(axis=(2, 3))
    return np.mean([np.exp(-squares / (2 * (scale * width) ** 2)) for scale in (0.25, 0.5, 1, 2)], axis=0)


def test_mmd_is_its_formula():
    x, y = white(9, 53), 0.2 + white(12, 54)
    width = np.median([math.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(y) for b in y[:i]])
    within = [(kernel(u, u, width).sum() - len(u)) / (len(u) * (len(u) - 1)) for u in (x, y)]
    expected = sum(within) - 2 * kernel(x, y, width).mean()
    assert reference_of(y).mmd(x).value == pytest.approx(expected, abs=1e-3 * abs(expected))


def test_mmd_has_no_bias():
    """Its mean over samples and references of one law is 0; that of the squared distance with the diagonal is not."""
    values = np.array([reference_of(white(10, 55 + i, 2)).mmd(white(6, 1055 + i, 2)).value for i in range(200)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert values.std() / math.sqrt(200) < 0.01


@pytest.mark.parametrize("name", TESTS)
def test_p_values_are_uniform_under_the_null_and_small_away_from_it(name):
    null = [getattr(reference_of(white(20, i, 4)), name)(white(15, 1000 + i, 4)).value for i in range(100)]
    assert all(1 / 500 <= p <= 1 for p in null)
    assert 0.05 < np.mean(np.array(null) <= 0.2) < 0.4
    assert np.mean(np.array(null) <= 0.05) < 0.15
    reference = reference_of(white(64, 0))
    assert getattr(reference, name)(0.5 + white(64, 1)).value == 1 / 500
    assert getattr(reference, name)(0.6 * white(64, 2)).value == 1 / 500


def test_the_p_value_of_mmd_is_that_of_exchanges_of_the_pooled_fields():
    """The rank of the given mmd among those of exchanges, each computed from its definition."""
    x, y = white(5, 60, 4), 0.3 + white(6, 61, 4)
    pooled, rng = np.concatenate([x, y]), np.random.default_rng(5)
    width = np.median([math.sqrt(((a - b) ** 2).mean()) for i, a in enumerate(y) for b in y[:i]])
    k = kernel(pooled, pooled, width) - np.eye(11)

    def mmd(order):
        first, second = order[:5], order[5:]
        within = k[np.ix_(first, first)].sum() / 20 + k[np.ix_(second, second)].sum() / 30
        return within - 2 * k[np.ix_(first, second)].mean()

    values = np.array([mmd(rng.permutation(11)) for _ in range(2000)])
    expected = (values >= mmd(np.arange(11)) - 1e-12).mean()
    assert reference_of(y).mmd_p_value(x).value == pytest.approx(expected, abs=0.08)


def test_nearest_neighbours_tell_what_is_apart_and_nothing_else():
    y = white(40, 62)
    reference = reference_of(y)
    assert reference.nearest_neighbour_accuracy(100 + white(40, 63)).value == 1
    assert reference.nearest_neighbour_accuracy(y + 1e-6 * white(40, 64)).value == 0  # copies
    values = [
        reference_of(white(40, 65 + i, 2)).nearest_neighbour_accuracy(white(40, 965 + i, 2)).value for i in range(60)
    ]
    assert np.mean(values) == pytest.approx(39 / 79, abs=4 * np.std(values) / math.sqrt(60))


def test_nearest_neighbours_are_sought_by_hand():
    x, y = white(7, 66, 3), 0.4 + white(9, 67, 3)
    pooled = np.concatenate([x, y[:7]])
    squares = ((pooled[:, None] - pooled) ** 2).sum(axis=(2, 3)) + 1e9 * np.eye(14)
    same = (squares.argmin(axis=1) < 7) == (np.arange(14) < 7)
    assert reference_of(y).nearest_neighbour_accuracy(x).value == pytest.approx(same.mean())


def test_tests_take_the_first_thousand_fields_of_either_set():
    x, y = white(1010, 68, 3), white(1020, 69, 3)
    few, many = reference_of(y[:1000]), reference_of(y)
    for name in ("mmd", "nearest_neighbour_accuracy", *TESTS):
        assert getattr(many, name)(x).value == pytest.approx(getattr(few, name)(x[:1000]).value, rel=1e-9)


def mixture(count, seed, share=0.5, scale=1.0):
    rng = np.random.default_rng(seed)
    return np.where(rng.uniform(size=(count, 1, 1)) < share, 3.0, -3.0) + scale * rng.normal(size=(count, 4, 4))


def test_within_components_their_share_does_not_count_and_their_law_does():
    directions = metrics.projections(4, 100, generator(70))
    reference = metrics.Reference(mixture(600, 71), directions, members=lambda x: x.mean(axis=(1, 2)) > 0)
    even, odd, wide = mixture(300, 72), mixture(300, 73, share=0.8), mixture(300, 74, scale=1.5)
    within, plain = reference.sliced_wasserstein_within, reference.sliced_wasserstein
    assert plain(odd).value > 5 * plain(even).value
    assert within(odd).value < 1.5 * within(even).value
    assert within(wide).value > 2 * within(even).value


def test_the_distance_within_components_is_that_of_each_weighted_by_the_reference():
    directions = metrics.projections(4, 30, generator(75))
    x, y = mixture(40, 76, 0.3, 1.2), mixture(50, 77, 0.7)
    members = lambda x: x.mean(axis=(1, 2)) > 0  # noqa: E731
    reference, weights = metrics.Reference(y, directions, members=members), members(y).mean()
    squares = [
        metrics.Reference(y[of_y], directions).sliced_wasserstein(x[of_x]).value ** 2
        for of_x, of_y in ((members(x), members(y)), (~members(x), ~members(y)))
    ]
    expected = math.sqrt(weights * squares[0] + (1 - weights) * squares[1])
    assert reference.sliced_wasserstein_within(x).value == pytest.approx(expected)
    first, alone = x[members(x)], np.concatenate([x[members(x)], x[~members(x)][:1]])
    for sample in (first, alone):  # the other component has less than two fields, and is left out
        assert reference.sliced_wasserstein_within(sample).value == pytest.approx(math.sqrt(squares[0]))
    one_of_each = np.stack([x[members(x)][0], x[~members(x)][0]])
    found = reference.sliced_wasserstein_within(one_of_each)
    assert found == reference.sliced_wasserstein(one_of_each)
    with pytest.raises(ValueError, match="no components"):
        metrics.Reference(y, directions).sliced_wasserstein_within(x)


def test_the_deviation_is_the_root_of_the_total_variance():
    y = 5 + smooth(16, 40, 78)
    assert reference_of(y).deviation == pytest.approx(math.sqrt(((y - y.mean(axis=0)) ** 2).mean()))


def test_floors_are_means_over_disjoint_sets_with_their_error():
    truth = np.random.default_rng(0).normal(size=(23, 2, 2))

    def measure(x):
        return {"mean": metrics.Estimate(float(x.fields.mean()))}

    found, count = metrics.floors(measure, truth, 4)
    means = truth[:20].reshape(5, 4, 4).mean(axis=(1, 2))
    assert count == 5
    assert (found["mean"].value, found["mean"].stderr) == pytest.approx((means.mean(), means.std(ddof=1) / 5**0.5))
    alone, count = metrics.floors(measure, truth, 12)
    assert (alone, count) == (metrics.jackknife(measure, metrics.Subset(truth[:12])), 1)
    assert metrics.floors(measure, np.zeros((70, 2, 2)), 4)[1] == 16
    with pytest.raises(ValueError, match="no set of 24"):
        metrics.floors(measure, truth, 24)


def test_interactions_of_samples_are_counted_once():
    """Of a product of two means that are 0 the jackknife's variance is twice the true one, but for the surplus."""
    rng = np.random.default_rng(0)

    def measure(x):
        sums = x.sum(axis=0)
        return {"product": metrics.Estimate(float((sums**2 - (x**2).sum(axis=0)).mean() / len(x) / (len(x) - 1)))}

    sets = [rng.normal(size=(32, 8, 8)) for _ in range(300)]
    spread = np.std([measure(x)["product"].value for x in sets])
    plain, mended = (
        np.sqrt(np.mean([metrics.jackknife(measure, x, interactions)["product"].stderr ** 2 for x in sets]))
        for interactions in (False, True)
    )
    assert plain > 1.3 * spread
    assert mended == pytest.approx(spread, rel=0.2)


def test_interactions_change_nothing_of_a_mean():
    x = np.random.default_rng(0).normal(size=(16, 2, 2))
    plain, mended = (
        metrics.jackknife(lambda x: {"mean": metrics.Estimate(float(x.mean()))}, x, interactions)["mean"]
        for interactions in (False, True)
    )
    assert mended.stderr == pytest.approx(plain.stderr)
