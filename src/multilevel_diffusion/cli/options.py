"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Field", "Output", "Resolution", "Samples", "Seed", "Spec", "Target"]

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="spec.json of an arm, from `mld resolve`.")]
Target = Annotated[
    Path, typer.Argument(metavar="TARGET", help="target.json of an arm, or its spec.json, from `mld resolve`.")
]
Field = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="model.safetensors is the trained network, target.json or spec.json the exact field."
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Resolution = Annotated[int, typer.Option(min=3, help="Points per side.")]
Samples = Annotated[int, typer.Option(min=2, help="How many fields.")]
