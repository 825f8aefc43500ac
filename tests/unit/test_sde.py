import math

import pytest
import torch

from multilevel_diffusion.grids import Torus, prolong, restrict, squared_norm
from multilevel_diffusion.mixture import GaussianMixture
from multilevel_diffusion.priors import Combined, Laplacian, draw_mode_weights
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.stages.truncation import truncation_errors
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
T = torch.linspace(0, 1, 101, dtype=torch.float64)


def test_the_mean_scale_solves_its_equation():
    """d/dt log a_t = −½ α_t."""
    t = T.clone().requires_grad_()
    (slope,) = torch.autograd.grad(SDE.mean_scale(t).log().sum(), t)
    torch.testing.assert_close(slope, -0.5 * SDE.alpha(T))


def test_scales_preserve_variance_and_have_the_papers_end():
    torch.testing.assert_close(SDE.mean_scale(T) ** 2 + SDE.noise_scale(T) ** 2, torch.ones_like(T))
    assert SDE.mean_scale(T[:1]) == 1
    assert SDE.noise_scale(T[:1]) == 0
    assert 1 / SDE.mean_scale(T[-1]).item() == pytest.approx(math.exp(0.25 * 19.9 + 0.05))
    assert (SDE.alpha(T[0]).item(), SDE.alpha(T[-1]).item()) == pytest.approx((0.1, 20.0))


def test_the_noise_scale_is_exact_in_single_precision_near_zero():
    t = torch.logspace(-7, -2, 20, dtype=torch.float64)
    torch.testing.assert_close(SDE.noise_scale(t.float()).double(), SDE.noise_scale(t), rtol=1e-6, atol=0)


def test_euler_paths_of_the_forward_sde_have_the_law_of_perturb():
    """Weak convergence: mean and mode variances of Euler–Maruyama paths of dX = −½ α X dt + √α dW^Q."""
    prior, grid, n, steps = Laplacian(8, 1.0), Torus(8), 2000, 100
    stream = generator(0)
    x = torch.ones(n, 8, 8, dtype=torch.float64)
    for i in range(steps):
        h = SDE.alpha(torch.tensor((i + 0.5) / steps * 0.3, dtype=torch.float64)) * 0.3 / steps
        x = x - 0.5 * h * x + h.sqrt() * prior.sample(n, grid, stream, torch.float64)
    t = torch.full((n,), 0.3, dtype=torch.float64)
    expected = SDE.perturb(torch.ones_like(x), t, prior.sample(n, grid, stream, torch.float64))
    assert abs(x.mean() - expected.mean()) < 1e-2
    ratio = (torch.fft.rfft2(x).abs().square().mean(0) / torch.fft.rfft2(expected).abs().square().mean(0))[1:, 1:]
    assert (ratio - 1).abs().max() < 5 * (2 / n) ** 0.5 + 0.02


def test_times_and_signal_to_noise_ratios_are_inverse_to_each_other():
    t = torch.tensor([1e-6, 1e-3, 0.1, 0.5, 1.0], dtype=torch.float64)
    level = SDE.half_log_snr(t)
    torch.testing.assert_close(SDE.time(level), t, rtol=1e-9, atol=0)
    torch.testing.assert_close(level.exp(), SDE.mean_scale(t) / SDE.noise_scale(t))
    assert SDE.half_log_snr(torch.zeros(())) == torch.inf


def test_a_transition_from_the_start_is_perturb_and_two_make_one():
    t, s, r = (torch.full((3,), time, dtype=torch.float64) for time in (0.0, 0.4, 0.9))
    u_0, eta = torch.randn(2, 3, 4, 4, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(SDE.transition(u_0, t, s, eta), SDE.perturb(u_0, s, eta))

    zero, one = torch.zeros_like(eta), torch.ones_like(eta)
    torch.testing.assert_close(
        SDE.transition(SDE.transition(u_0, t, s, zero), s, r, zero), SDE.transition(u_0, t, r, zero)
    )
    first, second = SDE.transition(SDE.transition(zero, t, s, one), s, r, zero), SDE.transition(zero, s, r, one)
    torch.testing.assert_close(first**2 + second**2, SDE.noise_scale(r)[:, None, None].expand(3, 4, 4) ** 2)


@pytest.mark.parametrize("coarse", [8, 11])
def test_the_truncated_process_is_the_truncation_of_the_process(coarse):
    """Both equations are linear with a scalar drift: the worst distance along a path is that of the path to its truncation."""
    prior, grid, small, n = Laplacian(16, 3.0), Torus(16), Torus(coarse), 5
    u_0 = prior.sample(n, grid, generator(2), torch.float64)
    times = torch.tensor([0.0, 0.1, 0.35, 1.0], dtype=torch.float64)
    worst = truncation_errors(SDE, prior, u_0, grid, [small], times, generator(3))[0]

    stream, u, expected = generator(3), u_0, torch.zeros(n, dtype=torch.float64)
    for i in range(4):
        if i:
            u = SDE.transition(
                u, times[i - 1].expand(n), times[i].expand(n), prior.sample(n, grid, stream, torch.float64)
            )
        expected = torch.maximum(expected, squared_norm(u - prolong(restrict(u, grid, small), small, grid)))
    torch.testing.assert_close(worst, expected)


def test_truncation_costs_at_least_the_tail_and_falls_as_fast_as_it():
    """Theorem 3.2: E max_t ‖X_t − X_t^M‖² is above max_t E, the tail of E‖X_0‖², and has its rate."""
    prior = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
    mixture, grid, coarse = GaussianMixture(prior), Torus(128), [Torus(n) for n in (16, 33, 64)]
    u_0 = mixture.sample(24, grid, generator(4))
    alone = torch.stack([squared_norm(u_0 - prolong(restrict(u_0, grid, small), small, grid)) for small in coarse])
    tails = torch.tensor([mixture.tail(grid, small) for small in coarse])
    assert ((alone.mean(1) - tails).abs() < 4.5 * alone.std(1) / 24**0.5).all()

    times = torch.linspace(0, 1, 9, dtype=torch.float64)
    worst = truncation_errors(SDE, prior, u_0, grid, coarse, times, generator(5))
    assert (worst.mean(1) > tails).all()
    ratio = worst.mean(1) / tails
    assert ratio.max() / ratio.min() < 1.2
