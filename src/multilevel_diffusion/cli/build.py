"""Objects from settings, and model files: a network, the drawn part of its prior, and the settings of its arm."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..config import ArmSpec, FNOSettings, Gain, TargetSpec, UNetSettings, UserError, parse
from ..denoise import Denoiser, LearnedDenoiser, gain_factor
from ..mixture import GaussianMixture, MixtureDenoiser
from ..priors import Prior
from ..sde import ForwardSDE
from ..storage import generator, read_tensors, write_tensors
from .prior import build_prior, read_target, require_mixture

__all__ = [
    "Model",
    "build_denoiser",
    "build_network",
    "device",
    "read_field",
    "read_model",
    "snapshots_in",
    "write_model",
]


def device() -> torch.device:
    """CUDA if there is a device, else the CPU; hide the device (CUDA_VISIBLE_DEVICES="") to stay on the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_network(spec: ArmSpec, seed: int) -> nn.Module:
    """The untrained network of an arm, its weights drawn from the training seed."""
    # neuraloperator takes seconds to import; the exact field does without, and neuraloperator without wandb
    sys.modules.setdefault("wandb", None)
    from ..networks import FNO, UNet

    stream = generator(seed, "network", *spec.stream)
    match spec.network:
        case FNOSettings(width=width, layers=layers, modes=modes, head=head):
            return FNO(width, layers, modes, head, stream)
        case UNetSettings(channels=channels, blocks=blocks, groups=groups):
            return UNet(channels, blocks, groups, stream)


def build_denoiser(spec: ArmSpec, network: nn.Module, prior: Prior, gain: Gain) -> LearnedDenoiser:
    """The denoiser that the network of an arm stands for, under one of the gains."""

    def factor(resolution: int) -> float:
        return gain_factor(
            gain, native=spec.native_resolution, reference=spec.reference_resolution, resolution=resolution
        )

    return LearnedDenoiser(network, ForwardSDE(), prior, factor)


@dataclass(frozen=True)
class Model:
    """What a model file holds.

    seed: of its training. epoch: after which the network was kept. target: the true law it was trained on, as the file of its
    data names it.
    """

    spec: ArmSpec
    seed: int
    epoch: int
    target: dict[str, Any]
    network: nn.Module
    prior: Prior


def write_model(path: Path, model: Model, facts: dict[str, Any]) -> None:
    """Write a model file."""
    tensors = {f"network/{key}": value for key, value in model.network.state_dict().items()}
    tensors |= {f"prior/{key}": value for key, value in model.prior.state().items()}
    header = {
        "spec": model.spec.model_dump(mode="json"),
        "seed": model.seed,
        "epoch": model.epoch,
        "target": model.target,
    }
    write_tensors(path, tensors, header | {"provenance": facts})


def read_model(path: Path, on: torch.device) -> Model:
    """A trained network, ready to be evaluated on a device.

    Raises:
        UserError: if the file is missing, damaged or not a model.
    """
    tensors, header = read_tensors(path)
    if "spec" not in header or not any(key.startswith("network/") for key in tensors):
        raise UserError(f"{path}: not a model file; give the model.safetensors of a training")
    spec = parse(ArmSpec, header["spec"], source=str(path))
    network = build_network(spec, seed=0)
    network.load_state_dict(_part(tensors, "network/"))
    prior = build_prior(spec, _part(tensors, "prior/"))
    return Model(spec, header["seed"], header["epoch"], header["target"], network.to(on).eval(), prior)


def read_field(source: Path, gain: Gain, on: torch.device) -> tuple[TargetSpec, Denoiser, dict[str, Any]]:
    """The settings and the denoiser to sample from, and what files of samples say of it: the true law and the epoch.

    From a model file the network, with an ArmSpec; from a target or spec the exact field, with a TargetSpec.

    Raises:
        UserError: if the file is missing, damaged or neither.
    """
    if source.suffix == ".json":
        target = read_target(source)
        require_mixture(target, source)
        exact = MixtureDenoiser(GaussianMixture(build_prior(target)), ForwardSDE())
        return target, exact, {"target": target.model_dump(mode="json"), "epoch": None}
    model = read_model(source, on)
    denoiser = build_denoiser(model.spec, model.network, model.prior, gain)
    return model.spec, denoiser, {"target": model.target, "epoch": model.epoch}


def snapshots_in(folder: Path) -> list[Path]:
    """The model files of the network along training, in order.

    Raises:
        UserError: if there are none.
    """
    files = sorted(folder.glob("epoch_*.safetensors"))
    if not files:
        raise UserError(f"{folder}: no snapshots here; run `mld train`")
    return files


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
