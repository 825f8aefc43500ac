"""`mld bench`: speed and memory, measured in one run against stated baselines."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..columns import COST_COLUMNS
from ..errors import UserError
from ..settings import arm_spec
from ..storage import read_csv, write_csv
from . import options as given
from .commands import Commands
from .options import Output, Projections, Resolution, Resolutions, Samplers, Samples, Seed, Steps, facts
from .progress import progress

Repeats = Annotated[int, typer.Option(min=1, help="How many times each is measured.")]
Batch = Annotated[int, typer.Option(min=1, help="Fields at a time.")]
Sizes = Annotated[list[int], typer.Option(min=1, help="Sizes to measure; may be repeated.")]
Evens = Annotated[list[int], typer.Option(min=30, help="Points per side, even; may be repeated.")]
Ablation = Annotated[
    bool, typer.Option("--ablation", help="Also measure either network with the other's allocator settings.")
]

TRAINED_ON = [32, 50, 64, 128]
SAMPLED_ON, SAMPLERS = [32, 64], ["euler-maruyama", "heun", "dpm-solver++"]
ARMS, ERRORS = ["mixture/fno-combined", "mixture/fno-combined-gaussian"], [10, 2, 1, 0.5]
GRIDS, BATCHES, WIDTHS = [32, 48, 64, 96, 128, 192, 256], [4, 8, 16, 32, 64, 128], [8, 16, 32, 64, 128]

bench = Commands(no_args_is_help=True)


@bench.callback()
def measure() -> None:
    """Measure speed and memory against baselines. Let nothing else run."""
    if not find_spec("neuralop"):
        raise UserError("mld bench compares with neuraloperator; pip install 'multilevel-diffusion[bench]'")


@bench.command()
def train(resolution: Evens = TRAINED_ON, batch: Batch = 128, repeats: Repeats = 3, ablation: Ablation = False) -> None:
    """A training step and an evaluation of the paper's network.

    The baseline is neuraloperator's FNO with the default allocator. Each runs in a process of its own, in turn; times are
    medians. Then comes the roofline: what a step computes and moves, by count. It also tells how near the step comes to what this
    machine does in a large matrix product and in a stream through memory.
    """
    from ..bench import costs, report

    with progress(len(resolution), "bench train") as advance:
        tables = costs.train(resolution, batch, repeats, advance, ablation=ablation)
    report.show(tables)


@bench.command()
def sample(
    resolution: Resolutions = SAMPLED_ON,
    sampler: Samplers = SAMPLERS,
    steps: Steps = 10,
    batch: Batch = 64,
    repeats: Repeats = 3,
) -> None:
    """Evaluations of the paper's network and samples per second.

    The baseline is an evaluation of neuraloperator's FNO with the default allocator.
    """
    from ..bench import costs, report

    with progress(len(resolution), "bench sample") as advance:
        tables = costs.sample(resolution, sampler, steps, batch, repeats, advance)
    report.show(tables)


@bench.command()
def quality(
    configs: given.Configs,
    arm: Annotated[
        list[str],
        typer.Option(metavar="EXPERIMENT/ARM", help="Arm of a mixture; the first is the baseline. May be repeated."),
    ] = ARMS,
    error: Annotated[list[float], typer.Option(min=0, help="Score error in per cent; may be repeated.")] = ERRORS,
    samples: Samples = 512,
    seed: Seed = 0,
    set_: given.Overrides = None,
    presets: given.Presets = None,
) -> None:
    """Seconds of training until the score error is small.

    The relative squared score error, E|F - F_exact|² / E|F_exact|² in per cent, is measured after each snapshot on fresh samples.
    The time is of optimisation and, for a preconditioned network, of the estimate of its Gaussian fit.
    """
    from ..bench import report
    from ..bench.quality import quality as measure

    named = [each.partition("/")[::2] for each in arm]
    config = given.read_config(configs, set_, presets, only=[experiment for experiment, _ in named])
    with progress(len(arm), "bench quality") as advance:
        rows = measure([arm_spec(config, *each) for each in named], error, samples, seed, advance)
    report.show({f"Time to quality, {samples} samples, seed {seed}": rows})


@bench.command()
def scaling(
    output: Output, resolution: Resolutions = GRIDS, batch: Sizes = BATCHES, width: Sizes = WIDTHS, repeats: Repeats = 3
) -> None:
    """Time and memory of a training step against its sizes.

    The sizes are resolution, batch and width (channels). One of them is changed at a time, from 64 x 64 points, 16 fields and 32
    channels; the head has four times the channels. OUTPUT is a CSV, with what counting expects beside each measurement.
    """
    from ..bench import costs

    sizes = {"resolution": resolution, "batch": batch, "width": width}
    with progress(sum(map(len, sizes.values())), "bench scaling") as advance:
        rows, found = costs.scaling(sizes, repeats, advance)
    write_csv(output, rows, facts(**found))


@bench.command()
def jobs(
    table: Annotated[Path, typer.Argument(help="CSV of `mld bench scaling`.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads on which it was measured.")],
) -> None:
    """Costs of a training step for workflow/resources.yaml.

    From it the workflow computes what its jobs ask of a scheduler.
    """
    from ..bench.jobs import fitted

    found = fitted(read_csv(table, COST_COLUMNS), threads)
    print(f"overhead: {found.pop('overhead'):.2g}")
    print(f"networks: {{fno: {{{', '.join(f'{name}: {value:.2g}' for name, value in found.items())}}}}}")


@bench.command()
def solver(
    resolution: Annotated[int, typer.Option(min=8, help="Points per side.")] = 128,
    end_time: Annotated[float, typer.Option(help="When the solutions are compared.")] = 2.5,
    steps: Annotated[int, typer.Option(min=1, help="Graded time steps.")] = 20,
    trajectories: Annotated[int, typer.Option(min=1, help="Trajectories that ours solves together.")] = 64,
    repeats: Repeats = 3,
) -> None:
    """The reaction-diffusion solver against solve_ivp.

    The baseline is RK45 with default tolerances on a sparse operator. Beside the time stands the error of u.
    """
    from ..bench import report
    from ..bench.solver import solver as measure
    from ..models import device_of

    report.show(measure(resolution, end_time, steps, trajectories, repeats, device_of()))


@bench.command()
def metrics(
    resolution: Resolution = 64, samples: Samples = 1000, projections: Projections = 1000, repeats: Repeats = 3
) -> None:
    """The sliced Wasserstein distance against plain uses of POT.

    Time and peak memory, each way in a process of its own, in turn; times are medians. The baselines have the default allocator.
    """
    from ..bench import report
    from ..bench.distances import distances

    report.show(distances(resolution, samples, projections, repeats))


@bench.command()
def errors(
    output: Output,
    resolution: Resolution = 32,
    samples: Samples = 64,
    projections: Projections = 200,
    repetitions: Annotated[int, typer.Option(min=2, help="Sets of samples of each law.")] = 150,
) -> None:
    """Standard errors of metrics against spreads of values.

    Samples of the mixture, and of two laws with the wrong variance, against one reference of 512 fields. The table is written as
    OUTPUT.csv, OUTPUT.md and OUTPUT.html: an error of ratio 1 is right, above 1 it is conservative.
    """
    from ..bench import report
    from ..bench.errors import LAWS
    from ..bench.errors import errors as measure
    from ..tables import write_table

    with progress(len(LAWS) * repetitions, "bench errors") as advance:
        rows = measure(resolution, samples, projections, repetitions, advance)
    sizes = f"{samples} fields at {resolution}, {projections} directions, {repetitions} repetitions"
    write_table(output, rows, facts())
    report.show({f"Standard errors over the spread of values: {sizes}": rows})


@bench.command()
def verdicts(
    output: Output,
    resolution: Resolution = 16,
    samples: Samples = 64,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds of each claim.")] = 3,
    projections: Projections = 100,
    repetitions: Annotated[int, typer.Option(min=1, help="How often each claim is judged.")] = 200,
) -> None:
    """How often claims about samples are judged rightly.

    Samples of the mixture and of four wrong laws, with references, floors and seeds drawn anew each time, go through
    metrics and verdicts. The table is written as OUTPUT.csv, OUTPUT.md and OUTPUT.html.
    """
    from ..bench import report
    from ..bench.verdicts import verdicts as measure
    from ..tables import write_table

    with progress(repetitions, "bench verdicts") as advance:
        rows = measure(resolution, samples, seeds, projections, repetitions, advance)
    sizes = f"{samples} fields at {resolution}, {seeds} seeds, {projections} directions, {repetitions} repetitions"
    write_table(output, rows, facts(), about=f"{sizes}. Column truth: the value for very many fields.", split=["law"])
    report.show({f"Verdicts on the mixture and on wrong laws: {sizes}": rows})
