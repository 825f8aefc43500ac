"""Distance of samples to the test set at every snapshot of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd
import torch

from ..columns import ALONG_TRAINING_COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..metrics import Reference
from ..metrics import projections as directions_on
from ..models import Model
from ..settings import Gain, SamplerBase, distinct_gains
from ..storage import generator


def along_training(
    models: Iterable[Model],
    test: FieldSets,
    *,
    samples: int,
    steps: int,
    projections: int,
    gains: Sequence[Gain],
    sampler: SamplerBase,
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
        UserError: if there are too few test fields, or they are of another law or grid than a model was trained on; and as
            `Model.sample`.
    """
    resolution = test.grid.resolution
    if samples > (available := len(test.fields["floor"])):
        raise UserError(f"{samples} samples, but there are only {available} test fields; draw fewer")
    drawing = {"resolution": resolution, "sampler": sampler, "steps": steps}
    directions = directions_on(resolution, projections, generator(0, "projections", resolution))
    reference, rows = Reference(test.fields["reference"].numpy(), directions), []
    floor = reference.sliced_wasserstein(test.fields["floor"][:samples].numpy()).value
    measured = {"metric": "sliced_wasserstein", "floor": floor, "n_samples": samples, "n_projections": projections}
    for model in models:
        spec, run = model.settings, {"seed": model.seed, "stage": "along-training", "dtype": torch.float64}
        if (model.target, spec.grid) != (test.target, test.geometry):
            raise UserError(f"{spec.name}: not the data that it was trained on, on another grid of the same kind")
        for gain in distinct_gains(gains, resolution, spec.reference_resolution):
            fields = model.sample(samples, gain=gain, **drawing, **run)
            distance = reference.sliced_wasserstein(fields.cpu().numpy())
            about = {"gain": gain, "seed": model.seed, "epoch": model.epoch, "sampler": str(sampler), "steps": steps}
            about["resolution"] = resolution
            rows.append(tidy_row(spec.labels, ALONG_TRAINING_COLUMNS, **about, **measured, **asdict(distance)))
    return pd.DataFrame(rows, columns=ALONG_TRAINING_COLUMNS)
