"""The log density relative to N(0,Q) along the probability-flow ODE, against closed forms."""

import math
from functools import cache
from itertools import pairwise

import pytest
import torch

from multilevel_diffusion.denoise import LearnedDenoiser
from multilevel_diffusion.grids import Torus, restrict, squared_norm
from multilevel_diffusion.likelihood import hutchinson, log_density
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.networks import FNO
from multilevel_diffusion.priors import Combined, Laplacian, draw_mode_weights
from multilevel_diffusion.sample import time_grid
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import TimeGrid
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
PRIOR = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
MIXTURE = GaussianMixture(PRIOR)
EXACT = MixtureDenoiser(MIXTURE, SDE)
FINEST, FIELDS = Torus(256), 24
RESOLUTIONS = (16, 32, 64, 128)


def rms(values):
    return values.square().mean().sqrt().item()


def scale(t):
    return SDE.mean_scale(torch.full((FIELDS,), t, dtype=torch.float64))


@cache
def fields():
    return MIXTURE.sample(FIELDS, FINEST, generator(1), torch.float64)


@cache
def flow(resolution, steps):
    """The fields on a grid, their log density along the flow from N(0,Q), and the true log ρ_1 where they end."""
    grid = Torus(resolution)
    u_0 = restrict(fields(), FINEST, grid)
    estimate, u_1 = log_density(EXACT.noise_and_trace, PRIOR, SDE, u_0, grid, time_grid(TimeGrid.UNIFORM, steps, SDE))
    return u_0, estimate, MIXTURE.log_density(u_1, scale(1.0), grid)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_flow_gives_the_closed_form_at_second_order_on_every_grid(resolution):
    """log ρ_0 = estimate + log ρ_1(u_1), up to an integration error that does not depend on the grid."""
    errors = []
    for steps in (25, 50, 100):
        u_0, estimate, start = flow(resolution, steps)
        errors.append(rms(estimate + start - MIXTURE.log_density(u_0, scale(0.0), Torus(resolution))))
    assert errors[0] > 4 * errors[1] > 16 * errors[2]
    assert errors[2] == pytest.approx(0.004, rel=0.5)


def test_the_difference_to_the_closed_form_falls_to_a_limit():
    """It is what the start from N(0,Q) instead of p_1 costs, log ρ_1(u_1), which converges as the grid is refined."""
    differences = {}
    for resolution in RESOLUTIONS:
        u_0, estimate, _ = flow(resolution, 100)
        differences[resolution] = estimate - MIXTURE.log_density(u_0, scale(0.0), Torus(resolution))
    changes = [rms(differences[n] - differences[128]) for n in (16, 32, 64)]
    assert 0.1 < rms(differences[128]) < 0.4
    assert changes[2] < changes[1] < changes[0] < 0.1


def test_the_relative_density_has_a_limit_and_the_plain_one_has_none():
    def distances(measure):
        limit = MIXTURE.log_density(fields(), scale(0.0), FINEST)
        return [rms(measure(n) - limit) for n in RESOLUTIONS]

    def closed_form(n):
        return MIXTURE.log_density(flow(n, 100)[0], scale(0.0), Torus(n))

    for measure in (closed_form, lambda n: flow(n, 100)[1]):
        falling = distances(measure)
        assert all(fine < 0.7 * coarse for coarse, fine in pairwise(falling))
    plain = distances(lambda n: closed_form(n) + PRIOR.log_density(flow(n, 100)[0], Torus(n)))
    assert plain[3] > 3 * plain[2] > 9 * plain[1]


def test_the_density_of_a_gaussian_is_its_formula():
    """log dN(0,ρQ)/dN(0,Q) = −½ R log ρ + ½ (1 − 1/ρ) ‖Q^(−½)u‖² on R modes; the random trace is exact here, being diagonal."""
    rho, grid = 0.5, Torus(9)

    class Gaussian:
        sde, prior = SDE, Laplacian(9, 1.0)

        def predict_noise(self, u_t, t, grid):
            a_t, b_t = SDE.mean_scale(t), SDE.noise_scale(t)
            return self.prior.project((b_t / (rho * a_t**2 + b_t**2))[:, None, None] * u_t, grid)

    prior = Gaussian.prior
    u_0 = math.sqrt(rho) * prior.sample(4, grid, generator(2), torch.float64)
    times = time_grid(TimeGrid.UNIFORM, 400, SDE)
    estimate, u_1 = log_density(hutchinson(Gaussian(), generator(3), 1), prior, SDE, u_0, grid, times)

    modes = 9 * 9 - 1  # the mean is in the kernel
    expected = -0.5 * modes * math.log(rho) + 0.5 * (1 - 1 / rho) * squared_norm(prior.whiten(u_0, grid))
    at_1 = rho * SDE.mean_scale(times[0]) ** 2 + SDE.noise_scale(times[0]) ** 2
    start = -0.5 * modes * at_1.log() + 0.5 * (1 - 1 / at_1) * squared_norm(prior.whiten(u_1, grid))
    torch.testing.assert_close(estimate + start, expected, rtol=1e-3, atol=1e-3)
    assert u_1 == pytest.approx(u_0 * math.sqrt(at_1 / rho), rel=1e-3)


