"""Files: whole or not at all, with their provenance inside, and the one source of randomness.

Tensors go to safetensors with settings and provenance as JSON in the header, tables to CSV with provenance in a first
line that starts with "#" (`pandas.read_csv(path, comment="#")`), everything else to JSON.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .columns import LABELS
from .errors import UserError
from .interrupts import partial_files

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
"""Of file systems that cannot sync a file, as some over FUSE and CIFS."""


def generator(seed: int, *key: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random stream of one use: seeded from SHA-256 of (seed, *key), with key = stage, arm, block, …"""
    import torch

    digest = hashlib.sha256(json.dumps([seed, *key]).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; moved onto `path` when the block ends well, removed when it does not.

    Raises a UserError if the disk is full, or nothing can be written there.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: not a plain file; choose another path to write to")
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial")
    partial_files.add(partial)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        partial_files.discard(partial)


def unwritable(path: Path, error: OSError) -> UserError:
    """What to say of a path that cannot be written."""
    if error.errno in NO_SPACE:
        return UserError(f"{path}: no space left on the disk; free some and rerun (nothing was kept of it)")
    reason = error.strerror or type(error).__name__
    return UserError(f"{path}: cannot be written: {reason}; choose another path to write to")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors (any device) and a JSON-able header. Raises as `write_atomically`."""
    from safetensors.torch import save

    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"header": json.dumps(header)})
    with write_atomically(path) as partial:
        partial.write_bytes(data)


def read_tensors(path: Path, need: Collection[str] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, all or those that `need` names, and the header of a file of `write_tensors`.

    Raises a UserError if the file is missing, truncated or not one of ours, or lacks one of these.
    """
    arrays, header = _read(path, need, framework="pt")
    # clones: the file's own memory is not aligned as complex arithmetic needs it
    return {name: tensor.clone() for name, tensor in arrays.items()}, header


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def read_arrays(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, Any]]:
    """The same as NumPy arrays: PyTorch takes seconds to import, which pictures do without. Raises as `read_tensors`."""
    return _read(path, (), framework="np")


def write_csv(path: Path, table: pandas.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write a table under one comment line of provenance. Raises as `write_atomically`."""
    with write_atomically(path) as partial, partial.open("w") as file:
        file.write(f"# {json.dumps({**facts, 'rows': len(table)})}\n")
        table.to_csv(file, index=False, lineterminator="\n")


def read_csv(path: Path, columns: Collection[str] = ()) -> pandas.DataFrame:
    """A table of `write_csv`. Columns of LABELS are text, whatever they look like; what is empty is missing.

    Raises a UserError if it is missing, truncated, not a table or lacks one of `columns`.
    """
    import pandas

    try:
        text = path.read_text()
        first, _, rest = text.partition("\n")
        as_text = dict.fromkeys(LABELS, str)
        table = pandas.read_csv(io.StringIO(rest), dtype=as_text, keep_default_na=False, na_values=[""])
        if not text.endswith("\n") or len(table) != json.loads(first.removeprefix("# "))["rows"]:
            raise ValueError("rows are missing")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from None
    _demand(path, columns, table.columns)
    return table


def read_facts(path: Path) -> dict[str, Any]:
    """The provenance of a table of `write_csv`. Raises as `read_csv`."""
    try:
        with path.open() as file:
            return json.loads(file.readline().removeprefix("# "))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write indented JSON. Raises as `write_atomically`."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read JSON. Raises a UserError if the file is missing or not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _read(path: Path, need: Collection[str], framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            names, header = set(file.keys()), json.loads(file.metadata()["header"])
            arrays = {name: file.get_tensor(name) for name in (need or names) if name in names}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from None
    _demand(path, need, names)
    return arrays, header


def _demand(path: Path, need: Collection[str], found: Collection[str]) -> None:
    if missing := [name for name in need if name not in found]:
        raise UserError(
            f"{path}: not the kind of file this command reads, or of an earlier version: it has no {', '.join(missing)}"
        )


def unreadable(path: Path, error: Exception) -> UserError:
    """What to say of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file; run the stage that makes it")
    mend = "make it again (of samples the whole folder), or give another"
    return UserError(f"{path}: truncated or not a file of ours ({type(error).__name__}); {mend}")
