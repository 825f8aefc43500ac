import gc
import math
import weakref

import numpy as np
import ot
import pytest
import torch

from multilevel_diffusion import metrics
from multilevel_diffusion.builders import build_prior
from multilevel_diffusion.grids import Torus, prolong, white_noise
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.priors import Laplacian
from multilevel_diffusion.settings import ArmSpec, parse
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


def test_histograms_of_equal_and_of_disjoint_pixels():
    x = smooth(16, 10, 19)
    assert reference_of(x[::-1]).histogram_distance(x).value == 0
    assert reference_of(x + 2 * np.ptp(x)).histogram_distance(x).value == pytest.approx(1)


DISTANCES = ("sliced_wasserstein", "moment_sliced_wasserstein", "spectrum_distance", "histogram_distance")


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
    for name, expected in metrics.jackknife(measure, x).items():
        assert (rows.value[name], rows.stderr[name]) == pytest.approx((expected.value, expected.stderr), rel=1e-6)


def test_mld_evaluate_counts_the_fields_of_the_first_component(mld, files, tiny, tmp_path):
    prior = build_prior(parse(ArmSpec, tiny(), "tiny"))
    first, second = GaussianMixture(prior).means(Torus(8)).float()
    samples, out = prior.sample(4, Torus(8), generator(1, "fields")), tmp_path / "metrics.csv"
    samples += torch.stack([first] * 3 + [second])
    write_tensors(tmp_path / "samples", {"samples": samples}, read_tensors(files.samples)[1])
    assert mld("evaluate", tmp_path / "samples", "--data", files.data, "--projections", 2, "-o", out).code == 0
    assert read_csv(out).set_index("metric").value["component_share"] == 3 / 4
