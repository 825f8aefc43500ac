from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output


def evaluate(
    samples: Annotated[list[Path], typer.Argument(help="Files of `mld sample`.")],
    data: Annotated[list[Path], typer.Option(help="True data, a file a resolution; the option is repeated.")],
    projections: Annotated[int, typer.Option(min=2, help="Directions of the sliced Wasserstein distance.")],
    output: Output,
) -> None:
    """Metrics of samples against true data of their resolution, each beside its floor: one number a row."""
    import time

    import pandas as pd

    from .. import metrics
    from ..config import ArmSpec, TargetSpec, UserError, parse
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_tensors, write_csv
    from ..tables import COLUMNS
    from .prior import build_prior

    def measure(fields, reference, directions, mixture):
        """All metrics of a set of fields (n, N, N) against the reference set."""
        x, y = fields.numpy(), reference.numpy()
        measured = {
            "sliced_wasserstein": metrics.sliced_wasserstein(x, y, directions),
            "moment_sliced_wasserstein": metrics.moment_sliced_wasserstein(x, y),
            "spectrum_distance": metrics.spectrum_distance(x, y),
            "histogram_distance": metrics.histogram_distance(x, y),
            "vendi_score": metrics.vendi_score(x),
        }
        if mixture:
            odds = mixture.log_odds(fields, fields.new_ones(len(fields)), Torus(fields.shape[-1]))
            measured["component_share"] = metrics.share((odds > 0).numpy())
        return measured

    start, rows, truth = time.perf_counter(), [], {}
    for path in data:
        tensors, header = read_tensors(path, need=("reference", "floor"))
        resolution, target, mixture = header["resolution"], header["target"], None
        if target["experiment"] == "mixture":
            mixture = GaussianMixture(build_prior(parse(TargetSpec, target, source=str(path))))
        directions = metrics.projections(resolution, projections, generator(0, "projections", resolution))
        floors = measure(tensors["floor"], tensors["reference"], directions, mixture)
        truth[resolution] = target, (tensors["reference"], directions, mixture), floors

    for path in samples:
        tensors, header = read_tensors(path, need=("samples",))
        resolution = header["resolution"]
        if resolution not in truth:
            raise UserError(f"{path}: samples at resolution {resolution}, but --data has only {sorted(truth)}")
        target, comparison, floors = truth[resolution]
        if header["target"] != target:
            raise UserError(
                f"{path}: samples of another arm or prior than the --data at {resolution}; give its own data"
            )
        learned = header["field"] == "learned"
        spec = parse(ArmSpec, header["spec"], str(path)) if learned else parse(TargetSpec, target, str(path))
        for name, estimate in measure(tensors["samples"], *comparison).items():
            rows.append(
                {
                    "experiment": spec.experiment,
                    "arm": spec.arm,
                    "network": spec.network.kind if learned else "exact",
                    "prior": spec.prior.kind,
                    "gain": header["gain"],
                    "ladder": spec.ladder_name if learned else None,
                    "seed": header["seed"],
                    "sampler": header["sampler"],
                    "steps": header["steps"],
                    "resolution": resolution,
                    "metric": name,
                    "value": estimate.value,
                    "stderr": estimate.stderr,
                    "floor": floors[name].value,
                    "n_samples": len(tensors["samples"]),
                    "n_projections": projections if name == "sliced_wasserstein" else None,
                }
            )
    facts = provenance(device="cpu", seconds=round(time.perf_counter() - start, 3))
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS), facts)