def jacobian_trace(denoiser, u_t, t, grid):
    """tr(b I − D E[η|u]) over the range of Q, from the dense Jacobian of one field."""
    n = grid.resolution
    jacobian = torch.autograd.functional.jacobian(
        lambda u: denoiser.predict_noise(u.view(1, n, n), t, grid).flatten(), u_t.flatten()
    )
    projection = denoiser.prior.project(torch.eye(n * n, dtype=u_t.dtype).view(-1, n, n), grid).reshape(n * n, -1)
    return (SDE.noise_scale(t) * projection.trace() - (projection @ jacobian).trace()).item()


@pytest.mark.parametrize("resolution", [6, 7])
def test_the_exact_trace_is_that_of_the_dense_jacobian(resolution):
    grid, t = Torus(resolution), torch.tensor([0.7], dtype=torch.float64)
    mixture = GaussianMixture(Laplacian(8, 1.0))
    u_t = mixture.means(grid).mean(dim=0)[None] * SDE.mean_scale(t) + 0.1 * mixture.prior.sample(
        1, grid, generator(4), torch.float64
    )
    denoiser = MixtureDenoiser(mixture, SDE)
    noise, trace = denoiser.noise_and_trace(u_t, t, grid)
    assert trace.item() == pytest.approx(jacobian_trace(denoiser, u_t, t, grid), rel=1e-8)
    assert trace.item() > 0.01
    torch.testing.assert_close(noise, denoiser.predict_noise(u_t, t, grid), rtol=0, atol=0)


@torch.no_grad()  # as the flow takes it
def test_the_random_trace_of_a_network_is_unbiased():
    grid, probes = Torus(6), 200
    prior = Combined(8, draw_mode_weights((2, 2), generator(0)), 1.0, 0.5)
    network = FNO(width=4, layers=2, modes=2, head=8, generator=generator(5)).double()
    denoiser = LearnedDenoiser(network, SDE, prior, lambda resolution: 1.0)
    u_t = prior.sample(1, grid, generator(6), torch.float64)
    t = torch.tensor([0.6], dtype=torch.float64)
    draws = torch.cat([hutchinson(denoiser, generator(7, i), 1)(u_t, t, grid)[1] for i in range(probes)])
    exact = jacobian_trace(denoiser, u_t, t, grid)
    assert draws.std() > 0
    assert draws.mean().item() == pytest.approx(exact, abs=4 * draws.std().item() / math.sqrt(probes))
    many = torch.cat([hutchinson(denoiser, generator(8, i), 16)(u_t, t, grid)[1] for i in range(50)])
    assert many.std().item() == pytest.approx(draws.std().item() / 4, rel=0.3)


def test_the_probes_stay_the_same_along_the_flow():
    grid = Torus(6)
    u_t = MIXTURE.sample(3, grid, generator(6), torch.float64)
    t = torch.full((3,), 0.8, dtype=torch.float64)
    flow_of_one, other = hutchinson(EXACT, generator(1), 2), hutchinson(EXACT, generator(2), 2)
    first, again = (flow_of_one(u_t, t, grid)[1] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.isclose(first, other(u_t, t, grid)[1]).any()


def test_the_spread_of_the_random_trace_does_not_grow_with_the_grid():
    """Between the components, where the trace is not small. Probes with independent signs at the pixels would not do."""
    count = 200
    t = torch.full((count,), 0.75, dtype=torch.float64)
    spreads, by_pixels = [], []
    for resolution in (32, 128):
        grid = Torus(resolution)
        u_t = (SDE.mean_scale(t[:1]) * MIXTURE.means(grid).mean(dim=0)).repeat(count, 1, 1)
        _, traces = hutchinson(EXACT, generator(9, resolution), 1)(u_t, t, grid)
        exact = EXACT.noise_and_trace(u_t, t, grid)[1][0].item()
        assert traces.mean().item() == pytest.approx(exact, abs=4 * traces.std().item() / math.sqrt(count))
        spreads.append(traces.std().item())

        signs = 2 * torch.randint(2, u_t.shape, generator=generator(10), dtype=torch.float64) - 1
        _, change = torch.func.jvp(lambda u, grid=grid: EXACT.predict_noise(u, t, grid), (u_t,), (signs,))
        by_pixels.append((signs * change).sum(dim=(1, 2)).std().item())
    assert spreads[1] < 1.3 * spreads[0]
    assert by_pixels[1] > 2 * by_pixels[0]


def test_fields_outside_the_range_of_q_are_refused():
    prior = Laplacian(8, 1.0)
    u_0 = 1 + prior.sample(2, Torus(8), generator(1), torch.float64)
    with pytest.raises(ValueError, match="kernel of Q"):
        log_density(EXACT.noise_and_trace, prior, SDE, u_0, Torus(8), time_grid(TimeGrid.UNIFORM, 2, SDE))


def test_a_density_that_leaves_finite_numbers_is_refused_with_the_time():
    def broken(u_t, t, grid):
        return u_t * torch.where(t[0] > 0.4, torch.nan, 0.0), torch.zeros_like(t)

    u_0 = PRIOR.sample(2, Torus(8), generator(1), torch.float64)
    with pytest.raises(FloatingPointError, match=r"not finite at t = 0\.5, resolution 8"):
        log_density(broken, PRIOR, SDE, u_0, Torus(8), time_grid(TimeGrid.UNIFORM, 4, SDE))
