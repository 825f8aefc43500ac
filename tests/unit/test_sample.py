"""With the exact field the law of every sampler is the mixture's: everything else is the network's fault."""

import math
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from multilevel_diffusion import sample
from multilevel_diffusion.grids import Torus, restrict, squared_norm
from multilevel_diffusion.metrics import Reference, floor, projections
from multilevel_diffusion.mixture import GaussianMixture, MixtureDenoiser
from multilevel_diffusion.priors import Combined, Laplacian, Standard, draw_mode_weights, multiplicity
from multilevel_diffusion.sample import (
    BLOCK,
    Ancestral,
    DPMSolver,
    EulerMaruyama,
    GaussianExponential,
    Heun,
    PredictorCorrector,
    time_grid,
)
from multilevel_diffusion.sde import ForwardSDE
from multilevel_diffusion.settings import Start, TimeGrid
from multilevel_diffusion.storage import generator

SDE = ForwardSDE()
PRIOR = Combined(64, draw_mode_weights((14, 7), generator(0)), 10.0, 0.5)
MIXTURE = GaussianMixture(PRIOR)
SAMPLES = {32: 192, 51: 128, 64: 128}
ODE = {"ddim": lambda d: Ancestral(d, 0.0), "heun": Heun, "dpm-solver++": lambda d: DPMSolver(d, 0.0)}
SDES = {
    "euler-maruyama": EulerMaruyama,
    "ddpm": lambda d: Ancestral(d, 1.0),
    "half-way ancestral": lambda d: Ancestral(d, 0.5),
    "sde-dpm-solver++": lambda d: DPMSolver(d, 1.0),
    "half-way dpm-solver++": lambda d: DPMSolver(d, 0.5),
    "predictor-corrector": lambda d: PredictorCorrector(d, 1, 0.16),
}
SAMPLERS = ODE | SDES
STEPS = {"heun": 30, "predictor-corrector": 30}


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def sampled(sampler, n, resolution, steps, seed=0, times=TimeGrid.UNIFORM, denoiser=None):
    solver = SAMPLERS[sampler](denoiser or MixtureDenoiser(MIXTURE, SDE))
    return solver.sample(
        n, Torus(resolution), time_grid(times, steps, SDE), lambda block: generator(seed, "test", block)
    )


@cache
def samples_of(sampler, resolution):
    return sampled(sampler, SAMPLES[resolution], resolution, STEPS.get(sampler, 60))


def first_component(u):
    return MIXTURE.log_odds(u, u.new_ones(len(u)), Torus(u.shape[-1])) > 0


def relative_power(u):
    """|(u − m_i)^_k|²/λ_k, 1 in the mean, for every sample and mode; and the multiplicity of the modes."""
    grid = Torus(u.shape[-1])
    residual = u - torch.where(first_component(u)[:, None, None], *MIXTURE.means(grid))
    power = torch.fft.rfft2(residual, norm="forward").abs().square() / PRIOR.spectrum(grid)
    return power, multiplicity(grid).expand(power.shape[1:])


class Units:
    """A prior whose j-th draw is the j-th unit vector: a linear sampler then returns the weight that it gives to each draw."""

    def __init__(self):
        self.draws = 0

    def sample(self, n, grid, generator, dtype):
        field = torch.zeros(grid.resolution**2, dtype=dtype)
        field[self.draws] = 1
        self.draws += 1
        return field.view(1, grid.resolution, grid.resolution).expand(n, -1, -1).clone()


class Gaussian:
    """The exact E[η | u_t] for X_0 ~ N(0, ρQ)."""

    sde = SDE

    def __init__(self, rho, prior=None):
        self.rho, self.prior = rho, prior or Units()

    def predict_noise(self, u_t, t, grid):
        a_t, b_t = SDE.mean_scale(t), SDE.noise_scale(t)
        return (b_t / (self.rho * a_t**2 + b_t**2))[:, None, None] * u_t


