"""The summaries of all commands, as `mld --help` and the help of each group list them."""

import pytest

from multilevel_diffusion.cli import app


@pytest.mark.parametrize("group", [[], *([group.name] for group in app.registered_groups)], ids=" ".join)
def test_no_summary_is_cut(mld, group, monkeypatch):
    """A summary is the first sentence of a docstring and has about 60 letters at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    _, heading, summaries = mld(*group, "--help").out.partition("Commands:\n")
    assert heading
    assert [line for line in summaries.splitlines() if line.endswith(("...", "…"))] == []
