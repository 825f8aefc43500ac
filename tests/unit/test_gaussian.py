"""The Gaussian closed form against dense linear algebra in float64 that shares nothing with it but the prior's eigenvalues."""

import itertools
import math

import pytest
import torch

from multilevel_diffusion.errors import UserError
from multilevel_diffusion.gaussian import GaussianDenoiser, estimate, from_state, prior_law
from multilevel_diffusion.grids import CellCentred, Torus, cosines, resample_noise, squared_norm
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.priors import Bessel, FNOPrior, Laplacian, draw_mode_weights
from multilevel_diffusion.sample import GaussianExponential
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
PRIORS = {
    "bessel": Bessel(7, 8.0, 0.8),
    "laplacian": Laplacian(7, 3.0),
    "fno": FNOPrior(7, draw_mode_weights((2, 2), generator(1, "weights"))),
}
TIMES = torch.tensor([0.05, 0.4, 1.0], dtype=torch.float64)


def draws(n, count=300):
    """Fields that are smooth, not stationary and not centred, shape (count, n, n)."""
    noise = torch.randn(count, n, n, generator=generator(2, "fields"), dtype=torch.float64)
    return 0.3 * noise.cumsum(1).cumsum(2) / n + torch.linspace(0, 1, n, dtype=torch.float64)


def dense_prior(prior, n):
    """The square root of the covariance of the values of η, from the amplitudes by an explicit Fourier basis on an odd grid."""
    x = torch.arange(n, dtype=torch.float64) / n
    k = torch.fft.fftfreq(n, 1 / n).round().long()
    wave = torch.exp(2j * math.pi * torch.outer(x, k.double()))
    modes = torch.einsum("xk,yl->xykl", wave, wave).reshape(n * n, n * n)
    amplitudes = prior.amplitude(k[:, None], k[None]) / prior.native_resolution
    return ((modes * amplitudes.reshape(-1)) @ modes.conj().T).real / n


def dense_covariance(fields, modes):
    """Full covariance on the modes |k_i| ≤ r, averaged over all shifts (stationary) on the others, nothing between them."""
    count, n, _ = fields.shape
    centred = fields - fields.mean(0)
    shifts = [centred.roll((i, j), (1, 2)).flatten(1) for i in range(n) for j in range(n)]
    stationary = sum(each.T @ each for each in shifts) / n**2 / (count - 1)
    k = torch.fft.fftfreq(n, 1 / n).round().abs()
    low = (k[:, None] <= modes) & (k[None] <= modes) if modes else torch.zeros(n, n, dtype=torch.bool)
    identity = torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n))
    onto = torch.fft.ifft2(torch.fft.fft2(identity) * low).real.flatten(1)
    off = torch.eye(n * n, dtype=torch.float64) - onto
    full = centred.flatten(1).T @ centred.flatten(1) / (count - 1)
    return onto @ full @ onto + off @ stationary @ off


@pytest.fixture(params=[("bessel", 0), ("bessel", 1), ("bessel", 3), ("laplacian", 2), ("fno", 1)], ids=str)
def case(request):
    """A law, and its dense Q^½, C and mean, the covariance projected onto the range of Q."""
    name, modes = request.param
    prior, fields = PRIORS[name], draws(7)
    half = dense_prior(prior, 7)
    values, vectors = torch.linalg.eigh(half)
    onto = vectors @ torch.diag((values.abs() > 1e-12).double()) @ vectors.T
    covariance = onto @ dense_covariance(fields, modes) @ onto
    return estimate(fields, Torus(7), prior, modes), half, covariance, fields.mean(0), onto


def test_the_denoiser_is_the_conditional_mean_of_the_joint_gaussian(case):
    law, half, covariance, mean, onto = case
    u = draws(7, 3)
    eta, data = GaussianDenoiser(law).predict(u, TIMES, Torus(7))
    for i, t in enumerate(TIMES):
        a, b = SDE.mean_scale(t), SDE.noise_scale(t)
        observed = a**2 * covariance + b**2 * half @ half.T
        gain = torch.linalg.pinv(observed, rtol=1e-13, hermitian=True)
        centred = (u[i] - a * mean).flatten()
        expected = b * half @ half.T @ gain @ centred
        torch.testing.assert_close(eta[i].flatten(), expected, rtol=1e-8, atol=1e-9)
        inside = mean.flatten() + a * covariance @ gain @ onto @ centred
        kernel = (centred - onto @ centred) / a  # carried without noise
        torch.testing.assert_close(data[i].flatten(), inside + kernel, rtol=1e-7, atol=1e-8)


