"""What the paper's network costs: training steps and evaluations, sampling, and how a step grows with its sizes.

Every network is measured in a process of its own, in turn with the others; times are medians of `repeats`. `advance()` is called
after each resolution or size. Each function raises UserError if the memory does not suffice.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pandas as pd

from ..errors import UserError
from ..settings import SamplerSettings
from . import network
from .network import OURS, STOCK, Case
from .report import machine
from .worker import medians, process

Advance = Callable[[], None]
Tables = dict[str, pd.DataFrame]

WAYS = {STOCK: (STOCK, False), OURS: (OURS, True)}
"""What a table calls it: the network, and whether its process keeps freed memory."""

ABLATION = {"neuraloperator, freed memory kept": (STOCK, True), "ours, default allocator": (OURS, False)}


def train(resolutions: Sequence[int], batch: int, repeats: int, advance: Advance, *, ablation: bool = False) -> Tables:
    """Measure a training step and an evaluation against neuraloperator's FNO with the default allocator, then the roofline.

    The roofline tells what our step computes and moves, by count. It also tells how near the step comes to what this machine does
    in a large matrix product and in a stream through memory. With `ablation` either network also has the other's allocator
    settings.

    Raises a UserError if a resolution is odd.
    """
    if odd := [n for n in resolutions if n % 2]:
        raise UserError(f"--resolution: on odd grids neuraloperator computes another function: not {odd[0]}")
    ways = WAYS | (ABLATION if ablation else {})
    tables, roofline = {}, []
    compute, stream = _ceilings(repeats)
    for n in resolutions:
        cases = {name: Case(kind, n, batch) for name, (kind, _) in ways.items()}
        with ExitStack() as stack:
            calls = {name: stack.enter_context(process(keep_freed=keep)) for name, (_, keep) in ways.items()}
            step, forward = (
                pd.Series(medians({name: partial(calls[name], measure, cases[name]) for name in ways}, repeats))
                for measure in (network.step_seconds, network.forward_seconds)
            )
            memory = pd.Series({name: calls[name](network.step_memory, cases[name]) for name in ways})
            error = calls[OURS](network.difference, cases[OURS])
        table = pd.DataFrame({"step (ms)": 1e3 * step, "step, times as fast": step[STOCK] / step})
        table["forward (ms)"] = 1e3 * forward
        table["forward, times as fast"] = forward[STOCK] / forward
        table["peak of a step (MB)"] = memory / 1e6
        table["relative difference"] = [error if kind == OURS else math.nan for kind, _ in ways.values()]
        tables[n] = table
        parts, (moved, _), seconds = network.flops(cases[OURS]), network.traffic(cases[OURS]), step[OURS]
        total = sum(parts.values())
        least = max(total / compute, moved / stream)
        roofline.append(
            {"resolution": n}
            | {f"{part} (GFLOP)": count / 1e9 for part, count in parts.items()}
            | {"moved (GB)": moved / 1e9, "FLOP/byte": total / moved}
            | {"GFLOP/s": total / seconds / 1e9, "of a matrix product": total / seconds / compute}
            | {"GB/s": moved / seconds / 1e9, "of a stream": moved / seconds / stream}
            | {"least step (ms)": 1e3 * least, "fraction reached": least / seconds}
        )
        advance()
    measured = pd.concat(tables, names=["resolution", "network"])
    ceilings = f"{compute / 1e9:.0f} GFLOP/s in a matrix product, {stream / 1e9:.1f} GB/s in a stream"
    return {
        f"Training step and evaluation, batch {batch}, medians of {repeats}": measured.reset_index(),
        f"Roofline of our step: {ceilings}": pd.DataFrame(roofline),
    }


def sample(
    resolutions: list[int], samplers: list[SamplerSettings], steps: int, batch: int, repeats: int, advance: Advance
) -> Tables:
    """Measure evaluations and samples per second, against evaluations of neuraloperator's FNO with the default allocator."""
    tables = {}
    for n in resolutions:
        case = Case(OURS, n, batch)
        with process(keep_freed=False) as theirs, process(keep_freed=True) as ours:
            calls = {STOCK: partial(theirs, network.forward_seconds, Case(STOCK, n, batch))}
            calls[OURS] = partial(ours, network.forward_seconds, case)
            calls |= {f"ours, {each}": partial(ours, network.sampling_seconds, case, each, steps) for each in samplers}
            counts = {f"ours, {each}": ours(network.evaluations, case, each, steps) for each in samplers}
            taken = pd.Series(medians(calls, repeats))
        table = pd.DataFrame({"evaluations": {STOCK: 1, OURS: 1} | counts, "fields/s": batch / taken})
        table["evaluations/s"] = table.evaluations * table["fields/s"]
        table["times as many"] = table["evaluations/s"] / table["evaluations/s"][STOCK]
        tables[n] = table
        advance()
    title = f"Evaluations of the paper's network and samples in {steps} steps, {batch} fields at a time"
    return {title: pd.concat(tables, names=["resolution", "what"]).reset_index()}


def scaling(sizes: Mapping[str, Sequence[int]], repeats: int, advance: Advance) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure time and memory of a training step of our network beside what counting expects.

    Args:
        sizes: Values of `resolution`, `batch` and `width`. One of them is changed at a time, from 64 x 64 points, 16 fields
            and 32 channels; the head has four times the channels.

    Returns:
        One row per value, where one measurement serves all that are the same case. And facts for the provenance of the table:
        the machine and its best FLOP/s and bytes/s.
    """
    rows, measured = [], {}
    compute, stream = _ceilings(repeats)
    for against, value in [(name, value) for name in sizes for value in sizes[name]]:
        size = {"resolution": 64, "batch": 16, "width": 32} | {against: value}
        case = Case(OURS, **size, head=4 * size["width"])
        if case not in measured:
            flop, (moved, held) = sum(network.flops(case).values()), network.traffic(case)
            with process(keep_freed=True) as call:
                measured[case] = {
                    "seconds": medians({OURS: partial(call, network.step_seconds, case)}, repeats)[OURS],
                    "expected_seconds": max(flop / compute, moved / stream),
                    "bytes": call(network.step_memory, case),
                    "expected_bytes": held,
                    "flop": flop,
                    "bytes_moved": moved,
                }
        rows.append({"against": against, "value": value} | size | measured[case])
        advance()
    best = {"flop_per_second": round(compute), "bytes_per_second": round(stream)}
    return pd.DataFrame(rows), {"machine": machine()} | best


def _ceilings(repeats: int) -> tuple[float, float]:
    with process(keep_freed=True) as call:
        return call(network.ceilings, repeats)
