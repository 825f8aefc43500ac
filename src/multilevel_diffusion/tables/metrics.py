"""The tidy metrics of a whole run, and their summaries for reading."""

from collections.abc import Callable, Collection, Sequence

import pandas as pd

from ..columns import COLUMNS, COUNTS, HISTORY_COLUMNS, finest, skill_resolutions
from ..errors import UserError
from .estimates import debiased

ARMS = ["experiment", "arm", "network", "prior", "gain"]
"""What names a row of a summary."""
LAST_EPOCHS = 10


def tidy(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all tables in the tidy columns, counts as whole numbers."""
    rows = pd.concat(tables, ignore_index=True)[COLUMNS]
    return rows.astype({name: "Int64" for name in COUNTS if name in rows})


def score_error_metrics(scores: pd.DataFrame) -> pd.DataFrame:
    """The median relative score error of the last ten epochs of a training, and skill there: one row per arm, seed, gain and
    grid.

    The floor of the error is 0, and `stderr` the median of the standard errors of single epochs. Skill is 1 − Σ L / Σ L_G over
    these epochs, where the Gaussian baseline was measured; see `skill_metrics`.
    """
    last = scores.groupby(["experiment", "arm", "ladder", "seed"]).epoch.transform("max")
    direct = scores[(scores.drawn_on == scores.resolution) & (scores.epoch > last - LAST_EPOCHS)]
    groups = direct.groupby([*ARMS, "ladder", "seed", "resolution"])
    errors = groups.agg(value=("relative", "median"), stderr=("stderr", "median"), n_samples=("n_samples", "sum"))
    sums = groups[["loss", "gaussian_loss"]].sum(min_count=1)
    skills = (1 - sums.loss / sums.gaussian_loss).dropna().to_frame("value")
    both = [errors.assign(metric="relative_score_error"), skills.assign(metric="skill")]
    exact = {"floor": 0.0, "floor_stderr": 0.0, "scale": 1.0}
    return pd.concat([rows.reset_index() for rows in both]).assign(**exact).reindex(columns=COLUMNS)


def skill_metrics(histories: pd.DataFrame) -> pd.DataFrame:
    """Skill on validation fields, 1 − L / L_G with L_G the loss of the Gaussian baseline: one row per training and resolution.

    The skill is of the network that is kept: of the last epoch of least validation loss on the grid where the ladder ends. Its
    floor is 0, the skill of the baseline. Its standard error is not known from one training, and is empty: `compare` needs
    several seeds per side.

    Args:
        histories: HISTORY_COLUMNS and skill_N, validation_N for some resolutions N, as `mld train` writes them; those without
            validation have no row.

    Raises a UserError if none has a skill, or one has a skill and no validation loss where its ladder ends.
    """
    skills, kept = [f"skill_{n}" for n in skill_resolutions(histories)], []
    histories = histories.dropna(subset=skills, how="all")
    for ladder, runs in histories.groupby("ladder"):
        column = f"validation_{finest(ladder)}"
        if column not in runs or runs[column].isna().any():
            raise UserError(f"--history: no {column} of arms on the ladder {ladder}, beside their skill; train again")
        least = runs.iloc[::-1].groupby(["experiment", "arm", "seed"])[column].idxmin()
        kept.append(histories.loc[least])
    rows = pd.concat(kept).melt(HISTORY_COLUMNS, skills, "of")
    rows = rows.dropna(subset="value").assign(metric="skill", floor=0.0, floor_stderr=0.0, scale=1.0)
    return rows.assign(resolution=rows.of.str.removeprefix("skill_").astype(int)).reindex(columns=COLUMNS)


def summary(metrics: pd.DataFrame) -> pd.DataFrame:
    """One row per experiment, metric, arm, field and gain, one column per resolution: mean over seeds ± deviation (mean floor).

    ± is the standard deviation over seeds; of a single one the standard error of the metric, where it has one.
    """
    return _by_resolution(metrics, [ARMS[0], "metric", *ARMS[1:]])


def distances_by_prior(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """Sliced Wasserstein distances to the test set, one row per arm and gain, one column per resolution.

    A cell has the mean over seeds; then the distance without its floor, in standard deviations of the data
    (`estimates.debiased`), and its 95 % confidence interval. The interval of a single seed is of samples and floor alone.

    Raises a UserError if there are none of an experiment.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.experiment.isin(experiments)]
    if missing := {*experiments} - {*rows.experiment}:
        raise UserError(f"METRICS: no sliced Wasserstein distances of {', '.join(sorted(missing))}")

    def cell(group: pd.DataFrame) -> str:
        return f"{group.value.mean():.3g}; {_debiased(group)}"

    return _cells(rows, ARMS, cell)


