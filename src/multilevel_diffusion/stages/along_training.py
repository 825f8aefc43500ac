"""Distance of samples to the test set at every snapshot of a training."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pandas as pd
import torch

from ..checkpoints import Checkpoint
from ..columns import ALONG_TRAINING_COLUMNS, tidy_row
from ..data.sets import FieldSets
from ..errors import UserError
from ..metrics import Reference, floors
from ..metrics import projections as directions_on
from ..models import Model
from ..settings import Gain, SamplerBase, Start, distinct_gains
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
    start: Start = Start.PRIOR,
    keep: Checkpoint | None = None,
) -> pd.DataFrame:
    """Sliced Wasserstein distance of samples of every model to the test set, see `metrics.Reference.sliced_wasserstein`.

    All models sample from the same noise, drawn by the seed of their training.

    Args:
        test: `reference` and `floor`, at the resolution of the samples.
        samples: fields drawn of each model, no more than `floor` has.
        start: where at t = 1 they start, see `Model.sample`.
        keep: where what is done is kept.

    Returns:
        One row per model and gain, one where gains agree, of ALONG_TRAINING_COLUMNS. value, stderr and floor, the distance of as
        many other test fields (`metrics.floors`), are in units of the fields; epoch is the epoch of the model.

    Raises a UserError if there are too few test fields, or they are of another law or grid than a model was trained on.
    """
    resolution = test.grid.resolution
    if samples > (available := len(test.fields["floor"])):
        raise UserError(f"{samples} samples, but there are only {available} test fields; draw fewer")
    keep, drawing = keep or Checkpoint(), {"resolution": resolution, "sampler": sampler, "steps": steps, "start": start}
    directions = directions_on(resolution, projections, generator(0, "projections", resolution))
    reference, rows = Reference(test.fields["reference"].numpy(), directions), []
    found, disjoint = floors(
        lambda x: {"floor": reference.sliced_wasserstein(x)}, test.fields["floor"].numpy(), samples
    )
    measured = {"metric": "sliced_wasserstein", "floor": found["floor"].value, "floor_stderr": found["floor"].stderr}
    measured |= {"floor_sets": disjoint, "scale": reference.deviation}
    measured |= {"n_samples": samples, "n_projections": projections}
    for model in models:
        spec, run = model.settings, {"seed": model.seed, "stage": "along-training", "dtype": torch.float64}
        if (model.target, spec.grid) != (test.target, test.geometry):
            raise UserError(f"{spec.name}: not the data that it was trained on, on another grid of the same kind")
        for gain in distinct_gains(gains, resolution, spec.reference_resolution):
            fields = model.sample(samples, gain=gain, keep=keep.at(f"{model.epoch}-{gain}"), **drawing, **run)
            distance = reference.sliced_wasserstein(fields.cpu().numpy())
            about = {"gain": gain, "seed": model.seed, "epoch": model.epoch, "sampler": str(sampler), "steps": steps}
            about["resolution"] = resolution
            rows.append(tidy_row(spec.labels, ALONG_TRAINING_COLUMNS, **about, **measured, **asdict(distance)))
    return pd.DataFrame(rows, columns=ALONG_TRAINING_COLUMNS)
