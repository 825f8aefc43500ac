"""Claims of the paper, each with its criterion and a verdict."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..columns import LABELS, NO_DISTANCES
from ..errors import UserError
from .estimates import Quantity, debiased, floor_error

if TYPE_CHECKING:
    from ..settings import ClaimSettings, ClaimsSettings
    from ..settings.claims import CriterionSettings, QuantitySettings

MOST_SEEDS = 1000
REPRODUCED, NOT, UNDECIDED = "reproduced", "not reproduced", "undecided"
BLIND = "cannot be told by this metric"
FLOOR = ("floor", "floor_stderr", "floor_sets")
DEBIASED = ("value", "stderr", *FLOOR, "scale", "n_samples", "n_reference")
"""The columns of which a debiased distance is made."""
POWER = ["experiment", "metric", "resolution", "n_samples"]
"""The columns that name a row of the table `power`."""


def claims(
    settings: ClaimsSettings,
    tables: Mapping[str, pd.DataFrame],
    tuned: Callable[[str, str], bool] = lambda experiment, arm: False,
) -> pd.DataFrame:
    """One row per claim: its quantity over seeds with a confidence interval, its criterion, and the verdict.

    Ratios are judged, and averaged, by their logarithms; debiased distances by their squares, see `estimates.debiased`. The error
    is of seeds (whose spread has the error of samples in it), of floor and reference. Let p be the two-sided probability, by
    Student's t, of a value so far beyond the bound if the truth were at it. It is corrected by Holm (1979) for the claims about
    the same figure.

    - reproduced: p ≤ 1 − confidence, and the value meets the criterion.
    - not reproduced: p ≤ 1 − confidence, and it does not.
    - undecided: anything else; always so with fewer seeds than settings.seeds, or if it did not come to pass in one of them.
    - cannot be told by this metric: it is about samples of a network. The power of the Gaussian baseline (table `power`) at as
      many samples is less than settings.power, or not there.
    - not measured: there is no such row, or no such table.

    Args:
        tables: by the name that claims give them; `power`, if a claim about samples is to be judged.
        tuned: whether an arm of an experiment is trained otherwise than in the paper.

    Returns:
        claim, figure. settings: paper, or tuned, whose verdict is not one on the paper. value, low, high: the interval of the
        claim alone. criterion, verdict. p: after Holm. points_to: the verdict to which the value points. more_seeds: how many
        more would decide at the spread seen; empty where 1,000 would not. power. seeds; reached: in how many the quantity came to
        pass. statement, quantity. first_written: value, criterion and verdict by the criterion that stood there first.

    Raises a UserError if a claim names a column that is not there, picks several rows of a seed, or debiases what is no distance.
    """
    rows, judged = [], {}
    for name, claim in settings.each:
        try:
            found = _quantity(claim.quantity, tables)
            first = claim.first_written and (claim.first_written, _quantity(claim.first_written.quantity, tables))
        except ValueError as error:
            raise UserError(f"claim {name}: {error}") from None
        about = {"claim": name, "figure": claim.figure, "settings": "tuned" if _tuned(claim, tuned) else "paper"}
        value, low, high = found.interval(settings.confidence)
        power = _power(claim.quantity, tables)
        met, p = probability(claim, found)
        row = about | {"value": value, "low": low, "high": high, "criterion": _criterion(claim)}
        row |= {"verdict": UNDECIDED if len(found.seeds) else "not measured", "p": np.nan}
        row |= {"points_to": {True: REPRODUCED, False: NOT}.get(met), "more_seeds": None, "power": power}
        row |= {"seeds": len(found.seeds), "reached": found.seeds.count()}
        row |= {"statement": claim.statement, "quantity": _words(claim.quantity)}
        row |= {"first_written": _first_written(*first, settings) if first else None}
        if power < settings.power:
            row["verdict"] = BLIND if len(found.seeds) else row["verdict"]
        elif len(found.seeds) >= settings.seeds and np.isfinite(p):
            judged[len(rows)] = p, claim, found
        elif 0 < len(found.seeds) < settings.seeds and found.seeds.notna().all():
            row["more_seeds"] = settings.seeds - len(found.seeds)
        rows.append(row)
    for figure in {rows[i]["figure"] for i in judged}:
        together = {i: each for i, each in judged.items() if rows[i]["figure"] == figure}
        for i, p in holm({i: p for i, (p, _, _) in together.items()}).items():
            rows[i]["p"] = p
            if p <= 1 - settings.confidence:
                rows[i]["verdict"] = rows[i]["points_to"]
            else:
                alpha = (1 - settings.confidence) / len(together)
                rows[i]["more_seeds"] = _more_seeds(*together[i][1:], alpha)
    return pd.DataFrame(rows).astype({"more_seeds": "Int64"})


def holm(p: Mapping[int, float]) -> dict[int, float]:
    """Holm's step-down correction: p of rank i of m times m − i + 1, never less than the p of a lower rank; at most 1."""
    corrected, least = {}, 0.0
    for rank, (key, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p) - rank) * value))
        corrected[key] = least
    return corrected


