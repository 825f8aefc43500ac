import math
from itertools import pairwise

import pytest
import torch

from multilevel_diffusion.grids import Torus, restrict, squared_norm, wavenumbers
from multilevel_diffusion.priors import Bessel, Combined, FNOPrior, Laplacian, Standard, draw_mode_weights
from multilevel_diffusion.storage import generator

NATIVE = 64
GRIDS = [16, 32, 33, 64]


def weights(modes=(14, 7)):
    return draw_mode_weights(modes, generator(1, "prior"))


PRIORS = {
    "standard": Standard(NATIVE),
    "fno": FNOPrior(NATIVE, weights()),
    "fno beyond the grid": FNOPrior(NATIVE, weights((32, 16))),
    "laplacian": Laplacian(NATIVE, 10.0),
    "bessel": Bessel(NATIVE, 100.0, 0.55),
    "combined": Combined(NATIVE, weights(), 10.0, 0.5),
}


@pytest.fixture(params=PRIORS, name="prior")
def _prior(request):
    return PRIORS[request.param]


def full_spectrum(prior, n):
    """λ on the whole FFT lattice by Hermitian symmetry."""
    half = prior.spectrum(Torus(n))
    k = torch.fft.fftfreq(n, 1 / n).round().long()
    k1, k2 = k[:, None].expand(n, n), k[None, :].expand(n, n)
    flip = k2 < 0
    return half[torch.where(flip, -k1, k1) % n, torch.where(flip, -k2, k2)]


@pytest.mark.parametrize("n", GRIDS)
def test_the_covariance_of_samples_is_diagonal_with_the_spectrum(prior, n):
    grid, draws = Torus(n), 2000
    eta = prior.sample(draws, grid, generator(2, n), torch.float64)
    power = torch.fft.rfft2(eta, norm="forward").abs().square()
    spectrum = prior.spectrum(grid)
    noisy = spectrum > 0
    deviation = (power.mean(0) - spectrum)[noisy] / (power.std(0)[noisy] / math.sqrt(draws))
    assert deviation.abs().max() < 5.5
    assert deviation.square().mean() == pytest.approx(1, abs=0.35)
    assert power[:, ~noisy].sum() < 1e-20
    coefficients = torch.fft.rfft2(eta, norm="forward")
    pairs = coefficients[:, 1, 1:4].conj() * coefficients[:, 2, 1:4]
    assert pairs.mean(0).abs().max() < 5 * (spectrum[1, 1:4] * spectrum[2, 1:4]).sqrt().max() / math.sqrt(draws) + 1e-30


@pytest.mark.parametrize("n", GRIDS)
def test_trace_and_pixel_deviation_are_those_of_samples(prior, n):
    grid = Torus(n)
    eta = prior.sample(1000, grid, generator(3, n), torch.float64)
    norms = squared_norm(eta)
    assert abs(norms.mean() - prior.trace(grid)) < 4.5 * norms.std() / math.sqrt(len(norms))
    assert prior.trace(grid) == pytest.approx(full_spectrum(prior, n).sum().item(), rel=1e-12)
    assert prior.pixel_std(grid) == pytest.approx(math.sqrt(prior.trace(grid)))


def test_one_operator_acts_on_every_grid(prior):
    """λ at a wavenumber is the same on every grid that resolves it: coarse spectra are cut out of fine ones."""
    fine = prior.spectrum(Torus(64))
    for n in (16, 32, 33):
        k1, k2 = wavenumbers(n)
        inside = (2 * k1.abs() < n) & (2 * k2 < n)
        assert torch.equal(prior.spectrum(Torus(n))[inside], fine[k1, k2][inside])


def test_restricted_noise_and_noise_of_the_small_grid_agree_in_law_off_nyquist(prior):
    draws = 2000
    eta = prior.sample(draws, Torus(48), generator(4), torch.float64)
    power = torch.fft.rfft2(restrict(eta, Torus(48), Torus(16)), norm="forward").abs().square()
    k1, k2 = wavenumbers(16)
    spectrum = prior.spectrum(Torus(16))
    kept = (2 * k1.abs() < 16) & (2 * k2 < 16) & (spectrum > 0)
    deviation = (power.mean(0) - spectrum)[kept] / (power.std(0)[kept] / math.sqrt(draws))
    assert deviation.abs().max() < 5


def test_coloring_is_self_adjoint_and_its_square_is_the_covariance(prior):
    grid = Torus(32)
    u, v = (torch.randn(32, 32, generator=generator(seed), dtype=torch.float64) for seed in (5, 6))
    assert (u * prior.color(v, grid)).mean() == pytest.approx((prior.color(u, grid) * v).mean().item(), rel=1e-10)
    twice = prior.color(prior.color(u, grid), grid)
    expected = torch.fft.ifft2(torch.fft.fft2(u) * full_spectrum(prior, 32)).real
    torch.testing.assert_close(twice, expected, rtol=1e-10, atol=1e-14)


