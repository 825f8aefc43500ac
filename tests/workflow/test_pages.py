"""Every command in README and the pages: it runs here, or its title says what it takes, and then a dry run finds its targets."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BLOCK = re.compile(r'^ *```(\w+)(?: title="([^"]*)")?\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
PAGES = [
    "README.md",
    *(f"docs/{page}.md" for page in ("quickstart", "workflow", "conditioning", "own-fields", "method")),
]
PAGES += [
    f"docs/results/{page}.md"
    for page in ("mixture", "digits", "warm-start", "reaction-diffusion", "samplers", "likelihood")
]
PAGES += [f"docs/{page}.md" for page in ("differences", "cluster", "faults", "speed")]
ELSEWHERE = {"needs Slurm", "needs files", "needs a shared folder", "needs Docker or Apptainer", "downloads packages"}
"""Titles of blocks of which nothing can be tried here; tests/slurm runs some."""


@pytest.fixture
def folder(root, tmp_path, monkeypatch):
    """Where the commands are typed: as the root of the repository, beside a folder of own fields."""
    for name in ("config.yaml", "workflow", "envs", "results/reference", "tests/mnist"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "bumps").mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "bumps" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(mld):
    def run(line):
        words = shlex.split(line, comments=True)
        if words and words[0] == "mld":
            done = mld(*words[1:])
            assert done.code == 0, f"{line}\n{done.err}"
        elif words:
            shell(line)

    return run


def shell(line):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": os.environ | {"PATH": path}}
    done = subprocess.run(["bash", "-c", line], **how)
    assert done.returncode == 0, f"{line}\n{done.stdout}"


def commands(text):
    """The commands of a block, those over several lines in one."""
    found, open_quote = [], ""
    for line in text.replace("\\\n", " ").splitlines():
        found = [*found[:-1], f"{found[-1]} {line.strip()}"] if open_quote else [*found, line.strip()]
        open_quote = found[-1].count("'") % 2
    return found


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(root, folder, run, page):
    if page in ("docs/conditioning.md",):  # it goes on from the quickstart
        for language, title, text in BLOCK.findall((root / "docs/quickstart.md").read_text()):
            if language == "sh" and not title and "mld train" in text:
                for line in commands(text):
                    run(line)
    for language, title, text in BLOCK.findall((root / page).read_text()):
        if language == "yaml" and "bumps:" in text:
            (folder / "bumps.yaml").write_text(text)
        if language == "python" and not title:
            exec(text, {})
        if language == "sh" and not title:
            for line in commands(text):
                run(line)
        if language == "sh" and title and title not in ELSEWHERE:
            for line in commands(text):
                if line.startswith("snakemake "):
                    shell(f"{line.partition(' #')[0]} --dry-run --quiet all")


def test_no_page_with_commands_is_left_out(root):
    tried = {root / page for page in PAGES} | set((root / "docs/extending").glob("*.md"))  # those by test_extending
    for page in [root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]:
        if page not in tried:
            assert [text for language, _, text in BLOCK.findall(page.read_text()) if language in ("sh", "python")] == []
