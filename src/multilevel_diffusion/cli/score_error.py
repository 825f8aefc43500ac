from __future__ import annotations

from typing import Annotated

import typer

from .options import Gains, Output, Resolutions, Snapshots


def score_error(
    snapshots: Snapshots,
    resolution: Resolutions,
    gain: Gains,
    batches: Annotated[int, typer.Option(min=1)],
    batch_size: Annotated[int, typer.Option(min=2)],
    output: Output,
) -> None:
    """Squared error of the learned Q-score against the exact one along training, a row a snapshot, grid and gain."""
    import time
    from dataclasses import asdict

    import pandas as pd

    from ..grids import Torus
    from ..mixture import GaussianMixture, MixtureDenoiser
    from ..score import score_error as measure
    from ..sde import ForwardSDE
    from ..storage import generator, provenance, write_csv
    from .build import build_denoiser, device, read_model, snapshots_in
    from .prior import require_mixture
    from .progress import progress

    files, start, on, rows = snapshots_in(snapshots), time.perf_counter(), device(), []
    with progress(len(files), f"score error of {snapshots}") as advance:
        for file in files:
            model = read_model(file, on)
            spec, seed, epoch = model.spec, model.seed, model.epoch
            require_mixture(spec, file)
            exact = MixtureDenoiser(GaussianMixture(model.prior), ForwardSDE())
            reference, native = spec.reference_resolution, spec.native_resolution
            direct = [(n, n, name) for n in resolution for name in gain if n != reference or name == gain[0]]
            restricted = [(reference, native, gain[0])] if native > reference else []
            for n, drawn_on, name in direct + restricted:
                stream = generator(seed, "score-error", spec.experiment, spec.arm, epoch, n, drawn_on, device=on)
                measured = measure(
                    build_denoiser(spec, model.network, model.prior, name),
                    exact,
                    Torus(n),
                    batches=batches,
                    batch_size=batch_size,
                    generator=stream,
                    drawn_on=Torus(drawn_on),
                )
                row = spec.labels | {
                    "gain": name,
                    "reference_resolution": reference,
                    "seed": seed,
                    "epoch": epoch,
                    "resolution": n,
                    "drawn_on": drawn_on,
                    "n_samples": batches * batch_size,
                }
                rows.append(row | asdict(measured))
            advance(f"epoch {epoch}")
    facts = provenance(
        settings=spec.model_dump(mode="json"), seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3)
    )
    write_csv(output, pd.DataFrame(rows), facts)
