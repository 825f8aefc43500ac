"""Checkpoints: what a stage has done, kept beside its output until that is written, so that the same command goes on.

    OUTPUT/../checkpoint/NAME/DIGEST/     identity.json, finished parts, the state of what is in progress

DIGEST is the digest of the identity, which is all that the numbers depend on. Work of other settings, data or code is neither
taken up nor touched. A lock on NAME keeps out a second process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .interrupts import Deferred, advise
from .provenance import code_digest, versions
from .settings import plugin_files
from .storage import read_json, read_tensors, unwritable, write_csv, write_json, write_tensors

if TYPE_CHECKING:
    import pandas
    import torch
    from torch import Tensor

State = tuple[Mapping[str, "Tensor"], Mapping[str, Any]]
"""Tensors and what goes as JSON."""

IDENTITY = "identity.json"
LIBRARIES = ("torch", "diffusers")
"""In whose release the numbers of a stage may differ."""


class Checkpoint:
    """The work of one output that is kept, or of none: then everything is computed.

    Args:
        root: the folder of the output, OUTPUT/../checkpoint/NAME; None keeps nothing.
        seconds: between two states of what is in progress.
        warn: is told of work of another identity, one line at a time.
    """

    def __init__(
        self, root: Path | None = None, seconds: float = 30.0, warn: Callable[[str], object] = warnings.warn
    ) -> None:
        self.root, self.seconds, self._warn = root, seconds, warn
        self.folder: Path | None = None
        self._identity: dict[str, Any] = {}
        self.digest, self._prefix, self._saved = "", "", time.monotonic()

    def bind(self, stage: str, device: torch.device, facts: Mapping[str, Any]) -> None:
        """Go on with the work of one identity: a stage, the device, the code, and the facts, which are JSON-able.

        What is kept of another identity is told, with what differs.

        Raises a UserError if what is kept is damaged or nothing can be written.
        """
        identity = {"stage": stage, "device": device.type, **versions(LIBRARIES)}
        identity |= {"code": code_digest(f"stages.{stage}", plugins=plugin_files()), **facts}
        text = json.dumps(identity, sort_keys=True)
        self._identity, self.digest = json.loads(text), hashlib.sha256(text.encode()).hexdigest()[:16]
        if self.root is None:
            return
        self.folder = self.root / self.digest
        advise("the same command goes on where it was")
        for other in sorted(self.root.glob(f"*/{IDENTITY}")):
            if other.parent != self.folder:
                differs = ", ".join(_differences(read_json(other), self._identity))
                self._warn(f"{other.parent}: kept, but not gone on from: the checkpoint of other {differs}")
        for left in self.folder.glob("**/.*.partial"):
            left.unlink(missing_ok=True)

    def at(self, name: str) -> Checkpoint:
        """The same, for parts whose names begin with `name`."""
        inner = Checkpoint(self.root, self.seconds, self._warn)
        inner.folder, inner._identity, inner._prefix = self.folder, self._identity, f"{self._prefix}{name}-"
        return inner

    @property
    def begun(self) -> bool:
        """Whether there are parts with such names."""
        return self.folder is not None and any(self.folder.glob(f"{self._prefix}*"))

    def tensor(self, name: str, make: Callable[[], Tensor], device: torch.device) -> Tensor:
        """A part that is a tensor on a device: as it is kept, or made now."""
        kept = self._read(name)
        return kept[0]["value"].to(device) if kept else self._part(name, lambda: ({"value": make()}, {}))[0]["value"]

    def rows(self, name: str, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """A part that is rows of a table: as they are kept, or made now."""
        return self._part(name, lambda: ({}, {"rows": make()}))[1]["rows"]

    @contextmanager
    def saving(self, name: str) -> Iterator[Callable[..., None]]:
        """Yield `save(collect, last=False)`, to be called after each step; `collect` returns the state, to be found by `state`.

        It saves the last one, and others if it is time or if the process is asked to stop, which it then does: until then signals
        wait.
        """
        if self.folder is None:
            yield lambda collect, last=False: None
            return
        with Deferred() as signals:

            def save(collect: Callable[[], State], last: bool = False) -> None:
                if last or signals.asked or time.monotonic() - self._saved >= self.seconds:
                    write_tensors(self.path(f"{name}.state"), *collect())
                    self._saved = time.monotonic()
                signals.deliver()

            yield save

    def state(self, name: str) -> State | None:
        """The last state that was saved under a name. Raises a UserError if its file is damaged."""
        return self._read(f"{name}.state")

    def path(self, name: str) -> Path:
        """The file of a name, to be written. Only where something is written is there a folder."""
        path = self._path(name)
        if self.folder and not (identity := self.folder / IDENTITY).exists():
            write_json(identity, self._identity)
        return path

    def show(self, name: str, table: pandas.DataFrame) -> None:
        """Write a table of what is done so far, NAME.csv, for people to look at; nothing is gone on from it."""
        if self.folder is not None:
            write_csv(self.path(name).with_suffix(".csv"), table, {})

    def finish(self) -> None:
        """Remove what was kept, now that the output is written; files that are not of a checkpoint stay."""
        if self.folder is None or self.root is None:
            return
        for path in [*self.folder.glob("**/*.safetensors"), *self.folder.glob("*.csv"), self.folder / IDENTITY]:
            path.unlink(missing_ok=True)
        for folder in (*self.folder.glob("*/"), self.folder):
            with suppress(OSError):  # a file of somebody's is in it
                folder.rmdir()

    def _part(self, name: str, make: Callable[[], State]) -> State:
        if self.folder is None:
            return make()
        if kept := self._read(name):
            return kept
        made = make()
        write_tensors(self.path(name), *made)
        return made

    def _read(self, name: str) -> State | None:
        return read_tensors(path) if self.folder and (path := self._path(name)).exists() else None

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{self._prefix}{name}.safetensors"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made and, if it is empty in the end, removed.

    Raises a UserError if another process holds it, or the folder cannot be made.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise unwritable(folder, error) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            mend = "wait for it, or choose another output"
            raise UserError(f"{folder.parent.parent}: another process writes {folder.name} here; {mend}") from None
        except OSError:
            break  # a file system without locks
        if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
            break
        os.close(handle)  # of a folder that was removed by who held the lock
    try:
        yield
    finally:
        for each in dict.fromkeys((folder, folder.parent, *made)):
            with suppress(OSError):  # it has something in it
                each.rmdir()
        os.close(handle)


def _differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Where two JSON values differ, as dotted keys."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            yield from _differences(a.get(key), b.get(key), f"{where}.{key}" if where else key)
    elif a != b:
        yield where
