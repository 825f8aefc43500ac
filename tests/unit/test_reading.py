"""Tables to read lose nothing, whatever they are split and broken into."""

import math
import re
from collections import Counter

import pandas as pd
import pytest

from multilevel_diffusion.storage import read_csv, read_facts
from multilevel_diffusion.tables import (
    claim_summary,
    distances_by_prior,
    ladder_summary,
    power_summary,
    sampler_summary,
    summary,
    transfer,
    write_table,
)


def cells_of(text):
    """Every cell of the tables in Markdown, by its headings, the cells that name its row, and its column."""
    headings, table, found = {}, [], []
    for line in [*text.splitlines(), ""]:
        if heading := re.fullmatch(r"(#+) (.*)", line):
            headings = {k: v for k, v in headings.items() if k < len(heading[1])} | {len(heading[1]): heading[2]}
        if line.startswith("|"):
            table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif table:
            names, _, *rows = table
            assert {len(row) for row in table} == {len(names)}
            found += [
                (*headings.values(), row[0], name, cell) for row in rows for name, cell in zip(names, row, strict=True)
            ]
            table = []
    return found


def written(tmp_path, rows, **layout):
    write_table(tmp_path / "t.csv", rows, {"command": "mld x"}, **layout)
    return (tmp_path / "t.md").read_text()


@pytest.fixture
def wide():
    """Two experiments, of which each lacks a column that the other has, 30 columns of numbers and one row without any."""
    rows = [
        {"experiment": e, "arm": f"arm{i}", **{f"column{j}": 1000 * i + j + 0.125 for j in range(30)}}
        for e in ("one", "two")
        for i in range(3)
    ]
    table = pd.DataFrame(rows).assign(prior="bessel")[
        ["experiment", "arm", "prior", *(f"column{j}" for j in range(30))]
    ]
    table.loc[table.experiment == "one", "column7"] = math.nan
    table.loc[5, "column3"] = math.nan
    return table


def test_every_number_is_there_once_in_lines_that_are_short_enough(tmp_path, wide):
    text = written(tmp_path, wide)
    assert max(map(len, text.splitlines())) <= 160
    expected = Counter(
        (row.experiment, row.arm, name, f"{row[name]:.3g}" if row[name] == row[name] else "–")
        for _, row in wide.iterrows()
        for name in wide.columns[3:]
        if (row.experiment, name) != ("one", "column7")
    )
    assert Counter(cell for cell in cells_of(text) if cell[2].startswith("column")) == expected
    assert text.count("prior bessel") == 2
    pd.testing.assert_frame_equal(read_csv(tmp_path / "t.csv"), wide)


def test_the_page_has_the_same_cells_under_the_same_headings(tmp_path, wide):
    written(tmp_path, wide)
    text = (tmp_path / "t.html").read_text()
    assert re.findall("<h2>(.*?)</h2>", text) == ["one", "two"]
    cells = Counter(cell for cell in re.findall("<td>(.*?)</td>", text) if not cell.startswith("arm"))
    assert cells == Counter(cell[-1] for cell in cells_of(written(tmp_path, wide)) if cell[2] != "arm")


def test_headings_are_told_where_they_change(tmp_path):
    table = pd.DataFrame({"experiment": [*"aabb"], "metric": [*"xyyx"], "arm": "r", "value": [1, 2, 3, 4]})
    text = written(tmp_path, table)
    assert re.findall("^#.*", text, re.MULTILINE) == ["## a", "### x", "### y", "## b", "### y", "### x"]
    assert [cell[-1] for cell in cells_of(text) if cell[-2] == "value"] == ["1", "2", "3", "4"]
    assert [cell[:2] for cell in cells_of(text) if cell[-2] == "value"] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "y"),
        ("b", "x"),
    ]


