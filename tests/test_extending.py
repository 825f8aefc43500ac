"""The worked examples of docs/extending.md: each diff applies to a copy of the repository, and the commands do their work."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from multilevel_diffusion.storage import read_csv, read_tensors

PAGE = "docs/extending.md"
PLACES = ("Snakefile", "config.yaml", "pyproject.toml", "envs", "profiles", "src", "tests", "workflow")
SECTIONS = ("A prior", "A network", "A sampler", "A data set")
RUNNER = """
import json, shlex, subprocess, sys
import pytest
from multilevel_diffusion.cli import main

def run(*words):
    print("$", *words, flush=True)
    if words[0] == "mld":
        sys.argv = list(words)
        try:
            main()
        except SystemExit as stop:
            return stop.code or 0
    return pytest.main(["-p", "no:cacheprovider", *words[1:]]) if words[0] == "pytest" else subprocess.call(words)

for language, text in json.load(sys.stdin):
    if language == "python":
        exec(text, {})
        continue
    line = ""
    for part in text.replace("\\\\\\n", " ").splitlines():
        line += part
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # a quote is still open
            continue
        if words and (code := run(*words)):
            sys.exit(code)
        line = ""
"""
"""Runs the blocks of a section in order, `mld` and `pytest` in this one process: else most of their time would go to imports."""


@pytest.fixture(scope="module")
def sections(root):
    """Heading to the blocks of a section, (language, text)."""
    parts = re.split(r"^## (.+)\n", (root / PAGE).read_text(), flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.fixture
def extended(root, sections, tmp_path):
    """A section's diff applied to a copy of the repository and its commands run: the copy's folder, and what they said."""

    def extend(heading) -> tuple[Path, str]:
        (_, diff), *blocks = sections[heading]
        for name in PLACES:
            copy = shutil.copytree if (root / name).is_dir() else shutil.copy
            copy(root / name, tmp_path / name)
        environment = os.environ | {
            "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(tmp_path / "src"),
        }

        def run(*words, given):
            return subprocess.run(
                words,
                cwd=tmp_path,
                env=environment,
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        applied = run("git", "apply", "-", given=diff)
        assert applied.returncode == 0, (
            f"{PAGE}, '{heading}': the diff no longer applies; update the page\n{applied.stdout}"
        )
        done = run(sys.executable, "-c", RUNNER, given=json.dumps(blocks))
        assert done.returncode == 0, f"{PAGE}, '{heading}': a command fails\n{done.stdout}"
        return tmp_path, done.stdout

    return extend


def test_every_section_has_one_diff_and_its_commands(sections):
    assert tuple(sections) == SECTIONS
    for blocks in sections.values():
        languages = [language for language, _ in blocks]
        assert languages in (["diff", "sh"], ["diff", "python", "sh"])


def test_samples_under_the_new_prior_have_its_variance(extended):
    """Without the means of the components, which depend on x₁ or on x₂ alone: Σ λ_k over k₁, k₂ ≠ 0, Nyquist included."""
    folder, said = extended("A prior")
    assert re.search(r"\d+ passed", said)
    k = [k for k in range(-16, 16) if k]
    mu = (2 * np.pi) ** 2 * np.array([a**2 + b**2 for a, b in product(k, k)])
    expected = np.sum(2 * np.pi * 0.1**2 * 0.5**2 * (1 + 0.1**2 * mu / 3) ** -2.5)
    for file, name in (("exact-32", "samples"), ("data", "reference")):
        u = read_tensors(folder / f"matern/{file}.safetensors")[0][name].double().numpy()
        centred = u - u.mean(1, keepdims=True) - u.mean(2, keepdims=True) + u.mean((1, 2), keepdims=True)
        variances = (centred**2).mean((1, 2))
        assert abs(variances.mean() - expected) < 4.5 * variances.std() / len(variances) ** 0.5


def test_the_new_network_learns_the_score_on_its_grid_and_beyond(extended):
    folder, said = extended("A network")
    assert "2 passed" in said
    scores = read_csv(folder / "cnn/scores.csv")
    scores = scores[scores.drawn_on == scores.resolution]
    assert set(scores.network) == {"cnn"}
    assert set(scores.resolution) == {32, 64}
    assert (scores.relative + 5 * scores.stderr < 1).all()  # 1 is the error of no score at all


def test_the_new_sampler_comes_nearer_the_truth_than_one_of_first_order(extended):
    folder, said = extended("A sampler")
    assert re.search(r"\d+ passed", said)
    rows = read_csv(folder / "ab/convergence.csv")
    rows = rows[(rows.metric == "spectrum_distance") & (rows.evaluations == 20)].set_index("sampler")
    assert rows.value["adams-bashforth"] + 5 * rows.stderr["adams-bashforth"] < rows.value["ancestral(stochasticity=0)"]
    assert "adams-bashforth" in (folder / "ab/samplers.md").read_text()


def test_the_new_data_set_goes_through_every_stage_into_table_1(extended):
    folder, said = extended("A data set")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert (jobs["fields_data"], jobs["metrics"], jobs["table1"]) == ("1", "1", "1")
    assert "Train fields/fno-combined, seed 1" in said
    row = read_csv(folder / "media/table1.csv").iloc[0]
    assert (row.experiment, row.arm, row.prior) == ("fields", "fno-combined", "combined")
    assert re.match(r"\d", row["32"])
