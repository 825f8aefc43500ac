"""Files: whole or not at all, with their provenance inside, and the one source of randomness.

Tensors go to safetensors with settings and provenance as JSON in the header. Tables go to CSV with provenance in a first
line that starts with "#" (`pandas.read_csv(path, comment="#")`). Everything else goes to JSON.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel

from .columns import COUNTS, FORMS, LABELS, MAY_BE_EMPTY, MAY_BE_INFINITE
from .errors import UnwritableError, UserError
from .interrupts import partial_files
from .settings import parse

if TYPE_CHECKING:
    import numpy as np
    import pandas
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

H = TypeVar("H", bound="Header")
WEIGHTS = Path(__file__).parent / "weights"
"""Models that come with the package, by name: packed networks of preset study (`packing`), with their SHA256SUMS."""
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
"""Of file systems that cannot sync a file, as some over FUSE and CIFS."""


class Header(BaseModel):
    """What the header of a kind of file must be; `mend` says how to get another file."""

    model_config = {"frozen": True, "extra": "forbid"}

    mend: ClassVar[str]
    provenance: dict[str, Any]


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


def unwritable(path: Path, error: OSError) -> UnwritableError:
    """What to say of a path that cannot be written."""
    if error.errno in NO_SPACE:
        return UnwritableError(f"{path}: no space left on the disk; free some and rerun (nothing was kept of it)")
    reason = error.strerror or type(error).__name__
    return UnwritableError(f"{path}: cannot be written: {reason}; choose another path to write to")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write named tensors (any device) and a JSON-able header, with checksums of both. Raises as `write_atomically`."""
    from safetensors.torch import save

    arrays = {name: values.detach().cpu().resolve_conj().resolve_neg().contiguous() for name, values in tensors.items()}
    text = json.dumps(header)
    data = save(arrays, {"header": text, "checksums": json.dumps(_checksums(text, arrays))})
    with write_atomically(path) as partial:
        partial.write_bytes(data)


