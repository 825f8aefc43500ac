import pytest
import torch
from torch import nn

from multilevel_diffusion.denoise import LearnedDenoiser, gain_factor, q_score
from multilevel_diffusion.grids import Torus
from multilevel_diffusion.priors import Standard
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import Gain
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
U = torch.randn(3, 8, 8, generator=generator(0), dtype=torch.float64)
T = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)


class Recorder(nn.Module):
    """N(v, t) = v³ + t, and what it was fed."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, values, t, grid):
        self.fed = values
        return values**3 + t[:, None, None]


def test_gains_agree_on_the_finest_training_grid_and_only_there():
    def gamma(gain, n):
        return gain_factor(gain, native=64, reference=32, resolution=n)

    assert [gamma(Gain.VALUES, n) for n in (16, 32, 50, 64)] == [2, 2, 2, 2]
    assert [gamma(Gain.COEFFICIENTS, n) for n in (16, 32, 50, 64)] == [4, 2, 1.28, 1]


@pytest.mark.parametrize("gamma", [1.0, 2.0, 0.5])
def test_the_network_stands_for_the_scaled_q_score(gamma):
    """√α_t Q∇log p_t = F(u, t) = N(γu, t)/γ."""
    network = Recorder()
    denoiser = LearnedDenoiser(network, SDE, Standard(8), lambda n: gamma)
    score = q_score(denoiser, U, T, Torus(8))
    torch.testing.assert_close(network.fed, gamma * U)
    expected = ((gamma * U) ** 3 + T[:, None, None]) / gamma
    torch.testing.assert_close(SDE.alpha(T).sqrt()[:, None, None] * score, expected)


def test_the_denoising_loss_is_that_of_the_paper():
    """½‖(b/√α) F + η‖² = ½‖η − E[η|u]‖²."""
    denoiser = LearnedDenoiser(Recorder(), SDE, Standard(8), lambda n: 2.0)
    eta = torch.randn(U.shape, generator=generator(1), dtype=torch.float64)
    f = ((2 * U) ** 3 + T[:, None, None]) / 2
    b, alpha = SDE.noise_scale(T)[:, None, None], SDE.alpha(T)[:, None, None]
    torch.testing.assert_close(b / alpha.sqrt() * f + eta, eta - denoiser.predict_noise(U, T, Torus(8)))
