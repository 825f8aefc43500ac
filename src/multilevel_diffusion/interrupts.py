"""Signals that ask a process to stop, SIGINT (Ctrl-C) and SIGTERM: one line, and nothing half-written.

An exception raised wherever a signal happens to arrive, inside an import or a finaliser, is lost or ends in a traceback. So `mld`
raises none: it says its line and ends by the same signal, as shells and schedulers expect. While work is kept as it goes, the
signal waits until that is written.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
partial_files: set[Path] = set()
"""What is being written, and goes when the process is stopped."""
_advice = ["run the same command again"]


def install() -> None:
    """Let both signals end this process with one line on stderr."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def advise(text: str) -> None:
    """What the line says to do from now on."""
    _advice[:] = [text]


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    for path in tuple(partial_files):
        with suppress(OSError):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        os.write(2, f"mld: stopped by {signal.Signals(number).name}; {_advice[0]}\n".encode())
    os.kill(os.getpid(), number)


class Deferred:
    """A block in which the first of both signals waits for `deliver` or the end; a second one does not wait.

    Outside the main thread nothing waits.
    """

    def __enter__(self) -> Deferred:
        self._came: list[int] = []
        main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._wait) for number in SIGNALS} if main else {}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()
        self.deliver()

    @property
    def asked(self) -> bool:
        """Whether a signal waits."""
        return bool(self._came)

    def deliver(self) -> None:
        """Let the signal through that waits, if one does."""
        if self._came:
            signal.raise_signal(self._came.pop())

    def _wait(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self._came.append(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
