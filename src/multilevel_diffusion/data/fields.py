"""The user's own fields: an array in a .npy, .npz or HDF5 file, or a folder of PNG. Nothing is ever unpickled.

    fields.npy    fields.npz    fields.npz:NAME    fields.h5    fields.h5:GROUP/DATASET    folder/

An array has shape (n, N, N), of integers or floats. Where a file holds several, the name says which. The PNG of a folder,
sorted by name, are greyscale of 8 or 16 bits, scaled to [0, 1].
"""

import hashlib
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UserError
from ..settings import Geometry
from ..storage import generator
from .sets import GRIDS, FieldSets

NAMED = re.compile(r"(?P<file>.+\.(?:npy|npz|h5|hdf5)):(?P<name>.+)", re.IGNORECASE)
FORMATS = ".npy, .npz, .h5, .hdf5 or a folder of PNG"
BLOCK = 64
"""Fields read together, where the chunks of the file are not larger."""
LEAST_SPREAD = 1e-5
"""Standard deviation of fields over their mean, below which float32 rounds them by more than a hundredth of it."""
GREYS = {"L": 255, "I;16": 65535}
"""The largest value by the mode of an image."""
UNREADABLE = (OSError, ValueError, EOFError, KeyError, TypeError, RuntimeError, OverflowError, SyntaxError)
UNREADABLE += (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class _Source:
    """Fields that are read when asked for.

    shape: (n, N, N). rows: the fields with the given sorted indices, which lie less than `block` apart. images: whether the
    first axis points down in pictures. block: how many fields are read together.
    """

    shape: tuple[int, ...]
    rows: Callable[[NDArray[np.int64]], NDArray[Any]]
    images: bool = False
    block: int = BLOCK


def field_sets(
    source: str, geometry: Geometry, resolution: int, *, train: int, validation: int, test: int, name: str = "fields"
) -> tuple[FieldSets, int]:
    """The four sets, and how many fields the source has.

    The fields, in the order of the source, are shuffled once and always alike; then come `train`, `validation` and `reference`,
    the test set. The `floor` is as many of the training fields. Only the fields that are used are read, from a source as at the
    head of this module, and taken as they are.

    Raises a UserError if there is no such source, it cannot be read, or holds anything but enough finite N × N fields.
    """
    sizes = {"train": train, "validation": validation, "reference": test}
    if test > train:
        raise UserError(f"--test: {test}, but only {train} training fields, as many of which measure the floor")
    with _opened(source) as fields:
        _check_shape(source, fields.shape, resolution)
        available, needed = fields.shape[0], sum(sizes.values())
        if available < needed:
            asked = f"--train {train} + --validation {validation} + --test {test}"
            raise UserError(f"{source}: {available} fields, but {asked} need {needed}")
        order = torch.randperm(available, generator=generator(0, "fields"))[:needed].numpy()
        values = _read(source, fields, order)
    target = {"kind": "fields", "name": name, "images": fields.images, "native_resolution": resolution}
    target["sha256"] = hashlib.sha256(values).hexdigest()
    sets = dict(zip(sizes, torch.from_numpy(values).split(list(sizes.values())), strict=True))
    return FieldSets(sets | {"floor": sets["train"][:test].clone()}, GRIDS[geometry](resolution), target), available


def summary(sets: FieldSets) -> str:
    """What was read, for a person to compare with what they know of their fields: range, mean, variance over all values."""
    parts, n = [fields for name, fields in sets.fields.items() if name != "floor"], sets.grid.resolution
    count = sum(part.numel() for part in parts)
    mean = sum(part.sum(dtype=torch.float64).item() for part in parts) / count
    variance = sum((part - mean).square().sum(dtype=torch.float64).item() for part in parts) / count
    low, high = min(part.min().item() for part in parts), max(part.max().item() for part in parts)
    return f"fields of {n} x {n}, values in [{low:.4g}, {high:.4g}], mean {mean:.4g}, variance {variance:.4g}"


def count_leaks(sets: FieldSets) -> int:
    """How many test fields are, value by value, training fields too."""
    trained = {hashlib.sha256(field.numpy()).digest() for field in sets.fields["train"]}
    return sum(hashlib.sha256(field.numpy()).digest() in trained for field in sets.fields["reference"])


@contextmanager
def _opened(source: str) -> Iterator[_Source]:
    """The fields of a source, open as long as the block runs; what goes wrong with the file in it is refused in one line."""
    path, name = Path(os.path.expanduser(source)), None
    if (named := NAMED.fullmatch(str(path))) and not path.exists():
        path, name = Path(named["file"]), named["name"]
    if not path.exists():
        raise UserError(f"{source}: no such file or folder; give {FORMATS}")
    try:
        match path.suffix.lower():
            case _ if path.is_dir():
                yield _pictures(source, path)
            case ".npy" | ".npz":
                array = _array(source, path, name)
                yield _Source(array.shape, lambda rows: array[rows])
            case ".h5" | ".hdf5":
                import h5py

                with h5py.File(path) as archive:
                    data = _dataset(source, archive, name)
                    block = max(BLOCK, (data.chunks or (0,))[0])  # a compressed chunk is unpacked as a whole
                    yield _Source(data.shape, lambda rows: data[rows[0] : rows[-1] + 1][rows - rows[0]], block=block)
            case _:
                raise UserError(f"{source}: fields are read from {FORMATS}")
    except UNREADABLE as error:
        reason = f"{' '.join(str(error).split())}; is the file whole?"
        if "pickle" in reason or "Python objects" in reason:
            reason = "not an array of numbers as np.save writes it; Python objects are never unpickled"
        raise UserError(f"{source}: cannot be read: {reason}") from None


def _array(source: str, path: Path, name: str | None) -> NDArray[Any]:
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            loaded = loaded[_chosen(source, loaded.files, name)]
    elif name:
        raise UserError(f"{source}: a .npy file has one array without a name; leave ':{name}' out")
    return _numeric(source, loaded)


def _dataset(source: str, archive: Any, name: str | None) -> Any:
    import h5py

    names: list[str] = []
    archive.visititems(lambda path, item: names.append(path) if isinstance(item, h5py.Dataset) else None)
    return _numeric(source, archive[_chosen(source, names, name and name.strip("/"))])


def _chosen(source: str, names: Sequence[str], name: str | None) -> str:
    """The name of the array asked for, or of the only one."""
    if name in names or (name is None and len(names) == 1):
        return name or names[0]
    listed = f"{', '.join(names[:20])}{', …' if len(names) > 20 else ''}" or "none"
    wrong = "several arrays; name one, as in FILE:NAME" if name is None and names else "no such array"
    raise UserError(f"{source}: {wrong} (arrays in the file: {listed})")


def _numeric(source: str, array: Any) -> Any:
    if array.dtype.kind not in "iuf":
        raise UserError(f"{source}: values of type {array.dtype}; fields are of integers or floats")
    return array


def _pictures(source: str, folder: Path) -> _Source:
    """The PNG of a folder; sizes and modes of all are looked at, pixels only of those that are used."""
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith("."))
    if not files:
        raise UserError(f"{source}: no PNG in this folder")

    def pixels(path: Path) -> NDArray[np.float32]:
        with _png(path) as image:
            return np.asarray(image).astype(np.float32) / GREYS[image.mode]

    shapes = []
    for path in files:
        with _png(path) as image:
            mode = image.mode
            shapes.append(image.size[::-1])
        if mode not in GREYS:
            wrong = f"is not greyscale of 8 or 16 bits but {mode}; fields of several channels come later"
            raise UserError(f"{source}: {path.name} {wrong}; convert all, as with Pillow's image.convert('L')")
        if shapes[-1] != shapes[0]:
            size, first = ("{} x {}".format(*shape) for shape in (shapes[-1], shapes[0]))
            raise UserError(f"{source}: {path.name} is {size}, but {files[0].name} is {first}; all must have one size")
    return _Source((len(files), *shapes[0]), lambda rows: np.stack([pixels(files[i]) for i in rows]), images=True)


