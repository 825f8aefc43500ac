from __future__ import annotations

from typing import Annotated

import typer

from ..options import Projections, Resolution, Samples


def metrics(
    resolution: Resolution = 64,
    samples: Samples = 1000,
    projections: Projections = 1000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Time and peak memory of the sliced Wasserstein distance between two sets of fields, against plain uses of POT.

    Each in a process of its own, in turn; medians. The baselines have the default allocator.
    """
    from contextlib import ExitStack
    from functools import partial

    from .distances import BASELINE, OURS, WAYS, distance_and_memory, distance_seconds
    from .report import show
    from .worker import medians, process

    sizes = resolution, samples, projections
    with ExitStack() as stack:
        calls = {way: stack.enter_context(process(keep_freed=way == OURS)) for way in WAYS}
        seconds = medians({way: partial(call, distance_seconds, way, *sizes) for way, call in calls.items()}, repeats)
        found = {way: call(distance_and_memory, way, *sizes) for way, call in calls.items()}
    rows = [
        {
            "sliced Wasserstein by": way,
            "seconds": seconds[way],
            "times as fast": seconds[BASELINE] / seconds[way],
            "peak (MB)": memory / 1e6,
            "value": f"{value:.7g}",
        }
        for way, (value, memory) in found.items()
    ]
    show(
        f"{samples} fields against {samples} at {resolution}, {projections} directions, medians of {repeats}",
        rows,
    )