def test_what_is_missing_is_a_dash_and_an_arm_of_that_name_is_not(tmp_path):
    table = pd.DataFrame({"arm": ["nan", None], "value": [math.nan, 0.12345], "count": pd.array([1, None], "Int64")})
    found = cells_of(written(tmp_path, table))
    assert [cell[-1] for cell in found] == ["nan", "–", "1", "–", "0.123", "–"]
    found = cells_of(written(tmp_path, table.rename(columns={"arm": "experiment"})))
    assert found == [("nan", "1", "count", "1"), ("–", "0.123", "value", "0.123")]


def test_long_texts_are_notes_each_told_once_and_pipes_break_no_row(tmp_path):
    words = [" ".join(f"{name}{i}" for i in range(60)) for name in ("here", "there")]
    told = [words[0], words[1], words[0], None]
    table = pd.DataFrame({"claim": [*"abcd"], "value": 1.0, "statement": told, "again": told, "p": "x|y"})
    text = written(tmp_path, table)
    for name in ("statement", "again"):
        assert [cell[-1] for cell in cells_of(text) if cell[-2] == name] == ["[1]", "[2]", "[1]", "–"]
    assert [cell[-1] for cell in cells_of(text) if cell[-2] == "p"] == [r"x\|y"] * 4
    notes = re.split(r"^\d+\. ", text.split("\n\n<!--")[0], flags=re.MULTILINE)[1:]
    assert [" ".join(note.split()) for note in notes] == words
    assert max(map(len, text.splitlines())) <= 160


TO_READ = {
    "metrics": (summary, {}),
    "samplers": (sampler_summary, {"split": ["arm", "field"]}),
    "samplers_digits": (sampler_summary, {"split": ["arm", "field"]}),
    "claims": (claim_summary, {"split": ["figure"]}),
    "power": (power_summary, {"split": ["experiment", "n_samples"]}),
    "ladders": (ladder_summary, {}),
    "priors": (None, {}),
    "table1": (None, {}),
    "transfer": (None, {}),
}


@pytest.mark.parametrize("name", TO_READ)
def test_the_tables_of_the_reference_run_have_short_lines_and_no_nan(root, tmp_path, name):
    path = root / "results" / "reference" / "laptop" / "tables" / f"{name}.csv"
    rows, (make, layout) = read_csv(path), TO_READ[name]
    write_table(tmp_path / "t.csv", rows, read_facts(path), make(rows) if make else None, **layout)
    text = (tmp_path / "t.md").read_text()
    assert max(map(len, text.splitlines())) <= 160
    assert not re.search(r"\bnan\b", text)
    assert len({row[-1] for row in cells_of(text)}) > 20


def test_the_tables_of_distances_are_made_of_metrics_of_each_experiment(root, tmp_path):
    rows = read_csv(root / "results" / "reference" / "laptop" / "tables" / "metrics.csv")
    for make in (distances_by_prior, transfer):
        text = written(tmp_path, make(rows, ["mnist", "reaction-diffusion"]))
        assert re.findall("^## .*", text, re.MULTILINE) == ["## mnist", "## reaction-diffusion"]


def test_claims_say_value_interval_and_verdict_before_their_words():
    row = {"claim": "c", "figure": "f", "statement": "it does", "quantity": "a over b", "value": 1.0, "low": 0.5}
    row |= {"high": 1.5, "criterion": "≤ 2", "verdict": "undecided", "seeds": 3, "reached": 3, "settings": "paper"}
    row |= {"points_to": "reproduced", "more_seeds": 4, "power": 9.0, "first_written": None}
    told = claim_summary(pd.DataFrame([row, row | {"low": math.nan, "high": math.nan, "reached": 2}]))
    assert list(told)[:5] == ["figure", "claim", "value", "interval", "verdict"]
    assert told.interval[0] == "0.5 to 1.5"
    assert pd.isna(told.interval[1])
    assert told.seeds.tolist() == ["3", "2 of 3"]
    assert told.points_to[0] == "reproduced, 4 more seeds"
    assert told.claimed[0] == "it does (a over b)"
