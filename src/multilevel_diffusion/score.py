"""How far a learned Q-score is from the exact one of the Gaussian mixture (figure 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .denoise import Denoiser
from .grids import Torus, restrict, squared_norm
from .mixture import MixtureDenoiser

__all__ = ["ScoreError", "score_error"]


@dataclass(frozen=True)
class ScoreError:
    """Monte Carlo means over (t, u_t), each in squared L² norm, of F = √α_t Q∇log p_t.

    squared_error: E‖F_θ − F‖²; squared_norm: E‖F‖²; relative: their ratio, `stderr` its standard error;
    loss, exact_loss: denoising losses E ½‖(b_t/√α_t) F + η‖² of the learned and of the exact field on the same draws.
    """

    squared_error: float
    squared_norm: float
    relative: float
    stderr: float
    loss: float
    exact_loss: float


@torch.no_grad()
def score_error(
    denoiser: Denoiser,
    exact: MixtureDenoiser,
    grid: Torus,
    *,
    batches: int,
    batch_size: int,
    generator: torch.Generator,
    drawn_on: Torus | None = None,
) -> ScoreError:
    """Distance of a denoiser's Q-score from the exact one on fresh samples, t ~ U(0, 1) stratified within each batch.

    The standard error is that of stratified sampling, by differences of neighbouring strata (collapsed strata).

    Args:
        drawn_on: the finer grid on which data and noise are drawn before they are restricted to `grid`.
    """
    sde, source, device = exact.sde, drawn_on or grid, generator.device
    columns = []
    for _ in range(batches):
        uniform = 1 - torch.rand(batch_size, generator=generator, device=device)  # in (0, 1]: F has no value at t = 0
        t = (torch.arange(batch_size, device=device) + uniform) / batch_size
        u_0 = restrict(exact.mixture.sample(batch_size, source, generator), source, grid)
        eta = restrict(exact.prior.sample(batch_size, source, generator), source, grid)
        u_t = sde.perturb(u_0, t, eta)
        learned, true = denoiser.noise(u_t, t, grid), exact.noise(u_t, t, grid)
        weight = sde.alpha(t) / sde.noise_scale(t) ** 2
        columns.append(
            torch.stack(
                [
                    weight * squared_norm(learned - true),
                    weight * squared_norm(true),
                    0.5 * squared_norm(eta - learned),
                    0.5 * squared_norm(eta - true),
                ]
            ).double()
        )
    sums = torch.cat(columns, dim=1)
    error, norm, loss, exact_loss = sums.mean(dim=1).tolist()
    residual = sums[0] - error / norm * sums[1]
    pairs = residual[: 2 * (len(residual) // 2)].view(-1, 2)
    return ScoreError(
        squared_error=error,
        squared_norm=norm,
        relative=error / norm,
        stderr=pairs.diff(dim=1).square().sum().sqrt().item() / len(residual) / norm,
        loss=loss,
        exact_loss=exact_loss,
    )
