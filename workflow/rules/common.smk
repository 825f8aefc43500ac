import ast
import hashlib
import json
import shlex
import shutil
from functools import cache
from pathlib import Path

import grimp
import yaml
from snakemake.exceptions import WorkflowError

from multilevel_diffusion.config import UserError, arm_spec, load_config

PRESETS = Path("workflow/presets")


def typed(value):
    """What `--config` keeps as text inside a mapping or list, read as YAML."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


OVERRIDES = typed(workflow.config_settings.overwrite_config)
try:
    CONFIG = load_config([Path("config.yaml")], OVERRIDES, PRESETS)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"{CONFIG.results}/{CONFIG.preset}"
DATA_SETS = [name for name in CONFIG.experiments if CONFIG.data_set(name) == name]
GPU = int(shutil.which("nvidia-smi") is not None)
IMPORTS = grimp.build_graph("multilevel_diffusion", cache_dir=None)


@cache
def digest_of(module):
    """A digest of what a module of the package does: comments, docstrings and layout do not count."""
    import multilevel_diffusion

    path = Path(multilevel_diffusion.__file__).parent.joinpath(*module.split(".")[1:])
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def code(command):
    """A digest of the modules that `mld COMMAND` reaches.

    Snakemake does not see imported modules; a rule that carries this digest in its params reruns when one of them changes.
    """
    root = f"multilevel_diffusion.cli.{command}"
    reached = sorted({root} | IMPORTS.find_upstream_modules(root))
    return hashlib.sha256("".join(map(digest_of, reached)).encode()).hexdigest()[:16]


def overrides():
    """What the command line changed, as options of `mld resolve`; JSON is YAML."""
    return " ".join(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in OVERRIDES.items())


def runs_of(experiment):
    """(arm, seed) of everything an experiment trains."""
    settings = CONFIG.experiments[experiment]
    return [(arm, seed) for arm in settings.arms for seed in settings.seeds]


def samples_of(experiment, arm, seed):
    """All samples of a trained network: under one gain only at N_ref, where all agree; the mixture has an exact field beside it."""
    settings = CONFIG.experiments[experiment]
    reference, gains = settings.reference_resolution(arm), settings.gains_of(arm)
    exact = ["exact/exact"] if experiment == "mixture" else []
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/{field}-{resolution}.safetensors"
        for resolution in settings.sampling.resolutions
        for field in (*exact, *[f"samples/{gain}" for gain in (gains[:1] if resolution == reference else gains)])
    ]


def folders_of(files):
    """The folders that files lie in: samples of a network are made all at once."""
    return sorted({str(Path(file).parent) for file in files})


def data_of(experiment, arm):
    """True data, a file a sampling resolution; those of the mixture belong to an arm, because its law depends on the prior."""
    folder = CONFIG.data_set(experiment) or f"{experiment}/{arm}"
    resolutions = CONFIG.experiments[experiment].sampling.resolutions
    return [f"{RESULTS}/{folder}/data/{resolution}.safetensors" for resolution in resolutions]


def training_data_of(experiment):
    """The file that an experiment trains on; the mixture is drawn as training goes."""
    source = CONFIG.data_set(experiment)
    return f"{RESULTS}/{source}/data.safetensors" if source else []


def histories_of(experiment, arms):
    """The histories of all trainings of some arms."""
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/history.csv"
        for arm in arms
        for seed in CONFIG.experiments[experiment].seeds
    ]


def sampler_option(sampler):
    """A sampler's settings for a command line; JSON is YAML."""
    return f"--sampler {shlex.quote(sampler.model_dump_json(exclude_defaults=True))}"


def sampling_options(experiment):
    """The options of `mld sample` that are settings."""
    settings = CONFIG.experiments[experiment].sampling
    return " ".join(
        [f"--resolution {resolution}" for resolution in settings.resolutions]
        + [f"{sampler_option(settings.sampler)} --steps {settings.steps} --samples {settings.samples}"]
    )


def mnist_options():
    """The options of `mld data mnist`."""
    settings = CONFIG.mnist
    sizes = settings.data.model_dump(include={"train", "validation", "test"})
    return " ".join(
        [f"--source {shlex.quote(source)}" for source in settings.data.sources]
        + [f"--sha256 {name}={digest}" for name, digest in settings.data.sha256.items()]
        + [f"--{name} {value}" for name, value in ({"resolution": settings.native_resolution} | sizes).items()]
    )


def along_training_options(arm):
    """The options of `mld along-training` that are settings."""
    settings = CONFIG.mnist
    return " ".join(
        [f"--gain {gain}" for gain in settings.gains_of(arm)]
        + [sampler_option(settings.sampling.sampler)]
        + [f"--steps {settings.along_training.steps} --samples {settings.along_training.samples}"]
        + [f"--projections {settings.metrics.projections}"]
    )


def reaction_diffusion_options():
    """The options of `mld data reaction-diffusion`."""
    settings = CONFIG.reaction_diffusion
    options = {"resolution": settings.native_resolution} | settings.data.model_dump(exclude_none=True)
    return " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in options.items())


def convergence_options():
    """The options of `mld convergence` that are settings."""
    settings = CONFIG.mixture.convergence
    return " ".join(
        [sampler_option(sampler) for sampler in settings.samplers]
        + [f"--evaluations {count}" for count in settings.evaluations]
        + [f"--reference-evaluations {settings.reference_evaluations} --samples {settings.samples}"]
        + [f"--projections {CONFIG.mixture.metrics.projections}"]
    )


def log_density_options():
    """The options of `mld log-density` that are settings."""
    settings = CONFIG.mixture.log_density
    return " ".join(
        [f"--resolution {resolution}" for resolution in settings.resolutions]
        + [f"--drawn-on {settings.drawn_on} --samples {settings.samples}"]
        + [f"--steps {settings.steps} --probes {settings.probes}"]
    )


def truncation_options():
    """The options of `mld truncation` that are settings."""
    settings = CONFIG.mixture.truncation
    return " ".join(
        [f"--resolution {resolution}" for resolution in settings.resolutions]
        + [f"--drawn-on {settings.drawn_on} --samples {settings.samples} --steps {settings.steps}"]
    )


def at_most(threads):
    """Threads of a job that can do with so many; `workflow.cores` is None where nothing runs."""
    return min(threads or 1, CONFIG.max_threads or threads or 1)


def share_of_cores(experiment):
    """Threads for each of the long jobs of an experiment, which may run side by side."""
    return at_most((workflow.cores or 1) // len(runs_of(experiment)))


def threads_of_training(experiment):
    """Ladders are compared by the time they take: nothing runs beside them, if `max_threads` leaves them all cores."""
    return at_most(workflow.cores) if experiment in CONFIG.ladders else share_of_cores(experiment)


wildcard_constraints:
    experiment="|".join(CONFIG.experiments),
    arm="|".join({arm for settings in CONFIG.experiments.values() for arm in settings.arms}),
    seed=r"\d+",
    resolution=r"\d+",
    epoch=r"\d+",
