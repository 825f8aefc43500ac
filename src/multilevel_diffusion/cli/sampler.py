"""Samplers from their settings."""

from __future__ import annotations

from .. import sample
from ..config import SamplerSettings
from ..denoise import Denoiser

__all__ = ["build_sampler", "steps_within"]


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


def steps_within(evaluations: int, sampler: sample.Sampler) -> int:
    """The most steps that `evaluations` ≥ 1 evaluations of the denoiser pay for."""
    return max(steps for steps in range(1, evaluations + 1) if sampler.evaluations(steps) <= evaluations)
