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
    from ..config import ArmSpec, UserError, parse
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_tensors, write_csv
    from ..tables import COLUMNS
    from .prior import build_prior

    start, rows = time.perf_counter(), []
    truth = {}
    for path in data:
        true, header = read_tensors(path, need=("reference", "floor"))
        truth[header["resolution"]] = true
    for path in samples:
        tensors, header = read_tensors(path, need=("samples",))
        resolution = header["resolution"]
        if resolution not in truth:
            raise UserError(f"{path}: samples at resolution {resolution}, but --data has only {sorted(truth)}")
        true = truth[resolution]
        drawn, reference, floor = tensors["samples"].numpy(), true["reference"].numpy(), true["floor"].numpy()
        directions = metrics.projections(resolution, projections, generator(0, "projections", resolution))
        spec = parse(ArmSpec, header["spec"], source=str(path))
        mixture = GaussianMixture(build_prior(spec))

        def share(fields, mixture=mixture, resolution=resolution):
            odds = mixture.log_odds(fields, fields.new_ones(len(fields)), Torus(resolution))
            return metrics.share((odds > 0).numpy())

        measured = {
            "sliced_wasserstein": [metrics.sliced_wasserstein(x, reference, directions) for x in (drawn, floor)],
            "moment_sliced_wasserstein": [metrics.moment_sliced_wasserstein(x, reference) for x in (drawn, floor)],
            "spectrum_distance": [metrics.spectrum_distance(x, reference) for x in (drawn, floor)],
            "histogram_distance": [metrics.histogram_distance(x, reference) for x in (drawn, floor)],
            "vendi_score": [metrics.vendi_score(x) for x in (drawn, floor)],
            "component_share": [share(x) for x in (tensors["samples"], true["floor"])],
        }
        for name, (value, at_floor) in measured.items():
            rows.append(
                {
                    "experiment": spec.experiment,
                    "arm": spec.arm,
                    "network": spec.network.kind if header["field"] == "learned" else "exact",
                    "prior": spec.prior.kind,
                    "gain": header["gain"],
                    "ladder": spec.ladder_name if header["field"] == "learned" else None,
                    "seed": header["seed"],
                    "sampler": header["sampler"],
                    "steps": header["steps"],
                    "resolution": resolution,
                    "metric": name,
                    "value": value.value,
                    "stderr": value.stderr,
                    "floor": at_floor.value,
                    "n_samples": len(drawn),
                    "n_projections": projections if name == "sliced_wasserstein" else None,
                }
            )
    facts = provenance(device="cpu", seconds=round(time.perf_counter() - start, 3))
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS), facts)
