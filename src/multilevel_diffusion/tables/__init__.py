"""Tables from tables: the tidy metrics of a whole run, what is read off them, and files to read."""

from .claims import claims
from .files import read_histories, read_tables, write_table
from .ladders import ladder_summary, ladders
from .metrics import (
    compare,
    distances_by_prior,
    sampler_summary,
    score_error_metrics,
    skill_metrics,
    summary,
    tidy,
    transfer,
)
from .priors import priors

__all__ = [
    "claims",
    "compare",
    "distances_by_prior",
    "ladder_summary",
    "ladders",
    "priors",
    "read_histories",
    "read_tables",
    "sampler_summary",
    "score_error_metrics",
    "skill_metrics",
    "summary",
    "tidy",
    "transfer",
    "write_table",
]
