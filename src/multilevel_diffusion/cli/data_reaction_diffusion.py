from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output, Resolution


def reaction_diffusion(
    resolution: Resolution,
    train: Annotated[int, typer.Option(min=1, help="Trajectories to train on: seeds 0, 1, ...")],
    validation: Annotated[int, typer.Option(min=1, help="Trajectories to validate on: the seeds after these.")],
    test: Annotated[int, typer.Option(min=2, help="Trajectories in each of two test sets: seeds 100000, 100001, ...")],
    end_time: Annotated[float, typer.Option(help="When u is looked at.")],
    steps: Annotated[int, typer.Option(min=1, help="Graded time steps.")],
    output: Output,
    laplacian: Annotated[str, typer.Option(help="finite-volume, as published, or spectral.")] = "finite-volume",
    file: Annotated[
        Path | None, typer.Option(help="The published HDF5 file, from which train and validation are then read.")
    ] = None,
) -> None:
    """Snapshots u of the reaction-diffusion system: `train`, `validation`, and the test sets `reference` and `floor`."""
    import time

    from ..config import FIRST_TEST_SEED, UserError
    from ..data.reaction_diffusion import ReactionDiffusion, graded_times, read_published, snapshots
    from ..storage import provenance, write_tensors
    from .build import device
    from .progress import progress

    start, on = time.perf_counter(), device()
    try:
        system, times = ReactionDiffusion(resolution, laplacian), graded_times(end_time, steps)
        sets = {"train": range(train), "validation": range(train, train + validation)}
        if train + validation > FIRST_TEST_SEED:
            raise ValueError(
                f"--train and --validation: more than {FIRST_TEST_SEED} trajectories would be test trajectories"
            )
        middle = FIRST_TEST_SEED + test
        sets |= {"reference": range(FIRST_TEST_SEED, middle), "floor": range(middle, middle + test)}
        fields = {}
        if file:
            published = read_published(file, train + validation, end_time, resolution)
            fields = {"train": published[:train], "validation": published[train:]}
        solved = {name: seeds for name, seeds in sets.items() if name not in fields}
        with progress(sum(len(seeds) for seeds in solved.values()), "reaction-diffusion") as advance:
            fields |= {name: snapshots(system, seeds, times, on, advance) for name, seeds in solved.items()}
    except (ValueError, FloatingPointError) as error:
        raise UserError(str(error)) from None
    header = {
        "target": {
            "experiment": "reaction-diffusion",
            "native_resolution": resolution,
            "end_time": end_time,
            "steps": steps,
            "laplacian": laplacian,
            "file": str(file) if file else None,
        },
        "grid": "cell-centred",
        "resolution": resolution,
        "provenance": provenance(device=str(on), seconds=round(time.perf_counter() - start, 3)),
    }
    write_tensors(output, fields, header)
