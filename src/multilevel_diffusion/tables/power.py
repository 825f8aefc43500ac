"""What metrics can tell: how far the Gaussian baseline lies above their floors."""

import numpy as np
import pandas as pd

from ..columns import NO_DISTANCES
from ..errors import UserError
from .estimates import SQUARED, excess

MOST_SAMPLES = 10**9


def power(metrics: pd.DataFrame, enough: float) -> pd.DataFrame:
    """One row per experiment, metric, resolution and number of samples at which the Gaussian baseline was measured.

    A network is worth judging by a metric that tells the baseline from the data. Let floor and s be the mean and the spread of
    the metric over K sets of n true fields, and v the metric of the baseline. Then

        power = mean over seeds of excess / (2 floor s (1 + 1/K)^½),   excess = v² − E floor² (`estimates.excess`),

    in standard errors of a perfect sampler. For squares of distances it is (v − floor) / (s (1 + 1/K)^½), for metrics that are no
    distances the size of this. It is infinite where all true fields have the same. samples_needed: how many would give
    `enough`, if the error of squares falls like 1/n, the error of metrics which are no distances like 1/n^½, and the reference
    grows alike. It is empty where the baseline is not above the floor, or from 10⁹ on.

    Args:
        metrics: rows of COLUMNS, of all arms; the baseline is the arm whose network is `gaussian`.

    Raises a UserError if there is no baseline in it.
    """
    rows = metrics[(metrics.network == "gaussian") & metrics[["floor_stderr", "floor_sets"]].notna().all(axis=1)]
    if rows.empty:
        raise UserError("METRICS: no Gaussian baseline in it; add an arm with network: {kind: gaussian}")
    found = []
    for (experiment, metric, resolution, n), group in rows.groupby(["experiment", "metric", "resolution", "n_samples"]):
        value, floor, k = group.value.mean(), group.floor.mean(), group.floor_sets.min()
        spread = group.floor_stderr.mean() * (k + 1) ** 0.5
        if metric in NO_DISTANCES or metric in SQUARED:
            above, error = (group.value - group.floor).mean(), spread
            above = abs(above) if metric in NO_DISTANCES else above
        else:
            above, error = excess(group, str(metric)).mean(), 2 * floor * spread
        standing = above / error if error else np.copysign(np.inf, above) if above else 0.0
        exponent = 2 if metric in NO_DISTANCES else 1
        needed = np.ceil(n * (enough / standing) ** exponent) if standing > 0 else np.nan
        needed = needed if needed < MOST_SAMPLES else np.nan
        about = {"experiment": experiment, "metric": metric, "resolution": resolution, "n_samples": n}
        about |= {"seeds": len(group), "value": value, "floor": floor, "floor_stderr": group.floor_stderr.mean()}
        found.append(about | {"floor_sets": k, "power": standing, "samples_needed": needed})
    counts = dict.fromkeys(["resolution", "n_samples", "floor_sets", "samples_needed"], "Int64")
    return pd.DataFrame(found).astype(counts)


def power_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """`power` to read: one row per experiment, number of samples and metric, one column per resolution: power (samples needed).

    Metrics come by their power on the grid where it is least.
    """
    needed = rows.samples_needed.astype("Int64").map("{:d}".format, na_action="ignore").fillna("–")
    cells = rows.assign(cell=rows.power.map("{:.2g}".format) + " (" + needed.astype(str) + ")")
    keys = ["experiment", "n_samples", "metric"]
    found = cells.pivot(index=keys, columns="resolution", values="cell")
    least = rows.groupby(keys).power.min().rename("least")
    order = least.reset_index().sort_values(["experiment", "n_samples", "least"], ascending=[True, True, False])
    told = found.loc[pd.MultiIndex.from_frame(order[keys])].reset_index()
    return told.assign(n_samples=told.n_samples.map("{:d} samples".format))
