"""Reading tables of stages, and writing tables for people: CSV, Markdown and a page."""

import json
import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..columns import COUNTS, HISTORY_COLUMNS, LABELS
from ..errors import UserError
from ..storage import read_csv, write_atomically, write_csv
from .reading import WIDTH, markdown, page, parts

PAGE = """<!doctype html><meta charset="utf-8"><style>
body { font: 13px sans-serif } table { border-collapse: collapse; width: max-content } tr:hover { background: #eee }
th, td { padding: 2px 8px; text-align: left; max-width: 30em } th { position: sticky; top: 0; background: white }
</style>
"""


def read_tables(paths: Sequence[Path], columns: Collection[str]) -> list[pd.DataFrame]:
    """The tables of `write_csv` at these paths, each with these columns.

    Raises a UserError if two rows are of the same, whatever their numbers; as `read_csv` besides.
    """
    tables = [read_csv(path, columns) for path in paths]
    names = [name for name in columns if name in LABELS or name in COUNTS]
    rows = pd.concat([table[names] for table in tables], keys=range(len(tables)))
    if (repeated := rows.duplicated()).any():
        path = paths[rows.index[repeated][0][0]]
        raise UserError(f"{path}: its rows are there already; give every table once")
    return tables


def read_histories(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of histories, with test_N on the finest level N of all. Raises a UserError if one lacks it; as `read_tables`."""
    tables = read_tables(paths, HISTORY_COLUMNS)
    finest = max(table.resolution.max() for table in tables)
    column = f"test_{finest}"
    for path, table in zip(paths, tables, strict=True):
        if column not in table:
            raise UserError(f"{path}: no loss on test fields at {finest} ({column}); set validation.test, train again")
    return pd.concat(tables, ignore_index=True)


def write_table(
    out: Path,
    rows: pd.DataFrame,
    facts: Mapping[str, Any],
    to_read: pd.DataFrame | None = None,
    about: str = "",
    split: Sequence[str] = ("experiment", "metric"),
) -> None:
    """Write rows as CSV, and what is to read (without it the rows) as Markdown and as a page for the report.

    The suffixes of the three files replace the suffix of `out`. All three have `facts`, the provenance: CSV and page in the first
    line, Markdown below the tables, its command as a list of lines.

    Args:
        about: what a cell of `to_read` is, in words.
        split: columns of `to_read` whose values are headings, of those that it has; see `reading.parts`.

    Raises a UserError if `out` has another suffix.
    """
    if out.suffix not in ("", ".csv", ".md", ".html"):
        raise UserError(f"{out}: a table is written as .csv, .md and .html, not as {out.suffix}")
    read = [*parts(rows if to_read is None else to_read, split)]
    command = textwrap.wrap(facts.get("command", ""), WIDTH - 10, break_long_words=False, break_on_hyphens=False)
    below = json.dumps({**facts, "command": command}, indent=0)
    texts = {
        ".md": f"{markdown(read, about)}\n<!-- {below} -->\n",
        ".html": f"<!-- {json.dumps(facts)} -->\n{PAGE}{page(read, about)}\n",
    }
    write_csv(out.with_suffix(".csv"), rows, facts)
    for suffix, text in texts.items():
        with write_atomically(out.with_suffix(suffix)) as partial:
            partial.write_text(text)