def variance(sampler, times, rho):
    """The variance of the sampler's law at the last of the times in units of λ, exactly, without drawing anything."""
    denoiser = Gaussian(rho)
    weights = SAMPLERS[sampler](denoiser).sample(1, Torus(42), times, lambda block: torch.Generator())
    assert denoiser.prior.draws < 42**2
    return weights.square().sum().item()


def exact_variance(sampler, end, rho):
    """The variance at time `end` of the ODE or SDE itself, started from N(0,Q) at t = 1."""
    at = rho * SDE.mean_scale(scalar([1.0, end])) ** 2 + SDE.noise_scale(scalar([1.0, end])) ** 2
    if sampler in ODE:
        return (at[1] / at[0]).item()
    first, last = SDE.mean_scale(scalar([1.0, end]))
    regression = (rho * first * last + first / last * SDE.noise_scale(scalar(end)) ** 2) / at[0]
    return (at[1] + regression**2 * (1 - at[0])).item()


THEORY = {
    **{"ddim": 1, "heun": 2, "dpm-solver++": 2},
    **{"euler-maruyama": 1, "ddpm": 1, "half-way ancestral": 1, "sde-dpm-solver++": 2},
}


@pytest.mark.parametrize("rho", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("sampler", THEORY)
def test_the_weak_order_on_gaussians_is_that_of_theory(sampler, rho):
    """With equal steps in λ down to t = 0.05, that is before the last step, which has an error of its own."""
    ends, errors = SDE.half_log_snr(scalar([1.0, 0.05])).tolist(), []
    for steps in (100, 200, 400):
        times = SDE.time(torch.linspace(*ends, steps + 1, dtype=torch.float64))
        errors.append(abs(variance(sampler, times, rho) / exact_variance(sampler, 0.05, rho) - 1))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([THEORY[sampler]] * 2, abs=0.11)


@pytest.mark.parametrize("rho", [0.3, 1.0, 3.0])
def test_the_predictor_corrector_ends_with_the_bias_of_its_corrector(rho):
    """δ (2 − δ) / (1 − (1 − δ/v)²) instead of v = ρ a² + b², once the corrections outweigh a small step; none for ρ = 1."""
    end = 0.3
    b2 = SDE.noise_scale(scalar(end)).item() ** 2
    v, delta = rho * (1 - b2) + b2, 2 * 0.16**2 * b2
    stationary = delta * (2 - delta) / (1 - (1 - delta / v) ** 2)
    times = torch.cat(
        [torch.linspace(1, end, 101, dtype=torch.float64), end - 1e-9 * torch.arange(1, 650, dtype=torch.float64)]
    )
    assert variance("predictor-corrector", times, rho) == pytest.approx(stationary, rel=1e-5)
    assert (stationary == pytest.approx(v, rel=1e-12)) == (rho == 1)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("times", TimeGrid)
def test_every_sampler_ends_at_time_zero_with_the_law_of_the_data(sampler, times):
    """On Gaussians with X_0 ~ N(0, ρQ), whole runs: the error falls as steps grow and ends below 6 %."""
    coarse, fine = (abs(variance(sampler, time_grid(times, steps, SDE), 1.5) / 1.5 - 1) for steps in (100, 400))
    assert fine < 0.6 * coarse
    assert fine < 0.06


@pytest.mark.parametrize("resolution", SAMPLES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_mode_variances_on_the_mixture_are_those_the_scheme_has_on_a_gaussian(sampler, resolution):
    """Pooled over the modes, at every resolution: within a component, the exact field is that of a Gaussian with ρ = 1."""
    power, weight = relative_power(samples_of(sampler, resolution))
    n = len(power)
    expected = variance(sampler, time_grid(TimeGrid.UNIFORM, STEPS.get(sampler, 60), SDE), 1.0)
    deviation = (power.mean(0) / expected - 1) * math.sqrt(n) / (power.std(0) / expected)
    assert deviation.abs().median() == pytest.approx(0.67, abs=0.1)
    pooled = ((power.mean(0) * weight).sum() / weight.sum()).item()
    assert pooled == pytest.approx(expected, rel=4.5 * math.sqrt(2 / (n * weight.sum().item())) + 1e-3)


@pytest.mark.parametrize("resolution", SAMPLES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_both_components_are_equally_likely(sampler, resolution):
    first = first_component(samples_of(sampler, resolution)).double()
    assert abs(first.mean() - 0.5) < 3.5 * 0.5 / math.sqrt(len(first))


@cache
def truth(resolution):
    n, directions = SAMPLES[resolution], projections(resolution, 100, generator(1))
    sets = [MIXTURE.sample(n, Torus(resolution), generator(i, "truth"), torch.float64).numpy() for i in range(12)]

    def distance(x, y):
        return Reference(y, directions).sliced_wasserstein(x)

    return distance, np.concatenate(sets[1:]), floor(distance, sets)


@pytest.mark.parametrize("resolution", SAMPLES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_sliced_wasserstein_is_within_the_spread_of_truth_against_truth(sampler, resolution):
    distance, reference, among = truth(resolution)
    assert distance(samples_of(sampler, resolution).numpy(), reference).value < among.value + 3.5 * among.stderr


def distances_to_the_fine_solution(sampler, resolution, counts):
    """‖u_0 − u_0*‖, the median over fields, u_0* by Heun's method with many steps from the same noise."""
    fine = sampled("heun", 32, resolution, 1000, times=TimeGrid.LOG_SNR)
    return [
        squared_norm(sampled(sampler, 32, resolution, n, times=TimeGrid.LOG_SNR) - fine).median().sqrt().item()
        for n in counts
    ]


@pytest.mark.parametrize("resolution", [16, 21])
@pytest.mark.parametrize("sampler", ODE)
def test_the_order_of_ode_samplers_on_the_mixture_is_that_of_theory(sampler, resolution):
    """And they agree with each other, at their common limit."""
    errors = distances_to_the_fine_solution(sampler, resolution, (40, 80, 160))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([THEORY[sampler]] * 2, abs=0.3)


class From:
    """The exact field of the mixture, with a prior that draws what it is given, in turn."""

    sde = SDE

    def __init__(self, mixture, *draws):
        self.exact, self.prior, self.draws = MixtureDenoiser(mixture, SDE), self, iter(draws)
        self.evaluations = 0

    def sample(self, n, grid, generator, dtype):
        return next(self.draws)

    def predict_noise(self, u_t, t, grid):
        self.evaluations += 1
        return self.exact.predict_noise(u_t, t, grid)


@pytest.mark.parametrize("sampler", ODE)
def test_an_ode_sampler_is_one_map_of_functions_on_every_grid(sampler):
    """From noise restricted to coarser grids the results are the restrictions, up to what these grids do not see of the odds."""
    finest, n, ends = Torus(97), 16, {}
    noise = PRIOR.sample(n, finest, generator(5), torch.float64)
    for resolution in (97, 65, 49, 33):
        grid = Torus(resolution)
        denoiser = From(MIXTURE, restrict(noise, finest, grid))
        times = time_grid(TimeGrid.UNIFORM, 20, SDE)
        ends[resolution] = SAMPLERS[sampler](denoiser).sample(n, grid, times, lambda block: torch.Generator())
    differences = {r: squared_norm(restrict(ends[97], finest, Torus(r)) - ends[r]).sqrt() for r in (33, 49, 65)}
    medians = [difference.median().item() for difference in differences.values()]
    assert medians[2] < medians[0] < 0.02
    assert (differences[33] > 0.1).sum() <= 2  # fields on the border of the components may end in the other one


@pytest.mark.parametrize(("stochasticity", "algorithm"), [(0.0, "dpmsolver++"), (1.0, "sde-dpmsolver++")])
@pytest.mark.parametrize("times", TimeGrid)
def test_the_steps_of_dpm_solver_are_those_of_diffusers_on_white_noise(times, stochasticity, algorithm):
    n, steps, grid = 4, 12, Torus(8)
    mixture = GaussianMixture(Standard(8))
    draws = [torch.randn(n, 8, 8, generator=generator(6, i), dtype=torch.float64) for i in range(steps + 1)]
    grid_of_times = time_grid(times, steps, SDE)
    ours = DPMSolver(From(mixture, *draws), stochasticity).sample(
        n, grid, grid_of_times, lambda block: torch.Generator()
    )

    products = SDE.mean_scale(grid_of_times[:-1]).flip(0) ** 2  # ᾱ of diffusers, from small times to large
    ratios = products / torch.cat([torch.ones(1, dtype=torch.float64), products[:-1]])
    theirs = DPMSolverMultistepScheduler(
        num_train_timesteps=steps,
        trained_betas=(1 - ratios).numpy(),
        solver_order=2,
        algorithm_type=algorithm,
        final_sigmas_type="zero",
    )
    theirs.set_timesteps(timesteps=list(range(steps))[::-1])
    u, exact = draws[0], MixtureDenoiser(mixture, SDE)
    for i, step in enumerate(theirs.timesteps):
        eta = exact.predict_noise(u, grid_of_times[i].expand(n), grid)
        u = theirs.step(eta, step, u, variance_noise=draws[i + 1]).prev_sample
    torch.testing.assert_close(ours, u.double(), rtol=0, atol=5e-5)  # its coefficients are float32


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_denoiser_is_evaluated_as_often_as_is_said(sampler, steps):
    grid = Torus(8)
    denoiser = From(MIXTURE, *(PRIOR.sample(2, grid, generator(7, i), torch.float64) for i in range(20)))
    solver = SAMPLERS[sampler](denoiser)
    solver.sample(2, grid, time_grid(TimeGrid.UNIFORM, steps, SDE), lambda block: torch.Generator())
    assert denoiser.evaluations == solver.evaluations(steps)


def test_one_euler_maruyama_step_is_the_formula():
    """u_s = u_t + (t − s) α_t (½ u_t + Q∇log p_t) + (α_t (t − s))^½ η for a denoiser that says E[η|u] = b_t u."""
    u, eta = (torch.randn(2, 8, 8, generator=generator(seed), dtype=torch.float64) for seed in (2, 3))
    h = (0.1 + 19.9 * 0.5) * 0.1
    solver, grid = EulerMaruyama(Gaussian(1.0)), Torus(8)
    stepped = solver.step(solver.state(u, scalar(0.5), grid), scalar(0.4), None, grid, lambda: eta)
    torch.testing.assert_close(stepped, u + h * (0.5 * u - u) + math.sqrt(h) * eta)


class Recorded:
    """Noise for one step: what is drawn, how often."""

    def __init__(self, draw):
        self.draw, self.count = draw, 0

    def __call__(self):
        self.count += 1
        return self.draw


def stepped(solver, t, s, draw, before=None):
    """One step from a fixed field, and how many draws it took."""
    u, grid, noise = torch.ones(2, 8, 8, dtype=torch.float64), Torus(8), Recorded(draw)
    now = solver.state(u, scalar(t), grid)
    earlier = solver.state(0.5 * u, scalar(before), grid) if before else None
    return solver.step(now, scalar(s), earlier, grid, noise), noise.count, now


@pytest.mark.parametrize(
    "sampler", [name for name in SAMPLERS if name not in ("euler-maruyama", "predictor-corrector")]
)
def test_the_last_step_is_the_data_prediction_and_draws_no_noise(sampler):
    solver = SAMPLERS[sampler](Gaussian(0.7))
    end, draws, now = stepped(solver, 0.1, 0.0, None, before=0.2)
    assert draws == 0
    torch.testing.assert_close(end, solver.data(now), rtol=1e-12, atol=0)


@pytest.mark.parametrize("stochasticity", [0.3, 0.5, 1.0])
@pytest.mark.parametrize("solver", [Ancestral, DPMSolver])
def test_a_stochastic_step_is_exact_where_the_data_are_known(solver, stochasticity):
    """For X_0 = x the step from a_t x + b_t ε has mean a_s x + c ε and noise of weight w, c² + w² = b_s², w by its formula."""

    class Known:
        sde, prior = SDE, None

        def predict_noise(self, u_t, t, grid):
            return (u_t - SDE.mean_scale(t)[:, None, None] * 3.0) / SDE.noise_scale(t)[:, None, None]

    t, s = scalar(0.6), scalar(0.4)
    a_t, b_t, a_s, b_s = SDE.mean_scale(t), SDE.noise_scale(t), SDE.mean_scale(s), SDE.noise_scale(s)
    zero, one = torch.zeros(2, 8, 8, dtype=torch.float64), torch.ones(2, 8, 8, dtype=torch.float64)
    chosen = solver(Known(), stochasticity)
    mean = stepped(chosen, 0.6, 0.4, zero)[0]
    weight = stepped(chosen, 0.6, 0.4, one)[0] - mean
    epsilon = (1 - a_t * 3) / b_t
    if solver is Ancestral:
        expected = stochasticity * b_s / b_t * (1 - (a_t / a_s) ** 2).sqrt()
    else:
        h = SDE.half_log_snr(s) - SDE.half_log_snr(t)
        expected = b_s * (1 - torch.exp(-2 * stochasticity**2 * h)).sqrt()
    torch.testing.assert_close(weight, expected * one, rtol=1e-10, atol=0)
    torch.testing.assert_close(mean, (a_s * 3 + (b_s**2 - expected**2).sqrt() * epsilon) * one, rtol=1e-10, atol=1e-12)


def test_each_correction_contracts_towards_the_marginal():
    """On a Gaussian with ρ = 1, u ← (1 − δ) u + (δ (2 − δ))^½ η with δ = 2 (snr b_s)², so many times."""
    b_s = SDE.noise_scale(scalar(0.4))
    delta = 2 * (0.3 * b_s) ** 2
    zero = torch.zeros(2, 8, 8, dtype=torch.float64)
    predicted = stepped(EulerMaruyama(Gaussian(1.0)), 0.6, 0.4, zero)[0]
    for corrections in (1, 2, 3):
        corrected, draws, _ = stepped(PredictorCorrector(Gaussian(1.0), corrections, 0.3), 0.6, 0.4, zero)
        torch.testing.assert_close(corrected, (1 - delta) ** corrections * predicted)
        assert draws == 1 + corrections


def test_a_sample_depends_on_its_index_alone():
    def drawn(n, seed=0):
        return sampled("euler-maruyama", n, 16, 5, seed)

    many, few = drawn(BLOCK + 7), drawn(5)
    rounding = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(many[:5], few, **rounding)
    torch.testing.assert_close(many, drawn(BLOCK + 40)[: BLOCK + 7], **rounding)
    assert (few - drawn(5, seed=1)).abs().min() > 0
    assert (many[:7] - many[BLOCK:]).abs().min() > 0


class Counted(MixtureDenoiser):
    """Notes how many fields it is given, and from an evaluation on has memory for no more than so many."""

    def __init__(self, most=math.inf, since=0):
        super().__init__(MIXTURE, SDE)
        self.most, self.since, self.given = most, since, []

    def predict_noise(self, u_t, t, grid):
        if len(u_t) > self.most and len(self.given) >= self.since:
            raise torch.OutOfMemoryError
        self.given.append(len(u_t))
        return super().predict_noise(u_t, t, grid)


@pytest.mark.parametrize("sampler", ["euler-maruyama", "heun", "predictor-corrector"])
def test_where_memory_does_not_suffice_the_same_samples_are_drawn_in_parts(sampler):
    plenty, little = Counted(), Counted(most=5)
    enough, parts = (sampled(sampler, BLOCK + 7, 16, 3, denoiser=denoiser) for denoiser in (plenty, little))
    torch.testing.assert_close(parts, enough, rtol=0, atol=1e-12)
    assert set(plenty.given) == {BLOCK, 7}
    assert max(little.given) == 4
    with pytest.raises(torch.OutOfMemoryError):
        sampled(sampler, 2, 16, 3, denoiser=Counted(most=0))


def test_memory_that_lacks_midway_costs_no_noise_and_is_forgotten_with_the_next_samples():
    denoiser, times = Counted(most=5, since=3), time_grid(TimeGrid.UNIFORM, 3, SDE)
    solver = PredictorCorrector(denoiser, 1, 0.16)

    def drawn():
        return solver.sample(BLOCK, Torus(16), times, lambda block: generator(0, "test", block))

    expected = sampled("predictor-corrector", BLOCK, 16, 3)
    torch.testing.assert_close(drawn(), expected, rtol=0, atol=1e-12)
    denoiser.given, denoiser.most = [], math.inf
    torch.testing.assert_close(drawn(), expected, rtol=0, atol=1e-12)
    assert set(denoiser.given) == {BLOCK}


@pytest.mark.parametrize(("pixels", "together"), [(16**2, {1}), (10 * 16**2, {10, 4, 7}), (2**22, {BLOCK, 7})])
def test_on_the_cpu_a_block_or_less_is_evaluated_at_once(pixels, together, monkeypatch):
    monkeypatch.setattr(sample, "PIXELS", pixels)
    denoiser, steps = Counted(), []
    times = time_grid(TimeGrid.UNIFORM, 3, SDE)
    parts = EulerMaruyama(denoiser).sample(
        BLOCK + 7, Torus(16), times, lambda block: generator(0, "test", block), lambda: steps.append(None)
    )
    torch.testing.assert_close(parts, sampled("euler-maruyama", BLOCK + 7, 16, 3), rtol=0, atol=1e-12)
    assert set(denoiser.given) == together
    assert len(steps) == 3 * 2  # blocks


@pytest.mark.parametrize(
    ("n", "pixels", "most", "together"),
    [
        (200, 16**2, math.inf, {1}),
        (200, 150 * 16**2, math.inf, {128, 72}),
        (200, 2**22, math.inf, {200}),
        (200, 2**22, 120, {100}),
        (128, 2**22, math.inf, {128}),
        (1, 2**22, math.inf, {1}),
    ],
)
def test_on_another_device_several_blocks_are_evaluated_at_once(n, pixels, most, together, monkeypatch):
    class Elsewhere:
        """A generator on the CPU that says it is not."""

        device = torch.device("cuda", 0)

        def __init__(self, block):
            self.here = generator(0, "test", block)

    monkeypatch.setattr(sample, "PIXELS", pixels)
    denoiser = Counted(most)
    solver = EulerMaruyama(denoiser)
    solver.prior = SimpleNamespace(sample=lambda n, grid, stream, dtype: PRIOR.sample(n, grid, stream.here, dtype))
    steps, times = [], time_grid(TimeGrid.UNIFORM, 3, SDE)
    drawn = solver.sample(n, Torus(16), times, Elsewhere, lambda: steps.append(None))
    torch.testing.assert_close(drawn, sampled("euler-maruyama", n, 16, 3), rtol=0, atol=1e-12)
    assert set(denoiser.given) == together
    assert len(steps) == 3 * math.ceil(n / BLOCK)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_denoiser_that_leaves_finite_numbers_midway_is_refused_with_the_time(sampler):
    class Broken(Gaussian):
        def predict_noise(self, u_t, t, grid):
            noise = super().predict_noise(u_t, t, grid)
            noise[-1, 3, 5] *= torch.where(t[0] > 0.5, 1, torch.nan)  # a single number
            return noise

    with pytest.raises(FloatingPointError, match=r"not finite at t = 0\.5, resolution 16"):
        sampled(sampler, 2, 16, 4, denoiser=Broken(1.0, Laplacian(16, 1.0)))


def test_samples_that_overflow_in_the_last_step_are_refused():
    class Steep(Gaussian):
        def predict_noise(self, u_t, t, grid):
            return torch.full_like(u_t, -1e308) if t[0] < 0.3 else super().predict_noise(u_t, t, grid)

    with pytest.raises(FloatingPointError, match="resolution 16"):
        sampled("euler-maruyama", 2, 16, 4, denoiser=Steep(1.0, Laplacian(16, 1.0)))


@pytest.mark.parametrize("times", TimeGrid)
@pytest.mark.parametrize("steps", [1, 2, 200])
def test_times_fall_from_one_to_zero_exactly(times, steps):
    grid = time_grid(times, steps, SDE)
    assert len(grid) == steps + 1
    assert (grid[0], grid[-1]) == (1, 0)
    assert (grid.diff() < 0).all()
    equal = {
        TimeGrid.UNIFORM: lambda t: t,
        TimeGrid.LOG_SNR: SDE.half_log_snr,
        TimeGrid.KARRAS: lambda t: (SDE.noise_scale(t) / SDE.mean_scale(t)) ** (1 / 7),
        TimeGrid.ANGLE: lambda t: torch.atan2(SDE.noise_scale(t), SDE.mean_scale(t)),
    }[times](grid if times in (TimeGrid.UNIFORM, TimeGrid.ANGLE) else grid[:-1]).diff()
    assert (equal - equal.mean()).abs().max() < 1e-9 if len(equal) else True
    if times in (TimeGrid.LOG_SNR, TimeGrid.KARRAS) and steps > 1:
        assert grid[-2].item() == pytest.approx(1e-3, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 5, 200])
def test_by_angle_the_mean_scale_is_the_cosine_of_equally_spaced_angles(steps):
    """From that of t = 1, a little less than a right one, to 0."""
    grid, first = time_grid(TimeGrid.ANGLE, steps, SDE), math.acos(math.exp(-0.25 * 19.9 - 0.5 * 0.1))
    angles = torch.linspace(first, 0, steps + 1, dtype=torch.float64)
    torch.testing.assert_close(SDE.mean_scale(grid), angles.cos(), rtol=1e-9, atol=0)
    torch.testing.assert_close(SDE.noise_scale(grid), angles.sin(), rtol=1e-9, atol=0)


def test_what_no_sampler_can_do_is_refused():
    with pytest.raises(ValueError, match="steps must be ≥ 1"):
        time_grid(TimeGrid.UNIFORM, 0, SDE)
    for make in (lambda: Ancestral(Gaussian(1.0), 1.1), lambda: DPMSolver(Gaussian(1.0), -0.1)):
        with pytest.raises(ValueError, match=r"stochasticity must be in \[0, 1\]"):
            make()
    with pytest.raises(ValueError, match="corrections"):
        PredictorCorrector(Gaussian(1.0), 0, 0.16)
    with pytest.raises(ValueError, match="snr"):
        PredictorCorrector(Gaussian(1.0), 1, 1.5)
    with pytest.raises(ValueError, match=r"stochasticity must be 0 or 1, got 0\.5"):
        GaussianExponential(Gaussian(1.0, Laplacian(16, 1.0)), 0.5)
    with pytest.raises(ValueError, match="start: gaussian needs a denoiser with a Gaussian"):
        EulerMaruyama(Gaussian(1.0, Laplacian(16, 1.0))).sample(
            1, Torus(16), time_grid(TimeGrid.UNIFORM, 1, SDE), lambda block: generator(0), start=Start.GAUSSIAN
        )
