from __future__ import annotations

from .options import Output, Resolution, Samples, Target


def mixture(target: Target, resolution: Resolution, samples: Samples, output: Output) -> None:
    """True samples of the Gaussian mixture: a `reference` set, and an independent `floor` set to measure it against."""
    import time

    from ..grids import Torus
    from ..mixture import GaussianMixture
    from ..storage import generator, provenance, write_tensors
    from .prior import build_prior, read_target, require_mixture

    start = time.perf_counter()
    spec = read_target(target)
    require_mixture(spec, target)
    law, grid = GaussianMixture(build_prior(spec)), Torus(resolution)
    sets = {
        name: law.sample(samples, grid, generator(spec.prior_seed, "data", spec.experiment, spec.arm, name, resolution))
        for name in ("reference", "floor")
    }
    facts = provenance(seed=spec.prior_seed, device="cpu", seconds=round(time.perf_counter() - start, 3))
    write_tensors(output, sets, {"resolution": resolution, "target": spec.model_dump(mode="json"), "provenance": facts})
