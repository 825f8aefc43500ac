"""Arguments and options that several commands share."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UserError
from ..settings import Config, Gain, load_config, sampler_kinds

__all__ = [
    "Configs",
    "Field",
    "Gains",
    "Output",
    "Overrides",
    "Presets",
    "Projections",
    "Resolution",
    "Resolutions",
    "SamplerText",
    "Samples",
    "Seed",
    "Snapshots",
    "Spec",
    "Steps",
    "Target",
    "naming",
    "parse_overrides",
    "read_config",
    "seconds",
]

START = time.perf_counter()

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
Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Configuration files, later ones on top.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override, VALUE as YAML: preset=smoke.")
]
Presets = Annotated[
    Path | None,
    typer.Option(help="Folder of the preset overlays; by default workflow/presets beside the first CONFIG."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Resolution = Annotated[int, typer.Option(min=3, help="Points per side.")]
Resolutions = Annotated[list[int], typer.Option(min=3, help="Points per side; several may be given.")]
Samples = Annotated[int, typer.Option(min=2, help="How many fields.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of the sampler.")]
SamplerText = Annotated[
    str,
    typer.Option(
        help=f"{', '.join(sampler_kinds())}; or with its options,"
        " as in '{kind: dpm-solver++, stochasticity: 1, times: karras}'."
    ),
]
Projections = Annotated[int, typer.Option(min=2, help="Directions of the sliced Wasserstein distance.")]
Snapshots = Annotated[Path, typer.Argument(help="Folder of the snapshots of a training.")]
Gains = Annotated[list[Gain], typer.Option(help="Several may be given; at N_ref they agree and the first is taken.")]


def read_config(
    configs: list[Path], overrides: list[str] | None, presets: Path | None, only: Collection[str] | None = None
) -> Config:
    """The settings of a run, see `load_config`; `overrides` as `--set` has them.

    Raises:
        UserError: names the file, key or option and the mend.
    """
    presets = presets or configs[0].parent / "workflow" / "presets"
    return load_config(configs, parse_overrides(overrides), presets, only)


def parse_overrides(texts: list[str] | None) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, as YAML.

    Raises:
        UserError: if one is not KEY=VALUE or not YAML.
    """
    import yaml

    overrides = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set: '{text}' is not KEY=VALUE")
        try:
            overrides[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set: '{text}': not valid YAML: {' '.join(str(error).split())}") from None
    return overrides


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is refused inside is refused in the name of a file."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def seconds() -> float:
    """Seconds since the command line was loaded, which is when a command starts."""
    return round(time.perf_counter() - START, 3)
