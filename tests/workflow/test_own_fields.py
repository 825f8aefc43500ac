"""Fields of one's own, by an entry in a file and no code: from nothing to a figure of samples and a table of metrics."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image

from multilevel_diffusion.storage import read_csv

RESULTS = "it's 50% (a+b)=c"
SMALL = {"kind": "fno", "width": 4, "layers": 1, "modes": 3, "head": 8}
MATERN = {"kind": "matern", "std": 1.0, "length": 0.3, "smoothness": 1.5}  # of a plugin
PRIOR = {"kind": "combined", "scale": "auto", "fno_scale": 0.1, "modes": [3, 3]}


def entry(source, grid, resolution, prior=PRIOR):
    return {
        "data": {"kind": "fields", "source": str(source), "train": 12, "validation": 3, "test": 5},
        "grid": grid,
        "native_resolution": resolution,
        "arms": {"fno": {"network": SMALL, "prior": prior}},
        "training": {"ladder": [{"resolution": 8, "steps": 2}], "batch_size": 4, "learning_rate": 1e-3},
        "validation": {"resolutions": [8, resolution]},
        "sampling": {"sampler": "heun", "steps": 2, "samples": 4, "resolutions": [8, 13]},
        "metrics": {"projections": 5},
    }


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A finished run of both, from the Snakefile of the repository, in a folder of its own; every path needs quotes."""
    folder = tmp_path_factory.mktemp("own") / "a 'folder' + $HOME & more = 100%"
    (folder / "my bumps").mkdir(parents=True)
    drawn = np.random.default_rng(1).random((20, 10, 10))
    for i, field in enumerate(drawn):
        Image.fromarray((255 * field).astype(np.uint8)).save(folder / "my bumps" / f"{i:02d}.png")
    with h5py.File(folder / "walls {1}.h5", "w") as archive:
        archive["runs/u"] = np.random.default_rng(2).normal(size=(20, 12, 12)).cumsum(1)
    (folder / "my plugin's.py").write_text((root / "docs/extending/matern.py").read_text())
    own = {"results": RESULTS, "plugins": ["~/my plugin's.py"], "gpu": 0}
    own["experiments"] = {
        "bumps": entry("~/my bumps", "torus", 10, MATERN),
        "walls": entry("walls {1}.h5:runs/u", "cell-centred", 12),
    }
    (folder / "my own.yaml").write_text(yaml.safe_dump(own))

    def snakemake(*options, files=("my own.yaml",)):
        command = [sys.executable, "-m", "snakemake", "-s", str(root / "workflow/Snakefile"), "--cores", "2", *options]
        path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
        how = {
            "cwd": folder,
            "capture_output": True,
            "text": True,
            "env": os.environ | {"PATH": path, "HOME": str(folder)},
        }
        return subprocess.run([*command, "--configfile", *files], **how)

    done = snakemake("bumps", "walls")
    assert done.returncode == 0, done.stderr
    return folder, snakemake


@pytest.mark.parametrize("name", ["bumps", "walls"])
def test_an_entry_is_enough_for_figures_and_metrics(run, name):
    folder, _ = run
    for made in ("samples.svg", "samples.png", "losses.svg", "losses.csv"):
        assert (folder / RESULTS / f"laptop/figures/{name}-{made}").stat().st_size > 300
    metrics = read_csv(folder / RESULTS / f"laptop/tables/{name}-metrics.csv")
    assert set(metrics.resolution) >= {8, 13}
    assert metrics[metrics.metric == "sliced_wasserstein"][["value", "floor"]].gt(0).all(axis=None)
    assert set(metrics.experiment) == {name}


def test_a_picture_that_changes_makes_its_experiment_anew_and_no_other(run):
    folder, snakemake = run
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(folder / "my bumps/03.png")
    said = snakemake("-n", "bumps", "walls")
    said = said.stdout + said.stderr
    assert "data_bumps" in said
    assert "data_walls" not in said


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"grid": "sphere"}, "experiments.bumps.grid: "),
        ({"native_resolution": 11}, "my bumps: fields of 10 x 10, but --resolution is 11"),
        (
            {"data": {"kind": "fields", "source": "nowhere", "train": 12, "validation": 3, "test": 5}},
            "nowhere: no such file",
        ),
        ({"data": {"kind": "fields", "source": "my bumps", "train": 50, "validation": 3, "test": 5}}, "20 fields, but"),
    ],
)
def test_what_does_not_fit_is_one_line(run, changed, line):
    folder, snakemake = run
    broken = entry("my bumps", "torus", 10) | changed
    (folder / "broken.yaml").write_text(yaml.safe_dump({"experiments": {"bumps": broken}}))
    results = ["--config", f"results=broken-{len(line)}"]
    stopped = snakemake("bumps", *results, files=("my own.yaml", "broken.yaml"))
    assert stopped.returncode != 0
    said = [each for each in (stopped.stdout + stopped.stderr).splitlines() if line in each]
    assert len(set(said)) == 1
    assert "Traceback" not in stopped.stdout + stopped.stderr
