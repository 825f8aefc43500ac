"""Commands that do not write over what they read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from ..errors import UserError

BESIDE = {
    "figure": (".csv", ".svg", ".png"),
    "table": (".csv", ".md", ".html"),
    "compare": (".csv", ".md", ".html"),
    "condition": (".safetensors",),
}
"""Suffixes of what commands write beside OUTPUT."""


class Commands(typer.Typer):
    """A group of commands, each of which refuses an OUTPUT that it also reads."""

    def command(self, *args: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return super().command(*args, cls=_Command, **options)


class _Command(TyperCommand):
    def invoke(self, ctx: Any) -> Any:
        output = ctx.params.get("output")
        if isinstance(output, Path):
            given = [value for name, value in ctx.params.items() if name != "output"]
            read = [path for path in _paths(given) if os.path.exists(path)]
            beside = [suffix for name in ctx.command_path.split()[1:] for suffix in BESIDE.get(name, ())]
            for written in (output, *(output.with_suffix(suffix) for suffix in beside if output.name)):
                if os.path.exists(written) and any(written.samefile(path) for path in read):
                    raise UserError(f"--output: {written} is read too, and would be overwritten; choose another name")
        return super().invoke(ctx)


def _paths(values: Any) -> Iterator[Path]:
    """The files among the values of a command: paths, and texts that name a file."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _paths(value)
        elif isinstance(value, Path):
            yield value
        elif isinstance(value, str) and os.path.isfile(value):
            yield Path(value)
