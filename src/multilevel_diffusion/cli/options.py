"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Gain

__all__ = [
    "Field",
    "Gains",
    "Output",
    "Projections",
    "Resolution",
    "SamplerText",
    "Samples",
    "Seed",
    "Snapshots",
    "Spec",
    "Steps",
    "Target",
]

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
Steps = Annotated[int, typer.Option(min=1, help="Steps of the sampler.")]
SamplerText = Annotated[
    str,
    typer.Option(
        help="euler-maruyama, ancestral, heun, dpm-solver++ or predictor-corrector; or with its options,"
        " as in '{kind: dpm-solver++, stochasticity: 1, times: karras}'."
    ),
]
Projections = Annotated[int, typer.Option(min=2, help="Directions of the sliced Wasserstein distance.")]
Snapshots = Annotated[Path, typer.Argument(help="Folder of the snapshots of a training.")]
Gains = Annotated[list[Gain], typer.Option(help="Several may be given; at N_ref they agree and the first is taken.")]
