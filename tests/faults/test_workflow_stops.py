"""A run of the workflow that is killed anywhere, all its jobs with it, and started again: `make faults` tries it often."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import assert_same_results

ARM = "results/smoke/mixture/fno-combined"
TABLES = ("score_error", "log_density/values", "convergence/values-32", "metrics")
TARGETS = [f"{ARM}/seed1/{table}.csv" for table in TABLES]
LONGER = {"mixture": {"training": {"steps_per_epoch": 10}, "sampling": {"steps": 20}, "score_error": {"batches": 4}}}


class Run:
    """A run of a part of preset smoke in a folder of its own."""

    def __init__(self, root, folder):
        self.folder, self.command = folder, [sys.executable, "-m", "snakemake", "--cores", "2", *TARGETS]
        self.command += ["--config", "preset=smoke", f"experiments={json.dumps(LONGER)}"]
        folder.mkdir(exist_ok=True)
        names = ("config.yaml", "workflow", "envs", "src")
        for name in names:
            copy = shutil.copytree if (root / name).is_dir() else shutil.copy
            copy(root / name, folder / name)

    def start(self, *options):
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder / "src")}
        streams = {"stdout": (self.folder / "said").open("w"), "stderr": subprocess.STDOUT}
        command = ["env", "--default-signal=INT", *self.command, *options]  # a job in the background would ignore it
        return subprocess.Popen(command, cwd=self.folder, env=os.environ | path, **streams, start_new_session=True)

    def finish(self, *options):
        began = time.monotonic()
        assert self.start(*options).wait() == 0, (self.folder / "said").read_text()
        return time.monotonic() - began

    @property
    def results(self):
        return self.folder / ARM


@pytest.fixture(scope="module")
def often(request):
    if request.config.getoption("--faults-count") is None:
        pytest.skip("half a minute each: make faults")


@pytest.fixture(scope="module")
def whole(often, root, tmp_path_factory):
    """An uninterrupted run, and how long it took."""
    run = Run(root, tmp_path_factory.mktemp("whole"))
    return run, run.finish()


def test_runs_killed_anywhere_end_with_the_same_tables(root, whole, tmp_path, count, chance):
    """By SIGKILL to all processes at once, or by SIGINT or SIGTERM as a slice of time that is over."""
    killed, hung, (uninterrupted, seconds) = 0, 0, whole
    for number in range(max(1, count(0) // 10)):
        run, sent = Run(root, tmp_path / f"{number}"), None
        for _ in range(chance.randint(1, 2)):
            process = run.start("--rerun-incomplete")
            try:
                process.wait(chance.uniform(2, seconds))
            except subprocess.TimeoutExpired:
                sent = chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
                os.killpg(process.pid, sent)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:  # Snakemake's own, see docs/faults.md
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    hung += 1
                killed += 1
            subprocess.run([*run.command, "--unlock"], cwd=run.folder, capture_output=True, check=True)
        run.finish("--rerun-incomplete")
        assert_same_results(run.results, uninterrupted.results)
        shutil.rmtree(run.folder)
    print(f"{killed} runs killed, {hung} of them twice, as Snakemake hung")


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(root, whole, tmp_path):
    run = Run(root, tmp_path / "twice")
    first = run.start()
    while not (run.folder / ".snakemake/locks").exists() or not [*(run.folder / ".snakemake/locks").iterdir()]:
        assert first.poll() is None
        time.sleep(0.01)
    second = subprocess.run(run.command, cwd=run.folder, capture_output=True, text=True, env=os.environ)
    assert second.returncode != 0
    assert "locked" in second.stderr
    assert first.wait() == 0
    assert_same_results(run.results, whole[0].results)
