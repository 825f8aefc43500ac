from __future__ import annotations

from typing import Annotated

import typer

from ..config import Gain
from .options import Field, Output, Resolution, Samples, Seed


def sample(
    source: Field,
    resolution: Resolution,
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler.")],
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
    sampler: Annotated[
        str,
        typer.Option(
            help="euler-maruyama, ancestral, heun, dpm-solver++ or predictor-corrector; or with its options,"
            " as in '{kind: dpm-solver++, stochasticity: 1, times: karras}'."
        ),
    ] = "euler-maruyama",
) -> None:
    """Draw samples on any grid by running time backwards from N(0,Q)."""
    import math
    import time

    from ..config import ArmSpec, UserError, parse_sampler
    from ..sample import BLOCK, time_grid
    from ..storage import generator, provenance, write_tensors
    from .build import device, read_field
    from .prior import build_grid
    from .progress import progress
    from .sampler import build_sampler

    chosen = parse_sampler(sampler, "--sampler")
    start, on = time.perf_counter(), device()
    settings, denoiser, field = read_field(source, gain, on)
    spec, target = (settings, settings.target) if isinstance(settings, ArmSpec) else (None, settings)
    stage, solver = f"sample {field}", build_sampler(chosen, denoiser)
    with progress(steps * math.ceil(samples / BLOCK), f"{stage} at {resolution}") as advance:
        try:
            drawn = solver.sample(
                samples,
                build_grid(settings, resolution),
                time_grid(chosen.times, steps, denoiser.sde),
                lambda block: generator(seed, stage, target.experiment, target.arm, resolution, block, device=on),
                advance,
            )
        except FloatingPointError as error:
            raise UserError(f"{source}: {error}; train again with a lower learning rate or take more steps") from None
    header = {
        "target": target.model_dump(mode="json")
        if target.experiment == "mixture"
        else {"experiment": target.experiment},
        "spec": spec.model_dump(mode="json") if spec else None,
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
