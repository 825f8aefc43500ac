"""Work that is stopped anywhere and started again ends with the numbers of work that was not: `make faults` tries hundreds."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import ASKED, KILLED, assert_same_results, finish, start, stop_at_random_moments

LADDERS = [
    {"ladder": [{"resolution": 8, "epochs": 12}]},
    {"ladder": [{"resolution": 8, "epochs": 12}], "schedule": "one-cycle", "averaging": 0.9},
    {"ladder": [{"resolution": 8, "epochs": 5}, {"resolution": 12, "steps": 31, "learning_rate": 2e-3}]},
    {"ladder": [{"resolution": 12, "epochs": 12, "others": [{"resolution": 8, "probability": 0.5}]}]},
]


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """A trained arm of the mixture, its snapshots among it, and test sets."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "spec.json").write_text(json.dumps(tiny(ladder=[{"resolution": 8, "epochs": 6}])))
    log = folder / "log"
    finish(log, ["train", folder / "spec.json", "--seed", 1, "-o", folder])
    finish(log, ["data", "mixture", folder / "spec.json", "--resolution", 8, "--samples", 8, "-o", folder / "8.st"])
    return folder


def test_trainings_killed_at_random_moments_end_with_the_same_bits(tiny, tmp_path, count, chance):
    """Killed up to three times each, by SIGKILL; a state is saved after every step."""
    stops = 0
    for number in range(count(3)):
        folder, steps = tmp_path / f"{number}", chance.randint(1, 6)
        folder.mkdir()
        spec, log, whole, cut = (folder / name for name in ("spec.json", "log", "whole", "cut"))
        training = chance.choice(LADDERS) | {"steps_per_epoch": steps, "snapshot_every": chance.randint(1, 4)}
        spec.write_text(json.dumps(tiny(**training)))
        command = ["train", spec, "--seed", number, "--checkpoint-seconds", chance.choice([0, 0.05]), "-o"]
        seconds = finish(log, [*command, whole])
        stops += stop_at_random_moments(log, [*command, cut], seconds, chance, KILLED)
        assert_same_results(cut, whole)
        assert not (cut / "checkpoint").exists()
        shutil.rmtree(folder)
    print(f"{stops} trainings killed")
    assert stops > 0


def commands(trained):
    """A command of every other stage that goes on, without its output."""
    model, snapshots, sampling = trained / "model.safetensors", trained / "snapshots", ["--samples", 70, "--steps", 40]
    heun = ["--sampler", "heun", "--sampler", "euler-maruyama", "--sampler", "predictor-corrector"]
    counts = ["--evaluations", 20, "--evaluations", 9, "--reference-evaluations", 30, "--projections", 4]
    return {
        "sample": ["sample", model, "--resolution", 8, "--resolution", 12, *sampling, "--seed", 1],
        "sample-exact": ["sample", trained / "spec.json", "--resolution", 8, *sampling, "--seed", 1],
        "score-error.csv": [
            *("score-error", snapshots, "--resolution", 8, "--resolution", 16),
            *("--gain", "values", "--gain", "coefficients", "--batches", 6, "--batch-size", 64),
        ],
        "along-training.csv": [
            *("along-training", snapshots, "--data", trained / "8.st", "--gain", "values", "--samples", 8),
            *("--steps", 12, "--projections", 4, "--sampler", "dpm-solver++"),
        ],
        "convergence.csv": ["convergence", model, "--resolution", 8, *heun, *counts, "--samples", 66, "--seed", 1],
        "log-density.csv": [
            *("log-density", trained / "spec.json", "--resolution", 8, "--resolution", 12, "--drawn-on", 16),
            *("--samples", 2, "--steps", 24, "--probes", 2, "--seed", 1),
        ],
        "condition.csv": [
            *("condition", model, "--observed", "some={kind: points, count: 2, noise: 0.1}", "--resolution", 8),
            *("--observed", "grid={kind: coarse, resolution: 4, noise: 0.1}", "--method", "guided", "--method", "dps"),
            *("--truths", 2, "--samples", 66, "--steps", 12, "--seed", 1),
        ],
    }


@pytest.mark.parametrize("name", ["sample", "sample-exact", *(f"{x}.csv" for x in (
    "score-error", "along-training", "convergence", "log-density", "condition"
))])  # fmt: skip
def test_stages_stopped_at_random_moments_end_with_the_same_bits(trained, tmp_path, count, chance, name):
    """By SIGINT, SIGTERM or SIGKILL; an output is there only when it is whole."""
    command, log, stops = commands(trained)[name], tmp_path / "log", 0
    seconds = finish(log, [*command, "-o", tmp_path / "whole" / name])
    for number in range(count(1)):
        cut = tmp_path / f"cut{number}"
        often = ["--checkpoint-seconds", chance.choice([0, 0.05, 10])]
        stops += stop_at_random_moments(log, [*command, *often, "-o", cut / name], seconds, chance, ASKED)
        assert_same_results(cut, tmp_path / "whole")
    print(f"{name}: {stops} stopped")
    lines = [line for line in log.read_text().splitlines() if "mld: " in line]
    assert all("mld: stopped by SIG" in line for line in lines), lines
    assert "Traceback" not in log.read_text()


