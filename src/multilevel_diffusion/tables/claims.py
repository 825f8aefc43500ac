"""Claims of the paper, each with its criterion and a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from ..columns import LABELS
from ..errors import UserError

if TYPE_CHECKING:
    from ..settings import ClaimsSettings, QuantitySettings


def claims(settings: ClaimsSettings, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a claim: its quantity over seeds with a confidence interval, its criterion, and the verdict.

    reproduced: the whole interval satisfies the criterion; not reproduced: none of it does; undecided: anything else, and always
    with fewer seeds than settings.seeds or if the quantity did not come to pass in one of them; not measured: no such row.
    reached: in how many seeds it came to pass.
    Claims about none of the tables, rows by name, are not measured.

    Raises a UserError if a claim names a column that is not there, or picks several rows of a seed.
    """
    rows = []
    for name, claim in settings.each:
        try:
            given = claim.quantity.table in tables
            values = _quantity(claim.quantity, tables[claim.quantity.table]) if given else pd.Series(dtype=float)
        except ValueError as error:
            raise UserError(f"claim {name}: {error}") from None
        mean, low, high = interval(values, settings.confidence)
        bound, sign = (claim.at_most, 1) if claim.at_least is None else (claim.at_least, -1)
        verdict = "undecided" if len(values) else "not measured"
        if len(values) >= settings.seeds and values.notna().all():
            ends = sorted((sign * low, sign * high))
            if ends[1] <= sign * bound:
                verdict = "reproduced"
            elif ends[0] > sign * bound:
                verdict = "not reproduced"
        row = {"claim": name, "figure": claim.figure, "statement": claim.statement, "quantity": _words(claim.quantity)}
        row |= {"value": mean, "low": low, "high": high, "criterion": f"{'≤' if sign > 0 else '≥'} {bound:g}"}
        rows.append(row | {"verdict": verdict, "seeds": len(values), "reached": values.count()})
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
    equal = [table[name] == (str(value) if name in LABELS else value) for name, value in row.items()]
    picked = table[np.logical_and.reduce(equal)].set_index("seed")[column]
    if picked.index.has_duplicates:
        raise ValueError(f"{row} picks several rows of a seed; name more columns")
    return picked


def _words(quantity: QuantitySettings) -> str:
    rows = [quantity.of] if quantity.over is None else [quantity.of, quantity.over]
    return " over ".join(", ".join(map(str, row.values())) for row in rows)


def interval(values: pd.Series, confidence: float) -> tuple[float, float, float]:
    """Mean and confidence interval of the mean by Student's t, NaN where there are too few values or one is NaN."""
    if len(values) < 2 or values.hasnans:
        return values.mean(), float("nan"), float("nan")
    half = stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std() / len(values) ** 0.5
    return values.mean(), values.mean() - half, values.mean() + half


def claim_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """`claims` to read: value, interval and verdict of each first, then the criterion, how many seeds, and the words."""
    low, high = (rows[name].map("{:.3g}".format) for name in ("low", "high"))
    seeds, reached = rows.seeds.astype(str), rows.reached.astype(str)
    return rows[["figure", "claim", "value"]].assign(
        interval=(low + " to " + high).where(rows.low.notna()),
        verdict=rows.verdict,
        criterion=rows.criterion,
        seeds=seeds.where(rows.seeds == rows.reached, reached + " of " + seeds),
        claimed=rows.statement + " (" + rows.quantity + ")",
    )
