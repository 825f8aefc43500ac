from __future__ import annotations

from typing import Annotated

import typer

from ..config import Gain
from .options import Field, Output, Resolution, SamplerText, Samples, Seed, Steps


def sample(
    source: Field,
    resolution: Resolution,
    samples: Samples,
    steps: Steps,
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
    sampler: SamplerText = "euler-maruyama",
) -> None:
    """Draw samples on any grid by running time backwards from N(0,Q)."""
    import math
    import time

    from ..config import ArmSpec, parse_sampler
    from ..sample import BLOCK, time_grid
    from ..storage import generator, provenance, write_tensors
    from .build import device, read_field
    from .prior import build_grid
    from .progress import progress
    from .sampler import build_sampler, draw

    chosen = parse_sampler(sampler, "--sampler")
    start, on = time.perf_counter(), device()
    settings, denoiser, of = read_field(source, gain, on)
    field = "learned" if isinstance(settings, ArmSpec) else "exact"
    grid = build_grid(settings, resolution)
    stage, solver = f"sample {field}", build_sampler(chosen, denoiser)
    with progress(steps * math.ceil(samples / BLOCK), f"{stage} at {resolution}") as advance:
        drawn = draw(
            solver,
            time_grid(chosen.times, steps, denoiser.sde),
            samples,
            grid,
            lambda block: generator(seed, stage, settings.experiment, settings.arm, resolution, block, device=on),
            advance,
            source,
        )
    header = of | {
        "spec": settings.model_dump(mode="json") if field == "learned" else None,
        "field": field,
        "gain": gain if field == "learned" else None,
        "seed": seed,
        "sampler": str(chosen),
        "steps": steps,
        "evaluations": solver.evaluations(steps),
        "resolution": resolution,
        "provenance": provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)),
    }
    write_tensors(output, {"samples": drawn.float()}, header)
