"""Speed and memory, measured in one run against stated baselines."""

from __future__ import annotations

import typer

from .metrics import metrics
from .sample import sample
from .scaling import scaling
from .solver import solver
from .train import train

__all__ = ["bench"]

bench = typer.Typer(
    help="Measure speed and memory against stated baselines, in one run; nothing else should run meanwhile.",
    no_args_is_help=True,
)
for command in (train, sample, scaling, solver, metrics):
    bench.command()(command)
