"""Time on a bar when a person looks, plain lines in a log when nobody does."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(total: int, what: str, done: int = 0) -> Iterator[Callable[..., None]]:
    """Yields `advance(note="")`, to be called after each of `total` units, of which `done` are done already."""
    if sys.stderr.isatty():
        from rich import progress as rich
        from rich.console import Console

        left = rich.TimeRemainingColumn(elapsed_when_finished=True)
        columns = "{task.description}", rich.BarColumn(), rich.MofNCompleteColumn(), left, "{task.fields[note]}"
        with rich.Progress(*columns, console=Console(stderr=True), redirect_stdout=False) as bar:
            task = bar.add_task(what, total=total, completed=done, note="")
            yield lambda note="": bar.update(task, advance=1, note=note)
        return

    start = last = time.monotonic()
    first = done

    def advance(note: str = "") -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or done == total:
            left = (now - start) / (done - first) * (total - done)
            print(f"{what}: {done}/{total}, {now - start:.0f} s, {left:.0f} s left  {note}".rstrip(), flush=True)
            last = now

    yield advance