def test_draws_at_any_time_have_the_mean_and_the_covariance(case):
    law, half, covariance, mean, onto = case
    xi = torch.eye(49, dtype=torch.float64).unflatten(1, (7, 7)) * 7
    for t in TIMES:
        drawn = law.at(xi, t.expand(49), Torus(7)) - SDE.mean_scale(t) * mean
        made = drawn.flatten(1).T @ drawn.flatten(1)
        expected = SDE.mean_scale(t) ** 2 * covariance + SDE.noise_scale(t) ** 2 * half @ half.T
        torch.testing.assert_close(onto @ made @ onto, onto @ expected @ onto, rtol=1e-8, atol=1e-10)


def test_the_residual_is_that_of_the_conditional_covariance(case):
    law, half, covariance, _, _ = case
    for t, found in zip(TIMES, law.residual(TIMES, Torus(7)), strict=True):
        a, b = SDE.mean_scale(t), SDE.noise_scale(t)
        q = half @ half.T
        gain = torch.linalg.pinv(a**2 * covariance + b**2 * q, rtol=1e-13, hermitian=True)
        expected = torch.trace(q - b**2 * q @ gain @ q) / 49
        assert found.item() == pytest.approx(expected.item(), rel=1e-7)


def test_the_flow_is_a_group_that_carries_the_law_along(case):
    law, _, _, _mean, _ = case
    u, grid = draws(7, 3), Torus(7)
    t, s, r = (torch.full((3,), time, dtype=torch.float64) for time in (0.9, 0.5, 0.2))
    torch.testing.assert_close(
        law.flow(law.flow(u, t, s, grid), s, r, grid), law.flow(u, t, r, grid), rtol=1e-9, atol=1e-9
    )
    xi = torch.randn(3, 7, 7, generator=generator(4), dtype=torch.float64) * 7
    there, here = law.at(xi, t, grid), law.at(xi, s, grid)
    torch.testing.assert_close(law.flow(there, t, s, grid), here, rtol=1e-8, atol=1e-8)


