"""The stages as commands: each reads files, calls a function of `multilevel_diffusion.stages` and writes what comes of it.

Before them comes `mld resolve`, which makes of the configuration the file that they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UserError
from ..settings import Start, arm_spec
from ..storage import write_csv, write_json
from . import options as given
from .progress import progress

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..gaussian import GaussianLaw
    from ..models import ExactModel, Model

    Stage = Callable[..., DataFrame]


def resolve(
    arm: Annotated[str, typer.Option(metavar="EXPERIMENT/ARM", help="For example mixture/fno-combined.")],
    output: given.Output,
    target: Annotated[
        bool, typer.Option("--target", help="Only what data and exact score of a mixture depend on.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="File of `mld data`, for a prior whose scale is auto.")] = None,
    set_: given.Overrides = None,
    presets: given.Presets = None,
    configs: given.Configs = None,
) -> None:
    """Freeze the settings of one arm into spec.json.

    With --target, only the settings that the data and the exact score of a mixture depend on, into target.json. Only the
    experiment that is asked for is validated.
    """
    experiment, _, name = arm.partition("/")
    spec = arm_spec(given.read_config(configs, set_, presets, only=[experiment]), experiment, name)
    if data:
        from ..data.sets import read_sets
        from ..stages.gaussian import fitted

        spec = fitted(spec, read_sets(data, need=("train",)), f"--data {data}")
    write_json(output, (spec.target if target else spec).model_dump(mode="json"))


def train(
    spec: given.Spec,
    seed: given.Seed,
    output: given.Output,
    data: given.Data = None,
    gaussian: Annotated[
        Path | None, typer.Option(help="File of `mld gaussian`; by default it is estimated if needed.")
    ] = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Train one arm up its ladder of levels.

    It writes OUTPUT/model.safetensors, history.csv and snapshots/. Until then OUTPUT/checkpoint/train/*/history.csv grows with
    each epoch. Stopped and started again, it goes on from its last checkpoint and ends with the same numbers.
    """
    from ..data.sets import read_sets
    from ..models import device_of, write_model
    from ..stages.gaussian import fitted, read_law
    from ..stages.train import train
    from ..training import publish

    if output.is_file():
        raise UserError(f"--output: {output} is a file; give a folder")
    arm, on = given.read_spec(spec), device_of()
    tested = {"reference": arm.validation.test} if arm.validation and arm.validation.test else {}
    sets = read_sets(data, need={"train": 1, "validation": 1} | tested) if data else None
    given_as = f"--data {data}" if data else "--data"
    arm = fitted(arm, sets, given_as)
    law = read_law(gaussian, arm, sets.target if sets else {}) if gaussian else None

    def write(path: Path, model: Model) -> None:
        write_model(path, model, given.facts(on, seed=seed))

    written = (".model", ".history", "snapshots/.epoch_")
    with given.kept(output, "train", checkpoint_seconds, written) as keep:
        how = {"device": on, "keep": keep, "write": write, "warn": given.warn, "progress": progress}
        model, history = train(arm, seed, sets, law=law, source=given_as, **how)
        publish(keep, output / "snapshots")
        write(output / "model.safetensors", model)
        write_csv(output / "history.csv", history, given.facts(on, model.settings, seed=seed))


def gaussian(spec: given.Spec, output: given.Output, data: given.Data = None) -> None:
    """Estimate the Gaussian fit of the data of an arm.

    It is the mean and covariance of the data under the arm's prior, for the Gaussian baseline and for preconditioned networks.
    """
    from ..data.sets import read_sets
    from ..stages.gaussian import fitted, gaussian, write_law

    arm = given.read_spec(spec)
    sets = read_sets(data, need=("train",)) if data else None
    arm = fitted(arm, sets, f"--data {data}" if data else "--data")
    write_law(output, gaussian(arm, sets), arm, sets.target if sets else {}, given.facts("cpu"))


