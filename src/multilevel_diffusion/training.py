"""Denoising score matching up a ladder of resolutions.

Minimised over θ, with t ~ U(0, 1), u_0 ~ data, η ~ N(0,Q), u_t = a_t u_0 + b_t η:

    E ½‖(b_t/√α_t) F_θ(u_t, t) + η‖²_{L²} = E ½‖η − E_θ[η | u_t]‖²_{L²}

(Hagemann et al., arXiv 2303.04772, section 3). The gradient is of a multiple of this loss, on which Adam's ε and the coupled
weight decay depend: N_native² times, as in the authors' release, or, for a preconditioned network, so that the loss of the
Gaussian baseline is 1. The loss reported is the L² loss itself.

A run leaves a checkpoint as it goes and, killed and started again, ends with the numbers of an uninterrupted run.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoints import Checkpoint, State
from .denoise import Denoiser
from .errors import UserError
from .grids import Grid, restrict, squared_norm
from .settings import TrainingSettings
from .storage import generator as random_stream
from .storage import part, write_atomically

__all__ = [
    "Batches",
    "Dataset",
    "Epoch",
    "Trainer",
    "Validation",
    "denoising_loss",
    "epochs_of",
    "one_cycle",
    "publish",
]

STATE, SNAPSHOTS, EPOCHS = "training", "snapshots", "epoch_*.safetensors"
"""The name of the state of a run, the folder of its snapshots, and their names."""

DIVERGED = 1000
"""Times ½ E(‖u_0‖² + ‖η‖²), the size of what a network is given, at which its loss is beyond all reason."""

CHUNK = 128
"""Fields that are restricted or validated on together, to bound memory."""

Batches = Callable[[Sequence[Grid], torch.Generator, int], Iterator[Tensor]]
"""(grid of each step, generator, batch size) to the batches of fields u_0 of one epoch."""


def denoising_loss(denoiser: Denoiser, u_0: Tensor, t: Tensor, eta: Tensor, grid: Grid) -> Tensor:
    """½‖η − E[η | u_t]‖²_{L²}, shape (batch,), for fields u_0 and noises η (batch, N, N) and times t (batch,)."""
    return 0.5 * squared_norm(eta - denoiser.predict_noise(denoiser.sde.perturb(u_0, t, eta), t, grid))


class Dataset:
    """Fields to be trained on, restricted to whichever grid.

    Args:
        fields: shape (n, N, N) on `grid`.
    """

    def __init__(self, fields: Tensor, grid: Grid) -> None:
        self.grid, self._on = grid, {grid: fields}

    def on(self, grid: Grid) -> Tensor:
        """The fields on a grid, shape (n, M, M)."""
        if grid not in self._on:
            parts = self._on[self.grid].split(CHUNK)
            self._on[grid] = torch.cat([restrict(part, self.grid, grid) for part in parts])
        return self._on[grid]

    def steps(self, batch_size: int) -> int:
        """Batches in a pass through the data, the last of which may be smaller."""
        return math.ceil(len(self._on[self.grid]) / batch_size)

    def batches(self, grids: Sequence[Grid], generator: torch.Generator, batch_size: int) -> Iterator[Tensor]:
        """A batch on each of the grids from shuffled passes, each field once a pass."""
        count = len(self._on[self.grid])

        def passes() -> Iterator[Tensor]:
            while True:
                yield from torch.randperm(count, generator=generator, device=generator.device).split(batch_size)

        return (self.on(grid)[indices] for grid, indices in zip(grids, passes(), strict=False))


class Validation:
    """The denoising loss on fields that are not trained on, with fixed times and noises, so that epochs compare.

    Args:
        data: the fields.
        grids: those on which the loss is measured.
        draws: times and noises per field, the times one in each of as many equal parts of [0, 1].
        denoiser: gives the prior from which the noises are drawn.
    """

    def __init__(self, data: Dataset, grids: list[Grid], draws: int, denoiser: Denoiser, device: torch.device) -> None:
        self._batches: dict[Grid, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for grid in grids:
            stream = random_stream(0, "validation", grid.resolution, device=device)
            self._batches[grid] = []
            for j in range(draws):
                u_0 = data.on(grid)
                t = (j + torch.rand(len(u_0), generator=stream, device=device)) / draws
                eta = denoiser.prior.sample(len(u_0), grid, stream)
                self._batches[grid] += zip(u_0.split(CHUNK), t.split(CHUNK), eta.split(CHUNK), strict=True)

    @torch.no_grad()
    def losses(self, denoiser: Denoiser) -> dict[int, float]:
        """Resolution to the mean loss."""
        return {
            grid.resolution: torch.cat([denoising_loss(denoiser, *batch, grid) for batch in batches]).mean().item()
            for grid, batches in self._batches.items()
        }


@dataclass(frozen=True)
class Epoch:
    """So many steps on one grid, or on several, after which losses are noted.

    shares: resolution to the probability that a batch is drawn on it.
    """

    resolution: int
    steps: int
    batch_size: int
    learning_rate: float
    shares: Mapping[int, float]


def epochs_of(settings: TrainingSettings, steps_in_pass: Callable[[int], int] | None) -> list[Epoch]:
    """The ladder, epoch by epoch; a level given in steps ends with a shorter epoch if they do not make whole ones.

    Args:
        steps_in_pass: batch size to the steps of a pass through the data, which is an epoch if settings.steps_per_epoch is None.
    """
    epochs = []
    for level in settings.ladder:
        batch_size = level.batch_size or settings.batch_size
        steps = settings.steps_per_epoch or steps_in_pass(batch_size)
        whole, rest = (level.epochs, 0) if level.epochs else divmod(level.steps, steps)
        rate = level.learning_rate or settings.learning_rate
        lengths = [steps] * whole + [rest] * (rest > 0)
        epochs += [Epoch(level.resolution, length, batch_size, rate, level.shares) for length in lengths]
    return epochs


def one_cycle(step: int, steps: int) -> float:
    """The factor of the learning rate at step = 0 … steps − 1: up from 1/25 to 1 in three tenths of the way, then down to 4·10⁻⁶.

    Both along a half wave of the cosine (Smith and Topin 2018, arXiv 1708.07120), as `torch.optim.lr_scheduler.OneCycleLR` with
    steps + 1 steps in all.
    """
    low, last = 1 / 25, 1 / 25e4
    top = 0.3 * (steps + 1) - 1
    start, end, way = (low, 1.0, step / top) if step <= top else (1.0, last, (step - top) / (steps - top))
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * way))


@dataclass(eq=False, repr=False)
class Trainer:
    """Trains the network of a denoiser, one epoch at a time, from the last state in `keep` if there is one.

    network: what is trained. denoiser: makes E_θ[η | u_t] of it. batches: of an epoch. steps_in_pass: batch size to the steps
    of a pass through the data, which is an epoch if settings.steps_per_epoch is None. grid: resolution to grid. loss_scale:
    by which the loss is multiplied for its gradient. generator: the stream of data, times and noise. keep: where states are
    saved, after a step, and snapshots. write_model: (path, network, epoch) to a model file. validate: network to columns of
    the history, validation_N among them for
    N_ref; the epoch of its least value is kept.

    Raises:
        UserError: if the checkpoint is damaged.
    """

    network: nn.Module
    denoiser: Denoiser
    settings: TrainingSettings
    _: KW_ONLY
    batches: Batches
    steps_in_pass: Callable[[int], int] | None
    grid: Callable[[int], Grid]
    loss_scale: float
    generator: torch.Generator
    write_model: Callable[[Path, nn.Module, int], object]
    keep: Checkpoint = field(default_factory=Checkpoint)
    validate: Callable[[nn.Module], dict[str, float]] | None = None

    def __post_init__(self) -> None:
        self.epochs = epochs_of(self.settings, self.steps_in_pass)
        self.steps = sum(epoch.steps for epoch in self.epochs)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), weight_decay=self.settings.weight_decay, fused=True
        )
        averaging = get_ema_multi_avg_fn(self.settings.averaging)
        self.average = AveragedModel(self.network, multi_avg_fn=averaging) if self.settings.averaging else None
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self._begin()
        self._resume()

    @property
    def result(self) -> nn.Module:
        """The network as it is, or its average; at the end of a run that was validated, as in the best epoch."""
        return self.average.module if self.average else self.network

    @property
    def kept(self) -> int:
        """The epoch so far whose network is the result of a run: the last of least validation loss, or else the last."""
        if not self.validate:
            return self.history[-1]["epoch"]
        key = f"validation_{self.settings.ladder[-1].resolution}"
        return min(reversed(self.history), key=lambda row: row[key])["epoch"]

    def run(self, progress: Callable[[dict[str, float]], object] = lambda row: None) -> pd.DataFrame:
        """Train to the end.

        Args:
            progress: called with each epoch's row of the history.

        Returns:
            The history: epoch, resolution, step, loss (mean over the epoch's steps, in squared L² units), learning_rate (of its
            last step) and seconds (of optimisation since the start). The columns of `validate` follow.

        Raises:
            UserError: if the loss is not finite or beyond all reason, see DIVERGED, or the disk is full.
        """
        with self.keep.saving(STATE) as save:
            for number, epoch in enumerate(self.epochs[len(self.history) :], start=len(self.history) + 1):
                row = self._epoch(number, epoch, save)
                if self.validate:
                    self._keep_the_best(row)
                every = self.settings.snapshot_every
                if self.keep.folder and every and (number % every == 0 or number == len(self.epochs)):
                    self.write_model(self.keep.path(f"{SNAPSHOTS}/epoch_{number:04d}"), self.result, number)
                save(self._state)
                progress(row)
        if self.best:
            self.result.load_state_dict(self.best)
        if not all(values.isfinite().all() for values in self.result.state_dict().values()):
            raise UserError("the network is not finite after its last step: lower training.learning_rate")
        return pd.DataFrame(self.history)

    def _keep_the_best(self, row: dict[str, float]) -> None:
        row |= self.validate(self.result)
        if not all(math.isfinite(value) for value in row.values()):
            raise UserError(f"the validation loss is not finite in epoch {row['epoch']}: look for non-finite data")
        if self.kept == row["epoch"]:
            self.best = {name: value.clone() for name, value in self.result.state_dict().items()}

    def _begin(self) -> None:
        """Note where the stream is as an epoch begins, of which nothing is done."""
        self._stream = self.generator.get_state()
        self._done, self._seconds = 0, 0.0
        self._total, self._size = (torch.zeros((), device=self.generator.device) for _ in range(2))

    def _grids(self, epoch: Epoch) -> list[Grid]:
        """The grid of each step."""
        grids = [self.grid(resolution) for resolution in epoch.shares]
        if len(grids) == 1:
            return grids * epoch.steps
        shares = torch.tensor([*epoch.shares.values()], device=self.generator.device)
        return [grids[i] for i in shares.multinomial(epoch.steps, replacement=True, generator=self.generator).tolist()]

    def _epoch(self, number: int, epoch: Epoch, save: Callable[[Callable[[], State]], None]) -> dict[str, float]:
        before = self.history[-1] if self.history else {"step": 0, "seconds": 0.0}
        start, done, grids = time.perf_counter() - self._seconds, self._done, self._grids(epoch)
        batches = self.batches(grids, self.generator, epoch.batch_size)
        for index, (grid, u_0) in enumerate(zip(grids, batches, strict=True)):
            step = before["step"] + index
            rate = epoch.learning_rate * (one_cycle(step, self.steps) if self.settings.schedule == "one-cycle" else 1)
            t = torch.rand(len(u_0), generator=self.generator, device=u_0.device)
            eta = self.denoiser.prior.sample(len(u_0), grid, self.generator)
            if index < done:
                continue  # drawn once more, for the stream
            self.optimizer.param_groups[0]["lr"] = rate
            loss = denoising_loss(self.denoiser, u_0, t, eta, grid).mean()
            self.optimizer.zero_grad()
            (self.loss_scale * loss).backward()
            self.optimizer.step()
            if self.average:
                self.average.update_parameters(self.network)
            self._total += loss.detach()
            self._size += 0.5 * (squared_norm(u_0) + squared_norm(eta)).mean()
            self._done, now = index + 1, time.perf_counter()
            self._seconds = now - start
            save(self._state)
            start += time.perf_counter() - now
        diverged = ~(self._total < DIVERGED * self._size)
        mean = torch.where(diverged, math.inf, self._total).item() / epoch.steps  # read at once: a device is waited for
        if not math.isfinite(mean):
            raise UserError(
                f"the loss is not finite, or beyond all reason, in epoch {number} at resolution {epoch.resolution}: lower "
                f"training.learning_rate (now {epoch.learning_rate}) or look for non-finite data"
            )
        row = {
            "epoch": number,
            "resolution": epoch.resolution,
            "step": before["step"] + epoch.steps,
            "loss": mean,
            "learning_rate": rate,
            "seconds": time.perf_counter() - start + before["seconds"],
        }
        self.history.append(row)
        self._begin()
        return row

    def _modules(self) -> dict[str, nn.Module]:
        return {"network": self.network} | ({"average": self.average} if self.average else {})

    def _state(self) -> State:
        optimizer = self.optimizer.state_dict()
        parts = {name: module.state_dict() for name, module in self._modules().items()} | {"best": self.best}
        parts |= {f"optimizer/{index}": state for index, state in optimizer["state"].items()}
        tensors = {f"{name}/{key}": value for name, values in parts.items() for key, value in values.items()}
        tensors |= {"generator": self._stream, "total": self._total, "size": self._size}
        header = {"history": self.history, "optimizer": optimizer["param_groups"]}
        return tensors, header | {"done": self._done, "seconds": self._seconds}

    def _resume(self) -> None:
        if not (state := self.keep.state(STATE)):
            return
        tensors, header = state
        for name, module in self._modules().items():
            module.load_state_dict(part(tensors, f"{name}/"))
        (group,) = header["optimizer"]
        moments = {index: part(tensors, f"optimizer/{index}/") for index in group["params"]}
        self.optimizer.load_state_dict({"state": moments, "param_groups": [group]})
        self.generator.set_state(tensors["generator"])
        self.history, self.best = header["history"], part(tensors, "best/")
        self._begin()
        self._done, self._seconds = header["done"], header["seconds"]
        self._total, self._size = (tensors[name].to(self.generator.device) for name in ("total", "size"))


def publish(keep: Checkpoint, snapshots: Path) -> None:
    """Copy the snapshots of a run to where they belong, in place of older ones; other files there stay."""
    snapshots.mkdir(parents=True, exist_ok=True)
    new = sorted((keep.folder / SNAPSHOTS).glob(EPOCHS)) if keep.folder else []
    for path in new:
        with write_atomically(snapshots / path.name) as partial:
            shutil.copyfile(path, partial)
    for path in snapshots.glob(EPOCHS):
        if path.name not in {each.name for each in new}:
            path.unlink()
