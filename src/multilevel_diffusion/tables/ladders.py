"""What ladders of training levels cost and save."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..columns import LADDER_COLUMNS
from ..errors import UserError
from .estimates import Quantity

__all__ = ["ladder_summary", "ladders"]


def ladders(history: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """What ladders cost and save against the arm `baseline`, which is trained on the finest level N alone: one number per row.

    seconds_per_step_M: of a step on level M. seconds: of the whole training. test_loss: on grid N at its end. speedup: the times
    at which the baseline and the arm first come down to the baseline's final test loss (linear between epochs), the first over
    the second. loss_at_equal_time: the arm's loss on grid N over the baseline's, both when the shorter of the two trainings ends.
    gap: how far the loss on grid N is above the baseline's at the same epoch when the level N begins. epochs_to_close: from there
    until it is as low. After its end the baseline keeps its final loss. What does not come to pass within the training is NaN.

    Args:
        history: rows of the histories of an experiment, all arms and seeds, with HISTORY_COLUMNS and test_N; what is not
            trained, as the Gaussian baseline, has no row.

    Raises:
        UserError: if the baseline lacks a seed that another arm has.
    """
    column, history = f"test_{history.resolution.max()}", history[history.step > 0]
    seeds = {arm: set(rows.seed) for arm, rows in history.groupby("arm")}
    if missing := set().union(*seeds.values()) - seeds.get(baseline, set()):
        raise UserError(
            f"--baseline: no history of '{baseline}' for seeds {sorted(missing)}; the arms are {', '.join(seeds)}"
        )
    keys = ["experiment", "arm", "ladder", "seed"]
    runs = {key: run.sort_values("epoch") for key, run in history.groupby(keys, sort=False)}
    baselines = {seed: run for (_, arm, _, seed), run in runs.items() if arm == baseline}
    rows = []
    for key, run in runs.items():
        steps, seconds = (run[name].diff().fillna(run[name].iloc[0]) for name in ("step", "seconds"))
        costs = seconds.groupby(run.resolution).sum() / steps.groupby(run.resolution).sum()
        found = {f"seconds_per_step_{level}": cost for level, cost in costs.items()}
        found |= {"seconds": run.seconds.iloc[-1], "test_loss": run[column].iloc[-1]}
        if (arm := key[1]) != baseline:
            cold = baselines[key[3]]
            goal = cold[column].iloc[-1]
            found["speedup"] = _time_of(cold, column, goal) / _time_of(run, column, goal)
            end = min(each.seconds.iloc[-1] for each in (run, cold))
            ours, theirs = (np.interp(end, each.seconds, each[column]) for each in (run, cold))
            found["loss_at_equal_time"] = ours / theirs
        coarse = run[run.resolution < run.resolution.max()]
        if arm != baseline and len(coarse):
            losses = run.set_index("epoch")[column]
            gaps = losses - cold.set_index("epoch")[column].reindex(losses.index, method="ffill")
            change = int(coarse.epoch.max())
            closed = gaps.index[(gaps.index > change) & (gaps <= 0)]
            found |= {"gap": gaps[change], "epochs_to_close": closed.min() - change if len(closed) else float("nan")}
        rows += [(*key, name, value) for name, value in found.items()]
    return pd.DataFrame(rows, columns=LADDER_COLUMNS)


def ladder_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, one column per quantity of `ladders`: mean over seeds ± standard deviation.

    For the speedup and the loss at equal time the 95 % confidence interval beside it, by Student's t. Runs that do not get there
    are left out: the cell then says of how many seeds the mean is, and an interval would be too short and is not given.
    """

    def cell(group: pd.DataFrame) -> str:
        values, n = group.value.dropna(), len(group)
        if values.empty:
            return "not reached"
        spread = f" ± {values.std():.2g}" if len(values) > 1 else ""
        if group.name[-1] in ("speedup", "loss_at_equal_time") and len(values) == n > 1:
            _, low, high = Quantity(values).interval(0.95)
            spread += f" [{low:.3g}, {high:.3g}]"
        return f"{values.mean():.3g}{spread}" + (f" ({len(values)} of {n} seeds)" if len(values) < n else "")

    keys = ["experiment", "arm", "ladder", "quantity"]
    cells = rows.groupby(keys, sort=False)[["value"]].apply(cell).rename("cell").reset_index()
    table = cells.pivot(index=keys[:-1], columns="quantity", values="cell")
    costs = sorted(
        (name for name in table if name.startswith("seconds_per_step_")), key=lambda name: int(name.split("_")[-1])
    )
    others = [name for name in rows.quantity.unique() if name not in costs]
    return table[[*costs, *others]].fillna("–").reset_index()


def _time_of(run: pd.DataFrame, column: str, loss: float) -> float:
    """When the loss first comes down to this."""
    reached = np.flatnonzero(run[column] <= loss)
    if not len(reached):
        return float("nan")
    if (i := reached[0]) == 0:
        return run.seconds.iloc[0]
    (before, after), (start, end) = (run[name].iloc[i - 1 : i + 1] for name in (column, "seconds"))
    return start + (end - start) * (before - loss) / (before - after)
