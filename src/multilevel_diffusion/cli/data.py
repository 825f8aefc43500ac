from __future__ import annotations

import typer

from .options import Output, Resolution, Samples, Spec

data = typer.Typer(help="Make the data of an experiment.", no_args_is_help=True)


@data.callback()
def _group() -> None:
    pass


@data.command()
def mixture(spec: Spec, resolution: Resolution, samples: Samples, output: Output) -> None:
    """True samples of the Gaussian mixture: a `reference` set, and an independent `floor` set to measure it against."""
    import time

    from ..config import ArmSpec, parse
    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, read_json, write_tensors
    from .prior import build_prior

    start = time.perf_counter()
    arm = parse(ArmSpec, read_json(spec), source=str(spec))
    target, grid = GaussianMixture(build_prior(arm)), Torus(resolution)
    sets = {
        name: target.sample(samples, grid, generator(arm.prior_seed, "data", arm.experiment, arm.arm, name, resolution))
        for name in ("reference", "floor")
    }
    facts = provenance(seed=arm.prior_seed, device="cpu", seconds=round(time.perf_counter() - start, 3))
    write_tensors(output, sets, {"resolution": resolution, "spec": arm.model_dump(mode="json"), "provenance": facts})
