from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Gain
from .options import Output, Resolution, Samples, Seed


def sample(
    source: Annotated[
        Path,
        typer.Argument(help="model.safetensors samples the trained network, target.json the exact field."),
    ],
    resolution: Resolution,
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler.")],
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
    sampler: Annotated[str, typer.Option(help="euler-maruyama: the reverse SDE, as in the paper.")] = "euler-maruyama",
) -> None:
    """Draw samples on any grid by running time backwards from N(0,Q)."""
    import math
    import time

    from ..config import ArmSpec, UserError
    from ..grids import Torus
    from ..sample import BLOCK, SAMPLERS, uniform_times
    from ..storage import generator, provenance, write_tensors
    from .build import device, read_field
    from .progress import progress

    if sampler not in SAMPLERS:
        raise UserError(f"--sampler: '{sampler}' is not one of {', '.join(SAMPLERS)}")
    start, on = time.perf_counter(), device()
    settings, denoiser, field = read_field(source, gain, on)
    spec, target = (settings, settings.target) if isinstance(settings, ArmSpec) else (None, settings)
    stage = f"sample {field}"
    with progress(steps * math.ceil(samples / BLOCK), f"{stage} at {resolution}") as advance:
        try:
            drawn = SAMPLERS[sampler](denoiser).sample(
                samples,
                Torus(resolution),
                uniform_times(steps),
                lambda block: generator(seed, stage, target.experiment, target.arm, resolution, block, device=on),
                advance,
            )
        except FloatingPointError as error:
            raise UserError(f"{source}: {error}; train again with a lower learning rate or take more steps") from None
    header = {
        "target": target.model_dump(mode="json"),
        "spec": spec.model_dump(mode="json") if spec else None,
        "field": field,
        "gain": gain if field == "learned" else None,
        "seed": seed,
        "sampler": sampler,
        "steps": steps,
        "resolution": resolution,
        "provenance": provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)),
    }
    write_tensors(output, {"samples": drawn.float()}, header)
