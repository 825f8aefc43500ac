"""Conditioned denoisers against dense conditional means, gradients by differences, and exact posteriors."""

import pytest
import torch

from multilevel_diffusion import observations as observed
from multilevel_diffusion.builders import build
from multilevel_diffusion.conditioning import DPS, Guided, Projected
from multilevel_diffusion.errors import UserError
from multilevel_diffusion.gaussian import GaussianDenoiser, estimate
from multilevel_diffusion.grids import CellCentred, Torus, restrict, squared_norm
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.observations import Modes, Observations, Points, observe
from multilevel_diffusion.posteriors import Posterior
from multilevel_diffusion.priors import Bessel, Combined, Laplacian, draw_mode_weights
from multilevel_diffusion.sample import DPMSolver, time_grid
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import Start, TimeGrid, parse_method
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
NOISE = 0.2
POINTS = Points(torch.rand(4, 2, generator=generator(1), dtype=torch.float64))
MIXTURE = GaussianMixture(Combined(3, draw_mode_weights((2, 2), generator(0)), 1.0, 0.5))
TIMES = torch.tensor([0.05, 0.4, 1.0], dtype=torch.float64)


def draws(n, count=300):
    noise = torch.randn(count, n, n, generator=generator(2), dtype=torch.float64)
    return 0.3 * noise.cumsum(1).cumsum(2) / n + torch.linspace(0, 1, n, dtype=torch.float64)


LAWS = {
    "full": lambda: (estimate(draws(7), Torus(7), Bessel(7, 8.0, 0.8), 2), Torus(7)),
    "on a finer grid": lambda: (estimate(draws(7), Torus(7), Bessel(7, 8.0, 0.8), 1, tail=0.3), Torus(8)),
    "mean in the kernel": lambda: (estimate(draws(7), Torus(7), Laplacian(7, 3.0), 2), Torus(7)),
    "between walls": lambda: (estimate(draws(7), CellCentred(7), Bessel(7, 8.0, 0.8), 0), CellCentred(7)),
}


@pytest.fixture(params=LAWS.values(), ids=LAWS.keys())
def case(request):
    """A law on a grid, observations of a field, and three u_t of that field at different times."""
    law, grid = request.param()
    truth = law.fluctuations(1, grid, generator(3)) + law.mean_on(grid, TIMES)
    u = SDE.perturb(truth.expand(3, -1, -1), TIMES, law.prior.sample(3, grid, generator(4), torch.float64))
    return law, grid, observe(POINTS, truth[0], grid, NOISE, generator(5)), u


@pytest.mark.parametrize("by_derivative", [True, False])
def test_for_gaussian_data_guidance_is_the_conditional_mean_given_both(case, by_derivative):
    """E[X_0 | u_t, y] of the joint Gaussian of X_0, u_t and y, dense; what is in the kernel of Q is known from u_t."""
    law, grid, data, u = case
    denoiser, n = GaussianDenoiser(law), grid.resolution
    eta = Guided(denoiser, data, by_derivative=by_derivative).predict_noise(u, TIMES, grid)
    identity = torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n))
    a_matrix = POINTS.apply(identity, grid).T
    whole, inside = law.covariance(n**2 * identity, grid).flatten(1), law.prior.project(identity, grid).flatten(1)
    c = inside @ whole @ inside
    q = law.prior.color(law.prior.color(n**2 * identity, grid), grid).flatten(1)
    for i, t in enumerate(TIMES):
        a, b = SDE.mean_scale(t), SDE.noise_scale(t)
        kernel = (u[i] - law.prior.project(u[i], grid)).flatten() / a
        mean = inside @ law.mean_on(grid, u).flatten() + kernel
        both = torch.cat([a * inside, a_matrix])  # X_0 to (u_t, y)
        noise = torch.block_diag(b**2 * q, NOISE**2 * torch.eye(4, dtype=torch.float64))
        seen = torch.cat([inside @ u[i].flatten(), data.values - a_matrix @ kernel])
        expected_seen = both @ inside @ mean
        gain = c @ both.T @ torch.linalg.pinv(both @ c @ both.T + noise, rtol=1e-13, hermitian=True)
        expected = mean + gain @ (seen - expected_seen)
        found = (u[i] - b * eta[i]) / a
        torch.testing.assert_close(found.flatten(), expected, rtol=1e-5, atol=1e-6)