def read_tensors(path: Path, need: Collection[str] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, all or those that `need` names, and the header of a file of `write_tensors`.

    Raises a UserError if the file is missing, truncated, changed or not one of ours, or lacks one of these.
    """
    arrays, header = _read(path, "pt", need)
    _demand(path, need, arrays)
    # clones: the file's own memory is not aligned as complex arithmetic needs it
    return {name: tensor.clone() for name, tensor in arrays.items()}, header


def read_arrays(path: Path, wanted: Collection[str] = ()) -> tuple[dict[str, NDArray[np.generic]], dict[str, Any]]:
    """The same as NumPy arrays, of `wanted` what there is: PyTorch takes seconds to import, which pictures do without."""
    return _read(path, "np", wanted)


def checked(path: Path, model: type[H], header: Any) -> H:
    """A header as its model. Raises a UserError that names the file, the first wrong key and the mend."""
    try:
        return parse(model, header, f"{path}: header")
    except UserError as error:
        raise UserError(f"{error}; {model.mend}") from None


def demand_like(path: Path, what: str, found: Mapping[str, Tensor], like: Mapping[str, Tensor], mend: str) -> None:
    """Refuse tensors that have not the names, shapes and types of others, or are not finite.

    Raises a UserError that names the file, what of it the tensors are, and the first wrong one.
    """

    def wrong(name: str) -> str:
        if name not in like or name not in found:
            return "is too much" if name in found else "is missing"
        has, wanted = (f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}" for x in (found[name], like[name]))
        if has != wanted:
            return f"is {has}, not {wanted}"
        return "" if found[name].isfinite().all() else "has values that are not finite"

    for name in dict.fromkeys([*like, *found]):
        if said := wrong(name):
            raise UserError(f"{path}: its {what} is not what its settings say ({name} {said}); {mend}")


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def write_csv(path: Path, table: pandas.DataFrame, facts: Mapping[str, Any]) -> None:
    """Write a table under one comment line of provenance. Raises as `write_atomically`."""
    with write_atomically(path) as partial, partial.open("w") as file:
        file.write(f"# {json.dumps({**facts, 'rows': len(table)})}\n")
        table.to_csv(file, index=False, lineterminator="\n")


def read_csv(path: Path, columns: Collection[str] = ()) -> pandas.DataFrame:
    """A table of `write_csv`. Columns of LABELS are text, whatever they look like; what is empty is missing.

    Args:
        columns: those that it must have. The table then has rows, labels as FORMS says, and numbers in all other columns. These
            are finite but in MAY_BE_INFINITE, and whole in the columns of COUNTS; nothing is missing but what MAY_BE_EMPTY.

    Raises a UserError if it is missing, truncated, not a table, lacks one of `columns` or has something else in them.
    """
    import pandas

    try:
        text = path.read_text()
        first, _, rest = text.partition("\n")
        as_text = dict.fromkeys(LABELS, str)
        table = pandas.read_csv(io.StringIO(rest), dtype=as_text, keep_default_na=False, na_values=[""])
        if not text.endswith("\n") or len(table) != json.loads(first.removeprefix("# "))["rows"]:
            raise ValueError("rows are missing")
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    _demand(path, columns, table.columns)
    if columns and (wrong := "a table without rows" if table.empty else _wrong_column(table)):
        raise UserError(f"{path}: {wrong}; run the stage that makes it again")
    return table


def read_facts(path: Path) -> dict[str, Any]:
    """The provenance of a table of `write_csv`. Raises as `read_csv`."""
    try:
        with path.open() as file:
            return _mapping(file.readline().removeprefix("# "))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write indented JSON. Raises as `write_atomically`."""
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON mapping. Raises a UserError if the file is missing or something else."""
    try:
        return _mapping(path.read_text())
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None


def _read(path: Path, framework: str, wanted: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            names, text = file.keys(), file.metadata()["header"]
            arrays = {name: file.get_tensor(name) for name in names if not wanted or name in wanted}
            header, said = _mapping(text), _mapping(file.metadata().get("checksums", "{}"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise unreadable(path, error) from None
    if said and (said.keys() != {"", *names} or not _checksums(text, arrays).items() <= said.items()):
        raise UserError(f"{path}: changed since it was written; make it again, or give another")
    return arrays, header


def _checksums(header: str, arrays: Mapping[str, Any]) -> dict[str, int]:
    """CRC-32 of the header, under the name "", and of tensors or arrays."""
    import numpy as np

    parts = {name: np.asarray(values).reshape(-1).view(np.uint8) for name, values in arrays.items()}
    return {"": zlib.crc32(header.encode())} | {name: zlib.crc32(values.data) for name, values in parts.items()}


def _mapping(text: str) -> dict[str, Any]:
    """The mapping in a JSON text. Raises a ValueError if it is something else."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(found, dict):
        raise ValueError("not a mapping")
    return found


def _wrong_column(table: pandas.DataFrame) -> str | None:
    """What is wrong with the first column that is."""
    import pandas

    empty = next((names for kind, names in MAY_BE_EMPTY.items() if kind in table), ())
    for name, values in table.items():
        number, there = name not in LABELS, values.dropna()
        if number and not pandas.api.types.is_numeric_dtype(values):
            return f"text among the numbers of column {name}"
        if name in FORMS and not there.str.fullmatch(FORMS[name]).all():
            return f"something else than {FORMS[name]} in column {name}"
        if number and name not in MAY_BE_INFINITE and not (there.abs() < float("inf")).all():
            return f"a number that is not finite in column {name}"
        if name in COUNTS and (there % 1).any():
            return f"a number that is not whole in column {name}"
        if name not in empty and len(there) < len(table):
            return f"an empty cell in column {name}"
    return None


def _demand(path: Path, need: Collection[str], found: Collection[str]) -> None:
    if missing := [name for name in need if name not in found]:
        raise UserError(
            f"{path}: not the kind of file this command reads, or of an earlier version: it has no {', '.join(missing)}"
        )


def model_file(path: Path) -> Path:
    """A path, or the path of a model in WEIGHTS if the first is its name and there is no such file."""
    own = WEIGHTS / f"{path}.safetensors"
    return own if path.name == str(path) and not path.is_file() and own.exists() else path


def unreadable(path: Path, error: Exception) -> UserError:
    """What to say of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file; run the stage that makes it")
    mend = "make it again (of samples the whole folder), or give another"
    return UserError(f"{path}: truncated or not a file of ours ({type(error).__name__}); {mend}")
