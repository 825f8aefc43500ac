import ast
import hashlib
import json
import shlex
import shutil
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
GPU = int(shutil.which("nvidia-smi") is not None)
IMPORTS = grimp.build_graph("multilevel_diffusion", cache_dir=None)


def code(command):
    """A digest of the package modules that `mld COMMAND` reaches: comments, docstrings and layout do not count.

    Snakemake does not see imported modules; a rule that carries this digest in its params reruns when one of them changes.
    """
    import multilevel_diffusion

    folder = Path(multilevel_diffusion.__file__).parent
    root = f"multilevel_diffusion.cli.{command}"
    digest = hashlib.sha256()
    for module in sorted({root} | IMPORTS.find_upstream_modules(root)):
        path = folder.joinpath(*module.split(".")[1:])
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        tree = ast.parse(source.read_text())
        for node in ast.walk(tree):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
            if documented:
                node.body = node.body[1:]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def overrides():
    """What the command line changed, as options of `mld resolve`; JSON is YAML."""
    return " ".join(f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in OVERRIDES.items())


def settings_of(experiment):
    """Input of a params: the settings of an arm, so that only a change of these resolves it anew."""
    return lambda wildcards: arm_spec(CONFIG, experiment, wildcards.arm).model_dump_json()


def target_of(experiment):
    """Input of a params: what true data and the exact field depend on; how a network is trained is not part of it."""
    return lambda wildcards: arm_spec(CONFIG, experiment, wildcards.arm).target.model_dump_json()


def samples_of(experiment, arm, seed):
    """All samples of a trained network: under one gain only at N_ref, where all agree, and those of the exact field."""
    settings = getattr(CONFIG, experiment)
    reference = settings.training.ladder[-1].resolution
    return [
        f"{RESULTS}/{experiment}/{arm}/seed{seed}/samples/{field}-{resolution}.safetensors"
        for resolution in settings.sampling.resolutions
        for field in ("exact", *(settings.gains[:1] if resolution == reference else settings.gains))
    ]


def data_of(experiment, arm):
    """True data of an arm, a file a sampling resolution."""
    resolutions = getattr(CONFIG, experiment).sampling.resolutions
    return [f"{RESULTS}/{experiment}/{arm}/data/{resolution}.safetensors" for resolution in resolutions]


def sampler_option(sampler):
    """A sampler's settings for a command line; JSON is YAML."""
    return f"--sampler {shlex.quote(sampler.model_dump_json(exclude_defaults=True))}"


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


def share_of_cores(jobs):
    """Threads for each of `jobs` long jobs that may run side by side."""
    return max(1, (workflow.cores or 1) // jobs)


wildcard_constraints:
    arm="|".join(CONFIG.mixture.arms),
    seed=r"\d+",
    resolution=r"\d+",
    gain="values|coefficients",
