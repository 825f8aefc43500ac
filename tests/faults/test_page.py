"""docs/faults.md and the tests it names."""

import re


def test_every_test_that_the_page_names_is_there_and_every_kind_has_one(root):
    page = (root / "docs/faults.md").read_text()
    there = {
        name for file in (root / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    rows = re.findall(r"^\| (\d+) \|(.*)", page, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 28))
    for _, row in rows:
        names = re.findall(r"`(test_\w+)`", row)
        assert names
        assert there.issuperset(names)
