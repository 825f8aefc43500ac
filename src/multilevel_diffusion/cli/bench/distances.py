"""The sliced Wasserstein distance by us and by plain uses of POT, to be run in a process of its own (`worker.process`)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import ot
from numpy.typing import NDArray

from ... import metrics
from ...grids import Torus
from ...priors import Laplacian
from ...storage import generator
from ..memory import peak, reset_peak
from .worker import seconds

__all__ = ["BASELINE", "OURS", "WAYS", "distance_and_memory", "distance_seconds", "inputs"]


def _sliced_at_once(x: NDArray, y: NDArray, directions: NDArray) -> float:
    return float(ot.sliced_wasserstein_distance(_flat(x), _flat(y), projections=directions, p=2))


def _sliced_one_by_one(x: NDArray, y: NDArray, directions: NDArray) -> float:
    x, y = _flat(x), _flat(y)
    return float(np.sqrt(np.mean([ot.wasserstein_1d(x @ theta, y @ theta, p=2) for theta in directions.T])))


def _sliced(x: NDArray, y: NDArray, directions: NDArray) -> float:
    return metrics.Reference(y, directions).sliced_wasserstein(x).value


def _flat(fields: NDArray) -> NDArray:
    return fields.reshape(len(fields), -1).astype("float64")


BASELINE, OURS = "POT, all directions at once", "ours"
WAYS = {BASELINE: _sliced_at_once, "POT, one direction after another": _sliced_one_by_one, OURS: _sliced}


@lru_cache(maxsize=1)
def inputs(resolution: int, samples: int, projections: int) -> tuple[NDArray, NDArray, NDArray]:
    """Two sets of fields of N(0,Q) in single precision, as files hold them, and the directions."""
    stream, prior = generator(0, "bench", "metrics"), Laplacian(64, 10.0)
    x, y = (prior.sample(samples, Torus(resolution), stream).numpy() for _ in range(2))
    made = x, y, metrics.projections(resolution, projections, stream)
    reset_peak()
    return made


def distance_seconds(way: str, *sizes: int) -> float:
    """The time to compute the distance of `inputs(*sizes)`."""
    fields = inputs(*sizes)
    return seconds(lambda: WAYS[way](*fields))


def distance_and_memory(way: str, *sizes: int) -> tuple[float, float]:
    """The distance, and the most bytes that computing it took so far."""
    return WAYS[way](*inputs(*sizes)), peak()
