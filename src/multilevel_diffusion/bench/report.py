"""What a benchmark prints: a title, the machine, and a table in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

FORMATS = {"relative difference": ".0e", "value": ".7g", "relative error of u": ".1e"}
FORMATS |= dict.fromkeys(("of a matrix product", "of a stream", "fraction reached"), ".0%")


def machine() -> str:
    """Name the processor, the threads that PyTorch uses, and the versions of what is compared."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "neuraloperator", "pot"))
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {versions}"


def show(tables: Mapping[str, pd.DataFrame]) -> None:
    """Print each table under its title and the machine; numbers have three digits where FORMATS says nothing else."""
    for title, rows in tables.items():
        shown = pd.DataFrame({name: [_text(name, value) for value in column] for name, column in rows.items()})
        print(f"{title}\n{machine()}\n\n{shown.to_markdown(index=False)}\n", flush=True)


def _text(column: str, value: object) -> object:
    if not isinstance(value, float):
        return value
    if column in FORMATS:
        return "" if value != value else f"{value:{FORMATS[column]}}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
