"""What the benchmarks print: the machine, then a table."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["machine", "show"]


def machine() -> str:
    """The processor, the threads PyTorch uses, and the versions of what is compared."""
    from importlib.metadata import version

    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "neuraloperator", "pot"))
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {versions}"


def show(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print the rows as a Markdown table under their title and the machine; numbers to three digits."""
    import pandas as pd

    print(f"{title}\n{machine()}\n")
    print(pd.DataFrame([{key: _digits(value) for key, value in row.items()} for row in rows]).to_markdown(index=False))
    print(flush=True)


def _digits(value: object) -> object:
    if not isinstance(value, float):
        return value
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
