"""Samplers: the reverse process from N(0,Q) at t = 1 to the data at t = 0.

With s running from 1 to 0, the reverse SDE of dX = −½ α X dt + √α dW^Q is

    dY = (½ α_t Y + α_t Q∇log p_t(Y)) (−dt) + √α_t dŴ^Q,        Q∇log p_t(y) = −E[η | X_t = y] / b_t

(Hagemann et al., arXiv 2303.04772, section 4; Song et al. 2021, arXiv 2011.13456, eq. 6). A `Sampler` writes only its step;
the model enters through its denoiser alone. The state is float64 whatever the precision of the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from .denoise import Denoiser, q_score
from .grids import Grid

__all__ = ["BLOCK", "SAMPLERS", "EulerMaruyama", "Sampler", "uniform_times"]

BLOCK = 64
"""Samples drawn from one random stream: up to rounding, sample i does not depend on how many are drawn."""


def uniform_times(steps: int) -> Tensor:
    """1 = t_0 > t_1 > … > t_steps = 0, equally spaced, float64.

    Raises:
        ValueError: if `steps` < 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be ≥ 1, got {steps}")
    return torch.linspace(1, 0, steps + 1, dtype=torch.float64)


class Sampler(ABC):
    """Steps a field from time t to an earlier time s. A subclass writes `step`."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.sde, self.prior = denoiser, denoiser.sde, denoiser.prior

    @abstractmethod
    def step(self, u_t: Tensor, t: Tensor, s: Tensor, grid: Grid, eta: Tensor) -> Tensor:
        """The field at time s < t.

        Args:
            u_t: shape (batch, N, N), float64.
            t, s: shape (batch,), the same time in every entry.
            eta: a fresh draw of N(0,Q), shape (batch, N, N).
        """

    @torch.no_grad()
    def sample(
        self,
        n: int,
        grid: Grid,
        times: Tensor,
        stream: Callable[[int], torch.Generator],
        progress: Callable[[], object] = lambda: None,
    ) -> Tensor:
        """`n` samples, shape (n, N, N), float64, on the device of the streams.

        Args:
            times: decreasing, from 1 to 0.
            stream: block index to the generator of samples 64 × block … 64 × block + 63.
            progress: called after each step of each block.

        Raises:
            FloatingPointError: if a field stops being finite.
        """
        starts = range(0, n, BLOCK)
        return torch.cat(
            [self._block(min(BLOCK, n - start), grid, times, stream(start // BLOCK), progress) for start in starts]
        )

    def _block(
        self, n: int, grid: Grid, times: Tensor, generator: torch.Generator, progress: Callable[[], object]
    ) -> Tensor:
        def noise() -> Tensor:
            return self.prior.sample(BLOCK, grid, generator, torch.float64)[:n]

        u = noise()
        for t, s in zip(times[:-1].to(u.device), times[1:].to(u.device), strict=True):
            u = self.step(u, t.expand(n), s.expand(n), grid, noise())
            progress()
        if not u.isfinite().all():
            raise FloatingPointError(f"sampling at resolution {grid.resolution} left finite numbers")
        return u


class EulerMaruyama(Sampler):
    """The paper's sampler: u_s = u_t + (t − s) α_t (½ u_t + Q∇log p_t(u_t)) + (α_t (t − s))^½ η."""

    def step(self, u_t: Tensor, t: Tensor, s: Tensor, grid: Grid, eta: Tensor) -> Tensor:
        h = (self.sde.alpha(t) * (t - s))[:, None, None]
        return u_t + h * (0.5 * u_t + q_score(self.denoiser, u_t, t, grid)) + h.sqrt() * eta


SAMPLERS: dict[str, type[Sampler]] = {"euler-maruyama": EulerMaruyama}
"""Samplers by the names that settings give them."""
