# What all rules share: the settings, where files lie, and what a job is.
import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from snakemake.sourcecache import LocalSourceFile

from multilevel_diffusion.errors import UserError
from multilevel_diffusion.provenance import code_digest
from multilevel_diffusion.settings import arm_spec, distinct_gains, flow, load_config, plain

READ = ["config.yaml", "workflow/resources.yaml"]
READ += [f"workflow/presets/{preset}.yaml" for preset in ("smoke", "laptop", "study", "paper")]
READ += [f"workflow/report/{caption}.rst" for caption in ("entry", "workflow")]


def home():
    """The folder of the repository; of a module that is not in a folder, one with what is read of it, beside the results."""
    here = workflow.current_basedir
    if isinstance(here, LocalSourceFile):
        return Path(str(here)).resolve().parents[1]
    folder = Path(".snakemake/multilevel-diffusion").absolute()
    for file in READ:
        copy, content = folder / file, Path(workflow.sourcecache.get_path(here.join(f"../../{file}"))).read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    return folder


BASE = home()
MODULE = not workflow.modifier.is_main_snakefile()
called = workflow.modifier.modify_rulename  # what a workflow that uses this as a module calls a rule


def beside(path):
    """A file of the repository as a command is to name it: relative where the run is in the repository."""
    return path if Path.cwd() == BASE else str(BASE / path)


def located(path):
    """The user's own file or folder as a command is to name it: from the working folder or else the repository, ~ being home."""
    path = os.path.expanduser(path)
    return path if os.path.exists(path) or not os.path.exists(BASE / path) else beside(path)


COMMAND_LINE = plain(dict(workflow.config_settings.config))  # Snakemake reads what is in a mapping or list as text
OVERRIDES = dict(config) if MODULE else COMMAND_LINE  # a module has the settings that the workflow which uses it gives
CONFIG_FILES = [beside("config.yaml"), *([] if MODULE else map(str, workflow.config_settings.configfiles))]
try:
    CONFIG = load_config([Path(file) for file in CONFIG_FILES], OVERRIDES, BASE / "workflow/presets")
except UserError as error:
    sys.exit(str(error))

RESULTS = os.path.normpath(f"{CONFIG.results}/{CONFIG.preset}")
EXPERIMENTS = CONFIG.experiments
DATA_SETS = [name for name in EXPERIMENTS if CONFIG.data_set(name) == name]
METRICS = f"{RESULTS}/tables/metrics.csv"
os.environ.update(MULTILEVEL_DIFFUSION=str(BASE))  # for envs/multilevel-diffusion.yaml
PLUGINS = [*CONFIG.plugins]
if PLUGINS:
    os.environ.update(MLD_PLUGINS=os.pathsep.join(PLUGINS))


@dataclass
class Job:
    """A rule that runs `mld` with some arguments.

    place: of its log and its benchmark. code: the digest of the modules it reaches, by default of the stage that it runs.
    params: a job runs again when they change, but for those that take `output`, which are not recorded. gpu: whether one is of use.
    local: whether it takes seconds, and is not worth a scheduler's time.
    """

    message: str
    arguments: str
    place: str
    output: dict[str, Any]
    code: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    threads: Any = 1
    gpu: int = 0
    priority: int = 0
    local: bool = False

    def __post_init__(self):
        self.code = self.code or code(f"stages.{self.arguments.split()[0].replace('-', '_')}")

    @property
    def shell(self):
        """The command, as Snakemake formats it, with every path quoted; options in params are."""
        quoted = re.sub(r"\{((?:input|output)\.\w+)\}", r"{\1:q}", self.arguments)
        return f"mld {quoted} > {{log:q}} 2>&1"


def code(*modules):
    """A digest of the modules that some of the package reach, and of the plugins.

    Snakemake does not see imported modules; a rule that carries this digest in its params reruns when one of them changes.
    """
    return code_digest(*modules, plugins=PLUGINS)


def dumped(settings, *without):
    """A section of settings as a mapping, without what is not set."""
    return settings.model_dump(mode="json", exclude_none=True, exclude=set(without))


def options(settings, *rest):
    """A mapping as options of a command after its arguments: a list repeats its option, a mapping gives NAME=VALUE."""
    words = list(rest)
    for name, value in settings.items():
        if isinstance(value, dict):
            value = [f"{key}={inner}" for key, inner in value.items()]
        for each in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}", str(each)]
    return shlex.join(words)


def config_of_commands():
    """The configuration as arguments of `mld resolve` and `mld table claims`."""
    changed = [word for key, value in OVERRIDES.items() for word in ("--set", f"{key}={flow(value)}")]
    return shlex.join([*CONFIG_FILES, *changed])


def broken(experiment=None):
    """Nothing, or the end of the run with the reason why an experiment, or the first that is, cannot be run."""
    for name, reason in CONFIG.broken.items():
        if experiment in (None, name):
            sys.exit(reason)
    return []


def samples_of(experiment, arm, seed, epochs=()):
    """All samples of a trained network, one file per grid and gain that differs there; a mixture has the exact score beside it.

    epochs: of these snapshots instead, under the first gain, where it is trained.
    """
    settings, folder = EXPERIMENTS[experiment], f"{RESULTS}/{experiment}/{arm}/seed{seed}"
    gains, grids = settings.gains_of(arm), settings.sampling.resolutions
    if epochs and settings.arms[arm].network.kind != "gaussian":
        return [f"{folder}/epoch{epoch:04d}/{gains[0]}-{n}.safetensors" for epoch in epochs for n in grids]
    exact, reference = ["exact/exact"] if settings.mixture else [], settings.training_of(arm).reference_resolution
    return [
        f"{folder}/{field}-{n}.safetensors"
        for n in grids
        for field in (*exact, *[f"samples/{gain}" for gain in distinct_gains(gains, n, reference)])
    ]


def folders_of(files):
    """The folders that files lie in: samples of a network are made all at once."""
    return sorted({str(Path(file).parent) for file in files})


def data_of(experiment, arm):
    """Test sets, one file per sampling resolution; sets of a mixture belong to an arm, because its law depends on the prior."""
    folder = CONFIG.data_set(experiment) or f"{experiment}/{arm}"
    return [f"{RESULTS}/{folder}/data/{n}.safetensors" for n in EXPERIMENTS[experiment].sampling.resolutions]


def files(stem, *kinds):
    """The outputs of a job that writes one thing in several formats."""
    return {kind: f"{RESULTS}/{stem}.{kind}" for kind in kinds}


def of_runs(file, experiment, arms=None, seeds=None):
    """A file of every run of some arms and seeds of an experiment, or of all."""
    settings, folder = EXPERIMENTS[experiment], f"{RESULTS}/{experiment}"
    return [f"{folder}/{arm}/seed{seed}/{file}" for arm in arms or settings.arms for seed in seeds or settings.seeds]


wildcard_constraints:
    experiment="|".join(EXPERIMENTS),
    arm="|".join({arm for settings in EXPERIMENTS.values() for arm in settings.arms}),
    seed=r"\d+",
    resolution=r"\d+",
    epoch=r"\d+",
