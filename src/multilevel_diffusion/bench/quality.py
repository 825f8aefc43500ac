"""Time to quality: how long arms of a mixture, whose score is known, are trained until their score error is small enough."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from ..checkpoints import Checkpoint
from ..models import Model
from ..settings import ArmSpec
from ..stages.gaussian import gaussian
from ..stages.score_error import score_error
from ..stages.train import train


def quality(
    specs: Sequence[ArmSpec], errors: Sequence[float], samples: int, seed: int, advance: Callable[[], object]
) -> pd.DataFrame:
    """Train each arm to the end and find when its score error, E‖F_θ − F‖² / E‖F‖² in per cent, came down to each of `errors`.

    The error is measured as `stages.score_error` does, on `samples` fresh fields at N_ref after each snapshot; that time does not
    count. Seconds are of optimisation and, for a preconditioned network, of the estimate of its Gaussian fit. `advance()` is
    called after each arm.

    Returns:
        One row per error and arm: seconds and steps until then, NaN where it is never reached. It also has how many times as fast
        as the first arm this is, and the error at the end.

    Raises a UserError if an arm is not of a mixture.
    """
    along = {spec.name: _along(spec, samples, seed, advance) for spec in specs}
    rows = []
    for error in errors:
        reached = {name: history[history.error <= error].head(1) for name, history in along.items()}
        table = pd.DataFrame({name: first[["seconds", "step"]].min() for name, first in reached.items()}).T
        table["times as fast"] = table.seconds.iloc[0] / table.seconds
        table["error at the end (%)"] = [history.error.iloc[-1] for history in along.values()]
        rows.append(table)
    return pd.concat(dict(zip(errors, rows, strict=True)), names=["score error (%)", "arm"]).reset_index()


def _along(spec: ArmSpec, samples: int, seed: int, advance: Callable[[], object]) -> pd.DataFrame:
    """The history of a training with `error`, the score error in per cent, one row per snapshot."""
    start, error = time.perf_counter(), {}
    law = gaussian(spec) if spec.network.has_law else None
    before = time.perf_counter() - start

    def note(path: Path, model: Model) -> None:
        how: dict[str, Any] = {"batches": 1, "batch_size": samples, "gains": [spec.gain]}
        rows = score_error([model], resolutions=[spec.reference_resolution], **how)
        error[model.epoch] = 100 * rows.relative.iloc[0]

    with TemporaryDirectory() as folder:  # snapshots are only taken where there is one
        history = train(spec, seed, law=law, keep=Checkpoint(Path(folder)), write=note)[1].set_index("epoch")
    advance()
    return history.assign(seconds=history.seconds + before, error=pd.Series(error)).dropna(subset="error")
