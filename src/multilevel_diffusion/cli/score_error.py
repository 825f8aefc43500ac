from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Gain
from .options import Output


def score_error(
    snapshots: Annotated[Path, typer.Argument(help="Folder of the snapshots of a training on the mixture.")],
    resolution: Annotated[list[int], typer.Option(min=3, help="Grid to score on; several may be given.")],
    gain: Annotated[
        list[Gain], typer.Option(help="Several may be given; at N_ref they agree and the first is scored.")
    ],
    batches: Annotated[int, typer.Option(min=1)],
    batch_size: Annotated[int, typer.Option(min=2)],
    output: Output,
) -> None:
    """Squared error of the learned Q-score against the exact one along training, a row a snapshot, grid and gain."""
    import time
    from dataclasses import asdict

    import pandas as pd

    from ..config import UserError
    from ..grids import Torus
    from ..mixture import GaussianMixture, MixtureDenoiser
    from ..score import score_error as measure
    from ..sde import ForwardSDE
    from ..storage import generator, provenance, write_csv
    from .build import build_denoiser, device, read_model, require_mixture
    from .progress import progress

    files = sorted(snapshots.glob("epoch_*.safetensors"))
    if not files:
        raise UserError(f"{snapshots}: no snapshots here; run `mld train`")
    start, on, rows = time.perf_counter(), device(), []
    with progress(len(files), f"score error of {snapshots}") as advance:
        for file in files:
            spec, seed, network, prior = read_model(file, on)
            require_mixture(spec, file)
            exact = MixtureDenoiser(GaussianMixture(prior), ForwardSDE())
            reference, native = spec.reference_resolution, spec.native_resolution
            direct = [(n, n, name) for n in resolution for name in gain if n != reference or name == gain[0]]
            restricted = [(reference, native, gain[0])] if native > reference else []
            epoch = int(file.stem.removeprefix("epoch_"))
            for n, drawn_on, name in direct + restricted:
                stream = generator(seed, "score-error", spec.experiment, spec.arm, epoch, n, drawn_on, device=on)
                measured = measure(
                    build_denoiser(spec, network, prior, name),
                    exact,
                    Torus(n),
                    batches=batches,
                    batch_size=batch_size,
                    generator=stream,
                    drawn_on=Torus(drawn_on),
                )
                row = {
                    "experiment": spec.experiment,
                    "arm": spec.arm,
                    "network": spec.network.kind,
                    "prior": spec.prior.kind,
                    "gain": name,
                    "ladder": spec.ladder_name,
                    "reference_resolution": reference,
                    "seed": seed,
                    "epoch": epoch,
                    "resolution": n,
                    "drawn_on": drawn_on,
                    "n_samples": batches * batch_size,
                }
                rows.append(row | asdict(measured))
            advance(f"epoch {epoch}")
    facts = provenance(seed=seed, device=str(on), seconds=round(time.perf_counter() - start, 3))
    write_csv(output, pd.DataFrame(rows), facts)
