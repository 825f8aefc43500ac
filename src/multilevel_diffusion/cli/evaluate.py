from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Output, Projections


def evaluate(
    samples: Annotated[list[Path], typer.Argument(help="Files of `mld sample`.")],
    data: Annotated[list[Path], typer.Option(help="True data, a file a resolution; the option is repeated.")],
    projections: Projections,
    output: Output,
) -> None:
    """Metrics of samples against true data of their resolution, each beside its floor, of as many true fields: one a row.

    The standard error is that of other samples and directions: a jackknife over the samples.
    """
    import time
    from functools import cache, partial

    import pandas as pd
    import torch

    from .. import metrics
    from ..config import ArmSpec, TargetSpec, UserError, parse
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_tensors, write_csv
    from ..tables import COLUMNS
    from .prior import build_prior

    def measure(x, experiment, reference, mixture):
        """All metrics of a set of fields (n, N, N)."""
        measured = {
            "sliced_wasserstein": reference.sliced_wasserstein(x),
            "moment_sliced_wasserstein": reference.moment_sliced_wasserstein(x),
            "spectrum_distance": reference.spectrum_distance(x),
            "histogram_distance": reference.histogram_distance(x),
            "vendi_score": metrics.vendi_score(x),
        }
        if experiment == "mnist":
            measured["moment_sliced_wasserstein_minmax"] = reference.moment_sliced_wasserstein(metrics.rescaled(x))
        if mixture:
            fields = torch.from_numpy(x)
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
        reference = metrics.Reference(tensors["reference"].numpy(), directions)
        comparison = partial(measure, experiment=target["experiment"], reference=reference, mixture=mixture)
        floor = cache(lambda n, measure=comparison, fields=tensors["floor"]: measure(fields[:n].numpy()))
        truth[resolution] = target, comparison, floor, len(tensors["floor"])

    for path in samples:
        tensors, header = read_tensors(path, need=("samples",))
        resolution = header["resolution"]
        if resolution not in truth:
            raise UserError(f"{path}: samples at resolution {resolution}, but --data has only {sorted(truth)}")
        if not tensors["samples"].isfinite().all():
            raise UserError(f"{path}: samples that are not finite: draw them again")
        target, comparison, floor, available = truth[resolution]
        if header["target"] != target:
            raise UserError(
                f"{path}: samples of another arm, prior or data set than the --data at {resolution}; give its own data"
            )
        if (drawn := len(tensors["samples"])) > available:
            raise UserError(f"{path}: {drawn} samples, but the --data at {resolution} has only {available} true fields")
        spec = parse(ArmSpec, header["spec"], str(path)) if header["spec"] else parse(TargetSpec, target, str(path))
        floors = floor(drawn)
        for name, estimate in metrics.jackknife(comparison, tensors["samples"].numpy()).items():
            rows.append(
                spec.labels
                | {
                    "gain": header["gain"],
                    "seed": header["seed"],
                    "sampler": header["sampler"],
                    "steps": header["steps"],
                    "resolution": resolution,
                    "metric": name,
                    "value": estimate.value,
                    "stderr": estimate.stderr,
                    "floor": floors[name].value,
                    "n_samples": drawn,
                    "n_projections": projections if name == "sliced_wasserstein" else None,
                }
            )
    facts = provenance(device="cpu", seconds=round(time.perf_counter() - start, 3))
    write_csv(output, pd.DataFrame(rows, columns=COLUMNS), facts)
