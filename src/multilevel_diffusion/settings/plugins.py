"""Files of the user's own with priors, networks, samplers and kinds of data.

A plugin is a Python file that derives a settings class from `PriorBase`, `NetworkBase`, `SamplerBase` or `SampledDataSettings`
and marks a function as its builder with `builds`. It is named under `plugins` in config.yaml or by `mld --plugin FILE`.
"""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from .base import Settings, kinds_of

_loaded: set[Path] = set()


def plugin_files() -> list[Path]:
    """The plugins that were run, sorted."""
    return sorted(_loaded)


def load_plugins(files: str | Path | Iterable[str | Path]) -> None:
    """Run plugin files, each once; the kinds that they define are kinds like all others from then on.

    Raises a UserError if a file is missing or fails, or has a kind that there is already.
    """
    files = [files] if isinstance(files, str | Path) else files
    for path in (Path(file).expanduser().resolve() for file in files):
        if path in _loaded:
            continue
        name = f"multilevel_diffusion_plugin_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or not path.is_file():
            raise UserError(f"{path}: no such plugin; give a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(f"{path}: {type(error).__name__}: {' '.join(str(error).split())}") from None
        _loaded.add(path)
    for family in Settings.__subclasses__():
        kinds_of(family)
