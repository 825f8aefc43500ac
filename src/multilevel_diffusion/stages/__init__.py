"""Stages: functions from objects to tensors or tables, a module each. They know of no command line and of no file to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Progress = Callable[..., AbstractContextManager[Callable[..., object]]]
"""(total, what, done=0) to a context of `advance(note="")`, which is called after each of `total` units of work."""


@contextmanager
def quiet(total: int, what: str, done: int = 0) -> Iterator[Callable[..., object]]:
    """Progress of which nobody is told."""
    yield lambda note="": None
