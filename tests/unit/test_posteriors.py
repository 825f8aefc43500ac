"""Exact posteriors against dense linear algebra on small grids."""

import pytest
import torch

from multilevel_diffusion import observations as observed
from multilevel_diffusion.gaussian import GaussianDenoiser, estimate
from multilevel_diffusion.grids import CellCentred, Torus, restrict
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.observations import Modes, Observations, Points, observe
from multilevel_diffusion.posteriors import Posterior
from multilevel_diffusion.priors import Bessel, Combined, Laplacian, draw_mode_weights
from multilevel_diffusion.storage import generator

NOISE = 0.3
POINTS = Points(torch.rand(4, 2, generator=generator(1), dtype=torch.float64))


def draws(n, count=300):
    noise = torch.randn(count, n, n, generator=generator(2), dtype=torch.float64)
    return 0.3 * noise.cumsum(1).cumsum(2) / n + torch.linspace(0, 1, n, dtype=torch.float64)


LAWS = {
    "stationary": lambda: (estimate(draws(7), Torus(7), Bessel(7, 8.0, 0.8), 0), Torus(7)),
    "full": lambda: (estimate(draws(7), Torus(7), Bessel(7, 8.0, 0.8), 2), Torus(7)),
    "full, on a coarser grid": lambda: (estimate(draws(7), Torus(7), Bessel(7, 8.0, 0.8), 2), Torus(6)),
    "mean in the kernel": lambda: (estimate(draws(7), Torus(7), Laplacian(7, 3.0), 2), Torus(7)),
    "between walls": lambda: (estimate(draws(7), CellCentred(7), Bessel(7, 8.0, 0.8), 0), CellCentred(7)),
    "mixture": lambda: (GaussianMixture(Combined(1, draw_mode_weights((2, 2), generator(0)), 1.0, 0.5)), Torus(7)),
    "mixture, finer": lambda: (GaussianMixture(Laplacian(1, 1.0)), Torus(8)),
}


@pytest.fixture(params=LAWS.values(), ids=LAWS.keys())
def case(request):
    """A law on a grid, observations of a draw, and the dense A (of values) and C."""
    law, grid = request.param()
    n = grid.resolution
    identity = torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n))
    if isinstance(law, GaussianMixture):
        half = law.prior.color(n * identity, grid).flatten(1)
    else:
        half = (
            law.at(n * identity, torch.zeros(n * n, dtype=torch.float64), grid) - law.mean_on(grid, identity)
        ).flatten(1)
    truth = law.components(grid, identity)[0] + law.fluctuations(1, grid, generator(3))[0]
    data = observe(POINTS, truth, grid, NOISE, generator(4))
    return law, grid, data, POINTS.apply(identity, grid).T, half.T @ half


def test_mean_variance_and_weights_are_those_of_dense_conditioning(case):
    law, grid, data, a, c = case
    means = law.components(grid, c).flatten(1)
    s = a @ c @ a.T + NOISE**2 * torch.eye(4, dtype=torch.float64)
    logs = [torch.distributions.MultivariateNormal(a @ m, s).log_prob(data.values) for m in means]
    weights = torch.stack(logs).softmax(dim=0)
    gain = c @ a.T @ torch.linalg.inv(s)
    expected = torch.stack([m + gain @ (data.values - a @ m) for m in means])
    mean = weights @ expected
    within = (c - gain @ a @ c).diagonal()
    between = weights @ (expected - mean).square()

    found = Posterior(law, data, grid)
    torch.testing.assert_close(found.weights, weights, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(found.means.flatten(1), expected, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.mean.flatten(), mean, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(found.variances().flatten(), within + between, rtol=1e-7, atol=1e-9)


def test_the_covariance_is_that_of_the_draws(case):
    law, grid, _, _, c = case
    n = grid.resolution
    identity = torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n))
    torch.testing.assert_close(law.covariance(n**2 * identity, grid).flatten(1), c, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(law.pixel_variances(grid).flatten(), c.diagonal(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["full", "mixture"])
def test_draws_have_the_mean_and_the_covariance(name):
    law, grid = LAWS[name]()
    n, count = grid.resolution, 20_000
    truth = law.components(grid, torch.zeros(1, dtype=torch.float64))[-1]
    posterior = Posterior(law, observe(POINTS, truth, grid, NOISE, generator(4)), grid)
    drawn = posterior.sample(count, generator(5)).flatten(1)
    deviations = posterior.variances().flatten().sqrt()
    z = (drawn.mean(dim=0) - posterior.mean.flatten()) / deviations * count**0.5
    assert z.abs().max() < 4.5
    assert (drawn.var(dim=0) / deviations**2 - 1).abs().max() < 4.5 * (2 / count) ** 0.5
    whole = POINTS.apply(drawn.unflatten(1, (n, n)), grid)
    identity = torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n))
    a = POINTS.apply(identity, grid).T
    c = law.covariance(n**2 * identity, grid).flatten(1)
    s = a @ c @ a.T
    expected = s - s @ torch.linalg.inv(s + NOISE**2 * torch.eye(4, dtype=torch.float64)) @ s
    centres = POINTS.apply(posterior.means, grid)
    for weight, centre in zip(posterior.weights, centres, strict=True):
        shift = centre - POINTS.apply(posterior.mean[None], grid)[0]
        expected = expected + weight * torch.outer(shift, shift)
    torch.testing.assert_close(whole.T.cov(), expected, rtol=0.1, atol=0.04 * expected.abs().max().item())


