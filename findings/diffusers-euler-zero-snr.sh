#!/usr/bin/env bash
# diffusers 0.42.1: EulerDiscreteScheduler and EulerAncestralDiscreteScheduler with rescale_betas_zero_snr=True and the default
# betas sample a law that is several times too wide, or NaN, when the steps are many. With few steps they are right.
#
# Seen: the data are one number with law N(0, 0.5²), and the denoiser is exact. With 250 steps both give a standard deviation of
# 0.49. With 1000 steps Euler gives 1.9 and the ancestral sampler gives NaN, without a warning. The scheduler puts 4096 for the
# infinite noise level of the last training step, but the one before has 15406, so the levels rise before they fall, and
# init_noise_sigma is their maximum, not the first of them. One expects the error to shrink as the steps grow, so whoever takes
# all the training steps for a reference gets the worst result.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 diffusers==0.42.1
"$folder/venv/bin/python" - <<'PYTHON'
import math

import torch
from diffusers import EulerAncestralDiscreteScheduler, EulerDiscreteScheduler

DATA = 0.5  # the standard deviation of the data


def sampled(kind, steps):
    scheduler = kind(rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction")
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, generator=generator) * scheduler.init_noise_sigma
    for sigma, t in zip(scheduler.sigmas, scheduler.timesteps):
        norm = torch.sqrt(sigma**2 + 1)
        noisy = scheduler.scale_model_input(x, t) * norm
        data = noisy * DATA**2 / (DATA**2 + sigma**2)
        velocity = ((noisy - data) / sigma - sigma * data) / norm
        x = scheduler.step(velocity, t, x, generator=generator).prev_sample
    print(f"{kind.__name__}, {steps} steps: std {float(x.std()):.3f}, first noise levels {scheduler.sigmas[:3].tolist()}")
    return float(x.std())


euler = {steps: sampled(EulerDiscreteScheduler, steps) for steps in (250, 1000)}
ancestral = {steps: sampled(EulerAncestralDiscreteScheduler, steps) for steps in (250, 1000)}
assert abs(euler[250] - DATA) < 0.03 and abs(ancestral[250] - DATA) < 0.03
assert euler[1000] > 3 * DATA and math.isnan(ancestral[1000]), "the behaviour has changed"
PYTHON
