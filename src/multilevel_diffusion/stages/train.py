"""Training of one arm, see `training`."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from ..builders import build_denoiser, build_grid, build_network, build_prior, misfits
from ..checkpoints import Checkpoint
from ..data.sets import FieldSets
from ..gaussian import GaussianDenoiser, GaussianLaw
from ..mixture import GaussianMixture
from ..models import Model, device_of
from ..settings import ArmSpec, GaussianSettings
from ..storage import generator
from ..training import SNAPSHOTS, Dataset, Trainer, Validation
from . import Progress, quiet
from .gaussian import fitted, gaussian


def train(
    spec: ArmSpec,
    seed: int,
    sets: FieldSets | None = None,
    *,
    law: GaussianLaw | None = None,
    source: Path | str = "sets",
    device: torch.device | str | None = None,
    keep: Checkpoint | None = None,
    write: Callable[[Path, Model], object] = lambda path, model: None,
    warn: Callable[[str], object] = warnings.warn,
    progress: Progress = quiet,
) -> tuple[Model, pd.DataFrame]:
    """Train an arm up its ladder.

    Args:
        seed: of the first weights, and of data, times and noise in every step.
        sets: `train`, `validation` and, for losses on test fields, `reference`. None for a mixture: it is drawn as training goes.
        law: the Gaussian fit of the data, from `stages.gaussian`, which is called where it is needed and not given.
        source: what the sets are called in messages.
        device: where it is computed; CUDA if there is a device, else the CPU.
        keep: where states and snapshots are kept, from which a run that was cut off goes on and ends with the same numbers;
            None keeps neither. See `training.publish`.
        write: how a snapshot is written, (path, model).
        warn: is told what of the prior does not fit the data, one line at a time.

    Returns:
        The model, of the epoch of least validation loss if it was validated; its settings have a number where the prior's scale
        was `auto`. And the history, one row per epoch: the columns of `Trainer.run`, the labels of the arm, and seed. With
        validation it also has validation_N and test_N, the mean losses on each grid, in squared L² units. With a law it also has
        skill_N = 1 − validation_N / (the loss of the Gaussian baseline on the same fields, times and noises).

    Raises:
        UserError: if the sets are not what the arm asks for, the loss stops being finite, the checkpoint is damaged, or the
            disk is full.
    """
    spec = fitted(spec, sets, source)
    on, prior = device_of(device), build_prior(spec)
    network, grid = build_network(spec, seed).to(on), partial(build_grid, spec)
    if spec.network.has_law and law is None:
        law = gaussian(spec, sets)
    denoiser = build_denoiser(spec, network, prior, spec.gain, law)
    identity = {"spec": spec.model_dump(mode="json"), "seed": seed} | _digests(law.state() if law else {})
    keep, validate, target = keep or Checkpoint(), None, spec.target.model_dump(mode="json")

    if sets is None:
        mixture, steps_in_pass = GaussianMixture(prior), None

        def batches(grids, stream, batch_size):
            return (mixture.sample(batch_size, grid, stream) for grid in grids)

    else:
        for line in misfits(spec, prior, sets.fields["train"]):
            warn(line)
        target, tested = sets.target, spec.validation.test
        fields = {name: sets.fields[name] for name in ("train", "validation", *(["reference"] if tested else []))}
        identity |= _digests(fields)
        trained = Dataset(fields["train"].to(on), sets.grid)
        batches, steps_in_pass = trained.batches, trained.steps
        for resolution in {each for level in spec.training.ladder for each in level.shares}:
            trained.on(grid(resolution))  # now, so that no step's time has it in
        grids = [grid(resolution) for resolution in spec.validation.resolutions]
        held_out = {"validation": fields["validation"]} | ({"test": fields["reference"][:tested]} if tested else {})
        losses = {
            name: Validation(Dataset(values.to(on), sets.grid), grids, spec.validation.draws, denoiser, on)
            for name, values in held_out.items()
        }

        baseline = losses["validation"].losses(GaussianDenoiser(law)) if law else {}

        def validate(network):
            trial = build_denoiser(spec, network, prior, spec.gain, law)
            found = {name: each.losses(trial) for name, each in losses.items()}
            skill = {f"skill_{n}": 1 - found["validation"][n] / loss for n, loss in baseline.items()}
            return {f"{name}_{n}": loss for name, each in found.items() for n, loss in each.items()} | skill

    keep.bind("train", on, identity)

    def model(network: nn.Module, epoch: int) -> Model:
        return Model(spec, seed, epoch, target, network, prior, law if spec.network.has_law else None)

    def table(rows: pd.DataFrame | Sequence[Mapping[str, float]]) -> pd.DataFrame:
        return pd.DataFrame(rows).assign(**spec.labels, seed=seed)

    if isinstance(spec.network, GaussianSettings):
        row = {"epoch": 1, "resolution": spec.reference_resolution, "step": 0, "loss": _mean_loss(law, spec)}
        row |= {"learning_rate": 0.0, "seconds": 0.0} | (validate(network) if validate else {})
        if keep.folder:
            write(keep.path(f"{SNAPSHOTS}/epoch_0001"), model(network, 1))
        return model(network, 1), table([row])

    trainer = Trainer(
        network,
        denoiser,
        spec.training,
        batches=batches,
        steps_in_pass=steps_in_pass,
        grid=grid,
        # the scale of the release, or one in which the loss of the Gaussian baseline is 1
        loss_scale=1 / _mean_loss(law, spec) if spec.network.has_law else spec.native_resolution**2,
        generator=generator(seed, "train", *spec.stream, device=on),
        keep=keep,
        write_model=lambda path, network, epoch: write(path, model(network, epoch)),
        validate=validate,
    )
    with progress(len(trainer.epochs), f"train {spec.name}, seed {seed}", len(trainer.history)) as advance:

        def told(row: Mapping[str, float]) -> None:
            keep.show("history", table(trainer.history))
            advance(f"loss {row['loss']:.5f} at {row['resolution']}")

        history = table(trainer.run(told))
    return model(trainer.result.eval(), trainer.kept), history


def _digests(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: hashlib.sha256(values.numpy()).hexdigest() for name, values in tensors.items()}


def _mean_loss(law: GaussianLaw, spec: ArmSpec) -> float:
    """The loss of the Gaussian baseline on the finest training grid, ½ E‖η − E_G[η | u_t]‖² over t ~ U(0, 1), in closed form."""
    t = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    return 0.5 * law.residual(t, build_grid(spec, spec.reference_resolution)).mean().item()
