import math

import pytest
import torch

from multilevel_diffusion.grids import Torus
from multilevel_diffusion.priors import Laplacian
from multilevel_diffusion.sde import ForwardSDE
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
