import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from multilevel_diffusion import features
from multilevel_diffusion.classifier import Classifier, DigitNetwork
from multilevel_diffusion.features import (
    DigitReference,
    Neighbourhoods,
    class_entropy,
    frechet_distance,
    legible,
    moments,
)
from multilevel_diffusion.grids import Torus, restrict


def measured_by(reference, x):
    names = ("frechet_distance", "density", "coverage", "class_entropy", "legible_share")
    return {name: getattr(reference, name)(x) for name in names}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def covariance(rng, d):
    factor = rng.standard_normal((d, d))
    return factor @ factor.T


def isometry(rng, d, into):
    return np.linalg.qr(rng.standard_normal((into, d)))[0]


def test_the_frechet_distance_of_commuting_gaussians_is_that_of_means_and_standard_deviations(rng):
    (m, n), (s, t), q = rng.standard_normal((2, 6)), rng.uniform(0.1, 2, (2, 6)), isometry(rng, 6, 6)
    first, second = ((mean, q * spread**2 @ q.T) for mean, spread in ((m, s), (n, t)))
    expected = ((m - n) ** 2).sum() + ((s - t) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_the_frechet_distance_of_any_gaussians_is_that_of_the_matrix_root(rng):
    first, second = ((rng.standard_normal(6), covariance(rng, 6)) for _ in range(2))
    (m, c), (n, d) = first, second
    expected = ((m - n) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-10)


def test_fewer_fields_than_features_change_nothing(rng):
    """Features in a plane of R⁴⁰ are as far apart as in the plane."""
    x, y, embed = rng.standard_normal((5, 2)), rng.standard_normal((7, 2)) * 3 + 1, isometry(rng, 2, 40)
    expected = frechet_distance(moments(x), moments(y))
    assert frechet_distance(moments(x @ embed.T), moments(y @ embed.T)) == pytest.approx(expected, rel=1e-7)
    orthogonal = (isometry(rng, 4, 40) * math.sqrt(40)).T  # two fields each, in planes that meet at right angles
    far = frechet_distance(moments(orthogonal[:2]), moments(orthogonal[2:]))
    assert far == pytest.approx(((orthogonal[:2].mean(0) - orthogonal[2:].mean(0)) ** 2).sum() + 40, rel=1e-7)


def test_the_same_features_are_at_frechet_distance_0_and_moved_ones_as_far_as_they_are_moved(rng):
    x, move = rng.standard_normal((20, 32)), rng.standard_normal(32)
    assert frechet_distance(moments(x), moments(x[::-1])) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(moments(x + move), moments(x)) == pytest.approx((move**2).sum(), rel=1e-10)


@pytest.mark.parametrize("chunk", [7, 1000])
def test_density_and_coverage_are_the_counts_of_their_definition(rng, monkeypatch, chunk):
    monkeypatch.setattr(features, "CHUNK", chunk)
    x, y, held, covered = rng.standard_normal((18, 3)) * 0.7, rng.standard_normal((23, 3)), 0, 0
    for centre in range(23):
        radius = sorted(math.dist(y[centre], y[j]) for j in range(23) if j != centre)[4]
        inside = sum(math.dist(y[centre], each) < radius for each in x)
        held, covered = held + inside, covered + (inside > 0)
    assert Neighbourhoods(y).density_and_coverage(x) == pytest.approx((held / (5 * 18), covered / 23))


@pytest.mark.parametrize("k", [1, 5])
def test_of_the_same_law_density_is_1_and_coverage_its_closed_form(rng, k):
    m, n = 24, 17
    drawn = [
        Neighbourhoods(rng.gamma(2, size=(m, 2)), k).density_and_coverage(rng.gamma(2, size=(n, 2))) for _ in range(600)
    ]
    means, errors = np.mean(drawn, axis=0), np.std(drawn, axis=0) / math.sqrt(600)
    expected = 1, 1 - math.prod((m - i) / (n + m - i) for i in range(1, k + 1))
    assert (np.abs(means - expected) < 4 * errors).all()
    assert (errors < 0.03).all()


def test_of_fewer_true_features_than_neighbours_the_farthest_bounds_the_ball():
    y = np.array([[0.0], [1.0], [3.0]])  # radii 3, 2 and 3
    assert Neighbourhoods(y).density_and_coverage(np.array([[2.5], [4.0]])) == pytest.approx((4 / 4, 1))
    assert Neighbourhoods(y).density_and_coverage(np.array([[4.0]])) == pytest.approx((1 / 2, 1 / 3))


def test_the_entropy_is_that_of_the_mean_probabilities():
    one_each = np.eye(10)
    assert class_entropy(one_each) == pytest.approx(math.log(10))
    assert class_entropy(np.full((3, 10), 0.1)) == pytest.approx(math.log(10))
    assert class_entropy(one_each[[4, 4, 4]]) == 0
    assert class_entropy(one_each[[4, 4, 4, 7]]) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_a_field_is_legible_from_nine_tenths_on():
    rest = np.full(10, 1.0)
    given = [np.where(np.arange(10) == 3, p, rest * (1 - p) / 9) for p in (0.1, 0.89, 0.91, 1)]
    assert list(legible(np.array(given))) == [False, False, True, True]


@pytest.fixture
def classifier():
    """Of random weights, with the statistics of some noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DigitNetwork().train()
        for _ in range(30):
            network(torch.rand(100, 32, 32))
    return Classifier(network.eval(), 0.1, {}, {})


def fields(rng, count, n):
    """Fields of random pixels, restricted from 32 points to fewer."""
    values = torch.from_numpy(rng.random((count, 32, 32), dtype=np.float32))
    return restrict(values, Torus(32), Torus(n)).numpy()


def test_what_is_seen_of_a_function_does_not_depend_on_the_grid(rng, classifier):
    values = torch.from_numpy(fields(rng, 6, 24))
    seen = [classifier(Torus(24).resample(values, Torus(n)).numpy(), Torus(n)) for n in (24, 32, 50, 64)]
    for each in seen[1:]:
        for found, expected in zip(each, seen[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(seen[0][0], axis=0).max() > 0.1


def test_probabilities_are_those_of_the_network_whatever_the_size_of_a_part(rng, classifier, monkeypatch):
    x = fields(rng, 9, 32)
    with torch.no_grad():
        expected = classifier.network(torch.from_numpy(x)).exp()
    found = classifier(x, Torus(32))[1]
    np.testing.assert_allclose(found, expected / expected.sum(dim=1, keepdim=True), rtol=1e-4)
    monkeypatch.setattr("multilevel_diffusion.classifier.CHUNK", 4)
    np.testing.assert_allclose(classifier(x, Torus(32))[1], found, rtol=1e-5)


def test_the_true_digits_themselves_are_at_distance_0_and_covered(rng, classifier):
    y = fields(rng, 30, 24)
    measured = measured_by(DigitReference(y, classifier, Torus(24)), y[::-1].copy())
    assert measured["frechet_distance"].value == pytest.approx(0, abs=1e-10)
    assert measured["coverage"].value == 1


def test_the_unit_of_features_does_not_matter_to_distances(rng, classifier):
    x, y, grid = fields(rng, 20, 16) + np.float32(0.3), fields(rng, 40, 16), Torus(16)
    before = measured_by(DigitReference(y, classifier, grid), x)
    with torch.no_grad():
        normalisation = classifier.network.body[-2]
        normalisation.weight *= 3
        normalisation.bias *= 3
    after = measured_by(DigitReference(y, classifier, grid), x)
    for name in ("frechet_distance", "density", "coverage"):
        assert after[name].value == pytest.approx(before[name].value, rel=1e-4)
    assert before["frechet_distance"].value > 0.01


def test_the_frechet_distance_is_in_units_of_the_spread_of_true_features(rng, classifier):
    x, y, grid = fields(rng, 20, 32) * np.float32(0.9), fields(rng, 40, 32), Torus(32)
    (seen, _), (true, _) = classifier(x, grid), classifier(y, grid)
    expected = frechet_distance(moments(seen), moments(true)) / true.var(axis=0).sum()
    measured = measured_by(DigitReference(y, classifier, grid), x)
    assert measured["frechet_distance"].value == pytest.approx(expected, rel=1e-8)
