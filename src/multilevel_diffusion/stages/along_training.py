"""Distance of samples to the test set at every snapshot of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from ..columns import ALONG_TRAINING_COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..metrics import Reference
from ..metrics import projections as directions_on
from ..models import Model, build_grid, default_device, draw
from ..settings import Gain, SamplerBase, distinct_gains, parse_sampler
from ..storage import generator

__all__ = ["along_training"]


def along_training(
    models: Iterable[Model],
    test: FieldSets,
    *,
    samples: int,
    steps: int,
    projections: int,
    gains: Sequence[Gain] = (Gain.VALUES,),
    sampler: str | Mapping[str, Any] | SamplerBase = "euler-maruyama",
    device: torch.device | str | None = None,
) -> pd.DataFrame:
    """Sliced Wasserstein distance of samples of every model to the test set, see `metrics.Reference.sliced_wasserstein`.

    All models sample from the same noise, that of the seed of their training.

    Args:
        models: snapshots, which are taken one after another.
        test: `reference` and `floor`, at the resolution of the samples.
        samples: fields drawn of each model, no more than `floor` has.

    Returns:
        A row a model and gain, one where gains agree, of ALONG_TRAINING_COLUMNS. value, stderr and floor, the distance of as many
        other test fields, are in units of the fields; epoch is that of the model.

    Raises:
        UserError: if there are too few test fields, or they are of another law or grid than a model was trained on; if the fields
            stop being finite, or memory does not suffice.
    """
    on = torch.device(device) if device else default_device()
    chosen = sampler if isinstance(sampler, SamplerBase) else parse_sampler(sampler, "sampler")
    if samples > len(test.fields["floor"]):
        raise UserError(f"{samples} samples, but there are only {len(test.fields['floor'])} test fields; draw fewer")
    resolution = test.grid.resolution
    directions = directions_on(resolution, projections, generator(0, "projections", resolution))
    reference, rows = Reference(test.fields["reference"].numpy(), directions), []
    floor = reference.sliced_wasserstein(test.fields["floor"][:samples].numpy())
    for model in models:
        spec, seed, key = model.settings, model.seed, (model.settings.experiment, model.settings.arm, resolution)
        if (model.target, spec.grid) != (test.target, test.geometry):
            raise UserError(f"{spec.name}: not the data that it was trained on, on another grid of the same kind")
        for gain in distinct_gains(gains, resolution, spec.reference_resolution):
            drawn = draw(
                chosen,
                model.to(on).denoiser(gain),
                samples,
                build_grid(spec, resolution),
                steps,
                lambda block, seed=seed, key=key: generator(seed, "along-training", *key, block, device=on),
                f"{spec.name}, epoch {model.epoch}",
            )
            distance = reference.sliced_wasserstein(drawn.cpu().numpy())
            rows.append(
                tidy_row(
                    spec.labels,
                    ALONG_TRAINING_COLUMNS,
                    gain=gain,
                    seed=seed,
                    sampler=str(chosen),
                    steps=steps,
                    resolution=resolution,
                    metric="sliced_wasserstein",
                    value=distance.value,
                    stderr=distance.stderr,
                    floor=floor.value,
                    n_samples=samples,
                    n_projections=projections,
                    epoch=model.epoch,
                )
            )
    return pd.DataFrame(rows, columns=ALONG_TRAINING_COLUMNS)