@contextmanager
def _png(path: Path) -> Iterator[Any]:
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            yield image
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: {error}") from None


def _check_shape(source: str, shape: tuple[int, ...], resolution: int) -> None:
    if len(shape) == 4 and 1 in (shape[1], shape[3]):
        raise UserError(f"{source}: shape {shape}; give (n, N, N), without the axis of length 1")
    if len(shape) == 4:
        raise UserError(f"{source}: shape {shape}: fields of several channels come later; give one channel, (n, N, N)")
    if len(shape) != 3:
        raise UserError(f"{source}: shape {shape} of {len(shape)} dimensions; fields have shape (n, N, N)")
    _, rows, columns = shape
    if rows != columns:
        raise UserError(f"{source}: fields of {rows} x {columns} are rectangles; only squares N x N are taken")
    if rows < 3:
        raise UserError(f"{source}: fields of {rows} x {rows} are too small; N is at least 3")
    if rows != resolution:
        raise UserError(f"{source}: fields of {rows} x {rows}, but --resolution is {resolution}; give {rows}")


def _read(source: str, fields: _Source, order: NDArray[np.int64]) -> NDArray[np.float32]:
    """The fields with these indices, in this order, shape (len(order), N, N); the source is read from its front to its end."""
    values = np.empty((len(order), *fields.shape[1:]), dtype=np.float32)
    places = np.argsort(order)
    for part in np.split(places, np.flatnonzero(np.diff(order[places] // fields.block)) + 1):
        with np.errstate(over="ignore"):
            values[part] = fields.rows(order[part])
        finite = np.isfinite(values[part]).all(axis=(1, 2))
        if not finite.all():
            bad = order[part][~finite][0]
            raise UserError(f"{source}: field {bad} (counted from 0) is not finite as float32; mend it or take it out")
    mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    if spread < LEAST_SPREAD * abs(mean):
        wrong = f"the fields vary by {spread:.2g} around {mean:.2g}, which float32 does not tell well"
        raise UserError(f"{source}: {wrong}; subtract the mean")
    return values
