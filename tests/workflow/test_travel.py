"""The workflow from where it is not: another folder, a module, a checkout that is only read, without --cores."""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest

MODULE = """
module mld:
    snakefile: {snakefile!r}
    config: {{"preset": "smoke", "results": {results!r}}}

use rule * from mld{prefix}

rule mine:
    default_target: True
    input: {target!r}
"""


@pytest.fixture(scope="session")
def snakemake(root):
    def run(folder, *options):
        path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": env}
        return subprocess.run([sys.executable, "-m", "snakemake", *map(str, options)], cwd=folder, **how)

    return run


def count(done):
    """How many jobs a dry run would start."""
    assert done.returncode == 0, done.stdout
    return int(re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)[1])


@pytest.fixture(scope="session")
def jobs(snakemake, root):
    """How many jobs preset smoke has, in the repository itself, for results that are not there."""
    return count(snakemake(root, "--dry-run", "--config", "preset=smoke", "results=none"))


def digest(folder):
    """Names and contents of a checkout."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("how", ["snakefile", "directory", "absolute results"])
def test_it_runs_from_another_folder(snakemake, root, tmp_path, jobs, how):
    place = root if how == "directory" else tmp_path
    options = {"directory": ["--directory", tmp_path]}.get(how, ["--snakefile", root / "workflow/Snakefile"])
    results = tmp_path / "elsewhere" if how == "absolute results" else "none"
    assert count(snakemake(place, "--dry-run", *options, "--config", "preset=smoke", f"results={results}")) == jobs


@pytest.mark.parametrize("prefix", ["", " as mld_*"])
def test_it_is_a_module_of_another_workflow(snakemake, root, tmp_path, jobs, prefix):
    target = "none/smoke/report.html"
    text = MODULE.format(snakefile=str(root / "workflow/Snakefile"), results="none", prefix=prefix, target=target)
    (tmp_path / "Snakefile").write_text(text)
    # the rule `mine` stands for `all`
    assert count(snakemake(tmp_path, "--dry-run", "--cores", 1)) == jobs


def test_it_is_a_module_by_a_commit_as_the_catalogue_deploys_it(snakemake, root, tmp_path, jobs):
    clone, deployed = tmp_path / "clone", tmp_path / "deployed"
    deployed.mkdir()
    for place in ("workflow", "envs"):
        shutil.copytree(root / place, clone / place)
    shutil.copy(root / "config.yaml", clone)
    git = ["git", "-C", str(clone), "-c", "user.name=me", "-c", "user.email=me@here"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    snakefile = f'gitfile({str(clone)!r}, path="workflow/Snakefile", tag="v1")'
    text = MODULE.format(snakefile="", results="none", prefix=" as mld_*", target="none/smoke/report.html")
    (deployed / "Snakefile").write_text(text.replace("snakefile: ''", f"snakefile: {snakefile}"))
    assert count(snakemake(deployed, "--dry-run", "--cores", 1)) == jobs


def test_a_module_runs_its_commands_under_other_names(snakemake, root, tmp_path):
    target = "none/smoke/mixture/gaussian/target.json"
    text = MODULE.format(snakefile=str(root / "workflow/Snakefile"), results="none", prefix=" as mld_*", target=target)
    (tmp_path / "Snakefile").write_text(text.replace("smoke", "laptop"))
    done = snakemake(tmp_path, "--cores", 1)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / target.replace("smoke", "laptop")).is_file()
    assert "mld_resolve_target" in done.stdout


def test_nothing_is_written_beside_the_snakefile(snakemake, root, tmp_path):
    places = ["config.yaml", "workflow", "envs", "tests/mnist"]
    before = [digest(root / place) if (root / place).is_dir() else (root / place).read_bytes() for place in places]
    done = snakemake(
        *(
            tmp_path,
            "--snakefile",
            root / "workflow/Snakefile",
            "--cores",
            1,
            "--config",
            "preset=smoke",
            "results=made",
        ),
        "--until=data_mnist",
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "made/smoke/mnist/data.safetensors").is_file()  # from tests/mnist of the repository
    after = [digest(root / place) if (root / place).is_dir() else (root / place).read_bytes() for place in places]
    assert before == after
    assert not (root / "made").exists()


@pytest.mark.parametrize("ask", [["--unlock"], ["--summary"], ["--dag"]], ids=lambda ask: ask[0])
def test_what_starts_no_job_needs_no_cores(snakemake, root, tmp_path, ask):
    where = ["--snakefile", root / "workflow/Snakefile", "--workflow-profile", "none"]
    done = snakemake(tmp_path, *where, *ask, "--config", "preset=smoke")
    assert done.returncode == 0, done.stdout
    assert "cores" not in done.stdout.partition("digraph")[0]