def score_error(
    snapshots: given.Snapshots,
    resolution: given.Resolutions,
    gain: given.Gains,
    batches: Annotated[int, typer.Option(min=1, help="Batches of samples for each number.")],
    batch_size: Annotated[int, typer.Option(min=2, help="Samples per batch.")],
    output: given.Output,
    gaussian: Annotated[
        Path | None, typer.Option(help="File of `mld gaussian`: the loss of the Gaussian baseline is noted too.")
    ] = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Error of the learned score of a mixture along training.

    Squared, against the exact score; one row per snapshot, grid and gain.
    """
    from ..models import read_model, snapshots_in
    from ..stages.gaussian import read_law
    from ..stages.score_error import score_error

    law = read_law(gaussian, read_model(snapshots_in(snapshots)[-1], "cpu").settings, {}) if gaussian else None
    options = {"resolutions": resolution, "gains": gain, "batches": batches, "batch_size": batch_size}
    _follow(score_error, snapshots, output, checkpoint_seconds, options, {"law": law}, gaussian)


def pack(
    model: Annotated[Path, typer.Argument(help="A model.safetensors.")],
    output: given.Output,
    modes: Annotated[int, typer.Option(min=1, help="Modes per direction of the Fourier layers.")],
    law_modes: Annotated[
        int, typer.Option(min=0, help="Modes with a full covariance, of the Gaussian fit of a preconditioned network.")
    ] = 0,
) -> None:
    """A smaller file of a network.

    It has fewer modes and half precision; `mld score-error` and `mld evaluate` say what that changes.
    """
    from ..models import load, write_model
    from ..packing import packed

    whole = load(model, "cpu")
    with given.naming(model):
        small = packed(whole, modes, law_modes)
    write_model(output, small, given.facts("cpu", small.settings, seed=small.seed), half=True)


def sample(
    source: given.Field,
    resolution: given.Resolutions,
    samples: Annotated[int, typer.Option(min=1, help="How many fields.")],
    steps: given.Steps,
    seed: given.Seed,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write into.")],
    gain: given.SomeGains = None,
    sampler: given.Sampler = "euler-maruyama",
    start: given.Beginning = Start.PRIOR,
    observe: given.Observing = None,
    noise: given.Noise = None,
    method: given.Method = None,
    gaussian: given.Gaussian = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Draw samples on any grid, backwards in time from N(0,Q).

    It writes OUTPUT/GAIN-RESOLUTION.safetensors; samples of an exact score are OUTPUT/exact-RESOLUTION.safetensors. Such files
    that are there and would be the same are not drawn again. Stopped and started again, it goes on where it was. With --observe
    they are of the posterior given what is in a file. A model that has no Gaussian fit of its own needs --gaussian for that: else
    its methods take the covariance of N(0,Q) for the covariance of the data.
    """
    from ..builders import build_grid
    from ..data.observed import read_observations
    from ..models import device_of, read_source
    from ..settings import parse_method
    from ..stages.sample import made_by, sample, write_samples

    if output.is_file():
        raise UserError(f"--output: {output} is a file; give a folder")
    on = device_of()
    read = read_source(source, on)
    way = {"steps": steps, "sampler": sampler, "start": start}
    how = dict(way)
    given_to: dict[str, Any] = {}
    if observe:
        kind = type(build_grid(read.settings, resolution[0]))
        if noise is None:
            raise UserError("--noise: give the standard deviation of the errors of what was seen, 0 if it is exact")
        method = method or parse_method("guided", "--method")
        given_to = {"observations": read_observations(observe, noise, kind), "method": method}
        given_to |= {"law": _law(gaussian, source, read)}
        how |= {"noise": noise, "method": method}
    elif noise is not None or method or gaussian:
        option = "method" if method else "gaussian" if gaussian else "noise"
        raise UserError(f"--{option}: is for what is observed; give --observe FILE too")
    with given.kept(output.parent, output.name, checkpoint_seconds) as keep:
        keep.bind("sample", on, given.identity(how | {"samples": samples, "seed": seed}, source, observe, gaussian))

        def path(name: str) -> Path:
            return output / f"{name}.safetensors"

        where = {"resolutions": resolution, "gains": gain, "there": lambda name: made_by(path(name)) == keep.digest}
        drawn = sample(read, samples, seed=seed, keep=keep, progress=progress, **way, **given_to, **where)
        while True:
            before = given.seconds()
            with given.naming(source, observe):
                made = next(drawn, None)
            if made is None:
                break
            facts = given.facts(on, seed=seed, identity=keep.digest)
            write_samples(path(made.name), made, facts | {"seconds": round(given.seconds() - before, 3)})
            if observe:
                seen, grid = given_to["observations"], build_grid(read.settings, made.resolution)
                missed = seen.residual(made.fields.cpu().double(), grid).square().mean().sqrt()
                print(
                    f"at {made.resolution} the samples miss what was seen by {missed:.3g} (rms); its noise is {noise:g}"
                )


def along_training(
    snapshots: given.Snapshots,
    data: Annotated[Path, typer.Option(help="Test set on the grid to sample on.")],
    gain: given.Gains,
    samples: given.Samples,
    steps: given.Steps,
    projections: given.Projections,
    output: given.Output,
    sampler: given.Sampler = "euler-maruyama",
    start: given.Beginning = Start.PRIOR,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Distance of samples to the test set along training.

    Sliced Wasserstein, one row per snapshot and gain. All snapshots start from the same noise.
    """
    from ..data.sets import read_sets
    from ..stages.along_training import along_training

    test = read_sets(data, need={"reference": 1, "floor": samples})
    options = {"samples": samples, "steps": steps, "projections": projections, "gains": gain, "sampler": sampler}
    options |= {"start": start}
    _follow(along_training, snapshots, output, checkpoint_seconds, options, {"test": test}, data)


def classifier(
    resolution: given.Resolution,
    source: given.Sources,
    sha256: given.Digests,
    output: given.Output,
    seed: given.Seed = 0,
) -> None:
    """Train the classifier by which digits are judged.

    On all training images and their labels, resized as by `mld data mnist`; says how many of the test images it tells.
    """
    from ..classifier import GRID, write_classifier
    from ..data.mnist import labelled_digits
    from ..stages.classifier import LEAST_ACCURACY, train_classifier

    files, known = given.fetch_digits(source, sha256)
    target = {"kind": "mnist", "native_resolution": resolution, "sha256": known}
    trained = train_classifier(labelled_digits(files, resolution, GRID), target, seed, progress=progress)
    print(f"{trained.accuracy:.2%} of the test images told right")
    if trained.accuracy < LEAST_ACCURACY:
        found = f"the classifier tells {trained.accuracy:.2%} of the test images, less than {LEAST_ACCURACY:.0%}"
        typer.echo(f"mld: {found}: metrics by it say little of digits", err=True)
    write_classifier(output, trained, given.facts(seed=seed))


def evaluate(
    samples: Annotated[list[Path], typer.Argument(help="Files of `mld sample`.")],
    data: Annotated[list[Path], typer.Option(help="Test set, one file per resolution; the option is repeated.")],
    projections: given.Projections,
    output: given.Output,
    classifier: Annotated[
        Path | None, typer.Option(help="File of `mld classifier`, for the metrics of digits.")
    ] = None,
) -> None:
    """Metrics of samples against the test set, one per row.

    Beside each is its floor, the same distance of as many other test fields: the mean over disjoint sets of them, up to 16. The
    standard error is due to other samples and directions: a jackknife over the samples. p-values have neither.
    """
    from ..classifier import read_classifier
    from ..data.sets import read_sets
    from ..stages.evaluate import evaluate
    from ..stages.sample import read_samples

    judge = read_classifier(classifier) if classifier else None
    tests = [read_sets(path, need={"reference": 2, "floor": 2}) for path in data]
    rows = evaluate(map(read_samples, samples), tests, projections, judge)
    write_csv(output, rows, given.facts())


def convergence(
    source: given.Field,
    resolution: given.Resolution,
    sampler: given.Samplers,
    evaluations: Annotated[list[int], typer.Option(min=1, help="Number of evaluations; may be repeated.")],
    reference_evaluations: Annotated[
        int, typer.Option(min=1, help="Evaluations of the Euler-Maruyama to compare all with.")
    ],
    samples: given.Samples,
    projections: given.Projections,
    seed: given.Seed,
    output: given.Output,
    gain: given.OneGain = None,
    start: given.Beginning = Start.PRIOR,
    data: Annotated[Path | None, typer.Option(help="Test set on that grid; a mixture has none.")] = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Distance of samples to the test set against evaluations.

    One row per sampler, number of evaluations of the denoiser and metric. The test set is 11 sets of fields of a mixture, pooled,
    or as many sets as the fields of --data suffice for. The floor is the distance of one more such set to it, with its spread
    over the sets. All samplers start from the same noise.
    """
    from ..data.sets import read_sets
    from ..stages.convergence import convergence

    counts = {"evaluations": evaluations, "reference_evaluations": reference_evaluations, "projections": projections}
    options = {"resolution": resolution, "samples": samples, "seed": seed, "gain": gain, "start": start}
    tests = read_sets(data, need=("reference", "floor")) if data else None
    options |= {"samplers": sampler, **counts}
    _measure(convergence, source, output, checkpoint_seconds, options, {"tests": tests}, data)


def condition(
    source: given.Field,
    observed: given.Observed,
    resolution: given.Resolution,
    method: given.Methods,
    truths: Annotated[int, typer.Option(min=2, help="How many fields are observed.")],
    samples: given.Samples,
    steps: given.Steps,
    seed: given.Seed,
    output: given.Output,
    sampler: given.Sampler = "euler-maruyama",
    gain: given.OneGain = None,
    start: given.Beginning = Start.PRIOR,
    gaussian: Annotated[
        Path | None,
        typer.Option(help="File of `mld gaussian`: covariances for methods, and the kriging to compare with."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Test set on that grid; a mixture has none.")] = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Posteriors of partly observed fields.

    One row per method, observation and quantity: errors against the true fields and, of a mixture, against the exact posterior.
    Beside OUTPUT.csv, OUTPUT.safetensors has the first field, its posterior means and spreads, and some samples.
    """
    from ..data.sets import read_sets
    from ..models import device_of, read_source
    from ..stages.condition import condition
    from ..storage import write_tensors

    if output.suffix != ".csv":
        raise UserError(f"--output: {output}: give a name that ends in .csv")
    on, fields = device_of(), output.with_suffix(".safetensors")
    read, seen = read_source(source, on), given.parse_observed(observed)
    tests = read_sets(data, need={"reference": truths}) if data else None
    law = _law(gaussian, source, read)
    options = {"resolution": resolution, "truths": truths, "samples": samples, "steps": steps, "seed": seed}
    options |= {"sampler": sampler, "gain": gain, "start": start}
    said = options | {"method": [*map(str, method)], "observed": seen}
    with given.kept(output.parent, output.name, checkpoint_seconds, (f".{fields.name}.",)) as keep:
        keep.bind("condition", on, given.identity(said, source, gaussian, data))
        with given.naming(source, Path("--observed")):
            how = {"observed": seen, "methods": method, "law": law, "keep": keep, "progress": progress}
            found = condition(read, tests, **options, **how)
        facts = given.facts(on, read.settings, seed=seed)
        images = bool(tests and tests.target.get("images"))
        header = {"target": read.target, "resolution": resolution, "images": images, "field": read.name}
        header["observed"] = {name: what.model_dump(mode="json") for name, what in seen.items()}
        write_tensors(fields, found.fields, header | {"provenance": facts})
        write_csv(output, found.table, facts)


def log_density(
    source: given.Field,
    resolution: Annotated[list[int], typer.Option(min=3, help="Points per side of the flow; may be repeated.")],
    drawn_on: given.DrawnOn,
    samples: given.Samples,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the flow.")],
    probes: Annotated[int, typer.Option(min=1, help="Random directions per field that estimate the trace.")],
    seed: given.Seed,
    output: given.Output,
    gain: given.OneGain = None,
    checkpoint_seconds: given.Seconds = 30.0,
) -> None:
    """Log densities of fields of a mixture relative to N(0,Q).

    One row per field, grid and way to take the trace. estimate: log ρ_0 along the probability-flow ODE with log ρ_1 = 0. start:
    the true log ρ_1. closed_form: the true log ρ_0. finest: the true log ρ_0 on the finer grid. plain: log density of the values
    on the grid.
    """
    from ..stages.log_density import log_density

    _demand_finer(drawn_on, resolution)
    grids = {"resolutions": resolution, "drawn_on": drawn_on}
    options = {"samples": samples, "steps": steps, "probes": probes, "seed": seed, "gain": gain}
    _measure(log_density, source, output, checkpoint_seconds, options | grids, {})


def truncation(
    target: given.Target,
    resolution: Annotated[
        list[int], typer.Option(min=3, help="Points per side whose modes are kept; give two at least.")
    ],
    drawn_on: given.DrawnOn,
    samples: given.Samples,
    steps: Annotated[int, typer.Option(min=1, help="Times at which paths are compared.")],
    seed: given.Seed,
    output: given.Output,
) -> None:
    """Cost of truncating the forward process of a mixture.

    Rows of the table of metrics. truncation_error: E max_t |X_t - X_t^M|^2 along paths on the finer grid; its floor is the cost
    for X_0 alone. truncation_rate: the slope of the one over the other in logarithms.
    """
    from ..models import device_of, read_exact
    from ..stages.truncation import truncation

    on, exact = device_of(), read_exact(target)
    if len(set(resolution)) < 2:
        raise UserError("--resolution: give two at least, a rate needs them")
    _demand_finer(drawn_on, resolution)
    grids = {"resolutions": resolution, "drawn_on": drawn_on}
    rows = truncation(exact, **grids, samples=samples, steps=steps, seed=seed)
    write_csv(output, rows, given.facts(on, seed=seed))


def _measure(
    stage: Stage,
    source: Path,
    output: Path,
    checkpoint_seconds: float,
    options: dict[str, Any],
    objects: dict[str, Any],
    *files: Path | None,
) -> None:
    """Write the table of a stage on a model or an exact score; `objects` are those that are read of `files`."""
    from ..models import device_of, read_source

    on = device_of()
    read = read_source(source, on)
    with given.kept(output.parent, output.name, checkpoint_seconds) as keep:
        keep.bind(stage.__name__, on, given.identity(options, source, *files))
        with given.naming(source):
            rows = stage(read, keep=keep, progress=progress, **options, **objects)
        write_csv(output, rows, given.facts(on, read.settings, seed=options["seed"]))


def _follow(
    stage: Stage,
    snapshots: Path,
    output: Path,
    checkpoint_seconds: float,
    options: dict[str, Any],
    objects: dict[str, Any],
    *files: Path | None,
) -> None:
    """Write the table of a stage on all snapshots of a training, which are read when it is their turn."""
    from ..models import device_of, read_model, snapshots_in

    paths, on = snapshots_in(snapshots), device_of()
    last = read_model(paths[-1], on)

    def models() -> Iterator[Model]:
        with progress(len(paths), f"{stage.__name__.replace('_', ' ')} of {snapshots}") as advance:
            for path in paths:
                model = read_model(path, on)
                if (model.settings, model.seed) != (last.settings, last.seed):
                    raise UserError(f"{path}: of another training than {paths[-1].name}; give the snapshots of one")
                yield model
                advance(path.stem)

    with given.kept(output.parent, output.name, checkpoint_seconds) as keep:
        keep.bind(stage.__name__, on, given.identity(options, *paths, *files))
        with given.naming(snapshots):
            rows = stage(models(), keep=keep, **options, **objects)
        write_csv(output, rows, given.facts(on, last.settings, seed=last.seed))


def _law(gaussian: Path | None, source: Path, read: Model | ExactModel) -> GaussianLaw | None:
    """The Gaussian fit in a file of `mld gaussian`, of the data of a source that was read. Raises a UserError as `read_law`."""
    from ..stages.gaussian import read_law

    if gaussian is None:
        return None
    arm = given.read_spec(source) if source.suffix == ".json" else read.settings
    return read_law(gaussian, arm, {} if arm.mixture else read.target)


def _demand_finer(drawn_on: int, resolutions: list[int]) -> None:
    if max(resolutions) >= drawn_on:
        raise UserError(f"--drawn-on: {drawn_on} must be finer than --resolution {max(resolutions)}")
