import ast
import hashlib
import json
import os
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import grimp
import yaml

from multilevel_diffusion.errors import UserError
from multilevel_diffusion.settings import arm_spec, distinct_gains, load_config

BASE = Path(workflow.basedir)


def typed(value):
    """What `--config` keeps as text inside a mapping or list, read as YAML."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    return yaml.safe_load(value) if isinstance(value, str) else value


def beside(path):
    """A file of the repository as a command is to name it: relative where the run is in the repository."""
    return path if Path.cwd() == BASE else str(BASE / path)


OVERRIDES = typed(dict(workflow.config_settings.config))
CONFIG_FILES = [beside("config.yaml"), *map(str, workflow.config_settings.configfiles)]
try:
    CONFIG = load_config([Path(file) for file in CONFIG_FILES], OVERRIDES, BASE / "workflow/presets")
except UserError as error:
    sys.exit(str(error))

RESULTS = f"{CONFIG.results}/{CONFIG.preset}"
EXPERIMENTS = CONFIG.experiments
MIXTURES = [name for name, settings in EXPERIMENTS.items() if settings.mixture]
DATA_SETS = [name for name in EXPERIMENTS if CONFIG.data_set(name) == name]
GPU = int(shutil.which("nvidia-smi") is not None)
if CONFIG.plugins:
    shell.prefix(f"export MLD_PLUGINS={shlex.quote(os.pathsep.join(CONFIG.plugins))}; ")
IMPORTS = grimp.build_graph("multilevel_diffusion", exclude_type_checking_imports=True, cache_dir=None)
SAID_IN_PARAMS = {f"multilevel_diffusion.settings.{module}" for module in ("catalogue", "claims", "load", "plugins")}


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


def code(*modules):
    """A digest of the modules that some of the package reach, and of the plugins.

    Snakemake does not see imported modules; a rule that carries this digest in its params reruns when one of them changes.
    """
    roots = [f"multilevel_diffusion.{module}" for module in modules]
    reached = set(roots).union(*map(IMPORTS.find_upstream_modules, roots)) - SAID_IN_PARAMS
    plugins = [hashlib.sha256(Path(plugin).read_bytes()).hexdigest() for plugin in CONFIG.plugins]
    return hashlib.sha256("".join([*map(digest_of, sorted(reached)), *plugins]).encode()).hexdigest()[:16]


def flow(value):
    """A value as YAML on one line; JSON will not do, its 1e-05 is text in YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False).removesuffix("...\n").strip()


def config_of_commands():
    """The configuration as arguments of `mld resolve` and `mld table claims`."""
    changed = [word for key, value in OVERRIDES.items() for word in ("--set", f"{key}={flow(value)}")]
    return shlex.join([*CONFIG_FILES, *changed])


def broken(wildcards=None):
    """Nothing, or the end of the run with the first reason why an experiment cannot be run."""
    for reason in CONFIG.broken.values():
        sys.exit(reason)
    return []


def samples_of(experiment, arm, seed):
    """All samples of a trained network, a file a grid and gain that differs there; a mixture has an exact field beside it."""
    settings = EXPERIMENTS[experiment]
    reference, gains = settings.training_of(arm).reference_resolution, settings.gains_of(arm)
    exact = ["exact/exact"] if settings.mixture else []
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/{field}-{resolution}.safetensors"
        for resolution in settings.sampling.resolutions
        for field in (*exact, *[f"samples/{gain}" for gain in distinct_gains(gains, resolution, reference)])
    ]


def snapshot_samples_of(experiment, arm, seed, epochs):
    """Samples of some snapshots under the first gain."""
    settings = EXPERIMENTS[experiment]
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/epoch{epoch:04d}/{settings.gains_of(arm)[0]}-{resolution}.safetensors"
        for epoch in epochs
        for resolution in settings.sampling.resolutions
    ]


def folders_of(files):
    """The folders that files lie in: samples of a network are made all at once."""
    return sorted({str(Path(file).parent) for file in files})


def data_of(experiment, arm):
    """Test sets, a file a sampling resolution; those of a mixture belong to an arm, because its law depends on the prior."""
    folder = CONFIG.data_set(experiment) or f"{experiment}/{arm}"
    return [f"{RESULTS}/{folder}/data/{n}.safetensors" for n in EXPERIMENTS[experiment].sampling.resolutions]


def training_data_of(experiment):
    """The file that an experiment trains on; a mixture is drawn as training goes."""
    source = CONFIG.data_set(experiment)
    return f"{RESULTS}/{source}/data.safetensors" if source else []


def of_runs(file, experiment, arms=None):
    """A file of every run of some arms of an experiment, or of all."""
    settings = EXPERIMENTS[experiment]
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/{file}" for arm in arms or settings.arms for seed in settings.seeds
    ]


def at_most(threads):
    """Threads of a job that can do with so many; `workflow.cores` is None where nothing runs."""
    return min(threads or 1, CONFIG.max_threads or threads or 1)


def share_of_cores(wildcards):
    """Threads for each of the long jobs of an experiment, which may run side by side."""
    return at_most((workflow.cores or 1) // len(EXPERIMENTS[wildcards.experiment].runs))


def threads_of_training(wildcards):
    """Paired arms are compared by the time they take: nothing runs beside them, if `max_threads` leaves them all cores."""
    return at_most(workflow.cores) if EXPERIMENTS[wildcards.experiment].paired else share_of_cores(wildcards)


wildcard_constraints:
    experiment="|".join(EXPERIMENTS),
    arm="|".join({arm for settings in EXPERIMENTS.values() for arm in settings.arms}),
    seed=r"\d+",
    resolution=r"\d+",
    epoch=r"\d+",
