"""What stands between marks in README.md and the pages: tables of results, read from the CSV files of results/reference.

    <!-- table {file: laptop/tables/metrics.csv, where: {metric: skill}, rows: [arm], columns: [resolution]} -->
    <!-- claims {file: laptop/tables/claims.csv, figures: [fig1]} -->
    <!-- headline -->
    <!-- end -->

Options are those of `table` and `claims` below. `python docs/generate.py` writes the text between a mark and its end.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "results" / "reference"
HEADLINE = (
    "score-transfers values",
    "score-transfers coefficients",
    "truncation-rate",
    "sampler-order",
    "sampler-converges",
    "fields-keep-their-law fno-laplacian values 64",
    "fields-have-the-law-of-increments fno-combined 64",
    "u-net-degrades coefficients",
    "digits-are-learned fno-combined",
    "digits-transfer fno-combined values",
    "warm-start-is-faster",
)
CLAIMS = yaml.safe_load((ROOT / "config.yaml").read_text())["claims"]["rows"]
VERDICT = ["claim", "value", "criterion", "verdict", "seeds"]
MARK = re.compile(r"(<!-- (\w+)(?: (\{.*?\}))? -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: Path, makers: Mapping[str, Callable[..., str]]) -> str:
    """The text of a page with what its marks ask for, each made by the maker of its name; links are relative to the page."""

    def fill(mark: re.Match[str]) -> str:
        opening, kind, options, end = mark.groups()
        made = makers[kind](**yaml.safe_load(options or "{}"))
        here = "../" * len(page.parent.relative_to(ROOT).parts)
        return f"{opening}\n{made.replace('](results/', f']({here}results/')}\n\n{end}"

    return MARK.sub(fill, page.read_text())


def table(
    file: str,
    rows: Sequence[str],
    columns: str | None = None,
    where: Mapping[str, Any] | None = None,
    value: str = "value",
    show: Sequence[str] = (),
    floor: bool = False,
    over: str = "seed",
    times: int = 1,
    last: int | None = None,
    less: str | None = None,
    rms: bool = False,
    names: Mapping[str, str] | None = None,
) -> str:
    """A Markdown table from a file below results/reference, with a line below that names the file and its commit.

    Args:
        rows, columns: the columns of the file that label a row, and the one whose values become columns.
        where: which rows of the file, by values of columns; a list of values also orders them, null is an empty cell, and the
            name of another column stands for what is in it.
        value: the column that is shown: mean ± standard deviation over seeds, or ± `stderr` of a single one.
        show: columns that are shown as they are, instead of `columns` and `value`.
        floor: the mean of the column `floor` in brackets behind each value.
        over: "seed", or another column: the cell is then the range of the values over it.
        times: values are shown times this: 100 for per cent, the number of samples for how many they are.
        last: the median of the last so many epochs stands for each seed.
        less: a column that is taken from the values.
        rms: the root mean square of the values of a label stands for each seed.
        names: other words for values and columns.
    """
    found = _read(file, where or {})
    names = {"": "–", "seconds": "time (s)"} | dict(names or {})
    labels = [*rows, *([columns] if columns else [])]
    if show:
        body = [[_shown(each, times) for each in row] for row in found[[*rows, *show]].itertuples(index=False)]
        return _markdown([*rows, *show], body, names) + _source(file)
    if last:
        epochs = found.groupby([*labels, "seed"], sort=False, dropna=False)
        found = epochs.apply(
            lambda each: each.nlargest(last, "epoch")[[value]].median(), include_groups=False
        ).reset_index()
    if less:
        found = found.assign(**{value: found[value] - found[less]})
    if rms:
        of_seeds = found.groupby([*labels, "seed"], sort=False, dropna=False)
        found = of_seeds.agg(**{value: (value, lambda each: (each**2).mean() ** 0.5)}).reset_index()
    cells = {}
    for label, group in found.groupby(labels, sort=False, dropna=False):
        cells[label] = _cell(group, value, times, floor, over)
    if not columns:
        body = [[*map(str, label), cell] for label, cell in cells.items()]
        return _markdown([*rows, value], body, names) + _source(file)
    heads = list(dict.fromkeys(label[-1] for label in cells))
    heads = sorted(heads) if all(isinstance(head, int) for head in heads) else heads
    body = [
        [*map(str, row), *(cells.get((*row, head), "–") for head in heads)]
        for row in dict.fromkeys(label[:-1] for label in cells)
    ]
    return _markdown([*rows, *map(str, heads)], body, names) + _source(file)


def claims(file: str, claims: Sequence[str] | None = None, figures: Sequence[str] | None = None) -> str:
    """Claims with their values and verdicts: those that are named, in that order, or all about some figures.

    What is claimed of several arms on several grids, or under both gains, is a table of its own below the others.
    """
    found = _read(file, {"claim": list(claims)} if claims else {"figure": list(figures)} if figures else {})
    name = found.claim.str.partition(" ")[0]
    each = {key: list(row.get("each", {})) for key, row in CLAIMS.items()}
    single = name.map(lambda key: len(each[key]) < 2)
    blocks = [_markdown(VERDICT, _judged(found[single]), {})] if single.any() else []
    blocks += [_crossed(key, each[key], found[name == key]) for key in dict.fromkeys(name[~single])]
    return "\n\n".join(blocks) + _source(file)


def _crossed(name: str, each: Sequence[str], found: pd.DataFrame) -> str:
    """One claim of many things: the last of them across, under a line with what is claimed."""
    labels = found.claim.str.split(" ").str[1:].map(tuple)
    shown = {
        label: f"{value} **{verdict.replace(' by this metric', '')}**"
        for label, (_, value, _, verdict, _) in zip(labels, _judged(found, bold=False), strict=True)
    }
    heads = list(dict.fromkeys(label[-1] for label in shown))
    body = [
        [*row, *(shown.get((*row, head), "–") for head in heads)]
        for row in dict.fromkeys(label[:-1] for label in shown)
    ]
    statement = CLAIMS[name]["statement"].format(**{key: f"*{key}*" for key in each})
    least, most = min(found.seeds), max(found.seeds)
    seeds = "one seed" if most == 1 else f"{least} seeds" if least == most else f"{least} to {most} seeds"
    tuned = "" if set(found.settings) == {"paper"} else "; tuned"
    said = f"{statement[0].upper()}{statement[1:]} ({found.criterion.iloc[0]}; {seeds}{tuned}; {each[-1]} across):"
    return said + "\n\n" + _markdown([*each[:-1], *heads], body, {})


def headline() -> str:
    """The claims of README and of the first page."""
    file = "study/tables/claims.csv"
    claims = _read(file, {})
    counts = [f"{count} {verdict}" for verdict, count in claims.verdict.value_counts().items()]
    of_all = f"*{len(HEADLINE)} of {len(claims)} claims. Of all of them: {', '.join(counts)}.*"
    return _markdown(VERDICT, _judged(_read(file, {"claim": list(HEADLINE)})), {}) + f"\n\n{of_all}" + _source(file)


def _judged(found: pd.DataFrame, *, bold: bool = True) -> list[list[str]]:
    """One line per claim, under VERDICT."""
    body = []
    for row in found.itertuples():
        interval = "" if math.isnan(row.low) else f" ({_number(row.low)} to {_number(row.high)})"
        shown = "not reached" if math.isnan(row.value) else _number(row.value) + interval
        mark = "" if row.settings == "paper" else ", tuned"
        statement = row.statement[0].upper() + row.statement[1:]
        verdict = f"**{row.verdict}**{mark}" if bold else row.verdict
        body.append([statement, shown, row.criterion, verdict, f"{row.seeds}"])
    return body


def _read(file: str, where: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that are asked for, in the order of the lists in `where`. Raises a ValueError where there is none of a value."""
    found = pd.read_csv(REFERENCE / file, comment="#", keep_default_na=True)
    for key, wanted in where.items():
        if isinstance(wanted, str) and wanted in found:
            found = found[found[key] == found[wanted]]
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        column = found[key].astype(object).where(found[key].notna(), None)
        if missing := [each for each in values if each not in set(column)]:
            raise ValueError(f"{file}: no row with {key} {missing[0]}")
        found = found[column.isin(values)].assign(**{key: column[column.isin(values)]})
        found = found.sort_values(
            key, key=lambda each: each.map({each: i for i, each in enumerate(values)}), kind="stable"
        )
    text = found.select_dtypes(exclude="number").columns
    return found.fillna(dict.fromkeys(text, ""))