def test_the_flow_solves_the_probability_flow_ode(case):
    """(u_{t+h} − u_{t−h}) / 2h = −½ α_t u − ½ α_t Q∇log p_t(u) = −½ α_t (u − E[η | u] / b_t)."""
    law, grid, h = case[0], Torus(7), 1e-5
    t = torch.full((3,), 0.4, dtype=torch.float64)
    u = draws(7, 3)
    velocity = (law.flow(u, t, t + h, grid) - law.flow(u, t, t - h, grid)) / (2 * h)
    eta = GaussianDenoiser(law).predict_noise(u, t, grid)
    expected = -0.5 * SDE.alpha(t)[:, None, None] * (u - eta / SDE.noise_scale(t)[:, None, None])
    torch.testing.assert_close(velocity, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("modes", [0, 2])
def test_the_log_density_is_the_ratio_of_two_dense_normal_densities(modes):
    prior, fields = PRIORS["bessel"], draws(7)
    law, half = estimate(fields, Torus(7), prior, modes), dense_prior(PRIORS["bessel"], 7)
    covariance, mean = dense_covariance(fields, modes), fields.mean(0)
    u = draws(7, 3)
    found = law.log_density(u, TIMES, Torus(7))
    reference = torch.distributions.MultivariateNormal(torch.zeros(49, dtype=torch.float64), half @ half.T)
    for i, t in enumerate(TIMES):
        a, b = SDE.mean_scale(t), SDE.noise_scale(t)
        own = torch.distributions.MultivariateNormal(a * mean.flatten(), a**2 * covariance + b**2 * half @ half.T)
        expected = own.log_prob(u[i].flatten()) - reference.log_prob(u[i].flatten())
        assert found[i].item() == pytest.approx(expected.item(), rel=1e-7, abs=1e-6)


@pytest.mark.parametrize(
    "grid", [Torus(7), Torus(6), Torus(5), Torus(9), Torus(12), CellCentred(8), CellCentred(5)], ids=str
)
@pytest.mark.parametrize("modes", [0, 2, 3])
def test_on_every_grid_noise_and_data_recombine_and_k_is_symmetric(grid, modes):
    native = type(grid)(7)
    law = estimate(draws(7), native, PRIORS["bessel"], modes if isinstance(grid, Torus) else 0)
    n = grid.resolution
    u = torch.randn(3, n, n, generator=generator(3), dtype=torch.float64)
    eta, data = GaussianDenoiser(law).predict(u, TIMES, grid)
    a, b = SDE.mean_scale(TIMES)[:, None, None], SDE.noise_scale(TIMES)[:, None, None]
    torch.testing.assert_close(a * data + b * eta, u, rtol=0, atol=1e-9)
    k = law.apply(lambda kappa: kappa, torch.eye(n * n, dtype=torch.float64).unflatten(1, (n, n)), grid).flatten(1)
    torch.testing.assert_close(k, k.T, rtol=0, atol=1e-9 * k.abs().max().item())


@pytest.mark.parametrize("n", [4, 5, 8, 9, 12, 13])
def test_between_walls_every_grid_sees_the_spectrum_of_the_same_cosines(n):
    """Of fields that are one cosine each, so that their covariance is diagonal, with variances that fall as those of data."""
    native, prior, sizes = CellCentred(8), Bessel(8, 8.0, 0.8), torch.linspace(3, 0.1, 64, dtype=torch.float64)
    basis = cosines(native.points(), 8)
    fields = sizes[:, None, None] * torch.einsum("ix,jy->ijxy", basis, basis).flatten(0, 1)
    fields = torch.cat([fields, -fields])
    law = estimate(fields, native, prior, 0)
    assert law.variance == pytest.approx(squared_norm(fields).sum().item() / (len(fields) - 1))
    grid = CellCentred(n)
    seen = torch.fft.rfft2(native.resample(fields, grid), norm="forward").abs().square().sum(0) / (len(fields) - 1)
    torch.testing.assert_close(law.spectrum(grid) * prior.spectrum(grid), seen, rtol=1e-9, atol=1e-12)
    with pytest.raises(UserError, match="a full covariance is for the torus"):
        estimate(fields, native, prior, 1)


def test_between_walls_the_spectrum_is_that_of_the_data_where_they_are_and_near_it_elsewhere():
    """Of fields whose cosines are not independent: sums of random walks, which leave one wall for the other."""
    native, prior, fields = CellCentred(16), Bessel(16, 8.0, 0.8), draws(16)
    law = estimate(fields, native, prior, 0)
    for n, error in ((16, 1e-9), (8, 0.06), (11, 0.06), (24, 0.06)):
        grid = CellCentred(n)
        seen = native.resample(fields, grid)
        seen = torch.fft.rfft2(seen - seen.mean(0), norm="forward").abs().square().sum(0) / (len(fields) - 1)
        ratio = law.spectrum(grid) * prior.spectrum(grid) / seen
        assert ratio.log10().abs().mean() < error, n


def test_a_coarser_grid_sees_the_marginal_law():
    """Restricting draws of the fine law gives draws of the coarse one: covariances agree mode by mode."""
    fine, coarse, prior = Torus(9), Torus(5), Bessel(9, 8.0, 0.8)
    law = estimate(draws(9, 400), fine, prior, 3)
    n, m = fine.resolution, coarse.resolution

    def covariance(grid, size):
        basis = torch.eye(size**2, dtype=torch.float64).unflatten(1, (size, size)) * size
        return prior.color(law.apply(lambda kappa: kappa.sqrt(), basis, grid), grid)

    restricted = resample_noise(covariance(fine, n), fine, coarse).flatten(1)
    own = covariance(coarse, m).flatten(1)
    torch.testing.assert_close(restricted.T @ restricted, own.T @ own, rtol=1e-8, atol=1e-10)


def test_modes_above_the_native_grid_have_the_tail():
    law = estimate(draws(7), Torus(7), PRIORS["bessel"], 2)
    spectrum = law.spectrum(Torus(12))
    assert (spectrum[4:9] == 0).all()
    assert (spectrum[:, 4:] == 0).all()
    assert (spectrum[:4, :4] > 0).all()
    assert (estimate(draws(7), Torus(7), PRIORS["bessel"], 2, tail=1.0).spectrum(Torus(12))[4:9] == 1).all()


def test_the_law_of_the_prior_keeps_it():
    law, grid = prior_law(PRIORS["bessel"]), Torus(8)
    u = torch.randn(3, 8, 8, generator=generator(5), dtype=torch.float64)
    torch.testing.assert_close(law.flow(u, TIMES, TIMES.flip(0), grid), u)
    torch.testing.assert_close(
        GaussianDenoiser(law).predict_noise(u, TIMES, grid), SDE.noise_scale(TIMES)[:, None, None] * u
    )
    assert law.log_density(u, TIMES, grid).abs().max() < 1e-8


def test_the_law_survives_its_file():
    law = estimate(draws(7), Torus(7), PRIORS["bessel"], 2)
    again = from_state(law.prior, law.grid, law.state())
    u = draws(7, 3)
    assert torch.equal(
        GaussianDenoiser(again).predict_noise(u, TIMES, Torus(7)),
        GaussianDenoiser(law).predict_noise(u, TIMES, Torus(7)),
    )


@pytest.mark.parametrize("grid", [Torus(7), Torus(9), CellCentred(8)], ids=str)
@pytest.mark.parametrize("steps", [1, 3])
def test_for_gaussian_data_the_exponential_sampler_is_exact_in_any_number_of_steps(grid, steps):
    law = estimate(draws(7), type(grid)(7), PRIORS["laplacian"], 2 if isinstance(grid, Torus) else 0)
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    drawn = GaussianExponential(GaussianDenoiser(law)).sample(4, grid, times, lambda block: generator(1, block))
    start = law.prior.sample(64, grid, generator(1, 0), torch.float64)[:4]
    one, zero = torch.ones(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(drawn, law.flow(start, one, zero, grid), rtol=1e-9, atol=1e-9)


def test_the_stochastic_form_draws_gaussian_data_in_law_in_one_step():
    law, grid = estimate(draws(7), Torus(7), PRIORS["bessel"], 3), Torus(7)
    sampler = GaussianExponential(GaussianDenoiser(law), 1)
    u = law.at(
        7 * torch.randn(20_000, 7, 7, generator=generator(6), dtype=torch.float64),
        torch.ones(20_000, dtype=torch.float64),
        grid,
    )
    now = sampler.state(u, torch.tensor(1.0, dtype=torch.float64), grid)
    noise = generator(7)
    drawn = sampler.step(
        now,
        torch.tensor(0.0, dtype=torch.float64),
        None,
        grid,
        lambda: law.prior.sample(20_000, grid, noise, torch.float64),
    )
    found, expected = torch.cov(drawn.flatten(1).T), dense_covariance(draws(7), 3)
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert squared_norm(drawn.mean(0) - law.mean).sqrt() < 0.02


def angles(steps, last):
    """Times of equal angle from t = 1 to a part of the way."""
    one = torch.ones((), dtype=torch.float64)
    first = torch.atan2(SDE.noise_scale(one), SDE.mean_scale(one))
    return SDE.time(-torch.tan(torch.linspace(1, last, steps + 1, dtype=torch.float64) * first).log())


def test_on_the_mixture_the_flow_is_solved_to_second_order_in_the_angle():
    prior = Bessel(8, 8.0, 0.8)
    grid, sampler = Torus(8), GaussianExponential(MixtureDenoiser(GaussianMixture(prior), SDE))
    start = prior.sample(4, grid, generator(8), torch.float64)

    def end(steps):
        u, before, times = start, None, angles(steps, 0.3)
        for t, s in itertools.pairwise(times):
            now = sampler.state(u, t, grid)
            u, before = sampler.step(now, s, before, grid, lambda: None), now
        return u

    exact = end(512)
    errors = [(end(steps) - exact).norm().item() for steps in (16, 32, 64)]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([2, 2], abs=0.2)


class Scaled:
    """E[η | u_t] for X_0 ~ N(0, ρQ)."""

    def __init__(self, prior, rho):
        self.prior, self.rho, self.sde = prior, rho, SDE

    def predict_noise(self, u, t, grid):
        a, b = SDE.mean_scale(t), SDE.noise_scale(t)
        return (b / (self.rho * a**2 + b**2))[:, None, None] * u


@pytest.mark.parametrize("rho", [0.3, 3.0])
def test_the_stochastic_form_has_weak_order_one_where_its_gaussian_is_not_that_of_the_data(rho):
    """A step is u_s = p u_t + q η in every mode; the variances that follow, against that of the reverse SDE."""
    prior, grid = Bessel(8, 8.0, 0.8), Torus(8)
    sampler = GaussianExponential(Scaled(prior, rho), 1)
    unit = prior.sample(1, grid, generator(1), torch.float64)

    def variance(steps):
        v, times = 1.0, angles(steps, 0.2)
        for t, s in itertools.pairwise(times):
            kept = sampler.step(sampler.state(unit, t, grid), s, None, grid, lambda: 0 * unit)
            added = sampler.step(sampler.state(0 * unit, t, grid), s, None, grid, lambda: unit)
            p, q = ((each * unit).sum() / unit.square().sum() for each in (kept, added))
            v = p**2 * v + q**2
        return float(v)

    a, b = SDE.mean_scale(angles(1, 0.2)), SDE.noise_scale(angles(1, 0.2))
    at = rho * a**2 + b**2
    regression = (rho * a[0] * a[1] + a[0] / a[1] * b[1] ** 2) / at[0]
    exact = float(at[1] + regression**2 * (1 - at[0]))
    errors = [abs(variance(steps) - exact) for steps in (50, 100, 200)]
    assert [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)] == pytest.approx([1, 1], abs=0.1)


def test_too_few_fields_for_a_full_covariance_and_too_many_modes_are_refused():
    with pytest.raises(
        UserError, match=r"modes: a full covariance of 49 modes needs more .* there are 30; choose modes up to 2"
    ):
        estimate(draws(7, 30), Torus(7), PRIORS["bessel"], 3)
    with pytest.raises(UserError, match="modes: 4, but a grid of 7 points has 3 per direction"):
        estimate(draws(7), Torus(7), PRIORS["bessel"], 4)
