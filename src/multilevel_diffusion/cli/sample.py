from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Gain
from .options import Output, Resolution, Samples, Seed


def sample(
    source: Annotated[
        Path,
        typer.Argument(help="model.safetensors samples the trained network, spec.json the exact field of the mixture."),
    ],
    resolution: Resolution,
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the sampler.")],
    seed: Seed,
    output: Output,
    gain: Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")] = Gain.VALUES,
) -> None:
    """Draw samples on any grid by Euler–Maruyama on the reverse SDE."""
    import math
    import time

    from ..config import UserError
    from ..grids import Torus
    from ..sample import BLOCK, EulerMaruyama, uniform_times
    from ..storage import generator, provenance, write_tensors
    from .build import device, read_field
    from .progress import progress

    start, on = time.perf_counter(), device()
    spec, denoiser, field = read_field(source, gain, on)
    stage = f"sample {field}"
    with progress(steps * math.ceil(samples / BLOCK), f"{stage} at {resolution}") as advance:
        try:
            drawn = EulerMaruyama(denoiser).sample(
                samples,
                Torus(resolution),
                uniform_times(steps),
                lambda block: generator(seed, stage, spec.experiment, spec.arm, resolution, block, device=on),
                advance,
            )
        except FloatingPointError as error:
            raise UserError(f"{source}: {error}; train again with a lower learning rate or take more steps") from None
    header = {
        "spec": spec.model_dump(mode="json"),
        "field": field,
        "gain": gain if field == "learned" else None,
        "seed": seed,
        "sampler": "euler-maruyama",
        "steps": steps,
        "resolution": resolution,
        "provenance": provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)),
    }
    write_tensors(output, {"samples": drawn.float()}, header)
