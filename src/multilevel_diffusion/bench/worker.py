"""A process of its own for what is measured: its allocator and its peak memory are then of the measured code alone."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import torch

from ..errors import UserError
from ..memory import keep_freed_memory

ALLOCATOR_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")


@contextmanager
def process(*, keep_freed: bool) -> Iterator[Callable[..., Any]]:
    """Yield call(function, *args), which runs a function of a module in one new process and returns what it returns.

    With `keep_freed` freed memory is kept, as `mld` does; else glibc's allocator is as it comes, whatever the environment says.

    Raises a UserError if the memory does not suffice.
    """
    variables = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(ALLOCATOR_SETTINGS)}
    with ProcessPoolExecutor(1, get_context("spawn"), keep_freed_memory if keep_freed else None) as pool:

        def call(function: Callable[..., Any], *args: Any) -> Any:
            try:
                return pool.submit(function, *args).result()
            except RuntimeError as error:
                if isinstance(error, BrokenProcessPool) or "allocate memory" in str(error):
                    raise UserError("memory does not suffice: choose smaller batches or resolutions") from None
                raise

        try:
            call(os.getpid)  # starts it
        finally:
            os.environ.update(variables)
        yield call


def medians(calls: Mapping[Any, Callable[[], float]], repeats: int) -> dict[Any, float]:
    """Return the median of `repeats` results of each call; they take turns, so that a drift of the machine meets all alike."""
    rounds = [{key: call() for key, call in calls.items()} for _ in range(repeats)]
    return {key: statistics.median(results[key] for results in rounds) for key in calls}


def seconds(work: Callable[[], object]) -> float:
    """Return the time of `work` in a loop: it runs untimed first, so that caches and memory are its own again."""
    work()
    return timed(work)


def timed(work: Callable[[], object]) -> float:
    """Return the time of `work`, run once, to the end of what it asks of a GPU."""
    finish = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    finish()
    start = time.perf_counter()
    work()
    finish()
    return time.perf_counter() - start
