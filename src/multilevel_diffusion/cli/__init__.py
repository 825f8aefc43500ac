"""The command line: every stage turns files into files. The only place that builds objects from settings.

A command's module imports what it needs inside its function: `mld --help` answers at once, and the import graph tells
which source files a stage depends on.
"""

from __future__ import annotations

import atexit
import gc
import sys

import typer

from ..config import UserError
from .along_training import along_training
from .bench import bench
from .compare import compare
from .convergence import convergence
from .data import data
from .evaluate import evaluate
from .figure import figure
from .log_density import log_density
from .memory import keep_freed_memory
from .resolve import resolve
from .sample import sample
from .score_error import score_error
from .table import table
from .train import train
from .truncation import truncation

__all__ = ["app", "main"]

USAGE_ERROR = typer.BadParameter.__base__  # click's UsageError, from wherever this typer takes click

app = typer.Typer(
    name="mld",
    help="Multilevel diffusion: score-based diffusion models on functions, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(resolve)
app.add_typer(data, name="data")
app.command()(train)
app.command()(score_error)
app.command()(sample)
app.command()(along_training)
app.command()(evaluate)
app.command()(compare)
app.command()(convergence)
app.command()(log_density)
app.command()(truncation)
app.add_typer(figure, name="figure")
app.add_typer(table, name="table")
app.add_typer(bench, name="bench")


def main() -> None:
    """Run a command; what the user can mend comes as one line on stderr with exit code 1 (2 for a wrong call)."""
    keep_freed_memory()
    # what imports make lives to the end: to look through it for garbage, at the default threshold and at exit, takes a second
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        sys.exit(app(standalone_mode=False))
    except USAGE_ERROR as error:
        bare = type(error).__name__ == "NoArgsIsHelpError"
        text = error.format_message()
        print(text if bare else f"mld: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(2)
    except (UserError, OSError) as error:
        print(f"mld: {error}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
