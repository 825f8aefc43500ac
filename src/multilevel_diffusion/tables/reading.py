"""Tables for people, in Markdown and HTML: split under headings, narrow, with a dash for what is missing."""

import html
import itertools
import textwrap
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..columns import LABELS

__all__ = ["LONG", "MISSING", "WIDTH", "markdown", "page", "parts"]

WIDTH = 160
"""Characters of a line in Markdown, at most."""
LONG = 60
"""Characters of a text that stays in its cell; a column with longer ones has notes below the table."""
MISSING = "–"


@dataclass(frozen=True)
class Part:
    """A table of texts: its headings by level, what its rows have in common, and which columns name a row or are numbers."""

    headings: list[tuple[int, str]]
    common: str
    cells: pd.DataFrame
    names: list[str]
    numbers: set[str]


def parts(table: pd.DataFrame, split: Sequence[str]) -> Iterator[Part]:
    """A part for all values of the columns `split`, of those that the table has, in the order in which they come.

    The first columns of a table, labels, field and resolution, name its rows; those that are equal in all of several rows are
    common. Columns that are empty in a part are left out of it. Numbers have three digits.
    """
    table, split, above = table.rename(columns=str), [name for name in split if name in table], []
    for values, rows in table.groupby(split, sort=False, dropna=False) if split else [((), table)]:
        headings = [*enumerate(map(_text, values), start=2)]
        cells = rows.drop(columns=split).map(_text)
        cells = cells.loc[:, (cells != MISSING).any()]
        names = [*itertools.takewhile(lambda name: name in (*LABELS, "field", "resolution"), cells)]
        common = [name for name in names if len(cells) > 1 and cells[name].nunique() == 1]
        yield Part(
            headings[next((i for i, pair in enumerate(zip(headings, above, strict=False)) if pair[0] != pair[1]), 0) :],
            ", ".join(f"{name} {cells[name].iloc[0]}" for name in common),
            cells.drop(columns=common),
            [name for name in names if name not in common],
            {name for name in rows if pd.api.types.is_numeric_dtype(rows[name])},
        )
        above = headings


def page(parts: Sequence[Part], about: str) -> str:
    """Parts in HTML, below `about`, which says what a cell is."""
    texts = [f"<p>{html.escape(about)}</p>"] if about else []
    for part in parts:
        texts += [f"<h{level}>{html.escape(text)}</h{level}>" for level, text in part.headings]
        texts += [f"<p>{html.escape(part.common)}</p>"] if part.common else []
        texts.append(part.cells.to_html(index=False, border=0))
    return "\n".join(texts)


def markdown(parts: Sequence[Part], about: str) -> str:
    """The same in Markdown, in lines of at most WIDTH characters.

    A table that is wider goes on in further ones, whose rows have the same names. A column with a text longer than LONG has
    numbers of notes below them instead.
    """
    blocks = [textwrap.fill(about, WIDTH)] if about else []
    for part in parts:
        blocks += [f"{'#' * level} {text}" for level, text in part.headings]
        blocks += [textwrap.fill(part.common, WIDTH)] if part.common else []
        notes: list[str] = []
        columns = {name: _column(name, _noted(part.cells[name], notes), name in part.numbers) for name in part.cells}
        blocks += ["\n".join(map(_line, zip(*chunk, strict=True))) for chunk in _chunks(columns, part.names)]
        if notes:
            blocks.append("\n".join(_note(f"{i}. ", text) for i, text in enumerate(notes, start=1)))
    return "\n\n".join(blocks) + "\n"


def _text(value: Any) -> str:
    if pd.isna(value):
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _noted(cells: pd.Series, notes: list[str]) -> list[str]:
    """The texts, or the numbers of those that are now among the notes."""
    if cells.str.len().max() <= LONG:
        return [text.replace("|", r"\|") for text in cells]
    notes += [text for text in cells.unique() if text not in (MISSING, *notes)]
    return [text if text == MISSING else f"[{notes.index(text) + 1}]" for text in cells]


def _column(name: Hashable, cells: list[str], number: bool) -> list[str]:
    """Heading, rule and cells of a column, all as long."""
    width = max(3, *map(len, (str(name), *cells)))
    rule = "-" * (width - 1) + ":" if number else "-" * width
    return [text.rjust(width) if number else text.ljust(width) for text in (str(name), rule, *cells)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _chunks(columns: dict[Hashable, list[str]], names: list[str]) -> Iterator[list[list[str]]]:
    """The columns in groups whose lines are short enough; each group begins with the names."""
    first, chunk = [columns[name] for name in names], []
    for column in (column for name, column in columns.items() if name not in names):
        if chunk and len(_line([cells[0] for cells in (*first, *chunk, column)])) > WIDTH:
            yield first + chunk
            chunk = []
        chunk.append(column)
    yield first + chunk


def _note(number: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=number, subsequent_indent=" " * len(number), break_on_hyphens=False
    )
