import math
from itertools import pairwise

import pytest
import torch

from multilevel_diffusion.denoise import q_score
from multilevel_diffusion.gaussian import GaussianDenoiser, prior_law
from multilevel_diffusion.grids import Torus, restrict, squared_norm, wavenumbers
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.priors import Combined, FNOPrior, Laplacian, draw_mode_weights
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.stages.score_error import measure as score_error
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
NATIVE = 8
WEIGHTS = draw_mode_weights((2, 2), generator(0))
PRIORS = {
    "combined, full rank": Combined(NATIVE, WEIGHTS, 1.0, 0.5),
    "laplacian, mean in the kernel": Laplacian(NATIVE, 1.0),
    "fno, high modes in the kernel": FNOPrior(NATIVE, WEIGHTS),
}


def dense_covariance(prior, n):
    """The covariance matrix of the pixel vector, by colouring unit vectors."""
    identity = torch.eye(n * n, dtype=torch.float64).reshape(-1, n, n)
    root = prior.color(n * identity, Torus(n)).reshape(n * n, n * n)
    return root.T @ root


def dense_means(prior, n):
    """m_i = A f_i from the sawtooth's coefficients, mode by mode on the full lattice."""
    x = torch.arange(n, dtype=torch.float64) / n
    means = torch.zeros(2, n, n, dtype=torch.complex128)
    for k in range(-((n - 1) // 2), (n - 1) // 2 + 1):
        number = torch.tensor([[k]])
        zero = torch.zeros(1, 1, dtype=torch.int64)
        hat = (0.5, 0.5) if k == 0 else (1j / (2 * math.pi * k), -1j / (2 * math.pi * k))
        wave = torch.exp(2j * math.pi * k * x)
        means[0] += prior.amplitude(zero, number)[0, 0] * hat[0] * wave[None, :]
        means[1] += prior.amplitude(number, zero)[0, 0] * hat[1] * wave[:, None]
    return means.real


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS.keys())
@pytest.mark.parametrize("n", [6, 7, 8])
def test_the_exact_field_equals_the_dense_computation(prior, n):
    """E[η|u] = b Σ_i w_i Q Q⁺ (u − a m_i), w_i from the Gaussian densities on the range of Q, all with dense matrices."""
    grid, batch = Torus(n), 5
    covariance, means = dense_covariance(prior, n), dense_means(prior, n)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    keep = eigenvalues > 1e-12 * eigenvalues.max()
    vectors, eigenvalues = vectors[:, keep], eigenvalues[keep]
    assert keep.sum() == round(n * n - full_kernel(prior, grid))

    stream = generator(1, n)
    t = torch.tensor([0.01, 0.1, 0.3, 0.6, 1.0], dtype=torch.float64)
    mixture = GaussianMixture(prior)
    u_0, eta = mixture.sample(batch, grid, stream, torch.float64), prior.sample(batch, grid, stream, torch.float64)
    u = SDE.perturb(u_0, t, eta) + 0.3 * torch.randn(batch, n, n, generator=stream, dtype=torch.float64)

    a, b = SDE.mean_scale(t), SDE.noise_scale(t)
    residual = u[:, None] - a[:, None, None, None] * means
    coordinates = residual.reshape(batch, 2, -1) @ vectors
    log_density = -0.5 * (coordinates.square() / eigenvalues).sum(-1)
    w = torch.softmax(log_density, dim=1)
    projected = (coordinates @ vectors.T).reshape(batch, 2, n, n)
    expected = b[:, None, None] * (w[..., None, None] * projected).sum(1)

    noise = MixtureDenoiser(mixture, SDE).predict_noise(u, t, grid)
    torch.testing.assert_close(noise, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(
        mixture.log_odds(u, a, grid), log_density[:, 0] - log_density[:, 1], rtol=1e-8, atol=1e-8
    )


def full_kernel(prior, grid):
    n = grid.resolution
    kernel = prior.kernel(grid)
    _, k2 = wavenumbers(n)
    return (kernel * torch.where((k2 == 0) | (2 * k2 == n), 1, 2)).sum().item()


def test_the_q_score_is_q_times_the_gradient_of_the_log_density():
    prior, n = PRIORS["combined, full rank"], 7
    grid, mixture = Torus(n), GaussianMixture(PRIORS["combined, full rank"])
    covariance = dense_covariance(prior, n)
    precision, means = torch.linalg.inv(covariance), mixture.means(grid).reshape(2, -1)
    t = torch.tensor([0.2, 0.4], dtype=torch.float64)
    u = mixture.sample(2, grid, generator(2), torch.float64).requires_grad_()
    residual = u.reshape(2, 1, -1) - SDE.mean_scale(t)[:, None, None] * means
    log_p = torch.logsumexp(-0.5 * torch.einsum("bij,jk,bik->bi", residual, precision, residual), dim=1)
    (gradient,) = torch.autograd.grad(log_p.sum(), u)
    expected = (gradient.reshape(2, -1) @ covariance).reshape(2, n, n)
    actual = q_score(MixtureDenoiser(mixture, SDE), u.detach(), t, grid)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("n", [6, 7])
def test_the_log_density_is_relative_to_the_prior(n):
    """log ½ Σ N(u; a m_i, Q) − log N(u; 0, Q), with dense matrices."""
    prior, grid = PRIORS["combined, full rank"], Torus(n)
    mixture, covariance = GaussianMixture(prior), dense_covariance(prior, n)
    a = torch.tensor([1.0, 0.3], dtype=torch.float64)
    u = 2 * mixture.sample(2, grid, generator(9), torch.float64)

    def log_prob(mean):
        return torch.distributions.MultivariateNormal(mean.reshape(2, -1), covariance).log_prob(u.reshape(2, -1))

    components = torch.stack([log_prob(a[:, None, None] * mean) for mean in dense_means(prior, n)])
    expected = components.logsumexp(dim=0) - math.log(2) - log_prob(torch.zeros_like(u))
    torch.testing.assert_close(mixture.log_density(u, a, grid), expected, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("n", [16, 17, 64])
def test_the_mixture_is_one_law_on_every_grid(n):
    """Means are the same band-limited functions, restricted; the field follows them exactly."""
    mixture = GaussianMixture(Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5))
    fine = mixture.means(Torus(96))
    torch.testing.assert_close(restrict(fine, Torus(96), Torus(n)), mixture.means(Torus(n)), rtol=0, atol=1e-12)


def test_samples_have_the_means_weights_and_spectrum_of_the_mixture():
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    grid, mixture, draws = Torus(32), GaussianMixture(prior), 4000
    u = mixture.sample(draws, grid, generator(3), torch.float64)
    first = mixture.log_odds(u, torch.ones(draws, dtype=torch.float64), grid) > 0
    assert abs(first.double().mean() - 0.5) < 4 * 0.5 / math.sqrt(draws)
    for member, mean in zip((first, ~first), mixture.means(grid), strict=True):
        residual = torch.fft.rfft2(u[member] - mean, norm="forward").abs().square()
        deviation = (residual.mean(0) - prior.spectrum(grid)) / (residual.std(0) / math.sqrt(member.sum()))
        assert deviation.abs().max() < 5
    assert mixture.means(grid)[0].std(dim=0).max() < 1e-12
    assert mixture.means(grid)[1].std(dim=1).max() < 1e-12


def test_the_exact_field_is_the_minimiser_of_the_denoising_loss():
    """Any perturbation of E[η|u_t] costs its squared norm: the loss of the exact field is a strict minimum."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    grid, n = Torus(16), 4000
    mixture, stream = GaussianMixture(prior), generator(4)
    t = torch.rand(n, generator=stream, dtype=torch.float64)
    eta = prior.sample(n, grid, stream, torch.float64)
    u_t = SDE.perturb(mixture.sample(n, grid, stream, torch.float64), t, eta)
    residual = eta - MixtureDenoiser(mixture, SDE).predict_noise(u_t, t, grid)
    for direction in (u_t, u_t.abs(), torch.tanh(u_t) * t[:, None, None], mixture.means(grid)[0].expand_as(u_t)):
        inner = (residual * direction).mean(dim=(1, 2))
        assert abs(inner.mean()) < 4.5 * inner.std() / math.sqrt(n)


def test_the_score_error_of_the_exact_field_is_zero_and_of_a_scaled_one_is_known():
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    exact = MixtureDenoiser(GaussianMixture(prior), SDE)

    class Scaled:
        sde, prior = exact.sde, exact.prior

        def predict_noise(self, u_t, t, grid):
            return 0.9 * exact.predict_noise(u_t, t, grid)

    def measure(denoiser, n, drawn_on=None):
        return score_error(
            denoiser, exact, Torus(n), batches=2, batch_size=16, generator=generator(5), drawn_on=drawn_on
        )

    for n, drawn_on in [(32, None), (51, None), (32, Torus(64))]:
        assert measure(exact, n, drawn_on)["squared_error"] == 0
        scaled = measure(Scaled(), n, drawn_on)
        assert scaled["relative"] == pytest.approx(0.01, rel=1e-4)
        assert scaled["stderr"] < 1e-6
        assert scaled["loss"] > scaled["exact_loss"]


def test_beside_the_score_error_stands_the_loss_of_the_gaussian_on_the_same_draws():
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    exact, law, draws = MixtureDenoiser(GaussianMixture(prior), SDE), prior_law(prior), {"batches": 2, "batch_size": 16}
    alone = score_error(GaussianDenoiser(law), exact, Torus(32), **draws, generator=generator(5), law=law)
    beside = score_error(exact, exact, Torus(32), **draws, generator=generator(5), law=law)
    assert alone["loss"] == alone["gaussian_loss"] == beside["gaussian_loss"] > beside["loss"]
    assert math.isnan(score_error(exact, exact, Torus(32), **draws, generator=generator(5))["gaussian_loss"])


class Zero:
    """Says E[η | u_t] = 0: its score error is the norm of the score, its loss half the trace."""

    sde = SDE

    def __init__(self, prior):
        self.prior = prior

    def predict_noise(self, u_t, t, grid):
        return torch.zeros_like(u_t)


def test_the_score_error_is_that_of_the_scaled_score_at_uniform_times():
    """E‖√α Q∇log p‖² by plain Monte Carlo over t ~ U(0, 1), against the stratified estimate of the squared norm."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    exact, grid, n, stream = MixtureDenoiser(GaussianMixture(prior), SDE), Torus(16), 4000, generator(7)
    measured = score_error(Zero(prior), exact, grid, batches=4, batch_size=1000, generator=generator(8))
    t = torch.rand(n, generator=stream, dtype=torch.float64)
    u_t = SDE.perturb(
        exact.mixture.sample(n, grid, stream, torch.float64), t, prior.sample(n, grid, stream, torch.float64)
    )
    norms = SDE.alpha(t) * squared_norm(q_score(exact, u_t, t, grid))
    assert measured["squared_norm"] == pytest.approx(norms.mean().item(), abs=4.5 * norms.std().item() / math.sqrt(n))
    assert measured["relative"] == 1
    assert measured["loss"] == pytest.approx(prior.trace(grid) / 2, rel=0.05)


def test_the_standard_error_of_the_score_error_is_its_spread_over_draws():
    """For an error that depends on t, which is stratified: independent draws would spread several times as wide."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    exact = MixtureDenoiser(GaussianMixture(prior), SDE)

    class Late(Zero):
        def predict_noise(self, u_t, t, grid):
            return exact.predict_noise(u_t, t, grid) * (1 - t[:, None, None])

    def measure(seed):
        return score_error(Late(prior), exact, Torus(16), batches=1, batch_size=64, generator=generator(seed, "spread"))

    draws = [measure(seed) for seed in range(60)]
    spread = torch.tensor([draw["relative"] for draw in draws], dtype=torch.float64).std().item()
    assert sum(draw["stderr"] for draw in draws) / 60 == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize("t", [0.05, 0.3, 1.0])
def test_truncating_the_forward_process_converges_like_the_tail_of_the_trace(t):
    """E‖X_t − P_K X_t‖² = Σ_{off K} λ_k + ½ a_t² Σ_i Σ_{off K} |m̂_i|² (theorem 3.2 of the paper), K the modes of a grid."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    grid, mixture, draws = Torus(128), GaussianMixture(prior), 300
    time = torch.full((draws,), t, dtype=torch.float64)
    stream = generator(6)
    u_0 = mixture.sample(draws, grid, stream, torch.float64)
    u_t = SDE.perturb(u_0, time, prior.sample(draws, grid, stream, torch.float64))

    def off(fields, n):
        return squared_norm(fields - Torus(n).resample(restrict(fields, grid, Torus(n)), grid))

    for n in (17, 33, 65, 97):
        error = off(u_t, n)
        means = SDE.mean_scale(time[:1]) ** 2 * off(mixture.means(grid), n).mean()
        expected = prior.trace(grid) - prior.trace(Torus(n)) + means.item()
        assert abs(error.mean() - expected) < 4.5 * error.std() / math.sqrt(draws) + 1e-3 * expected


def test_the_tail_of_the_combined_prior_falls_with_slope_minus_one_fifth():
    """Σ_{|k| > K} |k|^(−2.2) ~ K^(−0.2) in two dimensions: each doubling of the grid adds 2^(−0.2) of the last gain."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    traces = [prior.trace(Torus(n)) for n in (65, 129, 257, 513, 1025)]
    gains = [after - before for before, after in pairwise(traces)]
    slopes = [math.log2(after / before) for before, after in pairwise(gains)]
    assert slopes == pytest.approx([-0.2] * 3, abs=0.01)
