"""Samples of a model or of the exact score on several grids, and files of them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..builders import build, build_grid
from ..checkpoints import Checkpoint
from ..data.checks import SamplesHeader, check_samples
from ..errors import UserError
from ..gaussian import GaussianLaw
from ..models import ExactModel, Model
from ..observations import Observations
from ..sample import BLOCK
from ..settings import ArmSpec, Gain, MethodBase, SamplerBase, Start, TargetSpec, distinct_gains
from ..storage import read_tensors, write_tensors
from . import Progress, quiet


@dataclass(frozen=True)
class Samples:
    """Fields of one source on one grid under one gain.

    fields: shape (n, N, N), float32. settings: of the arm; of the exact score what the mixture depends on. target: the law of
    the data.
    gain: None of the exact score. evaluations: of the denoiser, for each field. epoch: of the network. source: what the fields
    are called in messages.
    """

    fields: Tensor
    settings: ArmSpec | TargetSpec
    target: dict[str, Any]
    gain: Gain | None
    seed: int
    sampler: str
    steps: int
    evaluations: int
    epoch: int | None
    source: str = "samples"

    @property
    def resolution(self) -> int:
        """N, points per side."""
        return self.fields.shape[-1]

    @property
    def name(self) -> str:
        """The gain, or "exact", and the resolution: as the files of `mld sample` are called."""
        return f"{self.gain or 'exact'}-{self.resolution}"


def sample(
    source: Model | ExactModel,
    n: int,
    *,
    resolutions: Sequence[int],
    steps: int,
    seed: int,
    gains: Sequence[Gain] | None = None,
    sampler: SamplerBase,
    start: Start = Start.PRIOR,
    keep: Checkpoint | None = None,
    observations: Observations | None = None,
    method: MethodBase | None = None,
    law: GaussianLaw | None = None,
    there: Callable[[str], bool] = lambda name: False,
    progress: Progress = quiet,
) -> Iterator[Samples]:
    """`n` fields on each grid under each gain, once where gains agree and once of an exact score; see `Model.sample`.

    Args:
        keep: where what is done is kept.
        observations: given which they are drawn, as in `Model.sample`.
        method: by which they are conditioned.
        law: the Gaussian fit whose covariances the method uses.
        there: `Samples.name` to whether these are there, and need not be drawn.

    Yields:
        One after another, as they are drawn.

    Raises a UserError as `Model.sample`, and before anything is drawn if the network does not take a resolution.
    """
    settings, learned = source.settings, isinstance(source, Model)
    for resolution in resolutions:
        build_grid(settings, resolution)
    evaluations = build(sampler, source.denoiser()).evaluations(steps)
    if gains and not learned:
        raise UserError("gain: the exact score has none; leave it out")
    if gains and Gain.COEFFICIENTS in gains and settings.network.has_law:
        raise UserError("gain: this network sees fields of one scale on every grid; leave it out")
    given = gains or (settings.gain,) if learned else ()
    keep = keep or Checkpoint()
    for resolution in dict.fromkeys(resolutions):
        for gain in distinct_gains(given, resolution, settings.reference_resolution) if learned else (None,):
            if there(name := f"{gain or 'exact'}-{resolution}"):
                continue
            with progress(steps * math.ceil(n / BLOCK), f"sample {source.name} at {resolution}") as advance:
                options = {"observations": observations, "method": method, "law": law} if observations else {}
                options |= {"gain": gain, "start": start, "progress": advance, "keep": keep.at(name)}
                fields = source.sample(n, resolution=resolution, steps=steps, seed=seed, sampler=sampler, **options)
            how = f"{sampler} given observations, {method}" if observations else str(sampler)
            yield Samples(fields, settings, source.target, gain, seed, how, steps, evaluations, source.epoch)


def write_samples(path: Path, samples: Samples, facts: Mapping[str, Any]) -> None:
    """Write a file of samples, with `facts` as its provenance. Raises as `write_tensors`."""
    learned = isinstance(samples.settings, ArmSpec)
    said = {"spec": samples.settings.model_dump(mode="json") if learned else None}
    said |= {"field": "learned" if learned else "exact", "provenance": dict(facts)}
    header = {key: said[key] if key in said else getattr(samples, key) for key in SamplesHeader.model_fields}
    write_tensors(path, {"samples": samples.fields}, header)


def made_by(path: Path) -> str | None:
    """The identity of the command that drew the samples in a file; None if there is no such file or it says nothing of it."""
    try:
        return read_tensors(path, need=("samples",))[1]["provenance"].get("identity")
    except (UserError, KeyError):
        return None


def read_samples(path: Path) -> Samples:
    """The samples in a file. Raises a UserError if it is missing, damaged or not of samples, or these are not finite."""
    tensors, header = read_tensors(path, need=("samples",))
    known = check_samples(path, tensors, header)
    about = {key: getattr(known, key) for key in ("gain", "seed", "sampler", "steps", "evaluations", "epoch")}
    return Samples(tensors["samples"], known.spec or known.target, header["target"], **about, source=str(path))
