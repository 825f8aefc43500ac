"""Where numbers come from: what made a file, and a digest of the code."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    import grimp

PACKAGE = "multilevel_diffusion"
RUN = {f"{PACKAGE}.settings.{module}" for module in ("catalogue", "claims", "load", "plugins", "text")}
"""Modules that say what a run makes, not how."""
HERE = Path(__file__).parent
PACKAGES = ("torch", "numpy", "scipy", "diffusers", "pot", "matplotlib")


def software() -> dict[str, str]:
    """What made a file: version, commit and its dirtiness, Python, and the packages whose release may change a number."""
    ours = {"version": __version__, "commit": _commit(), "python": platform.python_version()}
    return ours | versions(PACKAGES)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of packages, without those that are not installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def provenance(**facts: Any) -> dict[str, Any]:
    """Where a number comes from: `software`, the command with its options, and the `facts` of the stage."""
    return software() | {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), **facts}


def code_digest(*modules: str, plugins: Iterable[str | Path] = ()) -> str:
    """A digest of what modules of the package do, with all that they import of it, and of plugins.

    Comments, docstrings, layout and the modules RUN do not count. A module is named from the package on, as "stages.train"; with
    a package go the modules in it.
    """
    graph = _imports()
    roots = [f"{PACKAGE}.{module}" for module in modules]
    roots += [module for root in roots for module in graph.find_descendants(root)]
    reached = set(roots).union(*map(graph.find_upstream_modules, roots)) - RUN
    whole = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in plugins]
    return hashlib.sha256("".join([*map(_digest_of, sorted(reached)), *whole]).encode()).hexdigest()[:16]


@cache
def _imports() -> grimp.ImportGraph:
    import grimp

    return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)


@cache
def _digest_of(module: str) -> str:
    path = HERE.joinpath(*module.split(".")[1:])
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


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
