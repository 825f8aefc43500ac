"""Tables from tables: the tidy metrics of a whole run, and their summary for reading."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .config import ClaimsSettings, QuantitySettings

__all__ = [
    "ALONG_TRAINING_COLUMNS",
    "COLUMNS",
    "CONVERGENCE_COLUMNS",
    "DENSITY_COLUMNS",
    "LADDER_COLUMNS",
    "SCORE_COLUMNS",
    "claims",
    "compare",
    "distances_by_prior",
    "ladder_summary",
    "ladders",
    "sampler_summary",
    "score_error_metrics",
    "summary",
    "tidy",
    "transfer",
]

COLUMNS = [
    "experiment",
    "arm",
    "network",
    "prior",
    "gain",
    "ladder",
    "seed",
    "sampler",
    "steps",
    "resolution",
    "metric",
    "value",
    "stderr",
    "floor",
    "n_samples",
    "n_projections",
]
"""One number a row; what does not apply is empty."""

ALONG_TRAINING_COLUMNS = [*COLUMNS, "epoch"]

CONVERGENCE_COLUMNS = [*COLUMNS, "evaluations"]

DENSITY_COLUMNS = [
    "experiment",
    "arm",
    "network",
    "gain",
    "seed",
    "resolution",
    "drawn_on",
    "trace",
    "steps",
    "probes",
    "field",
    "estimate",
    "start",
    "closed_form",
    "plain",
    "finest",
]

LADDER_COLUMNS = ("experiment", "arm", "ladder", "seed", "epoch", "step", "seconds", "resolution")
"""What `ladders` reads of the histories of training."""

KEYS = ["experiment", "arm", "network", "prior", "gain", "ladder", "seed", "resolution"]
SCORE_COLUMNS = (*KEYS, "epoch", "drawn_on", "relative", "stderr", "n_samples")
"""What `score_error_metrics` reads of the tables of score errors."""

COMPARED = ["experiment", "arm", "network", "prior", "gain", "resolution", "metric"]
"""What names a number in any run."""

LAST_EPOCHS = 10


def tidy(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all tables in the tidy columns, counts as whole numbers."""
    rows = pd.concat(tables, ignore_index=True)[COLUMNS]
    counts = ["seed", "steps", "resolution", "n_samples", "n_projections"]
    return rows.astype(dict.fromkeys(counts, "Int64"))


def score_error_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """The median of the relative score error over the last ten epochs, a row per arm, seed, gain and resolution.

    Its floor is 0; `stderr` is the median of the standard errors of single epochs.
    """
    direct = scores[(scores.drawn_on == scores.resolution) & (scores.epoch > scores.epoch.max() - LAST_EPOCHS)]
    medians = direct.groupby(KEYS, as_index=False).agg(
        value=("relative", "median"), stderr=("stderr", "median"), n_samples=("n_samples", "sum")
    )
    return medians.assign(metric="relative_score_error", floor=0.0).reindex(columns=COLUMNS)


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """A row per metric, arm, field and gain, a column per resolution: mean over seeds ± standard deviation (mean floor).

    With a single seed ± is the standard error of the metric, where it has one.
    """
    return _by_resolution(metrics, ["metric", "experiment", "arm", "network", "prior", "gain"])


