"""Where numbers come from: what made a file, and a digest of the code."""

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from . import __version__

HERE = Path(__file__).parent
PACKAGES = ("torch", "numpy", "scipy", "neuraloperator", "diffusers", "pot", "matplotlib")


def software() -> dict[str, str]:
    """What made a file: version, commit and its dirtiness, Python, and the packages whose release may change a number."""
    from importlib.metadata import version

    ours = {"version": __version__, "commit": _commit(), "python": platform.python_version()}
    return ours | {name: version(name) for name in PACKAGES}


def provenance(**facts: Any) -> dict[str, Any]:
    """Where a number comes from: `software`, the command with its options, and the `facts` of the stage."""
    return software() | {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), **facts}


def source_digest() -> str:
    """SHA-256 of the modules that a training may reach: those of the package itself, not of its packages, and `stages.train`."""
    root = Path(__file__).parent
    files = [*sorted(root.glob("*.py")), root / "stages" / "train.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@cache
def _commit() -> str:
    """The commit of the checkout that tracks this file, "-dirty" behind it if tracked files differ.

    Else the commit that pip has noted of an installation from a repository, and "unknown" of any other.
    """
    git = ["git", "--no-optional-locks", "-C", str(HERE)]  # never write to the user's index

    def ask(*command: str) -> str:
        return subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", Path(__file__).name)  # not so where the file lies in a repository of others
        return ask("rev-parse", "HEAD") + ("-dirty" if ask("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return _installed_commit() or "unknown"


def _installed_commit() -> str | None:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        package = distribution("multilevel-diffusion")
        ours = Path(str(package.locate_file(HERE.name))).resolve() == HERE.resolve()
        said = package.read_text("direct_url.json") if ours else None
        return json.loads(said or "{}").get("vcs_info", {}).get("commit_id")
    except (PackageNotFoundError, ValueError):
        return None
