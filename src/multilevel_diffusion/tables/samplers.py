"""How few evaluations each sampler needs."""

from __future__ import annotations

import pandas as pd

__all__ = ["sampler_summary"]


def sampler_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """From how many evaluations on a sampler stays as near the test set as Euler–Maruyama with the most of them: a / b in a cell.

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