def distances_by_prior(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """Table 1: sliced Wasserstein distances, a row per experiment, arm, network, prior and gain, a column per resolution.

    Cells as in `summary`.

    Args:
        experiments: those of the table; the paper leaves out the mixture and the warm start.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.experiment.isin(experiments)]
    return _by_resolution(rows, ["experiment", "arm", "network", "prior", "gain"])


def transfer(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """Sliced Wasserstein distance on each grid over that on the training grid, of the same network.

    A row per experiment, arm, network, prior and gain: mean over seeds ± standard deviation; for a single seed ± the standard
    error over the directions. 1 is a network that does as well on a grid it has never seen.

    Raises:
        ValueError: if no network was sampled both on the grid it was trained on and on another.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.ladder.notna()]
    rows = rows[rows.experiment.isin(experiments)]
    trained_on = rows.ladder.str.split("-").str[-1].astype(int)
    keys = ["experiment", "arm", "seed"]
    start = rows[rows.resolution == trained_on].set_index(keys)[["value", "stderr"]]
    rows = rows[rows.resolution != trained_on].join(start, on=keys, rsuffix="_trained", how="inner")
    if rows.empty:
        raise ValueError("no network is sampled both on the grid it was trained on and on another")
    relative = ((rows.stderr / rows.value) ** 2 + (rows.stderr_trained / rows.value_trained) ** 2) ** 0.5
    ratio = rows.value / rows.value_trained
    rows = rows.assign(value=ratio, stderr=ratio * relative, floor=float("nan"))
    return _by_resolution(rows, ["experiment", "arm", "network", "prior", "gain"])


