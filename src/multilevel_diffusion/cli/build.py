"""Objects from settings, and model files: a network, the drawn part of its prior, and the settings of its arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import ArmSpec, Gain, TargetSpec, UserError, parse
from ..denoise import Denoiser, LearnedDenoiser, gain_factor
from ..mixture import GaussianMixture, MixtureDenoiser
from ..priors import Prior
from ..sde import ForwardSDE
from ..storage import generator, read_tensors, write_tensors
from .prior import build_prior, read_target

__all__ = ["build_denoiser", "build_network", "device", "read_field", "read_model", "require_mixture", "write_model"]


def device() -> torch.device:
    """CUDA if there is a device, else the CPU; hide the device (CUDA_VISIBLE_DEVICES="") to stay on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_network(spec: ArmSpec, seed: int) -> nn.Module:
    """The untrained network of an arm, its weights drawn from the training seed."""
    from ..networks import FNO  # neuraloperator takes seconds to import; the exact field does without

    n = spec.network
    return FNO(n.width, n.layers, n.modes, n.head, generator(seed, "network", spec.experiment, spec.arm))


def build_denoiser(spec: ArmSpec, network: nn.Module, prior: Prior, gain: Gain) -> LearnedDenoiser:
    """The denoiser that the network of an arm stands for, under one of the gains."""

    def factor(resolution: int) -> float:
        return gain_factor(
            gain, native=spec.native_resolution, reference=spec.reference_resolution, resolution=resolution
        )

    return LearnedDenoiser(network, ForwardSDE(), prior, factor)


def write_model(path: Path, network: nn.Module, prior: Prior, spec: ArmSpec, seed: int, facts: dict[str, Any]) -> None:
    """Write a model file."""
    tensors = {f"network/{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"prior/{key}": value for key, value in prior.state().items()}
    write_tensors(path, tensors, {"spec": spec.model_dump(mode="json"), "seed": seed, "provenance": facts})


def read_model(path: Path, on: torch.device) -> tuple[ArmSpec, int, nn.Module, Prior]:
    """The arm, its training seed, its network and the prior it was trained with.

    Raises:
        UserError: if the file is missing, damaged or not a model.
    """
    tensors, header = read_tensors(path)
    if "spec" not in header or not any(key.startswith("network/") for key in tensors):
        raise UserError(f"{path}: not a model file; give the model.safetensors of a training")
    spec = parse(ArmSpec, header["spec"], source=str(path))
    network = build_network(spec, seed=0)
    network.load_state_dict(_part(tensors, "network/"))
    return spec, header["seed"], network.to(on).eval(), build_prior(spec, _part(tensors, "prior/"))


def read_field(source: Path, gain: Gain, on: torch.device) -> tuple[TargetSpec, Denoiser, str]:
    """The denoiser to sample from, and what it is: `learned` from a model file, `exact` from a target or spec.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    if source.suffix == ".json":
        target = read_target(source)
        require_mixture(target, source)
        return target, MixtureDenoiser(GaussianMixture(build_prior(target)), ForwardSDE()), "exact"
    spec, _, network, prior = read_model(source, on)
    return spec, build_denoiser(spec, network, prior, gain), "learned"


def require_mixture(settings: TargetSpec, source: Path) -> None:
    """Refuse an arm whose true law is not known.

    Raises:
        UserError
    """
    if settings.experiment != "mixture":
        raise UserError(f"{source}: of {settings.experiment}; only the mixture has an exact field and a known density")


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
