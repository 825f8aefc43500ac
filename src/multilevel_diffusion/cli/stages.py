"""The stages as commands: each reads files, calls a function of `multilevel_diffusion.stages` and writes what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from ..settings import Gain, TargetSpec
from .options import (
    Field,
    Gains,
    Output,
    Projections,
    Resolution,
    Resolutions,
    SamplerText,
    Samples,
    Seed,
    Snapshots,
    Spec,
    Steps,
    Target,
    naming,
    seconds,
)

if TYPE_CHECKING:
    import torch
    from pandas import DataFrame

    from ..models import Model

__all__ = [
    "along_training",
    "convergence",
    "evaluate",
    "log_density",
    "sample",
    "score_error",
    "train",
    "truncation",
]

OneGain = Annotated[Gain, typer.Option(help="Amplitude of the network's input off the training grid.")]


def train(
    spec: Spec,
    seed: Seed,
    output: Output,
    data: Annotated[
        Path | None, typer.Option(help="File of `mld data`; a mixture needs none, being drawn as training goes.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 30.0,
) -> None:
    """Train one arm up its ladder of levels.

    It writes OUTPUT/model.safetensors, history.csv and snapshots/. Killed and started again, it goes on from its last checkpoint
    and ends with the same numbers.
    """
    from ..data.sets import read_sets
    from ..models import default_device, write_model
    from ..settings import ArmSpec, parse
    from ..stages.train import train
    from ..storage import read_json, write_csv
    from ..training import finish
    from .progress import progress

    arm, on, sets = parse(ArmSpec, read_json(spec), source=str(spec)), default_device(), None
    if arm.mixture and data:
        raise UserError("--data: the mixture is drawn as training goes; leave the option out")
    if not arm.mixture:
        if not data:
            raise UserError(f"--data: training of {arm.name} needs the file of the data of {arm.data_set}")
        tested = arm.validation.test
        sets = read_sets(data, need={"train": 1, "validation": 1} | ({"reference": tested} if tested else {}))

    def write(path: Path, model: Model) -> None:
        write_model(path, model, _facts(seed, on))

    model, history = train(
        arm,
        seed,
        sets,
        source=data or spec,
        device=on,
        folder=output / "checkpoint",
        write=write,
        checkpoint_seconds=checkpoint_seconds,
        warn=lambda line: typer.echo(f"mld: {line}", err=True),
        progress=progress,
    )
    write(output / "model.safetensors", model)
    write_csv(output / "history.csv", history, _facts(seed, on, model.settings))
    finish(output / "checkpoint", output / "snapshots")


def score_error(
    snapshots: Snapshots,
    resolution: Resolutions,
    gain: Gains,
    batches: Annotated[int, typer.Option(min=1, help="Batches of samples for each number.")],
    batch_size: Annotated[int, typer.Option(min=2, help="Samples a batch.")],
    output: Output,
) -> None:
    """Error of the learned score of a mixture along training.

    Squared, against the exact score; a row a snapshot, grid and gain.
    """
    from ..stages.score_error import score_error

    options = {"resolutions": resolution, "gains": gain, "batches": batches, "batch_size": batch_size}
    _follow(score_error, snapshots, output, **options)


def sample(
    source: Field,
    resolution: Resolutions,
    samples: Samples,
    steps: Steps,
    seed: Seed,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")],
    gain: Gains = (Gain.VALUES,),
    sampler: SamplerText = "euler-maruyama",
) -> None:
    """Draw samples on any grid, backwards in time from N(0,Q).

    It writes OUTPUT/GAIN-RESOLUTION.safetensors; samples of an exact field are OUTPUT/exact-RESOLUTION.safetensors.
    """
    from ..models import default_device, read_source
    from ..settings import parse_sampler
    from ..stages.sample import sample, write_samples
    from .progress import progress

    chosen, on = parse_sampler(sampler, "--sampler"), default_device()
    drawn = sample(
        read_source(source, on),
        samples,
        resolutions=resolution,
        steps=steps,
        seed=seed,
        gains=gain,
        sampler=chosen,
        device=on,
        progress=progress,
    )
    while True:
        before = seconds()
        with naming(source):
            made = next(drawn, None)
        if made is None:
            break
        facts = _facts(seed, on) | {"seconds": round(seconds() - before, 3)}
        write_samples(output / f"{made.name}.safetensors", made, facts)


def along_training(
    snapshots: Snapshots,
    data: Annotated[Path, typer.Option(help="Test set on the grid to sample on.")],
    gain: Gains,
    samples: Samples,
    steps: Steps,
    projections: Projections,
    output: Output,
    sampler: SamplerText = "euler-maruyama",
) -> None:
    """Distance of samples to the test set along training.

    Sliced Wasserstein, a row a snapshot and gain. All snapshots start from the same noise.
    """
    from ..data.sets import read_sets
    from ..settings import parse_sampler
    from ..stages.along_training import along_training

    test = read_sets(data, need={"reference": 1, "floor": samples})
    options = {"samples": samples, "steps": steps, "projections": projections, "gains": gain}
    _follow(along_training, snapshots, output, test, **options, sampler=parse_sampler(sampler, "--sampler"))


def evaluate(
    samples: Annotated[list[Path], typer.Argument(help="Files of `mld sample`.")],
    data: Annotated[list[Path], typer.Option(help="Test set, a file a resolution; the option is repeated.")],
    projections: Projections,
    output: Output,
) -> None:
    """Metrics of samples against the test set, a row each.

    Beside each is its floor, that of as many other test fields. The standard error is that of other samples and directions: a
    jackknife over the samples.
    """
    from ..data.sets import read_sets
    from ..stages.evaluate import evaluate
    from ..stages.sample import read_samples
    from ..storage import write_csv

    rows = evaluate(map(read_samples, samples), [read_sets(path) for path in data], projections)
    write_csv(output, rows, _facts(device="cpu"))


def convergence(
    source: Field,
    resolution: Resolution,
    sampler: Annotated[list[str], typer.Option(help="As in `mld sample`; several may be given.")],
    evaluations: Annotated[list[int], typer.Option(min=1, help="Of the denoiser; several may be given.")],
    reference_evaluations: Annotated[
        int, typer.Option(min=1, help="Euler-Maruyama is run with as many, to compare with.")
    ],
    samples: Samples,
    projections: Projections,
    seed: Seed,
    output: Output,
    gain: OneGain = Gain.VALUES,
) -> None:
    """Distance of samples of a mixture against evaluations.

    A row a sampler, number of evaluations of the denoiser and metric. The reference is 11 sets of true fields, as many as samples
    in each, pooled; the floor is what such a set has as distance to it, and the standard error its spread over 12 sets. All
    samplers start from the same noise.
    """
    from ..settings import parse_sampler
    from ..stages.convergence import convergence

    _measure(
        convergence,
        source,
        output,
        [parse_sampler(text, "--sampler") for text in sampler],
        resolution=resolution,
        evaluations=evaluations,
        reference_evaluations=reference_evaluations,
        samples=samples,
        projections=projections,
        seed=seed,
        gain=gain,
    )


def log_density(
    source: Field,
    resolution: Annotated[list[int], typer.Option(min=3, help="Grid of the flow; several may be given.")],
    drawn_on: Annotated[int, typer.Option(min=3, help="Finer grid on which the fields are drawn, then restricted.")],
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the flow.")],
    probes: Annotated[int, typer.Option(min=1, help="Random directions a field that estimate the trace.")],
    seed: Seed,
    output: Output,
    gain: OneGain = Gain.VALUES,
) -> None:
    """Log densities of fields of a mixture relative to N(0,Q).

    A row a field, grid and way to take the trace. estimate: log ρ_0 along the probability-flow ODE with log ρ_1 = 0, as samples
    start from N(0,Q); start: the true one; closed_form: the true log ρ_0; finest: that on the finer grid; plain: the log density
    of the values on the grid.
    """
    from ..stages.log_density import log_density

    _demand_finer(drawn_on, resolution)
    grids = {"resolutions": resolution, "drawn_on": drawn_on}
    options = {"samples": samples, "steps": steps, "probes": probes, "seed": seed, "gain": gain}
    _measure(log_density, source, output, **grids, **options)


def truncation(
    target: Target,
    resolution: Annotated[list[int], typer.Option(min=3, help="Grid whose modes are kept; two at least.")],
    drawn_on: Annotated[int, typer.Option(min=3, help="Finer grid, on which the paths are drawn.")],
    samples: Samples,
    steps: Annotated[int, typer.Option(min=1, help="Times at which paths are compared.")],
    seed: Seed,
    output: Output,
) -> None:
    """Cost of truncating the forward process of a mixture.

    Rows of the table of metrics. truncation_error: E max_t |X_t - X_t^M|^2 along paths on the finer grid; floor: what truncating
    X_0 alone costs, in closed form. truncation_rate: the slope of the logarithm of the first over that of the second, 1 where
    they fall alike.
    """
    from ..models import ExactModel, build_prior, default_device, read_target, require_mixture
    from ..stages.truncation import truncation
    from ..storage import write_csv

    on, settings = default_device(), read_target(target)
    require_mixture(settings, target)
    if len(set(resolution)) < 2:
        raise UserError("--resolution: give two at least, a rate needs them")
    _demand_finer(drawn_on, resolution)
    grids = {"resolutions": resolution, "drawn_on": drawn_on}
    exact = ExactModel(settings, build_prior(settings))
    rows = truncation(exact, **grids, samples=samples, steps=steps, seed=seed, device=on)
    write_csv(output, rows, _facts(seed, on))


def _measure(
    stage: Callable[..., DataFrame], source: Path, output: Path, *args: Any, seed: int, **options: Any
) -> None:
    """Write the table of a stage on a model or an exact field."""
    from ..models import default_device, read_source
    from ..storage import write_csv
    from .progress import progress

    on = default_device()
    read = read_source(source, on)
    with naming(source):
        rows = stage(read, *args, seed=seed, device=on, progress=progress, **options)
    write_csv(output, rows, _facts(seed, on, read.settings))


def _follow(stage: Callable[..., DataFrame], snapshots: Path, output: Path, *args: Any, **options: Any) -> None:
    """Write the table of a stage on all snapshots of a training, which are read when it is their turn."""
    from ..models import default_device, read_model, snapshots_in
    from ..storage import write_csv
    from .progress import progress

    files, on = snapshots_in(snapshots), default_device()
    last = read_model(files[-1], on)

    def models() -> Iterator[Model]:
        with progress(len(files), f"{stage.__name__.replace('_', ' ')} of {snapshots}") as advance:
            for file in files:
                yield read_model(file, on)
                advance(file.stem)

    with naming(snapshots):
        rows = stage(models(), *args, device=on, **options)
    write_csv(output, rows, _facts(last.seed, on, last.settings))


def _demand_finer(drawn_on: int, resolutions: list[int]) -> None:
    if max(resolutions) >= drawn_on:
        raise UserError(f"--drawn-on: {drawn_on} must be finer than --resolution {max(resolutions)}")


def _facts(
    seed: int | None = None, device: torch.device | str = "cpu", settings: TargetSpec | None = None
) -> dict[str, Any]:
    """The provenance of what a command writes."""
    from ..provenance import provenance

    facts = {"settings": settings.model_dump(mode="json")} if settings else {}
    facts |= {} if seed is None else {"seed": seed}
    return provenance(**facts, device=str(device), seconds=seconds())