def probability(criterion: CriterionSettings, found: Quantity, more: int = 0) -> tuple[bool | None, float]:
    """Whether the value meets the criterion, and the two-sided probability of one so far beyond the bound; NaN for one seed."""
    value = found.read(found.value)
    if not np.isfinite(value):
        return None, np.nan
    if criterion.at_most is not None:
        met, meets = value <= criterion.at_most, found.above(criterion.at_most, more)
    elif criterion.at_least is not None:
        met, meets = value >= criterion.at_least, 1 - found.above(criterion.at_least, more)
    else:
        met = abs(value) <= criterion.within
        meets = np.maximum(found.above(criterion.within, more), 1 - found.above(-criterion.within, more))
    return bool(met), float(2 * np.minimum(meets, 1 - meets))


def _more_seeds(criterion: CriterionSettings, found: Quantity, alpha: float) -> int | None:
    """The least number at which the probability comes down to α, which it does the further the more there are."""
    counts = range(1, MOST_SEEDS + 1)
    at = bisect_left(counts, True, key=lambda more: probability(criterion, found, more)[1] <= alpha)
    return counts[at] if at < len(counts) else None


def _first_written(criterion: CriterionSettings, found: Quantity, settings: ClaimsSettings) -> str:
    """By that criterion: the mean over seeds, its criterion and verdict; ratios were not judged by their logarithms."""
    plain = Quantity(np.exp(found.seeds)) if found.logs else found
    value, low, high = plain.interval(settings.confidence)
    within = np.inf if criterion.within is None else criterion.within
    least = -within if criterion.at_least is None else criterion.at_least
    most = within if criterion.at_most is None else criterion.at_most
    verdict = UNDECIDED if len(plain.seeds) else "not measured"
    if len(plain.seeds) >= settings.seeds and np.isfinite(value):
        verdict = REPRODUCED if least <= low and high <= most else NOT if high < least or most < low else UNDECIDED
    return f"{value:.3g} ({_criterion(criterion)}): {verdict}" if len(plain.seeds) else verdict


def _quantity(quantity: QuantitySettings, tables: Mapping[str, pd.DataFrame]) -> Quantity:
    """The quantity by seed, of the seeds that have the rows; NaN where it did not come to pass."""
    if quantity.table not in tables:
        return Quantity(pd.Series(dtype=float))
    table, column = tables[quantity.table], str(quantity.against.get("column", "value"))
    needed = DEBIASED if quantity.debiased else FLOOR if quantity.less and column == "floor" else ()
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"its table has no column {', '.join(missing)}; make it again")
    rows, other = _rows(quantity, table)
    if quantity.debiased:
        metric = quantity.of.get("metric")
        if metric in (None, *NO_DISTANCES) or "metric" in quantity.against:
            raise ValueError(f"{_words(quantity)}: only one metric, a distance, can be debiased")
        return debiased(rows, str(metric), other if quantity.less is not None else None)
    if quantity.over is not None:
        return Quantity(np.log((rows.value / other[column]).where(lambda ratio: ratio > 0)), logs=True)
    if quantity.less is None:
        return Quantity(rows.value)
    return Quantity(rows.value - other[column], *(floor_error(rows) if column == "floor" else ()))


