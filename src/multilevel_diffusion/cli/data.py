"""`mld data`, a command for each kind of data."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UserError
from ..settings import DataBase, kinds_of, parse
from .commands import Commands
from .options import (
    Digests,
    Grid,
    Output,
    Overrides,
    Resolution,
    Samples,
    Sources,
    Target,
    facts,
    fetch_digits,
    parse_overrides,
)
from .progress import progress

data = Commands(help="Make the data of an experiment.", no_args_is_help=True)

Train = Annotated[int, typer.Option(min=1, help="Fields to train on.")]
Validation = Annotated[int, typer.Option(min=1, help="Fields to validate on.")]
Test = Annotated[int, typer.Option(min=2, help="Fields of the test set, and of a second one that measures the floor.")]
Name = Annotated[str, typer.Option(help="Experiment that the data are for.")]


@data.command()
def mixture(target: Target, resolution: Resolution, samples: Samples, output: Output) -> None:
    """Test sets of the Gaussian mixture.

    There are two independent sets, `reference` and `floor`, each of 8 times `--samples` fields.
    """
    from ..data.sets import mixture_sets, write_sets
    from ..mixture import GaussianMixture
    from ..models import read_exact

    exact = read_exact(target)
    sets = mixture_sets(GaussianMixture(exact.prior), exact.settings, resolution, samples)
    write_sets(output, sets, facts(seed=exact.settings.prior_seed))


@data.command()
def mnist(
    resolution: Resolution,
    source: Sources,
    sha256: Digests,
    train: Train,
    validation: Validation,
    test: Test,
    output: Output,
    name: Name = "mnist",
) -> None:
    """Handwritten digits, verified and resized.

    `train`, `validation` and `floor` are of the training images, `reference` is of the test images.
    """
    from ..data.mnist import mnist_sets
    from ..data.sets import write_sets

    digits, known = fetch_digits(source, sha256)
    sizes = {"train": train, "validation": validation, "test": test}
    sets = mnist_sets(digits, resolution, sizes, {"name": name, "sha256": known})
    write_sets(output, sets, facts())


@data.command()
def reaction_diffusion(
    resolution: Resolution,
    train: Train,
    validation: Validation,
    test: Test,
    end_time: Annotated[float, typer.Option(help="Time of the snapshot u.")],
    steps: Annotated[int, typer.Option(min=1, help="Graded time steps.")],
    output: Output,
    laplacian: Annotated[str, typer.Option(help="finite-volume, as published, or spectral.")] = "finite-volume",
    file: Annotated[Path | None, typer.Option(help="Published HDF5 file, to read train and validation from.")] = None,
    name: Name = "reaction-diffusion",
) -> None:
    """Snapshots u of the reaction-diffusion system.

    Trajectories to train and validate on have seeds 0, 1, ...; the test sets have seeds 100000, 100001, ...
    """
    from ..data.reaction_diffusion import reaction_diffusion_sets
    from ..data.sets import write_sets
    from ..models import device_of

    sizes, on = {"train": train, "validation": validation, "test": test}, device_of()
    with progress((0 if file else train + validation) + 2 * test, name) as advance:
        options = {"laplacian": laplacian, "file": file, "name": name, "device": on, "progress": advance}
        sets = reaction_diffusion_sets(resolution, sizes, end_time=end_time, steps=steps, **options)
    write_sets(output, sets, facts(on))


@data.command()
def fields(
    source: Annotated[str, typer.Argument(help=".npy, .npz[:NAME], .h5[:DATASET] or a folder of greyscale PNG.")],
    grid: Grid,
    resolution: Resolution,
    train: Train,
    validation: Validation,
    test: Test,
    output: Output,
    name: Name = "fields",
) -> None:
    """Your own fields, from an array or from PNG files.

    They are shuffled, always alike, and split into `train`, `validation` and `reference`; `floor` is of the training fields.
    """
    from ..data.fields import count_leaks, field_sets, summary
    from ..data.sets import write_sets

    sets, available = field_sets(source, grid, resolution, train=train, validation=validation, test=test, name=name)
    used = train + validation + test
    print(f"{source}: {used if used == available else f'{used} of {available}'} {summary(sets)}")
    if leaks := count_leaks(sets):
        typer.echo(f"mld: warning: {source}: {leaks} test fields are training fields too; metrics flatter", err=True)
    write_sets(output, sets, facts())


@data.command()
def build(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="A kind of data that a plugin brings.")],
    grid: Grid,
    resolution: Resolution,
    output: Output,
    set_: Overrides = None,
    name: Name = "",
) -> None:
    """Data of a kind of your own.

    Its plugin is named as `mld --plugin FILE data build KIND ...`. Without --name it is for the experiment of the name of KIND.
    """
    from ..builders import BUILDERS, build
    from ..data.sets import GRIDS, TEST_SETS, FieldSets, write_sets

    kinds = {kind: settings for kind, settings in kinds_of(DataBase).items() if settings in BUILDERS}
    if kind not in kinds:
        raise UserError(f"KIND: no data of kind '{kind}' here; name its file, as mld --plugin FILE data build {kind}")
    settings, on = parse(kinds[kind], parse_overrides(set_) | {"kind": kind}, f"--set: {kind}"), GRIDS[grid](resolution)
    try:
        settings.demand_geometry(grid)
    except ValueError as error:
        raise UserError(f"--{error}") from None
    fields = {key: values.float().contiguous() for key, values in build(settings, on).items()}
    asked = {"train": settings.train, "validation": settings.validation} | dict.fromkeys(TEST_SETS, settings.test)
    made = {key: len(values) for key, values in fields.items()}
    if made != asked:
        found, wanted = (", ".join(f"{key} {n}" for key, n in sizes.items()) for sizes in (made, asked))
        raise UserError(f"{kind}: its builder makes {found}, not {wanted}")
    target = settings.model_dump(mode="json") | {"name": name or kind, "images": False, "native_resolution": resolution}
    write_sets(output, FieldSets(fields, on, target), facts())


@data.command()
def restrict(
    data: Annotated[Path, typer.Argument(help="Data on the native grid.")], resolution: Resolution, output: Output
) -> None:
    """The test sets on another grid.

    They are restricted or prolonged; samples at this resolution are compared with them.
    """
    from ..data.sets import read_sets, restrict, write_sets

    sets = read_sets(data, native=True)
    write_sets(output, restrict(sets, resolution), facts(data=sets.provenance))
