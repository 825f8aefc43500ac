"""What a machine runs out of, at any moment and in any command: one line, exit code ≠ 0, nothing half-written."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import MLD
from processes import finish, start

START = 0.15
"""Seconds in which Python itself starts, before any code of ours runs."""


@pytest.fixture(scope="module")
def commands(files):
    """A command of every kind on the files of the tiny arm, by name, without its output."""
    grid = ["--resolution", 8, "--samples", 4]
    score = ["--resolution", 8, "--gain", "values", "--batches", 1, "--batch-size", 4]
    flow = ["--drawn-on", 16, "--samples", 2, "--steps", 3, "--seed", 1]
    counts = ["--evaluations", 4, "--reference-evaluations", 4, "--projections", 4]
    return {
        "trained": ["train", files.spec, "--seed", 1],
        "data.safetensors": ["data", "mixture", files.spec, *grid],
        "samples": ["sample", files.model, *grid, "--steps", 2, "--seed", 1],
        "score_error.csv": ["score-error", files.snapshots, *score],
        "metrics.csv": ["evaluate", files.samples, "--data", files.data, "--projections", 4],
        "log_density.csv": ["log-density", files.model, "--resolution", 8, *flow, "--probes", 1],
        "convergence.csv": ["convergence", files.model, *grid, "--sampler", "heun", *counts, "--seed", 1],
        "truncation.csv": ["truncation", files.spec, "--resolution", 8, "--resolution", 4, *flow],
        "fields.svg": ["figure", "fields", files.data, files.samples],
        "losses.svg": ["figure", "losses", files.history],
        "table.csv": ["table", "metrics", files.metrics],
    }


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def assert_one_line(text, *signs):
    lines = [line for line in text.splitlines() if line.startswith("mld: ") or not line[:1].isalpha()]
    assert "Traceback" not in text
    assert len(lines) == 1, text
    assert any(sign in lines[0] for sign in signs), text


def test_ctrl_c_at_any_moment_is_one_line_and_nothing_is_half_written(commands, tmp_path, count, chance):
    """From the first line of ours on, by the process's own end."""
    stopped = 0
    for number in range(count(4)):
        name, command = chance.choice([*commands.items()])
        out = tmp_path / f"{number}" / name
        process = subprocess.Popen(
            [MLD, *map(str, command), "-o", out], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        time.sleep(chance.uniform(START, 4))
        process.send_signal(sent := chance.choice([signal.SIGINT, signal.SIGTERM]))
        _, err = process.communicate()
        assert process.returncode in (0, -sent), (name, err)
        if process.returncode:
            stopped += 1
            assert_one_line(err, f"stopped by {sent.name}; ")
        assert not [path for path in written(out.parent) if path.endswith(".partial")]
        finish(tmp_path / "log", [*command, "-o", out])
    print(f"{stopped} commands stopped")


HALF = """
import sys, time
from pathlib import Path
from multilevel_diffusion.interrupts import install
from multilevel_diffusion.storage import write_atomically
install()
with write_atomically(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_file_that_is_half_written_when_a_signal_comes_is_removed(tmp_path, sent):
    process = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", HALF, tmp_path / "out"], stdout=-1, stderr=-1, text=True
    )
    assert process.stdout.readline() == "half\n"
    assert len([*tmp_path.iterdir()]) == 1
    process.send_signal(sent)
    assert f"mld: stopped by {sent.name}" in process.communicate()[1]
    assert process.returncode == -sent
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_is_one_line_that_names_the_file(commands, mld_process, tmp_path, count, chance):
    """Files may not grow beyond a random size, which stops the write in its middle."""
    refused = 0
    for number in range(count(4)):
        name, command = chance.choice([*commands.items()])
        out = tmp_path / f"{number}"
        done = mld_process(*command, "-o", out / name, file_size=int(10 ** chance.uniform(1, 4.5)))
        if done.code:
            refused += 1
            assert f"mld: {out}" in done.refusal or "matplotlib" in done.refusal
            assert "no space left on the disk" in done.refusal
        assert not [path for path in written(out) if path.endswith(".partial")]
    print(f"{refused} commands refused")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_is_gone_on_with(commands, mld, tmp_path, monkeypatch, code):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.fsync", refuse)
    for name, command in commands.items():
        assert mld(*command, "-o", tmp_path / name).code == 0
        assert (tmp_path / name).exists()


def test_a_disk_that_fails_as_it_syncs_is_one_line_that_names_the_file(commands, mld, tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("os.fsync", refuse)
    for name, command in commands.items():
        refusal = mld(*command, "-o", tmp_path / name).refusal
        assert f"{tmp_path}" in refusal
        assert "Input/output error" in refusal
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_where_nothing_can_be_written_is_one_line_that_names_it(commands, mld, tmp_path):
    (tmp_path / "file").write_text("")
    for name, command in commands.items():
        for folder in (Path("/proc/nowhere"), tmp_path / "file"):
            assert str(folder) in mld(*command, "-o", folder / name).refusal


WITHOUT_WRITING = """
import os, sys
folder, writing = sys.argv.pop(1), os.O_WRONLY | os.O_RDWR | os.O_CREAT

def hook(event, given):
    path = os.path.abspath(os.fsdecode(given[0])) if given and isinstance(given[0], str | bytes | os.PathLike) else ""
    writes = given[2] & writing if event == "open" else event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir")
    if path.startswith(folder) and writes:
        raise PermissionError(13, "may only be read", path)

sys.addaudithook(hook)
from multilevel_diffusion.__main__ import run
run()
"""


def test_nothing_is_written_where_the_sources_are(commands, files, tmp_path):
    """Not even beside them: whoever may only read them can work with them."""
    source = files.spec.parent
    for name in ("samples", "score_error.csv", "fields.svg", "trained"):
        asked = [sys.executable, "-c", WITHOUT_WRITING, source, *map(str, commands[name]), "-o", tmp_path / name]
        done = subprocess.run(asked, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    asked[-1] = source / "x"
    done = subprocess.run(asked, capture_output=True, text=True)
    assert_one_line(done.stderr, "may only be read")


def test_want_of_memory_is_one_line_in_every_command(files, tiny, tmp_path, count, chance):
    """Some megabytes more than at the start, for work that takes much."""
    spec, out, refused = tmp_path / "spec.json", tmp_path / "out", 0
    spec.write_text(json.dumps(tiny(batch_size=4096, ladder=[{"resolution": 16, "epochs": 2}])))
    aborted, grid = 0, ["--resolution", 256, "--seed", 1]
    commands = {
        "trained": ["train", spec, "--seed", 1],
        "data.safetensors": ["data", "mixture", spec, "--resolution", 128, "--samples", 200],
        "samples": ["sample", files.model, *grid, "--samples", 64, "--steps", 2],
        "exact": ["sample", files.spec, *grid, "--samples", 64, "--steps", 2],
        "score_error.csv": [
            *("score-error", files.snapshots, "--resolution", 64, "--gain", "values"),
            *("--batches", 1, "--batch-size", 2048),
        ],
        "log_density.csv": [
            *("log-density", files.model, *grid, "--drawn-on", 512),
            *("--samples", 16, "--steps", 2, "--probes", 1),
        ],
        "convergence.csv": [
            *("convergence", files.model, *grid, "--samples", 64, "--sampler", "heun"),
            *("--evaluations", 3, "--reference-evaluations", 3, "--projections", 8),
        ],
    }
    for number in range(count(4)):
        name, command = chance.choice([*commands.items()])
        log = tmp_path / f"log{number}"
        process = start(log, [*command, "-o", out / f"{number}" / name], int(chance.uniform(8, 250) * 2**20))
        process.join()
        if process.exitcode == -signal.SIGABRT and "memory allocation of" in log.read_text():
            aborted += 1  # the last bytes were asked for by safetensors, which then aborts the process
            continue
        assert process.exitcode in (0, 1), (name, log.read_text())
        if process.exitcode:
            refused += 1
            assert_one_line(log.read_text(), "memory does not suffice")
            assert not (out / f"{number}" / name).exists() or name == "trained"
    print(f"{refused} commands refused, {aborted} aborted")


def test_grids_beyond_all_memory_are_one_line(files, mld, tmp_path):
    for command in (
        ["sample", files.model, "--samples", 2, "--steps", 2, "--seed", 1],
        ["sample", files.spec, "--samples", 2, "--steps", 2, "--seed", 1],
        ["data", "mixture", files.spec, "--samples", 2],
        ["score-error", files.snapshots, "--gain", "values", "--batches", 1, "--batch-size", 2],
    ):
        refusal = mld(*command, "--resolution", 33_000_000, "-o", tmp_path / "out").refusal
        assert "memory does not suffice" in refusal or "less than or equal to 65536" in refusal
    assert not (tmp_path / "out").exists()


def test_a_file_of_the_users_own_in_the_wrong_place_is_refused_and_stays(commands, mld, root, tmp_path):
    """In the place of each file that a command reads; nobody is told to delete it."""
    own = tmp_path / "config.yaml"
    own.write_text((root / "config.yaml").read_text())
    for name, command in commands.items():
        for i, word in enumerate(command):
            if isinstance(word, Path) and word.is_file():
                refusal = mld(*command[:i], own, *command[i + 1 :], "-o", tmp_path / name).refusal
                assert str(own) in refusal
                assert "delete" not in refusal
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
