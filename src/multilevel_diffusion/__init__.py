"""Multilevel diffusion: score-based diffusion models on functions (Hagemann et al., arXiv 2303.04772).

    import multilevel_diffusion as md

    model = md.load("results/laptop/mnist/fno-combined/seed1/model.safetensors")
    fields = model.sample(4, resolution=100, steps=20, seed=0)

Names are imported when they are first used: PyTorch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builders import builds
    from .errors import UserError
    from .grids import CellCentred, Torus
    from .mixture import GaussianMixture
    from .models import Model, load
    from .priors import Bessel, Combined, FNOPrior, Laplacian, Prior, Standard, draw_mode_weights
    from .settings import load_plugins

__version__ = "0.2.0"

_HOME = {
    "builders": ("builds",),
    "errors": ("UserError",),
    "grids": ("CellCentred", "Torus"),
    "mixture": ("GaussianMixture",),
    "models": ("Model", "load"),
    "priors": ("Bessel", "Combined", "FNOPrior", "Laplacian", "Prior", "Standard", "draw_mode_weights"),
    "settings": ("load_plugins",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022
    "load", "Model", "GaussianMixture", "Torus", "CellCentred", "Prior", "Standard", "FNOPrior", "Laplacian", "Bessel",
    "Combined", "draw_mode_weights", "builds", "load_plugins", "UserError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
