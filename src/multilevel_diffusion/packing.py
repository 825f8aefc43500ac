"""Smaller models: fewer modes, and files in half precision, as those are that come with the package."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from .builders import build_network
from .errors import UserError
from .models import Model
from .settings import FNOSettings

__all__ = ["packed"]


def packed(model: Model, modes: int, law_modes: int) -> Model:
    """A model with the modes |k_i| ≤ `modes` of each Fourier layer, and a Gaussian fit with a full covariance of fewer modes.

    Args:
        modes: m, of the layers, at most as many as there are.
        law_modes: r, of the Gaussian fit, where the model has one with a full covariance: above them it is stationary.

    Raises a UserError if the network is not an FNO or has not so many modes.
    """
    spec = model.settings
    if not isinstance(spec.network, FNOSettings):
        raise UserError(f"{spec.name}: a {spec.network.kind} has no modes that could be left out; pack an fno")
    if modes > spec.network.modes:
        raise UserError(f"--modes: {modes}, but the network of {spec.name} has {spec.network.modes}")
    fewer = spec.model_copy(update={"network": spec.network.model_copy(update={"modes": modes})})
    weights, cut = model.network.state_dict(), slice(spec.network.modes - modes, spec.network.modes + modes)
    network = build_network(fewer, seed=0)
    kept: dict[str, Tensor] = {
        name: values[:, cut, :modes] if name.startswith("spectral.") else values for name, values in weights.items()
    }
    network.load_state_dict(kept)
    law = model.law.truncated(law_modes) if model.law else None
    return replace(model, settings=fewer, network=network.eval(), law=law)
