from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Gains, Output, Projections, SamplerText, Samples, Snapshots, Steps


def along_training(
    snapshots: Snapshots,
    data: Annotated[Path, typer.Option(help="True data on the grid to sample on.")],
    gain: Gains,
    samples: Samples,
    steps: Steps,
    projections: Projections,
    output: Output,
    sampler: SamplerText = "euler-maruyama",
) -> None:
    """Sliced Wasserstein distance of samples of every snapshot to true data, a row a snapshot and gain.

    All snapshots start from the same noise.
    """
    import math
    import time

    import pandas as pd

    from ..config import UserError, parse_sampler
    from ..metrics import Reference
    from ..metrics import projections as directions_on
    from ..sample import BLOCK, time_grid
    from ..storage import generator, provenance, read_tensors, write_csv
    from ..tables import ALONG_TRAINING_COLUMNS
    from .build import build_denoiser, device, read_model, snapshots_in
    from .prior import build_grid
    from .progress import progress
    from .sampler import build_sampler, draw

    files, start, on, chosen = (
        snapshots_in(snapshots),
        time.perf_counter(),
        device(),
        parse_sampler(sampler, "--sampler"),
    )
    tensors, header = read_tensors(data, need=("reference", "floor"))
    resolution = header["resolution"]
    if samples > len(tensors["floor"]):
        raise UserError(f"--samples: {samples}, but {data} has only {len(tensors['floor'])} true fields")
    directions = directions_on(resolution, projections, generator(0, "projections", resolution))
    reference, rows = Reference(tensors["reference"].numpy(), directions), []
    floor = reference.sliced_wasserstein(tensors["floor"][:samples].numpy())
    gains = tuple(dict.fromkeys(gain))
    total = len(files) * len(gains) * steps * math.ceil(samples / BLOCK)
    with progress(total, f"samples along training of {snapshots}") as advance:
        for file in files:
            model = read_model(file, on)
            spec, seed, key = model.spec, model.seed, (model.spec.experiment, model.spec.arm, resolution)
            if header["target"] != model.target:
                raise UserError(f"{data}: not the data that {file} was trained on, at another resolution")
            for name in gains if resolution != spec.reference_resolution else gains[:1]:
                denoiser = build_denoiser(spec, model.network, model.prior, name)
                drawn = draw(
                    build_sampler(chosen, denoiser),
                    time_grid(chosen.times, steps, denoiser.sde),
                    samples,
                    build_grid(spec, resolution),
                    lambda block, seed=seed, key=key: generator(seed, "along-training", *key, block, device=on),
                    advance,
                    file,
                )
                distance = reference.sliced_wasserstein(drawn.cpu().numpy())
                rows.append(
                    spec.labels
                    | {
                        "gain": name,
                        "seed": seed,
                        "sampler": str(chosen),
                        "steps": steps,
                        "resolution": resolution,
                        "metric": "sliced_wasserstein",
                        "value": distance.value,
                        "stderr": distance.stderr,
                        "floor": floor.value,
                        "n_samples": samples,
                        "n_projections": projections,
                        "epoch": model.epoch,
                    }
                )
    facts = provenance(
        settings=spec.model_dump(mode="json"), seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)
    )
    write_csv(output, pd.DataFrame(rows, columns=ALONG_TRAINING_COLUMNS), facts)