def _rows(quantity: QuantitySettings, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Its row and the other one, by the seeds that have both."""
    differs = dict(quantity.against)
    column = str(differs.pop("column", "value"))
    rows, other = _pick(table, quantity.of), _pick(table, quantity.of | differs, column)
    return rows.align(other, join="inner", axis=0)


def _pick(table: pd.DataFrame, row: Mapping[str, str | int], column: str = "value") -> pd.DataFrame:
    if missing := [name for name in (*row, column) if name not in table]:
        raise ValueError(f"its table has no column {', '.join(missing)}")
    equal = [table[name] == (str(value) if name in LABELS else value) for name, value in row.items()]
    picked = table[np.logical_and.reduce(equal)].set_index("seed")
    if picked.index.has_duplicates:
        raise ValueError(f"{row} picks several rows of a seed; name more columns")
    return picked


def _power(quantity: QuantitySettings, tables: Mapping[str, pd.DataFrame]) -> float:
    """The least that the Gaussian baseline has as to the rows about samples of a network; NaN where none is.

    0 where table `power` knows nothing of that experiment, metric, resolution and number of samples, and no verdict can be had.
    """
    table = tables.get(quantity.table, pd.DataFrame())
    if not {"network", "floor_sets", *POWER} <= {*table}:
        return np.nan
    rows = pd.concat(_rows(quantity, table))
    rows = rows[rows.floor_sets.notna() & (rows.network != "exact")]
    known = tables.get("power", pd.DataFrame(columns=[*POWER, "power"])).set_index(POWER).power.dropna().to_dict()
    return min((known.get(key, 0.0) for key in rows[POWER].itertuples(index=False, name=None)), default=np.nan)


def _tuned(claim: ClaimSettings, tuned: Callable[[str, str], bool]) -> bool:
    rows = [claim.quantity.of, claim.quantity.of | claim.quantity.against]
    named = [row for row in rows if row.get("network") != "exact" and {"experiment", "arm"} <= row.keys()]
    return any(tuned(str(row["experiment"]), str(row["arm"])) for row in named)


def _criterion(criterion: CriterionSettings) -> str:
    bounds = {"≤": criterion.at_most, "≥": criterion.at_least, "within ±": criterion.within}
    return next(f"{sign}{'' if '±' in sign else ' '}{bound:g}" for sign, bound in bounds.items() if bound is not None)


def _words(quantity: QuantitySettings) -> str:
    word = "over" if quantity.over is not None else "less"
    texts = [", ".join(map(str, row.values())) for row in (quantity.of, quantity.against) if row]
    return ("debiased " if quantity.debiased else "") + f" {word} ".join(texts)


def claim_summary(rows: pd.DataFrame) -> pd.DataFrame:
    """`claims` to read: value, interval and verdict of each first, then what it rests on, and the words."""
    low, high = (rows[name].map("{:.3g}".format) for name in ("low", "high"))
    seeds, reached, more = (rows[name].astype(str) for name in ("seeds", "reached", "more_seeds"))
    points_to = rows.points_to + ", " + more.where(rows.more_seeds.notna(), "no number of") + " more seeds"
    return rows[["figure", "claim", "value"]].assign(
        interval=(low + " to " + high).where(rows.low.notna()),
        verdict=rows.verdict,
        criterion=rows.criterion,
        settings=rows.settings,
        points_to=points_to.where((rows.verdict == UNDECIDED) & rows.points_to.notna()),
        power=rows.power,
        seeds=seeds.where(rows.seeds == rows.reached, reached + " of " + seeds),
        first_written=rows.first_written,
        claimed=rows.statement + " (" + rows.quantity + ")",
    )