def ladders(history: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """What ladders cost and save against the arm `baseline`, which is trained on the finest level N alone: one number a row.

    seconds_per_step_M: of a step on level M. seconds: of the whole training. test_loss: on grid N at its end. speedup: the times
    at which the baseline and the arm first come down to the baseline's final test loss (linear between epochs), the first over
    the second. loss_at_equal_time: the arm's loss on grid N over the baseline's, both when the shorter of the two trainings ends.
    gap: how far the loss on grid N is above the baseline's at the same epoch when the level N begins. epochs_to_close: from there
    until it is as low. After its end the baseline keeps its final loss. What does not come to pass within the training is NaN.

    Args:
        history: rows of the histories of an experiment, all arms and seeds, with LADDER_COLUMNS and test_N.
    """
    column = f"test_{history.resolution.max()}"
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
        rows += [
            dict(zip(keys, key, strict=True)) | {"quantity": name, "value": value} for name, value in found.items()
        ]
    return pd.DataFrame(rows)


def ladder_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """A row an arm, a column a quantity of `ladders`: mean over seeds ± standard deviation.

    For the speedup and the loss at equal time the 95 % confidence interval beside it, by Student's t. Runs that do not get there
    are left out: the cell then says of how many seeds the mean is, and an interval would be too short and is not given.
    """

    def cell(group: pd.DataFrame) -> str:
        values, n = group.value.dropna(), len(group)
        if values.empty:
            return "not reached"
        spread = f" ± {values.std():.2g}" if len(values) > 1 else ""
        if group.name[-1] in ("speedup", "loss_at_equal_time") and len(values) == n > 1:
            _, low, high = _interval(values, 0.95)
            spread += f" [{low:.3g}, {high:.3g}]"
        return f"{values.mean():.3g}{spread}" + (f" ({len(values)} of {n} seeds)" if len(values) < n else "")

    keys = ["experiment", "arm", "ladder", "quantity"]
    cells = rows.groupby(keys, sort=False)[["value"]].apply(cell).rename("cell").reset_index()
    table = cells.pivot(index=keys[:-1], columns="quantity", values="cell")
    names = list(dict.fromkeys(rows.quantity))
    costs = sorted(
        (name for name in names if name.startswith("seconds_per_step_")), key=lambda name: int(name.split("_")[-1])
    )
    return table[[*costs, *(name for name in names if name not in costs)]].fillna("–").reset_index()


def compare(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Two tables of metrics side by side: a row per experiment, arm, network, prior, gain, resolution and metric.

    a, b: means over seeds; difference: b − a; stderr: of the difference, from the spread over seeds where there are several, else
    from the metric's own standard error; sigmas: the difference over it, as the normal deviate that is as unlikely: of few seeds
    the quotient has Student's law, with the degrees of freedom of Welch and Satterthwaite. What is in one table only has no
    difference; equal values are 0 sigmas apart, whatever their error, and different ones without any error infinitely many.

    Args:
        a, b: COLUMNS, from runs of whichever preset, sampler, ladder and seeds.
    """
    sides = [_means(table) for table in (a, b)]
    rows = sides[0].join(sides[1], how="outer", lsuffix="_a", rsuffix="_b").reset_index()
    difference, error = rows.mean_b - rows.mean_a, np.hypot(rows.error_a, rows.error_b)
    spread = sum((rows[f"error_{x}"] ** 4 / (rows[f"seeds_{x}"] - 1)).where(rows[f"seeds_{x}"] > 1, 0) for x in "ab")
    sigmas = difference / error
    few = spread > 0
    tail = stats.t.sf(sigmas[few].abs(), error[few] ** 4 / spread[few])
    sigmas[few] = np.sign(sigmas[few]) * stats.norm.isf(tail)
    sigmas = sigmas.where(difference != 0, 0.0).where(difference.notna())
    names = {"mean_a": "a", "mean_b": "b", "seeds_a": "seeds_a", "seeds_b": "seeds_b"}
    return rows[[*COMPARED, *names]].rename(columns=names).assign(difference=difference, stderr=error, sigmas=sigmas)


def claims(settings: ClaimsSettings, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a claim: its quantity over seeds with a confidence interval, its criterion, and the verdict.

    reproduced: the whole interval satisfies the criterion; not reproduced: none of it does; undecided: anything else, and always
    with fewer seeds than settings.seeds or if the quantity did not come to pass in one of them; not measured: no such row.
    reached: in how many seeds it came to pass.

    Args:
        tables: name to rows, as `QuantitySettings.table` names them.

    Raises:
        ValueError: if a claim names a column that its table lacks, or picks several rows of a seed.
    """
    rows = []
    for name, claim in settings.each:
        try:
            values = _quantity(claim.quantity, tables[claim.quantity.table])
        except ValueError as error:
            raise ValueError(f"claim {name}: {error}") from None
        mean, low, high = _interval(values, settings.confidence)
        bound, sign = (claim.at_most, 1) if claim.at_least is None else (claim.at_least, -1)
        verdict = "undecided" if len(values) else "not measured"
        if len(values) >= settings.seeds and values.notna().all():
            ends = sorted((sign * low, sign * high))
            verdict = (
                "reproduced" if ends[1] <= sign * bound else "not reproduced" if ends[0] > sign * bound else verdict
            )
        rows.append(
            {
                "claim": name,
                "figure": claim.figure,
                "statement": claim.statement,
                "quantity": _words(claim.quantity),
                "value": mean,
                "low": low,
                "high": high,
                "criterion": f"{'≤' if sign > 0 else '≥'} {bound:g}",
                "verdict": verdict,
                "seeds": len(values),
                "reached": values.count(),
            }
        )
    return pd.DataFrame(rows)


def _quantity(quantity: QuantitySettings, table: pd.DataFrame) -> pd.Series:
    """The quantity by seed, of the seeds that have the rows; NaN where it did not come to pass."""
    over, column = dict(quantity.over or {}), "value"
    above = _pick(table, quantity.of, column)
    if quantity.over is None:
        return above
    column = str(over.pop("column", column))
    above, below = above.align(_pick(table, {**quantity.of, **over}, column), join="inner")
    return above / below


def _pick(table: pd.DataFrame, row: Mapping[str, str | int], column: str) -> pd.Series:
    if missing := [name for name in (*row, column) if name not in table]:
        raise ValueError(f"its table has no column {', '.join(missing)}")
    picked = table[np.logical_and.reduce([table[name] == value for name, value in row.items()])].set_index("seed")[
        column
    ]
    if picked.index.has_duplicates:
        raise ValueError(f"{row} picks several rows of a seed; name more columns")
    return picked


def _interval(values: pd.Series, confidence: float) -> tuple[float, float, float]:
    """Mean and confidence interval of the mean by Student's t, NaN where there are too few values or one is NaN."""
    if len(values) < 2 or values.hasnans:
        return values.mean(), float("nan"), float("nan")
    half = stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std() / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half


def _words(quantity: QuantitySettings) -> str:
    of = ", ".join(str(value) for value in quantity.of.values())
    over = "" if quantity.over is None else f" over {', '.join(str(value) for value in quantity.over.values())}"
    return of + over


def _means(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds, its standard error and the number of seeds, by COMPARED."""
    filled = metrics.fillna({"gain": "–"})
    groups = filled.groupby(COMPARED)
    seeds = groups.value.count()
    error = (groups.value.std() / seeds**0.5).where(seeds > 1, groups.stderr.mean())
    return pd.DataFrame({"mean": groups.value.mean(), "error": error, "seeds": seeds})


def _time_of(run: pd.DataFrame, column: str, loss: float) -> float:
    """When the loss first comes down to this."""
    reached = np.flatnonzero(run[column] <= loss)
    if not len(reached):
        return float("nan")
    i = reached[0]
    if i == 0:
        return run.seconds.iloc[0]
    (before, after), (start, end) = (run[name].iloc[i - 1 : i + 1] for name in (column, "seconds"))
    return start + (end - start) * (before - loss) / (before - after)


def _by_resolution(metrics: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    def cell(rows: pd.DataFrame) -> str:
        error = rows.value.std() if len(rows) > 1 else rows.stderr.iloc[0]
        spread = f" ± {error:.2g}" if error else ""
        floor = f" ({rows.floor.mean():.3g})" if rows.floor.notna().any() else ""
        return f"{rows.value.mean():.4g}{spread}{floor}"

    filled = metrics.fillna({"gain": "–"})
    cells = filled.groupby([*keys, "resolution"])[["value", "stderr", "floor"]].apply(cell).rename("cell").reset_index()
    return cells.pivot(index=keys, columns="resolution", values="cell").fillna("–").reset_index()


def sampler_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """From how many evaluations on a sampler stays as near the truth as Euler–Maruyama with the most of them: a / b in a cell.

    a: within two standard errors of the difference, that is √2 times the Monte Carlo error of a set of samples over the root of
    the number of seeds; b: within 1.5 times its distance; – is never. A row a field and sampler, a column a metric and grid;
    distances are means over seeds. The samplers share their initial noise, so that the ODE samplers err together.

    Args:
        rows: CONVERGENCE_COLUMNS, as `mld convergence` writes them.
    """
    rows = rows.assign(field=rows.network.where(rows.gain.isna(), rows.network + ", " + rows.gain.astype(str)))
    keys = ["arm", "field", "metric", "resolution"]
    means = rows.groupby([*keys, "sampler", "evaluations"], as_index=False).agg(
        value=("value", "mean"), stderr=("stderr", "mean"), floor=("floor", "mean"), seeds=("seed", "nunique")
    )
    cells = []
    for (arm, field, metric, resolution), group in means.groupby(keys):
        paper = group[group.sampler == "euler-maruyama"]
        reference = paper.loc[paper.evaluations.idxmax()]
        error = reference.stderr / reference.seeds**0.5
        row = {"arm": arm, "field": field, "column": f"{metric}, {resolution}"}
        for sampler, curve in group.groupby("sampler"):
            reached = [
                _from_then_on(curve, bound) for bound in (reference.value + 2 * 2**0.5 * error, 1.5 * reference.value)
            ]
            cells.append(row | {"sampler": sampler, "cell": " / ".join(reached)})
        name = f"distance of euler-maruyama at {int(reference.evaluations)} ± error (floor)"
        text = f"{reference.value:.4f} ± {error:.4f} ({reference.floor:.4f})"
        cells.append(row | {"sampler": name, "cell": text})
    table = pd.DataFrame(cells).pivot(index=["arm", "field", "sampler"], columns="column", values="cell")
    return table.fillna("–").reset_index()


def _from_then_on(curve: pd.DataFrame, bound: float) -> str:
    """The fewest evaluations from which on the value stays within the bound."""
    falling = curve.sort_values("evaluations", ascending=False)
    within = falling[(falling.value <= bound).cummin()]
    return "–" if within.empty else str(int(within.evaluations.min()))
