"""The sliced Wasserstein distance by us and by plain uses of POT: time and peak memory, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache, partial

import numpy as np
import ot
import pandas as pd
from numpy.typing import NDArray

from .. import metrics
from ..grids import Torus
from ..memory import peak, reset_peak
from ..priors import Laplacian
from ..storage import generator
from .worker import medians, process, seconds


def _flat(fields: NDArray) -> NDArray:
    return fields.reshape(len(fields), -1).astype("float64")


def _one_by_one(x: NDArray, y: NDArray, directions: NDArray) -> float:
    x, y = _flat(x), _flat(y)
    return float(np.sqrt(np.mean([ot.wasserstein_1d(x @ theta, y @ theta, p=2) for theta in directions.T])))


BASELINE, OURS = "POT, all directions at once", "ours"
WAYS: dict[str, Callable[[NDArray, NDArray, NDArray], float]] = {
    BASELINE: lambda x, y, theta: float(ot.sliced_wasserstein_distance(_flat(x), _flat(y), projections=theta, p=2)),
    "POT, one direction after another": _one_by_one,
    OURS: lambda x, y, theta: metrics.Reference(y, theta).sliced_wasserstein(x).value,
}


def distances(resolution: int, samples: int, projections: int, repeats: int) -> dict[str, pd.DataFrame]:
    """Measure the distance between two sets of fields by every way; times are medians, baselines have the default allocator."""
    sizes = resolution, samples, projections
    with ExitStack() as stack:
        calls = {way: stack.enter_context(process(keep_freed=way == OURS)) for way in WAYS}
        taken = pd.Series(medians({way: partial(calls[way], _seconds, way, *sizes) for way in WAYS}, repeats))
        found = pd.DataFrame([calls[way](_value_and_memory, way, *sizes) for way in WAYS], WAYS, ["value", "peak"])
    table = pd.DataFrame({"seconds": taken, "times as fast": taken[BASELINE] / taken})
    table = table.assign(**{"peak (MB)": found.peak / 1e6, "value": found.value}).rename_axis("sliced Wasserstein by")
    title = f"{samples} fields against {samples} at {resolution}, {projections} directions, medians of {repeats}"
    return {title: table.reset_index()}


@lru_cache(maxsize=1)
def inputs(resolution: int, samples: int, projections: int) -> tuple[NDArray, NDArray, NDArray]:
    """Draw two sets of fields of N(0,Q) in single precision, as files hold them, and the directions."""
    stream, prior = generator(0, "bench", "metrics"), Laplacian(64, 10.0)
    x, y = (prior.sample(samples, Torus(resolution), stream).numpy() for _ in range(2))
    made = x, y, metrics.projections(resolution, projections, stream)
    reset_peak()
    return made


def _seconds(way: str, *sizes: int) -> float:
    fields = inputs(*sizes)
    return seconds(lambda: WAYS[way](*fields))


def _value_and_memory(way: str, *sizes: int) -> tuple[float, float]:
    return WAYS[way](*inputs(*sizes)), peak()
