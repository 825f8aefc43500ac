"""What jobs ask of Slurm, by a stand-in `sbatch` that notes its arguments (a real one is in tests/slurm), and what all expect."""

import json
import os
import re
import subprocess
import sys

import pytest

SBATCH = """#!{python}
import json, os, subprocess, sys
with open(os.environ["NOTED"], "a") as noted:
    noted.write(json.dumps(sys.argv[1:]) + "\\n")
print(len(open(os.environ["NOTED"]).readlines()))
"""
STAND_INS = {
    "sbatch": SBATCH,
    "sinfo": "#!/bin/sh\necho ok\n",
    "squeue": "#!/bin/sh\nseq 100 | sed 's/$/|FAILED/'\n",
    "sacct": "#!/bin/sh\nexit 0\n",  # asked for the account of recent jobs
    "scontrol": "#!/bin/sh\necho 'MinJobAge = 300 sec'\n",
    "nvidia-smi": "#!/bin/sh\nexit 0\n",  # of the login node
}
ARM = "results/laptop/mixture/fno-combined"
MODEL = f"{ARM}/seed3/model.safetensors"


def test_the_docs_say_what_preset_paper_is_expected_to_take(root, tmp_path):
    command = [sys.executable, root / "workflow/expected.py", "--config", "preset=paper", "gpu=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    table = done.stdout.strip()
    assert table.count("\n") > 15
    assert table in (root / "docs/cluster.md").read_text()


@pytest.fixture
def submitted(root, tmp_path):
    """The options of every `sbatch` of a run that trains a network, each of which fails at once, before what Slurm is to run."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text.replace("{python}", sys.executable))
        (tmp_path / name).chmod(0o755)
    (tmp_path / ARM).mkdir(parents=True)
    for made in ("spec.json", "gaussian.safetensors"):
        (tmp_path / ARM / made).touch()

    def run(*options):
        path = os.pathsep.join([str(tmp_path), os.path.dirname(sys.executable), os.environ["PATH"]])
        env = os.environ | {"PATH": path, "NOTED": str(tmp_path / "noted")}
        command = [sys.executable, "-m", "snakemake", MODEL, "--snakefile", str(root / "workflow/Snakefile")]
        command += ["--workflow-profile", "slurm", "--slurm-init-seconds-before-status-checks", "1"]
        how = {"cwd": tmp_path, "env": env, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([*command, "--slurm-status-command", "squeue", *options], **how)
        assert (tmp_path / "noted").exists(), done.stdout
        calls = [json.loads(line) for line in (tmp_path / "noted").read_text().splitlines()]
        assert all(call[-1].startswith("--wrap=") and "train:" in call[-1] for call in calls)
        return [" ".join(call[:-1]) for call in calls]

    return run


def number(pattern, options):
    return int(re.search(pattern, options)[1])


def test_a_training_asks_for_cores_memory_time_and_a_gpu_and_for_twice_as_much_when_tried_again(submitted):
    first, second = submitted("--retries", "1", "--config", "gpu=1")
    for options in (first, second):
        assert "--cpus-per-task=4" in options
        assert "--gres=gpu:1" in options
        assert "--gpus" not in options  # some versions of Slurm do not know it
    for pattern in (r"--mem (\d+)", r"-t (\d+)"):
        assert 0 < 2 * number(pattern, first) == number(pattern, second)


def test_without_cores_and_whatever_gpu_the_login_node_has(submitted):
    bare = ["--workflow-profile", "none", "--executor", "slurm", "--jobs", "2"]
    (options,) = submitted(*bare, "--config", "max_threads=2")
    assert "--gres" not in options
    assert "--gpus" not in options
    assert "--cpus-per-task=2" in options
