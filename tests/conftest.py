"""What several test files share: a tiny arm, its files, and `mld` run in this process or in one of its own."""

import contextlib
import io
import json
import os
import random
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from multilevel_diffusion.cli import main

os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch starts: on fields this small, threads only wait for each other

MLD = Path(sys.executable).with_name("mld")


def pytest_addoption(parser):
    parser.addoption("--faults-seed", type=int, default=0, help="Of the random moments and mutants of tests/faults.")
    parser.addoption("--faults-count", type=int, help="How many of each; by default few.")


@pytest.fixture
def count(request):
    """How many of something random, by default so many."""
    asked = request.config.getoption("--faults-count")
    return lambda default: default if asked is None else asked


@pytest.fixture
def chance(request):
    """The random numbers of one test."""
    return random.Random(f"{request.config.getoption('--faults-seed')} {request.node.name}")


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line on stderr of a command that was refused."""
        assert self.code not in (0, None)
        assert self.err.startswith("mld: ")
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1
        return self.err


@pytest.fixture(scope="session")
def root():
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def mld():
    """`mld ARGS` in this process, which has PyTorch imported already."""

    def run(*args) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["mld", *map(str, args)])
            with pytest.raises(SystemExit) as stop:
                main()
        return Outcome(stop.value.code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture(scope="session")
def mld_process():
    """The installed `mld ARGS` in a process of its own, which may be forbidden to write files above a size."""

    def run(*args, file_size: int = resource.RLIM_INFINITY) -> Outcome:
        done = subprocess.run(
            [MLD, *map(str, args)],
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size)),
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def tiny():
    """Settings of an arm that trains in milliseconds; keywords replace those of its training."""

    def make(**training):
        return {
            "experiment": "mixture",
            "kind": "mixture",
            "arm": "tiny",
            "native_resolution": 16,
            "prior_seed": 1,
            "data_set": None,
            "grid": "torus",
            "gain": "values",
            "network": {"kind": "fno", "width": 4, "layers": 1, "modes": 3, "head": 8},
            "prior": {"kind": "combined", "scale": 10, "fno_scale": 0.5, "modes": [3, 2]},
            "training": {
                "ladder": [{"resolution": 8, "epochs": 2}],
                "steps_per_epoch": 2,
                "batch_size": 4,
                "learning_rate": 1e-3,
                "weight_decay": 1e-4,
                "schedule": "constant",
                "averaging": 0.0,
                "snapshot_every": 1,
            }
            | training,
            "validation": None,
        }

    return make


@pytest.fixture(scope="session")
def files(mld, tiny, tmp_path_factory):
    """One file of every stage of the tiny arm, by name."""
    folder = tmp_path_factory.mktemp("stages")
    spec, trained = folder / "spec.json", folder / "trained"
    spec.write_text(json.dumps(tiny()))
    made = SimpleNamespace(
        spec=spec,
        model=trained / "model.safetensors",
        history=trained / "history.csv",
        snapshots=trained / "snapshots",
        scores=folder / "score_error.csv",
        data=folder / "data-8.safetensors",
        samples=trained / "samples" / "values-8.safetensors",
        samples_12=folder / "exact" / "exact-12.safetensors",
        metrics=folder / "metrics.csv",
    )
    grid = ["--resolution", 8, "--samples", 4]
    scoring = ["--gain", "values", "--batches", 1, "--batch-size", 4]
    for command in [
        ["train", spec, "--seed", 1, "-o", trained],
        ["score-error", made.snapshots, "--resolution", 8, "--resolution", 16, *scoring, "-o", made.scores],
        ["data", "mixture", spec, *grid, "-o", made.data],
        ["sample", made.model, *grid, "--steps", 2, "--seed", 1, "-o", trained / "samples"],
        ["sample", spec, "--resolution", 12, "--samples", 4, "--steps", 2, "--seed", 1, "-o", folder / "exact"],
        ["evaluate", made.samples, "--data", made.data, "--projections", 4, "-o", made.metrics],
    ]:
        done = mld(*command)
        assert done.code == 0, done.err
    return made
