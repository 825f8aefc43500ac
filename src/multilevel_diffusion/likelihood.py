"""Likelihood along the probability-flow ODE, relative to the prior.

A density of functions needs a reference measure. The plain log density of the values on a grid has no limit as the grid is
refined. But log ρ_0 = log dp_0/dN(0,Q) has one, if p_0 has a density relative to N(0,Q). With a_t = cos φ, b_t = sin φ the flow
is

    du/dφ = v = (η̂ − b u) / a,        η̂ = E[η | X_t = u],

and as N(0,Q) is what the forward process leaves unchanged, the continuity equation relative to it reads

    d log ρ/dφ = −(tr Dv − ⟨u, v⟩_Q) = (tr(b I − D η̂) − ⟨u, b u − η̂⟩_Q) / a,        ⟨u, w⟩_Q = Σ_{λ_k>0} Re[conj(û_k) ŵ_k] / λ_k

(Song et al. 2021, arXiv 2011.13456, appendix D.2, in the geometry of Q). b I − D η̂ = b Q D²log ρ has a trace in the limit, its
two terms have not, and likewise ⟨u, b u − η̂⟩_Q. Samples start from N(0,Q), so the model's law has log ρ_1 = 0.

All this asks that p_0 has a density relative to N(0,Q). The Gaussian mixture has one. A network that is near in L² need not
have one. On modes it does not treat, D η̂_θ misses b by a fixed amount, the trace grows with the number of modes, and so does
its log density. Then the limit does not exist, and what is computed on a grid belongs to that grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .checkpoints import Checkpoint
from .denoise import Denoiser
from .grids import Grid, squared_norm
from .priors import Prior
from .sde import ForwardSDE

__all__ = ["NoiseAndTrace", "hutchinson", "log_density"]

NoiseAndTrace = Callable[[Tensor, Tensor, Grid], tuple[Tensor, Tensor]]
"""(u_t, t, grid) to E[η | u_t] and tr(b_t I − D E[η | u_t]) over the range of Q, shapes (batch, N, N) and (batch,)."""


def hutchinson(denoiser: Denoiser, generator: torch.Generator, probes: int) -> NoiseAndTrace:
    """The trace of any denoiser, estimated by the mean of ⟨ξ, Q^(−½) (b I − D η̂) Q^½ ξ⟩ over probes ξ (forward-mode derivatives).

    A probe has Fourier coefficients of modulus 1 and random phases. So the estimate is exact for operators diagonal in the
    Fourier basis. Its variance comes from the other entries, in the geometry of Q, and has a limit as the grid is refined. The
    probes stay the same along the flow (Grathwohl et al. 2019, arXiv 1810.01367, eq. 8).
    """
    prior, drawn = denoiser.prior, {}

    def noise_and_trace(u_t: Tensor, t: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        if u_t.shape not in drawn:
            drawn[u_t.shape] = [_random_phases(u_t, generator) for _ in range(probes)]
        b_t, traces = denoiser.sde.noise_scale(t), []
        for xi in drawn[u_t.shape]:
            direction = prior.color(xi, grid)
            noise, change = torch.func.jvp(lambda u: denoiser.predict_noise(u, t, grid), (u_t,), (direction,))[:2]
            kept = b_t * squared_norm(prior.project(xi, grid))
            traces.append(kept - (xi * prior.whiten(change, grid)).mean(dim=(-2, -1)))
        return noise, torch.stack(traces).mean(dim=0)

    return noise_and_trace


@torch.no_grad()
def log_density(
    noise_and_trace: NoiseAndTrace,
    prior: Prior,
    sde: ForwardSDE,
    u_0: Tensor,
    grid: Grid,
    times: Tensor,
    keep: Checkpoint | None = None,
) -> tuple[Tensor, Tensor]:
    """log ρ_0(u_0) − log ρ_1(u_1), shape (batch,), and u_1, shape (batch, N, N), by Heun's method in φ, of order 2.

    The first is the model's log density relative to N(0,Q). At t = 0, where p_0 must have such a density, η̂ = 0.

    Args:
        u_0: shape (batch, N, N), float64, in the range of Q.
        times: from 1 to 0, as for a sampler; the flow is followed from 0 to 1.
        keep: where the state is saved as it goes, and taken up.

    Raises:
        ValueError: if u_0 has a component in the kernel of Q, where N(0,Q) has no mass.
        FloatingPointError: if the field or its density stops being finite.
    """
    if not torch.allclose(prior.project(u_0, grid), u_0, rtol=0, atol=1e-6 * u_0.abs().max().item()):
        raise ValueError("no density relative to N(0,Q): the fields have modes in the kernel of Q")

    def rate(u: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        noise, trace = noise_and_trace(u, t.expand(len(u)), grid)
        noise = prior.project(noise, grid)
        a_t, excess = sde.mean_scale(t), sde.noise_scale(t) * u - noise
        inner = (prior.whiten(u, grid) * prior.whiten(excess, grid)).mean(dim=(-2, -1))
        return -excess / a_t, (trace - inner) / a_t

    times = times.flip(0).to(u_0.device)
    angles = torch.atan2(sde.noise_scale(times), sde.mean_scale(times))
    steps, keep = [*zip(times[:-1], times[1:], angles.diff(), strict=True)], keep or Checkpoint()
    tensors, header = keep.state("flow") or ({"u": u_0, "change": u_0.new_zeros(len(u_0))}, {"done": 0})
    u, change = (tensors[name].to(u_0) for name in ("u", "change"))
    with keep.saving("flow") as save:
        for done, (t, s, h) in enumerate(steps[header["done"] :], start=header["done"] + 1):
            velocity, growth = rate(u, t)
            velocity_s, growth_s = rate(u + h * velocity, s)
            u, change = u + 0.5 * h * (velocity + velocity_s), change + 0.5 * h * (growth + growth_s)
            if not change.isfinite().all():
                raise FloatingPointError(f"the log density is not finite at t = {s:.4g}, resolution {grid.resolution}")
            now = {"u": u, "change": change}
            save(lambda now=now, done=done: (now, {"done": done}), last=done == len(steps))
    return -change, u


def _random_phases(like: Tensor, generator: torch.Generator) -> Tensor:
    """Real fields whose Fourier coefficients have modulus 1 and independent uniform phases, of the shape of `like`."""
    spectrum = torch.fft.rfft2(torch.randn(like.shape, generator=generator, device=generator.device, dtype=like.dtype))
    return torch.fft.irfft2(spectrum / spectrum.abs(), s=like.shape[-2:], norm="forward")
