"""Tables from tables: the tidy metrics of a whole run, what is read off them, and files to read."""

from ..columns import COLUMNS
from .claims import claims
from .compare import compare
from .files import read_histories, read_tables, write_table
from .ladders import ladder_summary, ladders
from .metrics import distances_by_prior, score_error_metrics, summary, tidy, transfer
from .priors import priors
from .samplers import sampler_summary

__all__ = [
    "COLUMNS",
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
    "summary",
    "tidy",
    "transfer",
    "write_table",
]
