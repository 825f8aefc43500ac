"""The summaries of all commands, as `mld --help` and the help of each group list them."""

import pytest

from multilevel_diffusion.cli import app


@pytest.mark.parametrize("group", [[], *([group.name] for group in app.registered_groups)], ids=" ".join)
def test_no_summary_is_cut(mld, group, monkeypatch):
    """A summary is the first sentence of a docstring and has at most 60 letters."""
    monkeypatch.setenv("COLUMNS", "80")
    _, heading, summaries = mld(*group, "--help").out.partition("Commands:\n")
    assert heading
    summaries = [line.split(maxsplit=1)[1] for line in summaries.splitlines()]
    assert [each for each in summaries if len(each) > 60 or each.endswith(("...", "…"))] == []