def _cell(group: pd.DataFrame, value: str, times: int, floor: bool, over: str) -> str:
    values = group[value].dropna() * times
    if values.empty:
        return "–"
    if over != "seed":
        low, high = _number(values.min()), _number(values.max())
        return low if low == high else f"{low} to {high}"
    if "seed" in group and group.seed.duplicated().any():
        raise ValueError(f"several values of a seed in one cell: {group.iloc[0].to_dict()}")
    error = values.std() if len(values) > 1 else group["stderr"].iloc[0] * times if "stderr" in group else math.nan
    shown = (
        _number(values.mean()) if math.isnan(error) else f"{_number(values.mean(), error)} ± {_number(error, error)}"
    )
    return shown + (f" ({_number(group.floor.mean() * times)})" if floor else "")


def _shown(value: object, times: int) -> str:
    return _number(value * times) if isinstance(value, float) else str(value)


def _number(value: float, error: float | None = None) -> str:
    """Three significant digits, or as many places as the first digit of its error has, the first two if that is a 1."""
    if not value:
        return "0"
    places = 2 - math.floor(math.log10(abs(value)))
    if error:
        scale = math.floor(math.log10(error))
        places = (1 if error < 2 * 10.0**scale else 0) - scale
    return f"{round(value, places):,.{max(places, 0)}f}".replace("-", "−")


def _markdown(heads: Sequence[str], body: Sequence[Sequence[str]], names: Mapping[str, str]) -> str:
    lines = [[names.get(cell, cell) for cell in row] for row in (heads, *body)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def _source(file: str) -> str:
    """A line that names the file and the commit in its first line."""
    with (REFERENCE / file).open() as text:
        commit = json.loads(text.readline().removeprefix("#"))["commit"].removesuffix("-dirty")[:7]
    return f"\n\n*[`{file}`](results/reference/{file}), commit {commit}.*"