def test_much_noise_gives_the_prior(case):
    law, grid, data, _, _ = case
    found = Posterior(law, Observations(POINTS, data.values, 1e6), grid)
    components = law.components(grid, data.values)
    torch.testing.assert_close(found.mean, components.mean(dim=0), rtol=0, atol=1e-6)
    between = components.var(dim=0, correction=0)
    torch.testing.assert_close(found.variances(), law.pixel_variances(grid) + between, rtol=1e-6, atol=1e-8)


def test_without_noise_mean_and_draws_go_through_the_observations(case):
    law, grid, data, _, _ = case
    found = Posterior(law, Observations(POINTS, data.values, 0.0), grid)
    for fields in (found.mean[None], found.sample(3, generator(6))):
        seen = POINTS.apply(fields, grid)
        torch.testing.assert_close(seen, data.values.expand_as(seen), rtol=0, atol=1e-6)


def test_without_noise_a_coarse_grid_with_a_nyquist_frequency_is_gone_through():
    """The numbers of an even coarse grid depend on each other: S has no inverse."""
    law, grid = LAWS["stationary"]()
    operator = observed.coarse(Torus(6))
    data = observe(operator, draws(7)[0], grid, 0.0, generator(1))
    seen = operator.apply(Posterior(law, data, grid).mean[None], grid)[0]
    torch.testing.assert_close(seen, data.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["coarse", "modes"])
@pytest.mark.parametrize("mixture", [False, True])
def test_what_is_seen_of_coarse_modes_gives_the_same_posterior_on_every_grid(name, mixture):
    prior = Bessel(1, 8.0, 0.8)
    law = GaussianMixture(prior) if mixture else estimate(draws(9), Torus(9), Bessel(9, 8.0, 0.8), 1)
    operator = observed.coarse(Torus(5)) if name == "coarse" else Modes(Torus, 2)
    data = observe(operator, draws(9)[0], Torus(9), NOISE, generator(1))
    coarse, fine = (Posterior(law, data, Torus(n)) for n in (9, 16))
    torch.testing.assert_close(restrict(fine.means, Torus(16), Torus(9)), coarse.means, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(fine.weights, coarse.weights, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("modes", [0, 2])
def test_the_covariance_given_u_t_is_the_derivative_of_the_mean(modes):
    """Tweedie: D E[X_0 | u_t] = (a_t / b_t²) C_t Q⁻¹."""
    prior, grid, t = Bessel(7, 8.0, 0.8), Torus(7), torch.tensor([0.3], dtype=torch.float64)
    law = estimate(draws(7), grid, prior, modes)
    u, change = draws(7, 2)[:1], draws(7, 2)[1:]
    denoiser = GaussianDenoiser(law)
    moved = denoiser.predict_data(u + change, t, grid) - denoiser.predict_data(u, t, grid)
    a, b = law.sde.mean_scale(t), law.sde.noise_scale(t)
    whitened = prior.whiten(prior.whiten(change, grid), grid)
    torch.testing.assert_close(moved, a / b**2 * law.covariance(whitened, grid, t), rtol=1e-6, atol=1e-9)


def test_a_component_is_told_by_the_modes_in_which_it_lies_apart():
    mixture = GaussianMixture(Combined(16, draw_mode_weights((2, 2), generator(0)), 1.0, 0.5))
    for i, mean in enumerate(mixture.means(Torus(9))):
        data = observe(Modes(Torus, 3), mean, Torus(9), 1e-3, generator(1))
        assert Posterior(mixture, data, Torus(9)).weights[i] > 0.99
