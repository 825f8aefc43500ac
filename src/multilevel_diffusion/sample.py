"""Samplers: from N(0,Q) at t = 1 back to the data at t = 0, in the geometry of Q.

Noise is drawn from the prior, and the model enters only through η̂_t = E[η | X_t = u_t]; the data it stands for is
D_t = E[X_0 | X_t = u_t] = (u_t − b_t η̂_t) / a_t. With s running from 1 to 0, the reverse SDE of dX = −½ α X dt + √α dW^Q is

    dY = (½ α_t Y + α_t Q∇log p_t(Y)) (−dt) + √α_t dŴ^Q,        Q∇log p_t(y) = −η̂_t / b_t

(Hagemann et al., arXiv 2303.04772, section 4; Song et al. 2021, arXiv 2011.13456, eq. 6), and the probability-flow ODE, of
equal marginal laws, has half the second term and no noise. With σ_t = b_t / a_t and λ_t = −log σ_t its solutions satisfy

    d(u_t / a_t) / dσ_t = η̂_t,        u_s = (b_s / b_t) u_t + b_s ∫_{λ_t}^{λ_s} e^λ D dλ.

A `Sampler` writes only its step from t to an earlier s; the state is float64 whatever the precision of the network. Every
sampler ends at t = 0 itself. Where a formula has no value there (λ = ∞), its docstring says what the last step is. An order
holds for the steps before the last one, which adds an error O(b_t²) of its own, of first order if the steps in t are equal.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from . import checkpoints
from .checkpoints import Checkpoint
from .denoise import Denoiser
from .gaussian import GaussianDenoiser, GaussianLaw, prior_law
from .grids import Grid, white_noise
from .sde import ForwardSDE
from .settings import Start, TimeGrid

__all__ = [
    "BLOCK", "T_LAST", "Ancestral", "DPMSolver", "EulerMaruyama", "GaussianExponential", "Heun",
    "PredictorCorrector", "Sampler", "State", "time_grid",
]  # fmt: skip

BLOCK = 64
"""Samples drawn from one random stream: up to rounding, sample i does not depend on how many are drawn."""

T_LAST = 1e-3
"""The last time before 0 of the grids in λ, where b_t = 0.01 (ε of Song et al. 2021, appendix C)."""

PIXELS = 2**22
"""Given to the denoiser at once, at most; the FNO takes them in smaller parts."""

KARRAS_RHO = 7


def time_grid(kind: TimeGrid, steps: int, sde: ForwardSDE) -> Tensor:
    """1 = t_0 > t_1 > … > t_steps = 0, float64.

    uniform: equal steps in t. log-snr: equal steps in λ_t = log(a_t / b_t) (Lu et al. 2022, arXiv 2211.01095). karras: equal
    steps in σ_t^(1/7) (Karras et al. 2022, arXiv 2206.00364, eq. 5). These two go down to T_LAST, then to 0. angle: equal steps
    in φ, where a_t = cos φ and b_t = sin φ.

    Raises:
        ValueError: if `steps` < 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be ≥ 1, got {steps}")
    first, last = sde.half_log_snr(torch.tensor([1, T_LAST], dtype=torch.float64)).tolist()
    match kind:
        case TimeGrid.UNIFORM:
            return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        case TimeGrid.LOG_SNR:
            half_log_snr = torch.linspace(first, last, steps, dtype=torch.float64)
        case TimeGrid.KARRAS:
            start, end = (math.exp(-level / KARRAS_RHO) for level in (first, last))
            half_log_snr = -KARRAS_RHO * torch.linspace(start, end, steps, dtype=torch.float64).log()
        case TimeGrid.ANGLE:
            angles = torch.linspace(math.atan(math.exp(-first)), 0, steps + 1, dtype=torch.float64)
            half_log_snr = -torch.tan(angles[:-1]).log()
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    return torch.cat([one, sde.time(half_log_snr[1:]), zero])


@dataclass(frozen=True)
class State:
    """The process at time t, shape (): u_t and η̂_t = E[η | u_t], shapes (batch, N, N), float64."""

    u: Tensor
    t: Tensor
    eta: Tensor