def by_differences(potential, u, change, h=1e-5):
    return (potential(u + h * change) - potential(u - h * change)) / (2 * h)


@pytest.mark.parametrize("method", ["guided", "dps"])
def test_the_score_gains_the_gradient_of_a_log_likelihood(method):
    """⟨Q⁻¹ v, (E[η | u_t] − E[η | u_t, y]) / b_t⟩ is the derivative of log p(y | u_t) in the direction v."""
    grid, t = Torus(8), torch.tensor([0.4], dtype=torch.float64)
    exact = MixtureDenoiser(MIXTURE, SDE)
    u, change = MIXTURE.sample(2, grid, generator(1), torch.float64)[:, None]
    data = observe(POINTS, MIXTURE.means(grid)[0], grid, NOISE, generator(2))
    b, s = SDE.noise_scale(t), None

    def residual(u):
        eta = exact.predict_noise(u, t, grid)
        return data.residual((u - b * eta) / SDE.mean_scale(t), grid)[0]

    if method == "guided":
        q = MIXTURE.covariance(POINTS.functions(grid), grid)
        s = b**2 * POINTS.apply(q, grid) + NOISE**2 * torch.eye(4, dtype=torch.float64)
        conditioned = Guided(exact, data, by_derivative=True)

        def log_likelihood(u):
            return -0.5 * residual(u) @ torch.linalg.solve(s, residual(u))
    else:
        conditioned = DPS(exact, data, scale=0.7)

        def log_likelihood(u):
            return -0.7 * 2 / NOISE * residual(u).norm()

    gained = (exact.predict_noise(u, t, grid) - conditioned.predict_noise(u, t, grid)) / b
    prior = MIXTURE.prior
    inner = (prior.whiten(change, grid) * prior.whiten(gained, grid)).mean()
    torch.testing.assert_close(inner, by_differences(log_likelihood, u, change), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("make", [Projected, lambda *a: Guided(*a, by_derivative=False)])
@pytest.mark.parametrize("grid", [Torus(6), Torus(8)], ids=str)
def test_without_noise_the_data_prediction_goes_through_the_observations(make, grid):
    exact, operator = MixtureDenoiser(MIXTURE, SDE), observed.coarse(Torus(4))
    u_0 = MIXTURE.sample(3, grid, generator(1), torch.float64)
    data = observe(operator, u_0[0], grid, 0.0, generator(2))
    u = SDE.perturb(u_0, TIMES, MIXTURE.prior.sample(3, grid, generator(3), torch.float64))
    eta = make(exact, data).predict_noise(u, TIMES, grid)
    a, b = SDE.mean_scale(TIMES)[:, None, None], SDE.noise_scale(TIMES)[:, None, None]
    torch.testing.assert_close(operator.apply((u - b * eta) / a, grid), data.values.expand(3, -1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [Projected, Guided, lambda *a: Guided(*a, by_derivative=True)])
def test_observations_that_no_field_of_the_grid_has_do_no_harm_in_single_precision(make):
    """A coarse grid of 11 points has modes that the fields have not, and S no inverse."""
    grid, exact = Torus(8), MixtureDenoiser(MIXTURE, SDE)
    u_0 = MIXTURE.sample(3, Torus(11), generator(1), torch.float64)
    data = observe(observed.coarse(Torus(11)), u_0[0], Torus(11), 0.0, generator(2))
    noise = MIXTURE.prior.sample(3, grid, generator(3), torch.float64)
    u = SDE.perturb(restrict(u_0, Torus(11), grid), TIMES, noise)
    single = make(exact, data).predict_noise(u.float(), TIMES.float(), grid)
    expected = make(exact, data).predict_noise(u, TIMES, grid)
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-3)


def test_a_projection_is_the_smallest_move():
    """In the norm ‖Q^(−½) ·‖, among all fields with the same observations."""
    grid, prior = Torus(7), Bessel(7, 8.0, 0.8)
    exact = MixtureDenoiser(GaussianMixture(prior), SDE)
    u = prior.sample(1, grid, generator(1), torch.float64)
    data = Observations(Modes(Torus, 1), torch.ones(9, dtype=torch.float64), 0.0)
    t = torch.tensor([0.5], dtype=torch.float64)
    moved = Projected(exact, data).predict_noise(u, t, grid) - exact.predict_noise(u, t, grid)
    aside = prior.sample(20, grid, generator(2), torch.float64)
    aside = aside - data.operator.adjoint(data.operator.apply(aside, grid), grid)
    least = squared_norm(prior.whiten(moved, grid))
    assert (squared_norm(prior.whiten(moved + aside, grid)) > least).all()


@pytest.mark.parametrize(
    ("name", "start"),
    [("full", Start.GAUSSIAN), ("mean in the kernel", Start.GAUSSIAN), ("mean in the kernel", Start.PRIOR)],
)
def test_samples_of_gaussian_data_have_the_exact_posterior(name, start):
    law, grid = LAWS[name]()
    data = observe(POINTS, draws(7)[0], grid, NOISE, generator(1))
    posterior, n = Posterior(law, data, grid), 2000
    times = time_grid(TimeGrid.LOG_SNR, 40, SDE)
    solver = DPMSolver(Guided(GaussianDenoiser(law), data, by_derivative=False), 1)
    found = solver.sample(n, grid, times, lambda block: generator(2, block), start=start)
    deviation = posterior.variances().sqrt()
    assert ((found.mean(dim=0) - posterior.mean) / deviation).abs().max() < 0.12
    assert (found.std(dim=0) / deviation - 1).abs().max() < 0.1


def test_components_of_the_mixture_are_drawn_as_often_as_they_are_likely():
    mixture, grid, n = GaussianMixture(Combined(16, draw_mode_weights((2, 2), generator(0)), 1.0, 0.5)), Torus(8), 1000
    one = Points(torch.tensor([[0.1, 0.35]]))
    truth, times = mixture.means(grid).mean(dim=0), time_grid(TimeGrid.LOG_SNR, 40, SDE)
    for shift in (-1.0, 0.0, 1.0):
        data = Observations(one, one.apply(truth[None], grid)[0] + shift, 0.3)
        posterior, conditioned = (
            Posterior(mixture, data, grid),
            Guided(MixtureDenoiser(mixture, SDE), data, by_derivative=True),
        )
        found = DPMSolver(conditioned, 1).sample(n, grid, times, lambda block: generator(2, block))
        share = torch.sigmoid(mixture.log_odds(found, torch.ones(n), grid)).mean()
        assert abs(share - posterior.weights[0]) < 0.06
    assert not 0.2 < posterior.weights[0] < 0.8  # what was seen speaks for one


@pytest.mark.parametrize("method", ["guided", "dps"])
def test_what_the_prior_leaves_without_noise_comes_from_the_law_that_is_given(method):
    """Every method starts there from the posterior of that law, whose mean of the field is 0.7 and hardly varies."""
    prior, grid = Laplacian(7, 3.0), Torus(7)
    law = estimate(0.7 + 1e-3 * draws(7), grid, prior, 2)
    data = Observations(POINTS, torch.full((4,), 0.7, dtype=torch.float64), NOISE)
    conditioned = build(parse_method(method, "method"), MixtureDenoiser(GaussianMixture(prior), SDE), data, law)
    u_1 = prior.sample(8, grid, generator(1), torch.float64)
    begun = conditioned.begin(u_1, torch.ones(1), grid, [generator(2)], 8)
    torch.testing.assert_close(
        begun.mean((1, 2)) / SDE.mean_scale(torch.ones(1)), torch.full((8,), 0.7), atol=0.01, rtol=0, check_dtype=False
    )


@pytest.mark.parametrize(
    ("make", "noise", "words"), [(DPS, 0.0, "dps: it divides by the noise"), (Projected, 0.1, "without noise")]
)
def test_a_method_that_does_not_take_the_noise_is_refused(make, noise, words):
    with pytest.raises(UserError, match=words):
        make(MixtureDenoiser(MIXTURE, SDE), Observations(POINTS, torch.zeros(4), noise))
