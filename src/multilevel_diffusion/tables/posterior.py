"""What conditioned samplers find, to read."""

import pandas as pd

__all__ = ["posterior_summary"]


def posterior_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per arm, field, what is seen, method and grid, one column per quantity: the mean over seeds ± its standard error.

    The standard error of one seed is over the fields that were seen. `rows` are of CONDITIONING_COLUMNS.
    """
    rows = rows.assign(field=rows.network.where(rows.method != "exact", ""))
    keys = ["experiment", "observed", "arm", "field", "method", "resolution"]
    groups = rows.groupby([*keys, "posterior"], sort=False, dropna=False)
    found = groups.agg(value=("value", "mean"), spread=("value", "sem"), one=("stderr", "mean")).reset_index()
    error = found.spread.fillna(found.one)
    found["cell"] = [
        f"{value:.3g} ± {e:.1g}" if e > 0 else f"{value:.3g}" for value, e in zip(found.value, error, strict=True)
    ]
    order = {name: number for number, name in enumerate(dict.fromkeys(rows.posterior))}
    table = found.pivot(index=keys, columns="posterior", values="cell").fillna("")
    return table[sorted(table.columns, key=order.__getitem__)].reset_index()
