"""The command line: parse, call, write. Every stage turns files into files; what it computes stands in `stages`.

A command imports what it needs inside its function: `mld --help` answers at once.
"""

import atexit
import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import UserError
from ..memory import keep_freed_memory, out_of_memory
from ..settings import load_plugins
from . import stages
from .bench import bench
from .commands import Commands
from .data import data
from .figure import figure
from .table import compare, table

USAGE_ERROR = typer.BadParameter.__base__  # click's UsageError, from wherever this typer takes click

app = Commands(
    name="mld",
    help="Multilevel diffusion: score-based diffusion models on functions, stage by stage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (
    *(stages.resolve, stages.gaussian, stages.train, stages.score_error, stages.sample, stages.along_training),
    *(stages.classifier, stages.evaluate, compare, stages.convergence, stages.condition, stages.log_density),
    *(stages.truncation, stages.pack),
):
    app.command()(command)
for name, group in {"data": data, "figure": figure, "table": table, "bench": bench}.items():
    app.add_typer(group, name=name)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"mld {__version__}")
        raise typer.Exit


@app.callback()
def options(
    plugin: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", envvar="MLD_PLUGINS", help="Python file with kinds of your own; may be repeated."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
    ] = False,
) -> None:
    load_plugins(plugin or [])


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
    except (UserError, OSError, MemoryError, RuntimeError) as error:
        if not (text := error if isinstance(error, UserError | OSError) else out_of_memory(error)):
            raise
        print(f"mld: {text}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
