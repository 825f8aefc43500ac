"""Reading tables of stages, and writing tables for people: CSV, Markdown and a page."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..columns import HISTORY_COLUMNS, LABELS
from ..errors import UserError
from ..storage import read_csv, write_atomically, write_csv

PAGE = """<!doctype html><meta charset="utf-8"><style>
body { font: 13px sans-serif } table { border-collapse: collapse; width: max-content } tr:hover { background: #eee }
th, td { padding: 2px 8px; text-align: left; max-width: 30em } th { position: sticky; top: 0; background: white }
</style>
"""


def read_tables(paths: Sequence[Path], columns: Collection[str]) -> list[pd.DataFrame]:
    """The tables of `write_csv` at these paths.

    Args:
        columns: those that each must have; what is not among LABELS must be numbers.

    Raises:
        UserError: if a table has no rows, has text among its numbers, or repeats rows of another one; as `read_csv` besides.
    """
    tables = [read_csv(path, columns) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.empty:
            raise UserError(f"{path}: a table without rows; run the stage that makes it again")
        for name in columns:
            if name not in LABELS and not pd.api.types.is_numeric_dtype(table[name]):
                raise UserError(f"{path}: text among the numbers of column {name}; run the stage that makes it again")
    rows = pd.concat([table[[*columns]] for table in tables], keys=range(len(tables)))
    if (repeated := rows.duplicated()).any():
        path = paths[rows.index[repeated][0][0]]
        raise UserError(f"{path}: its rows are there already; give every table once")
    return tables


def read_histories(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of histories, with test_N on the finest level N of all. Raises a UserError if one lacks it; as `read_tables`."""
    tables = read_tables(paths, HISTORY_COLUMNS)
    finest = max(table.resolution.max() for table in tables)
    for path, table in zip(paths, tables, strict=True):
        if f"test_{finest}" not in table:
            raise UserError(f"{path}: no loss on test fields at {finest}; set validation.test and train again")
    return pd.concat(tables, ignore_index=True)


def write_table(out: Path, rows: pd.DataFrame, facts: Mapping[str, Any], to_read: pd.DataFrame | None = None) -> None:
    """Write rows as CSV, and what is to read (without it the rows) as Markdown and as a page for the report.

    Args:
        out: with any suffix; those of the three files replace it.
        facts: the provenance, which all three have in their first line.
    """
    to_read = rows if to_read is None else to_read
    labels = [i for i, name in enumerate(to_read) if name in LABELS]
    texts = {
        ".md": to_read.to_markdown(index=False, floatfmt=".3g", disable_numparse=labels),
        ".html": PAGE + to_read.to_html(index=False, float_format="{:.3g}".format, na_rep="", border=0),
    }
    write_csv(out.with_suffix(".csv"), rows, facts)
    for suffix, text in texts.items():
        with write_atomically(out.with_suffix(suffix)) as partial:
            partial.write_text(f"<!-- {json.dumps(facts)} -->\n{text}\n")