def test_projection_removes_the_kernel_alone(prior):
    grid = Torus(32)
    u = torch.randn(32, 32, generator=generator(7), dtype=torch.float64)
    projected = prior.project(u, grid)
    spectrum, kernel = torch.fft.rfft2(projected, norm="forward"), prior.kernel(grid)
    assert spectrum[kernel].abs().sum() < 1e-13
    torch.testing.assert_close(spectrum[~kernel], torch.fft.rfft2(u, norm="forward")[~kernel], rtol=0, atol=1e-13)


def test_amplitudes_are_those_of_the_definitions():
    k1, k2 = torch.tensor([0, 3, -3, 20]), torch.tensor([0, 4, 4, 1])
    mu = (2 * math.pi) ** 2 * torch.tensor([0.0, 25.0, 25.0, 401.0], dtype=torch.float64)
    w = weights()
    at = torch.stack([w[14, 0], w[17, 4], w[11, 4], torch.tensor(0j)])
    tail = torch.tensor([0.0, *(10 * mu[1:] ** -0.55)], dtype=torch.float64)
    expected = {
        "standard": torch.ones(4, dtype=torch.float64),
        "fno": at.abs(),
        "laplacian": tail,
        "bessel": (100 + mu) ** -0.55,
        "combined": (0.5 * at + tail).abs(),
    }
    for name, amplitude in expected.items():
        torch.testing.assert_close(PRIORS[name].amplitude(k1, k2), amplitude, rtol=1e-14, atol=0)


def test_an_index_at_nyquist_carries_the_mean_over_the_signs_it_stands_for():
    prior, n = PRIORS["fno beyond the grid"], 16

    def eigenvalue(k1, k2):
        return (prior.amplitude(torch.tensor([k1]), torch.tensor([k2])).square() / NATIVE**2).item()

    spectrum = prior.spectrum(Torus(n))
    assert spectrum[8, 3].item() == pytest.approx((eigenvalue(-8, 3) + eigenvalue(8, 3)) / 2)
    assert spectrum[3, 8].item() == pytest.approx((eigenvalue(3, 8) + eigenvalue(3, -8)) / 2)
    assert spectrum[8, 8].item() == pytest.approx((eigenvalue(8, 8) + eigenvalue(8, -8)) / 2)
    assert eigenvalue(-8, 3) != eigenvalue(8, 3)


def test_mode_weights_make_a_real_kernel_in_their_ranges():
    m1, m2 = 14, 7
    w = weights((m1, m2))
    k = torch.arange(1, m1 + 1)
    assert torch.equal(w[m1 + k, 0], w[m1 - k, 0].conj())
    assert w[-1, 1:].abs().sum() == 0
    drawn = torch.cat([w[:-1, 1:].flatten(), w[m1:-1, 0], w[:1, 0]])
    assert drawn.real.min() >= 0.2
    assert drawn.real.max() <= 1.0
    assert drawn.imag.min() >= 0.0
    assert drawn.imag.max() <= 0.8
    assert drawn.real.mean() == pytest.approx(0.6, abs=0.06)
    assert drawn.imag.mean() == pytest.approx(0.4, abs=0.06)


def test_only_trace_class_priors_have_a_pixel_deviation_that_converges():
    for name, prior in PRIORS.items():
        traces = [prior.trace(Torus(n)) for n in (64, 128, 256, 512, 1024)]
        steps = [after - before for before, after in pairwise(traces)]
        converges = all(after <= 0.95 * before + 1e-12 for before, after in pairwise(steps))
        assert converges == prior.trace_class, name
    assert Standard(NATIVE).pixel_std(Torus(128)) == 2.0
    assert not Bessel(NATIVE, 8.0, 0.5).trace_class


@pytest.mark.parametrize("n", [7, 8])
def test_whitening_undoes_coloring_and_the_log_density_is_that_of_the_pixel_vector(n):
    grid = Torus(n)
    prior = Combined(8, weights((2, 2)), 1.0, 0.5)
    u = prior.sample(3, grid, generator(1), torch.float64)
    torch.testing.assert_close(prior.color(prior.whiten(u, grid), grid), u)
    identity = torch.eye(n * n, dtype=torch.float64).reshape(-1, n, n)
    root = prior.color(n * identity, grid).reshape(n * n, n * n)
    law = torch.distributions.MultivariateNormal(torch.zeros(n * n, dtype=torch.float64), root.T @ root)
    torch.testing.assert_close(prior.log_density(u, grid), law.log_prob(u.flatten(1)), rtol=1e-9, atol=1e-7)


def test_whitening_leaves_the_kernel_at_zero():
    prior, grid = Laplacian(8, 1.0), Torus(8)
    u = 1 + prior.sample(2, grid, generator(1), torch.float64)
    torch.testing.assert_close(prior.color(prior.whiten(u, grid), grid), prior.project(u, grid))
    assert prior.whiten(u, grid).mean().abs() < 1e-12