def transfer(metrics: pd.DataFrame, experiments: Collection[str]) -> pd.DataFrame:
    """How much farther from the test set the same network is on each grid than on the training grid.

    One row per experiment, arm, network, prior and gain, one column per resolution. A cell has the difference of sliced
    Wasserstein distances without their floors, in standard deviations of the data, and its interval, as in
    `distances_by_prior`. 0 is a network that does as well on a grid it has never seen.

    Raises a UserError if no network was sampled both on the grid it was trained on and on another.
    """
    rows = metrics[(metrics.metric == "sliced_wasserstein") & metrics.experiment.isin(experiments)]
    rows = rows[rows.ladder.notna()]
    trained_on = rows.resolution == rows.ladder.map(finest)
    keys = ["experiment", "arm", "seed"]
    start = rows[trained_on].set_index(keys)
    rows = rows[~trained_on & pd.MultiIndex.from_frame(rows[keys]).isin(start.index)]
    if rows.empty:
        raise UserError(f"METRICS: no network is sampled on its own grid and another in {', '.join(experiments)}")

    def cell(group: pd.DataFrame) -> str:
        return _debiased(group, start.loc[pd.MultiIndex.from_frame(group[keys])])

    return _cells(rows, ARMS, cell)


def _debiased(rows: pd.DataFrame, less: pd.DataFrame | None = None) -> str:
    below = None if less is None else less.set_axis(rows.index)
    value, low, high = debiased(rows, "sliced_wasserstein", below).interval(0.95, samples=True)
    return f"{value:.2g} [{low:.2g}, {high:.2g}]"


def _by_resolution(metrics: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    def cell(rows: pd.DataFrame) -> str:
        error = rows.value.std() if len(rows) > 1 else rows.stderr.iloc[0]
        spread = f" ± {error:.2g}" if error and pd.notna(error) else ""
        floor = f" ({rows.floor.mean():.3g})" if rows.floor.notna().any() else ""
        return f"{rows.value.mean():.4g}{spread}{floor}"

    return _cells(metrics, keys, cell)


def _cells(rows: pd.DataFrame, keys: list[str], cell: Callable[[pd.DataFrame], str]) -> pd.DataFrame:
    filled = rows.fillna({"gain": "–"})
    found = [(*key, cell(group)) for key, group in filled.groupby([*keys, "resolution"])]
    cells = pd.DataFrame(found, columns=[*keys, "resolution", "cell"])
    return cells.pivot(index=keys, columns="resolution", values="cell").fillna("–").reset_index()


def sampler_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """From how many evaluations on a sampler stays as near the test set as Euler–Maruyama with the most of them: a / b in a cell.

    a: within two standard errors of the difference. The standard error is √2 times the Monte Carlo error of a set of samples over
    the root of the number of seeds. b: within 1.5 times its distance. – is never. One row per field and sampler, one column per
    metric and grid; distances are means over seeds. The samplers share their initial noise, so that the ODE samplers err
    together. `rows` are of CONVERGENCE_COLUMNS.

    Raises a UserError if there is no Euler–Maruyama to compare with.
    """
    rows = rows.assign(field=rows.network.where(rows.gain.isna(), rows.network + ", " + rows.gain.astype(str)))
    keys = ["arm", "field", "metric", "resolution"]
    means = rows.groupby([*keys, "sampler", "evaluations"], as_index=False).agg(
        value=("value", "mean"), stderr=("stderr", "mean"), floor=("floor", "mean"), seeds=("seed", "nunique")
    )
    cells = []
    for (arm, field, metric, resolution), group in means.groupby(keys):
        paper = group[group.sampler == "euler-maruyama"]
        if paper.empty:
            wrong = f"no euler-maruyama of {arm}, {field} to compare with, for {metric} at {resolution}"
            raise UserError(f"TABLES: {wrong}; give whole tables of `mld convergence`")
        reference = paper.loc[paper.evaluations.idxmax()]
        error = reference.stderr / reference.seeds**0.5
        row = {"arm": arm, "field": field, "column": f"{metric}, {resolution}"}
        for sampler, curve in group.groupby("sampler"):
            bounds = reference.value + 2 * 2**0.5 * error, 1.5 * reference.value
            cells.append(row | {"sampler": sampler, "cell": " / ".join(_from_then_on(curve, each) for each in bounds)})
        name = f"euler-maruyama at {int(reference.evaluations)}: distance ± error (floor)"
        text = f"{reference.value:.4f} ± {error:.4f} ({reference.floor:.4f})"
        cells.append(row | {"sampler": name, "cell": text})
    table = pd.DataFrame(cells).pivot(index=["arm", "field", "sampler"], columns="column", values="cell")
    return table.fillna("–").reset_index()


def _from_then_on(curve: pd.DataFrame, bound: float) -> str:
    """The fewest evaluations from which on the value stays within the bound."""
    falling = curve.sort_values("evaluations", ascending=False)
    within = falling[(falling.value <= bound).cummin()]
    return "–" if within.empty else str(int(within.evaluations.min()))
