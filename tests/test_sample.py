"""With the exact field the sampler's law is the mixture's: everything else is the network's fault."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from multilevel_diffusion.grids import Torus
from multilevel_diffusion.metrics import projections, sliced_wasserstein
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.priors import Combined, Laplacian, draw_mode_weights, multiplicity
from multilevel_diffusion.sample import BLOCK, EulerMaruyama, uniform_times
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
PRIOR = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
MIXTURE = GaussianMixture(PRIOR)
SAMPLES = {32: 256, 50: 128, 64: 96, 128: 32}


def sampled(n, resolution, steps, seed=0, denoiser=None):
    sampler = EulerMaruyama(denoiser or MixtureDenoiser(MIXTURE, SDE))
    return sampler.sample(n, Torus(resolution), uniform_times(steps), lambda block: generator(seed, "test", block))


@cache
def paper_samples(resolution):
    return sampled(SAMPLES[resolution], resolution, 1000)


def first_component(u):
    return MIXTURE.log_odds(u, u.new_ones(len(u)), Torus(u.shape[-1])) > 0


def relative_power(u):
    """|(u − m_i)^_k|²/λ_k, 1 in the mean, for every sample and mode; and the multiplicity of the modes."""
    grid = Torus(u.shape[-1])
    residual = u - torch.where(first_component(u)[:, None, None], *MIXTURE.means(grid))
    power = torch.fft.rfft2(residual, norm="forward").abs().square() / PRIOR.spectrum(grid)
    return power, multiplicity(grid).expand(power.shape[1:])


@pytest.mark.parametrize("resolution", SAMPLES)
def test_mode_variances_are_those_of_the_mixture(resolution):
    power, weight = relative_power(paper_samples(resolution))
    n = len(power)
    deviation = (power.mean(0) - 1) * math.sqrt(n) / power.std(0)
    assert deviation.abs().median() == pytest.approx(0.67, abs=0.1)
    pooled = ((power.mean(0) * weight).sum() / weight.sum()).item()
    assert pooled == pytest.approx(1, abs=4.5 * math.sqrt(2 / (n * weight.sum().item())) + 1e-3)


@pytest.mark.parametrize("resolution", SAMPLES)
def test_both_components_are_equally_likely(resolution):
    first = first_component(paper_samples(resolution)).double()
    assert abs(first.mean() - 0.5) < 3.5 * 0.5 / math.sqrt(len(first))


@pytest.mark.parametrize("resolution", SAMPLES)
def test_sliced_wasserstein_is_within_the_spread_of_truth_against_truth(resolution):
    n, grid = SAMPLES[resolution], Torus(resolution)
    directions = projections(resolution, 100, generator(1))

    def truth(seed):
        return MIXTURE.sample(n, grid, generator(seed, "truth"), torch.float64).numpy()

    floors = np.array([sliced_wasserstein(truth(2 * i), truth(2 * i + 1), directions).value for i in range(12)])
    distances = [sliced_wasserstein(paper_samples(resolution).numpy(), truth(i), directions).value for i in range(12)]
    assert np.mean(distances) < floors.mean() + 3 * floors.std(ddof=1)


def variance_of_euler_maruyama(steps):
    """v of the scheme relative to λ once the component is decided: v ← (1 − ½ α_t h)² v + α_t h, from v = 1."""
    v = 1.0
    for t in uniform_times(steps)[:-1]:
        h = SDE.alpha(t).item() / steps
        v = (1 - 0.5 * h) ** 2 * v + h
    return v


def test_the_weak_error_falls_with_the_step_to_first_order():
    """The variance relative to λ, pooled over all modes: what the recursion says, and measured order 1."""
    steps, n = np.array([25, 50, 100]), 512
    errors = []
    for count in steps:
        power, weight = relative_power(sampled(n, 32, int(count), seed=1))
        pooled = ((power.mean(0) * weight).sum() / weight.sum()).item()
        assert pooled == pytest.approx(
            variance_of_euler_maruyama(count), abs=4 * math.sqrt(2 / (n * weight.sum().item()))
        )
        errors.append(pooled - 1)
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(1, abs=0.25)


def test_one_step_is_the_formula():
    """u_s = u_t + (t − s) α_t (½ u_t + Q∇log p_t) + (α_t (t − s))^½ η for a denoiser that says E[η|u] = b_t u."""

    class Shrink:
        sde, prior = SDE, Laplacian(8, 1.0)

        def noise(self, u_t, t, grid):
            return SDE.noise_scale(t)[:, None, None] * u_t

    u, eta = (torch.randn(2, 8, 8, generator=generator(seed), dtype=torch.float64) for seed in (2, 3))
    t, s = torch.full((2,), 0.5, dtype=torch.float64), torch.full((2,), 0.4, dtype=torch.float64)
    h = (0.1 + 19.9 * 0.5) * 0.1
    expected = u + h * (0.5 * u - u) + math.sqrt(h) * eta
    torch.testing.assert_close(EulerMaruyama(Shrink()).step(u, t, s, Torus(8), eta), expected)


def test_a_sample_depends_on_its_index_alone():
    many, few = sampled(BLOCK + 7, 16, 5), sampled(5, 16, 5)
    rounding = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(many[:5], few, **rounding)
    torch.testing.assert_close(many, sampled(BLOCK + 40, 16, 5)[: BLOCK + 7], **rounding)
    assert (few - sampled(5, 16, 5, seed=1)).abs().min() > 0
    assert (many[:7] - many[BLOCK:]).abs().min() > 0


def test_a_field_that_leaves_finite_numbers_is_refused():
    class Broken:
        sde, prior = SDE, PRIOR

        def noise(self, u_t, t, grid):
            return u_t * torch.nan

    with pytest.raises(FloatingPointError, match="resolution 16"):
        sampled(2, 16, 3, denoiser=Broken())


def test_times_run_from_one_to_zero_exactly():
    times = uniform_times(200)
    assert len(times) == 201
    assert (times[0], times[-1]) == (1, 0)
    torch.testing.assert_close(times.diff(), torch.full((200,), -1 / 200, dtype=torch.float64))
    with pytest.raises(ValueError, match="steps must be ≥ 1"):
        uniform_times(0)