class Sampler(ABC):
    """Steps a field from time t to an earlier time s. A subclass writes `step`, and keeps nothing from one step to the next."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.sde, self.prior = denoiser, denoiser.sde, denoiser.prior
        self._at_once = BLOCK  # fields that the denoiser is given together

    @abstractmethod
    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        """The field at time s < t, shape (batch, N, N).

        Args:
            now: the process at time t.
            s: shape ().
            before: the process one step earlier; None at t = 1.
            noise: a fresh draw of N(0,Q), shape (batch, N, N).
        """

    def evaluations(self, steps: int) -> int:
        """How often `steps` steps evaluate the denoiser."""
        return steps

    def state(self, u: Tensor, t: Tensor, grid: Grid) -> State:
        """The field together with what the denoiser says of it.

        Raises:
            FloatingPointError: if that is not finite.
            torch.OutOfMemoryError: if the memory of the device does not suffice for a single field in the denoiser.
        """
        eta = self._noise(u, t.to(u.device), grid)
        if not eta.isfinite().all():
            raise FloatingPointError(f"E[η | u_t] is not finite at t = {t:.4g}, resolution {grid.resolution}")
        return State(u, t, eta)

    def _noise(self, u: Tensor, t: Tensor, grid: Grid) -> Tensor:
        while True:
            try:
                return torch.cat(
                    [self.denoiser.predict_noise(v, t.expand(len(v)), grid) for v in u.split(self._at_once)]
                )
            except torch.OutOfMemoryError:
                if self._at_once == 1:
                    raise
            self._at_once = min(self._at_once, len(u)) // 2 or 1

    def data(self, now: State) -> Tensor:
        """D_t = E[X_0 | u_t], shape (batch, N, N)."""
        return (now.u - self.sde.noise_scale(now.t) * now.eta) / self.sde.mean_scale(now.t)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        grid: Grid,
        times: Tensor,
        stream: Callable[[int], torch.Generator],
        progress: Callable[[], object] = lambda: None,
        start: Start = Start.PRIOR,
        keep: Checkpoint | None = None,
    ) -> Tensor:
        """`n` samples, shape (n, N, N), float64, on the device of the streams.

        PIXELS go through the denoiser at once, enough to keep a GPU busy, and half as many whenever its memory does not suffice.
        On the CPU, where more are no faster, at most 64 fields go through it.

        Args:
            n: ≥ 1.
            times: decreasing, from 1 to 0, float64.
            stream: block index to the generator of samples 64 × block … 64 × block + 63.
            progress: called after each step of each block.
            start: at t = 1, prior for N(0,Q), gaussian for the law of the denoiser's Gaussian.
            keep: where finished blocks and the state of those in progress are kept, and taken up.

        Raises:
            ValueError: if the denoiser has no Gaussian to start from.
            FloatingPointError: if a field or the denoiser stops being finite.
            torch.OutOfMemoryError: if the memory of the device does not suffice for 64 fields, or for one in the denoiser.
        """
        if start is Start.GAUSSIAN and not hasattr(self.denoiser, "law"):
            raise ValueError(
                "start: gaussian needs a denoiser with a Gaussian fit: preconditioning: gaussian, or a network of that kind"
            )
        streams = [stream(block) for block in range(math.ceil(n / BLOCK))]
        self._at_once = max(1, PIXELS // grid.resolution**2)
        if streams[0].device.type == "cpu":
            self._at_once = min(self._at_once, BLOCK)
        blocks, keep = max(1, self._at_once // BLOCK), keep or Checkpoint()

        def together(first: int) -> Tensor:
            """The samples of `blocks` blocks from this one on."""
            chosen, inner = streams[first : first + blocks], keep.at(f"{first}")
            return self._together(n - first * BLOCK, grid, times, chosen, progress, start, inner)

        on = streams[0].device
        return torch.cat([keep.tensor(f"{i}", partial(together, i), on) for i in range(0, len(streams), blocks)])

    def _together(
        self,
        n: int,
        grid: Grid,
        times: Tensor,
        streams: Sequence[torch.Generator],
        progress: Callable[[], object],
        start: Start,
        keep: Checkpoint,
    ) -> Tensor:
        """The samples of these blocks, the first `n` of them if there are more."""

        def noise() -> Tensor:
            return torch.cat([self.prior.sample(BLOCK, grid, each, torch.float64) for each in streams])[:n]

        def advance() -> None:
            for _ in streams:
                progress()

        done, before = 0, None
        if state := keep.state("steps"):
            u, before, done = self._resume(state, streams)
            for _ in range(done):
                advance()
        elif start is Start.PRIOR:
            u = noise()
        else:
            xi = torch.cat([white_noise(BLOCK, grid, each, torch.float64) for each in streams])[:n]
            law: GaussianLaw = self.denoiser.law  # type: ignore[attr-defined]
            u = law.at(xi, times[:1].to(xi).expand(len(xi)), grid)
        if not done and hasattr(self.denoiser, "begin"):  # it is given observations
            u = self.denoiser.begin(u, times[:1], grid, streams, BLOCK)
        with keep.saving("steps") as save:
            for t, s in [*pairwise(times)][done:]:
                now = self.state(u, t, grid)
                u, before, done = self.step(now, s, before, grid, noise), now, done + 1
                advance()
                save(lambda u=u, before=before, done=done: self._state(u, before, done, streams))
        if not u.isfinite().all():
            raise FloatingPointError(f"the samples at resolution {grid.resolution} are not finite")
        return u

    def _state(self, u: Tensor, before: State, done: int, streams: Sequence[torch.Generator]) -> checkpoints.State:
        """All that the steps after the first `done` depend on."""
        tensors = {"u": u} | {f"before/{name}": value for name, value in vars(before).items()}
        tensors |= {f"streams/{i}": stream.get_state() for i, stream in enumerate(streams)}
        return tensors, {"done": done, "at_once": self._at_once}

    def _resume(self, state: checkpoints.State, streams: Sequence[torch.Generator]) -> tuple[Tensor, State, int]:
        """The field, the process one step earlier, and how many steps are done; the streams go on from where they were."""
        tensors, header = state
        for i, stream in enumerate(streams):
            stream.set_state(tensors[f"streams/{i}"])
        self._at_once = header["at_once"]
        u, before, eta = (tensors[name].to(streams[0].device) for name in ("u", "before/u", "before/eta"))
        return u, State(before, tensors["before/t"], eta), header["done"]


class EulerMaruyama(Sampler):
    """The paper's sampler: u_s = u_t + h (½ u_t + Q∇log p_t(u_t)) + √h η with h = (t − s) α_t.

    Weak and, as the noise is additive, strong order 1.
    """

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        h = (now.t - s) * self.sde.alpha(now.t)
        return now.u + h * (0.5 * now.u - now.eta / self.sde.noise_scale(now.t)) + h.sqrt() * noise()


class Ancestral(Sampler):
    """Steps that are exact if D_t stays what it is: u_s = a_s D_t + (b_s² − σ²)^½ η̂_t + σ η.

    Here σ = stochasticity × (b_s / b_t) (1 − a_t² / a_s²)^½: 0 is DDIM, for the ODE, and 1 is DDPM, for the SDE (Song, Meng,
    Ermon 2021, arXiv 2010.02502, eq. 12 and 16; Ho et al. 2020, arXiv 2006.11239). Order 1. The last step is D.

    Args:
        stochasticity: in [0, 1].
    """

    def __init__(self, denoiser: Denoiser, stochasticity: float) -> None:
        super().__init__(denoiser)
        self.stochasticity = _checked_stochasticity(stochasticity)

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        b_t, b_s = self.sde.noise_scale(now.t), self.sde.noise_scale(s)
        log_ratio = self.sde.log_mean_scale(now.t) - self.sde.log_mean_scale(s)
        sigma = self.stochasticity * b_s / b_t * (-torch.expm1(2 * log_ratio)).sqrt()
        u_s = self.sde.mean_scale(s) * self.data(now) + (b_s**2 - sigma**2).clamp(min=0).sqrt() * now.eta
        return u_s + sigma * noise() if sigma > 0 else u_s


class Heun(Sampler):
    """Heun's method for du/a = η̂ dσ, the probability-flow ODE: an Euler step to s, then the mean of η̂ at both ends.

    Order 2, two evaluations per step (Karras et al. 2022, arXiv 2206.00364, algorithm 1). The last step is Euler's, D.
    """

    def evaluations(self, steps: int) -> int:
        return 2 * steps - 1

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        a_s, b_s = self.sde.mean_scale(s), self.sde.noise_scale(s)
        euler = a_s * self.data(now) + b_s * now.eta
        if s == 0:
            return euler
        change = b_s - a_s * self.sde.noise_scale(now.t) / self.sde.mean_scale(now.t)
        return euler + 0.5 * change * (self.state(euler, s, grid).eta - now.eta)


class DPMSolver(Sampler):
    """DPM-Solver++ 2M: an exponential integrator in λ with D extrapolated from the last two evaluations.

    With h = λ_s − λ_t, the step before it h', D' its data prediction, and τ the stochasticity,

        u_s = (b_s/b_t) e^(−τ² h) u_t + a_s (1 − e^(−(1+τ²) h)) (D_t + (D_t − D') h / 2h') + b_s (1 − e^(−2τ² h))^½ η.

    τ = 0 is the ODE and τ = 1 the SDE solver of Lu et al. 2022 (arXiv 2211.01095, algorithm 2); between them lies the family of
    Xue et al. 2023 (arXiv 2309.05019). Order 2 for the ODE; for τ > 0 strong order 1 and, measured on Gaussians, weak order 2.
    The first step and the last, where λ_s = ∞, take D_t alone: the last step is D.

    Args:
        stochasticity: τ in [0, 1].
    """

    def __init__(self, denoiser: Denoiser, stochasticity: float) -> None:
        super().__init__(denoiser)
        self.stochasticity = _checked_stochasticity(stochasticity)

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        h, tau2 = self.sde.half_log_snr(s) - self.sde.half_log_snr(now.t), self.stochasticity**2
        data = self.data(now)
        if before is not None and s > 0:
            h_before = self.sde.half_log_snr(now.t) - self.sde.half_log_snr(before.t)
            data = data + (data - self.data(before)) * h / (2 * h_before)
        b_s, shrink = self.sde.noise_scale(s), torch.exp(-tau2 * h) if tau2 else 1.0
        u_s = b_s / self.sde.noise_scale(now.t) * shrink * now.u
        u_s = u_s - self.sde.mean_scale(s) * torch.expm1(-(1 + tau2) * h) * data
        return u_s + b_s * (-torch.expm1(-2 * tau2 * h)).sqrt() * noise() if tau2 and s > 0 else u_s


class GaussianExponential(Sampler):
    """Integrates what a network adds to the Gaussian baseline along the exact flow of the Gaussian fit (module `gaussian`).

    Let w = Q^(−½)(u_t − a_t m), v_t = a_t² K + b_t² I, a_t = cos φ, b_t = sin φ, and δ_t = Q^(−½)(E[η | u_t] − E_G[η | u_t]).
    The probability flow leaves z = v_t^(−½) w where it is, but for

        dz/dφ = v_t^(−½) δ_t / a_t,

    solved by the two-step Adams–Bashforth method, of order 2; the first step is Euler's. For Gaussian data one step is exact.
    With stochasticity 1 it is the reverse SDE: the exact transition of the fit, whose mean of X_0 the network moves by −b_t
    δ_t / a_t,

        w_s = ρ (v_s / v_t) w_t + ((1 − ρ²) v_s / v_t)^½ ξ − a_s (1 − ρ²) / (a_t b_t) δ_t,        ρ = a_t / a_s,

    of weak order 1, and exact in law for Gaussian data. Its last step, to t = 0, is a step of the flow, which adds no noise.
    For a denoiser without a Gaussian fit of its own the fit is N(0,Q): K = I, m = 0.

    Args:
        stochasticity: 0 or 1.

    Raises:
        ValueError: if it is another.
    """

    def __init__(self, denoiser: Denoiser, stochasticity: int = 0) -> None:
        super().__init__(denoiser)
        if stochasticity not in (0, 1):
            raise ValueError(f"stochasticity must be 0 or 1, got {stochasticity}")
        self.stochasticity = stochasticity
        self.law = getattr(denoiser, "law", None) or prior_law(denoiser.prior)
        self.gaussian = GaussianDenoiser(self.law)

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        law, (a_t, b_t), (a_s, b_s) = self.law, self._scales(now.t, now.u), self._scales(s, now.u)
        w, kernel = law.whiten(now.u, a_t.expand(len(now.u), 1)[:, 0], grid)

        def v(kappa: Tensor, a: Tensor = a_t, b: Tensor = b_t) -> Tensor:
            return a**2 * kappa + b**2

        if self.stochasticity and s > 0:
            rho, xi = a_t / a_s, self.prior.whiten(noise(), grid)
            mean = law.apply(lambda kappa: rho * v(kappa, a_s, b_s) / v(kappa), w, grid)
            spread = law.apply(lambda kappa: ((1 - rho**2) * v(kappa, a_s, b_s) / v(kappa)).sqrt(), xi, grid)
            moved = mean + spread - a_s * (1 - rho**2) / (a_t * b_t) * self._added(now, grid)
        else:
            h = torch.atan2(b_s, a_s) - torch.atan2(b_t, a_t)
            rate = law.apply(lambda kappa: v(kappa).rsqrt() / a_t, self._added(now, grid), grid)
            if before is not None and not self.stochasticity:
                a, b = self._scales(before.t, now.u)
                earlier = law.apply(lambda kappa: v(kappa, a, b).rsqrt() / a, self._added(before, grid), grid)
                rate = rate + 0.5 * h / (torch.atan2(b_t, a_t) - torch.atan2(b, a)) * (rate - earlier)
            z = law.apply(lambda kappa: v(kappa).rsqrt(), w, grid) + h * rate
            moved = law.apply(lambda kappa: v(kappa, a_s, b_s).sqrt(), z, grid)
        return a_s * (law.mean_on(grid, now.u) + kernel / a_t) + self.prior.color(moved, grid)

    def _added(self, now: State, grid: Grid) -> Tensor:
        """δ_t, shape (batch, N, N)."""
        return self.prior.whiten(now.eta - self.gaussian.predict_noise(now.u, now.t.expand(len(now.u)), grid), grid)

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and b_t, shapes (1, 1)."""
        t = t.to(like).reshape(1, 1)
        return self.sde.mean_scale(t), self.sde.noise_scale(t)


class PredictorCorrector(Sampler):
    """An Euler–Maruyama step to s, then Langevin steps at s, preconditioned by Q (Song et al. 2021, algorithms 3 and 5).

        u ← u + δ Q∇log p_s(u) + (δ (2 − δ))^½ η,        δ = 2 (snr × b_s)²

    δ is Song et al.'s, without their factor 1 − β_i ≈ 1 and with ‖z‖/‖∇log p‖ replaced by its typical value b_s. The noise has
    δ (2 − δ) instead of 2 δ, which keeps N(0,Q) exactly for every δ (preconditioned Crank–Nicolson; Cotter et al. 2013,
    arXiv 1202.0709). The predictor has weak order 1; the corrector
    contracts its error, down to a bias of its own at this snr, which is 0 where p_s is a shifted N(0,Q). No correction at s = 0,
    where the score has no value.

    Args:
        corrections: Langevin steps after each prediction, ≥ 1.
        snr: in (0, 1].
    """

    def __init__(self, denoiser: Denoiser, corrections: int, snr: float) -> None:
        super().__init__(denoiser)
        if corrections < 1:
            raise ValueError(f"corrections must be ≥ 1, got {corrections}")
        if not 0 < snr <= 1:
            raise ValueError(f"snr must be in (0, 1], got {snr}")
        self.predictor, self.corrections, self.snr = EulerMaruyama(denoiser), corrections, snr

    def evaluations(self, steps: int) -> int:
        return steps + self.corrections * (steps - 1)

    def step(self, now: State, s: Tensor, before: State | None, grid: Grid, noise: Callable[[], Tensor]) -> Tensor:
        u = self.predictor.step(now, s, before, grid, noise)
        if s == 0:
            return u
        b_s = self.sde.noise_scale(s)
        delta = 2 * (self.snr * b_s) ** 2
        for _ in range(self.corrections):
            u = u - delta * self.state(u, s, grid).eta / b_s + (delta * (2 - delta)).sqrt() * noise()
        return u


def _checked_stochasticity(stochasticity: float) -> float:
    if not 0 <= stochasticity <= 1:
        raise ValueError(f"stochasticity must be in [0, 1], got {stochasticity}")
    return stochasticity
