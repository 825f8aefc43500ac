"""Samplers from their settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .. import sample
from ..config import SamplerSettings, UserError
from ..denoise import Denoiser
from ..grids import Grid

__all__ = ["build_sampler", "draw", "steps_within"]


def build_sampler(settings: SamplerSettings, denoiser: Denoiser) -> sample.Sampler:
    """The sampler that settings name, on this denoiser."""
    match settings.kind:
        case "euler-maruyama":
            return sample.EulerMaruyama(denoiser)
        case "ancestral":
            return sample.Ancestral(denoiser, settings.stochasticity)
        case "heun":
            return sample.Heun(denoiser)
        case "dpm-solver++":
            return sample.DPMSolver(denoiser, settings.stochasticity)
        case "predictor-corrector":
            return sample.PredictorCorrector(denoiser, settings.corrections, settings.snr)


def draw(
    solver: sample.Sampler,
    times: Tensor,
    samples: int,
    grid: Grid,
    stream: Callable[[int], torch.Generator],
    advance: Callable[[], None],
    source: Path,
) -> Tensor:
    """`Sampler.sample`, of a denoiser read from `source`.

    Raises:
        UserError: if the fields stop being finite, or the memory of the device does not suffice.
    """
    try:
        return solver.sample(samples, grid, times, stream, advance)
    except torch.OutOfMemoryError:
        raise UserError(
            f"{source}: the memory of the device does not suffice for fields of {grid.resolution} points a side: "
            'choose a smaller resolution, or the CPU by CUDA_VISIBLE_DEVICES=""'
        ) from None
    except FloatingPointError as error:
        raise UserError(f"{source}: {error}; train again with a lower learning rate or take more steps") from None


def steps_within(evaluations: int, sampler: sample.Sampler) -> int:
    """The most steps that `evaluations` ≥ 1 evaluations of the denoiser pay for."""
    return max(steps for steps in range(1, evaluations + 1) if sampler.evaluations(steps) <= evaluations)
