"""Time to quality: for how long arms of a mixture, whose score is known, are trained until theirs is so near to it."""

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
    specs: Sequence[ArmSpec], skills: Sequence[float], samples: int, seed: int, advance: Callable[[], object]
) -> pd.DataFrame:
    """Train each arm to the end and find when its score first had each skill, 1 − E‖F_θ − F‖² / E‖F‖².

    The skill is measured as `stages.score_error` does, on `samples` fresh fields at N_ref after each snapshot; that time does not
    count. Seconds are of optimisation and, where the network has a Gaussian, of its estimate. `advance()` is called
    after each arm.

    Returns:
        One row per skill and arm: seconds and steps until then, NaN where it is never had. It also has how many times as fast as
        the first arm this is, and the skill at the end.

    Raises a UserError if an arm is not of a mixture.
    """
    along = {spec.name: _along(spec, samples, seed, advance) for spec in specs}
    rows = []
    for skill in skills:
        reached = {name: history[history.skill >= skill].head(1) for name, history in along.items()}
        table = pd.DataFrame({name: first[["seconds", "step"]].min() for name, first in reached.items()}).T
        table["times as fast"] = table.seconds.iloc[0] / table.seconds
        table["skill at the end"] = [history.skill.iloc[-1] for history in along.values()]
        rows.append(table)
    return pd.concat(dict(zip(skills, rows, strict=True)), names=["skill", "arm"]).reset_index()


def _along(spec: ArmSpec, samples: int, seed: int, advance: Callable[[], object]) -> pd.DataFrame:
    """The history of a training with `skill`, one row per snapshot."""
    start, skill = time.perf_counter(), {}
    law = gaussian(spec) if spec.network.has_law else None
    before = time.perf_counter() - start

    def note(path: Path, model: Model) -> None:
        how: dict[str, Any] = {"batches": 1, "batch_size": samples, "gains": [spec.gain]}
        rows = score_error([model], resolutions=[spec.reference_resolution], **how)
        skill[model.epoch] = 1 - rows.relative.iloc[0]

    with TemporaryDirectory() as folder:  # snapshots are only taken where there is one
        history = train(spec, seed, law=law, keep=Checkpoint(Path(folder)), write=note)[1].set_index("epoch")
    advance()
    return history.assign(seconds=history.seconds + before, skill=pd.Series(skill)).dropna(subset="skill")
