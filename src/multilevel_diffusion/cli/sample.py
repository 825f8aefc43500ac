from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Gain
from .options import Field, Gains, Resolutions, SamplerText, Samples, Seed, Steps


def sample(
    source: Field,
    resolution: Resolutions,
    samples: Samples,
    steps: Steps,
    seed: Seed,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")],
    gain: Gains = (Gain.VALUES,),
    sampler: SamplerText = "euler-maruyama",
) -> None:
    """Draw samples on any grid by running time backwards from N(0,Q): OUTPUT/GAIN-RESOLUTION.safetensors.

    Those of an exact field are OUTPUT/exact-RESOLUTION.safetensors.
    """
    import math
    import time

    from ..config import ArmSpec, parse_sampler
    from ..sample import BLOCK, time_grid
    from ..storage import generator, provenance, write_tensors
    from .build import device, read_field
    from .prior import build_grid
    from .progress import progress
    from .sampler import build_sampler, draw

    chosen, on = parse_sampler(sampler, "--sampler"), device()
    fields = [read_field(source, each, on) for each in gain]
    settings, _, of = fields[0]
    learned = isinstance(settings, ArmSpec)
    grids = {n: build_grid(settings, n) for n in resolution}
    denoisers = {each if learned else "exact": field for each, (_, field, _) in zip(gain, fields, strict=True)}
    plan = [(n, name) for n in grids for name in denoisers]
    if learned:
        plan = [(n, name) for n, name in plan if n != settings.reference_resolution or name == gain[0]]
    stage = f"sample {'learned' if learned else 'exact'}"
    for n, name in plan:
        start, denoiser = time.perf_counter(), denoisers[name]
        solver = build_sampler(chosen, denoiser)
        with progress(steps * math.ceil(samples / BLOCK), f"{stage} at {n}") as advance:
            drawn = draw(
                solver,
                time_grid(chosen.times, steps, denoiser.sde),
                samples,
                grids[n],
                lambda block, n=n: generator(seed, stage, settings.experiment, settings.arm, n, block, device=on),
                advance,
                source,
            )
        header = of | {
            "spec": settings.model_dump(mode="json") if learned else None,
            "field": "learned" if learned else "exact",
            "gain": name if learned else None,
            "seed": seed,
            "sampler": str(chosen),
            "steps": steps,
            "evaluations": solver.evaluations(steps),
            "resolution": n,
            "provenance": provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)),
        }
        write_tensors(output / f"{name}-{n}.safetensors", {"samples": drawn.float()}, header)