def test_a_stopped_stage_has_done_what_it_need_not_do_again(trained, tmp_path):
    """By its own word: stopped in the middle by SIGTERM, it goes on from the step it was at."""
    log, out = tmp_path / "log", tmp_path / "samples"
    command = ["sample", trained / "model.safetensors", "--resolution", 8, "--samples", 64, "--steps", 4000]
    command += ["--seed", 1, "-o", out]
    process = start(log, command)
    while not (tmp_path / "checkpoint/samples").exists():
        assert process.is_alive()
        time.sleep(0.01)
    time.sleep(0.7)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == -signal.SIGTERM
    assert log.read_text().endswith("mld: stopped by SIGTERM; the same command goes on where it was\n")
    assert not out.exists()
    (state,) = tmp_path.glob("checkpoint/samples/*/values-8-0-steps.state.safetensors")
    assert state.stat().st_size > 64 * 64 * 8


def test_samples_that_are_there_are_not_drawn_again_unless_they_would_differ(trained, tmp_path):
    out, log = tmp_path / "samples", tmp_path / "log"
    command = ["sample", trained / "model.safetensors", "--samples", 4, "--steps", 3, "-o", out, "--seed"]
    finish(log, [*command, 1, "--resolution", 8])
    before = (out / "values-8.safetensors").stat().st_mtime_ns
    finish(log, [*command, 1, "--resolution", 8, "--resolution", 12])
    assert (out / "values-8.safetensors").stat().st_mtime_ns == before
    assert (out / "values-12.safetensors").exists()
    finish(log, [*command, 2, "--resolution", 8])
    assert (out / "values-8.safetensors").stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["train", "sample"])
def test_a_second_process_that_would_write_the_same_is_refused(trained, tiny, tmp_path, mld, name):
    """And both seeds' trainings into one folder are one after the other, never mixed."""
    (tmp_path / "spec.json").write_text(json.dumps(tiny(ladder=[{"resolution": 8, "epochs": 100_000}])))
    out, log = tmp_path / "out", tmp_path / "log"
    sampling = ["--resolution", 8, "--samples", 2, "--steps", 10**6]
    first = {
        "train": ["train", tmp_path / "spec.json", "-o", out, "--seed"],
        "sample": ["sample", trained / "model.safetensors", *sampling, "-o", out / "samples", "--seed"],
    }[name]
    process = start(log, [*first, 1])
    folder = out / "checkpoint" / {"train": "train", "sample": "samples"}[name]
    while not folder.exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.01)
    time.sleep(0.1)
    refusal = mld(*first, 2).refusal
    process.kill()
    process.join()
    assert f"{out}: another process writes {folder.name} here" in refusal


def test_files_of_the_users_own_stay(tiny, tmp_path, mld):
    spec, out = tmp_path / "spec.json", tmp_path / "out"
    spec.write_text(json.dumps(tiny()))
    own = [out / name for name in ("notes.txt", "checkpoint/notes.txt", "checkpoint/train/a.txt", "snapshots/mine.npy")]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    old = out / "snapshots/epoch_0009.safetensors"
    old.write_text("of an older run")
    assert mld("train", spec, "--seed", 1, "-o", out).code == 0
    assert [path.read_text() for path in own] == ["mine"] * 4
    assert sorted(path.name for path in (out / "snapshots").iterdir()) == [
        *("epoch_0001.safetensors", "epoch_0002.safetensors", "mine.npy"),
    ]


def test_a_run_killed_after_its_results_and_before_its_checkpoint_is_removed_only_removes_it(
    tiny, tmp_path, mld, monkeypatch
):
    spec, out, whole = tmp_path / "spec.json", tmp_path / "out", tmp_path / "whole"
    spec.write_text(json.dumps(tiny()))
    command = ["train", spec, "--seed", 1, "--checkpoint-seconds", 0, "-o"]

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("multilevel_diffusion.checkpoints.Checkpoint.finish", killed)
        assert mld(*command, out).code == 130
    assert (out / "model.safetensors").exists()
    assert mld(*command, out).code == mld(*command, whole).code == 0
    assert_same_results(out, whole)


def test_comments_are_no_reason_to_begin_anew_and_what_is_reached_is(tmp_path):
    """The digest of the code of a stage, in a copy of the package."""
    package = tmp_path / "multilevel_diffusion"
    shutil.copytree(Path(sys.modules["multilevel_diffusion"].__file__).parent, package)

    def digest():
        ask = "from multilevel_diffusion.provenance import code_digest; print(code_digest('stages.train'))"
        asked = [sys.executable, "-c", ask]
        found = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
        return found.stdout

    def append(module, text):
        with (package / module).open("a") as file:
            file.write(text)

    before = digest()
    append("training.py", "\n# a comment\n")
    append("figures/curves.py", "\nNEW = 1\n")
    append("settings/claims.py", "\nNEW = 1\n")
    assert digest() == before
    append("grids.py", "\nNEW = 1\n")
    assert digest() != before
