from __future__ import annotations

from typing import Annotated

import typer

RESOLUTIONS = [32, 50, 64, 128]


def train(
    resolution: Annotated[
        list[int], typer.Option(min=30, help="Points per side, even; several may be given.")
    ] = RESOLUTIONS,
    batch: Annotated[int, typer.Option(min=1, help="Fields a step.")] = 128,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also either network with the other's allocator settings.")
    ] = False,
) -> None:
    """A training step and an evaluation of the paper's network, against neuraloperator's FNO with the default allocator.

    Each in a process of its own, in turn; medians. Then the roofline: what a step computes and moves, by count, and how near it
    comes to what this machine does in a large matrix product and in a stream through memory.
    """
    from contextlib import ExitStack
    from functools import partial

    from ...config import UserError
    from ..progress import progress
    from .network import OURS, STOCK, Case, ceilings, difference, flops, forward_seconds, step_memory, step_seconds
    from .network import traffic as traffic_of
    from .report import show
    from .worker import medians, process

    if odd := [n for n in resolution if n % 2]:
        raise UserError(f"--resolution: on odd grids neuraloperator computes another function: not {odd[0]}")
    ways = {(STOCK, False): "neuraloperator", (OURS, True): "ours"}
    if ablation:
        ways |= {(STOCK, True): "neuraloperator, freed memory kept", (OURS, False): "ours, default allocator"}
    rows, roofline = [], []
    with process(keep_freed=True) as call:
        compute, stream = call(ceilings, repeats)
    with progress(len(resolution), "bench train") as advance:
        for n in resolution:
            with ExitStack() as stack:
                calls = {way: stack.enter_context(process(keep_freed=way[1])) for way in ways}
                cases = {way: Case(way[0], n, batch) for way in ways}
                steps, forwards = (
                    medians({way: partial(calls[way], measure, cases[way]) for way in ways}, repeats)
                    for measure in (step_seconds, forward_seconds)
                )
                memory = {way: calls[way](step_memory, cases[way]) for way in ways}
                error = calls[OURS, True](difference, cases[OURS, True])
            baseline = (STOCK, False)
            for way, name in ways.items():
                rows.append(
                    {
                        "resolution": n,
                        "network": name,
                        "step (ms)": 1e3 * steps[way],
                        "step, times as fast": steps[baseline] / steps[way],
                        "forward (ms)": 1e3 * forwards[way],
                        "forward, times as fast": forwards[baseline] / forwards[way],
                        "peak of a step (MB)": memory[way] / 1e6,
                        "relative difference": f"{error:.0e}" if way[0] == OURS else "",
                    }
                )
            parts, (moved, _) = flops(cases[OURS, True]), traffic_of(cases[OURS, True])
            total, seconds = sum(parts.values()), steps[OURS, True]
            least = max(total / compute, moved / stream)
            roofline.append(
                {"resolution": n}
                | {f"{part} (GFLOP)": count / 1e9 for part, count in parts.items()}
                | {
                    "moved (GB)": moved / 1e9,
                    "FLOP/byte": total / moved,
                    "GFLOP/s": total / seconds / 1e9,
                    "of a matrix product": f"{total / seconds / compute:.0%}",
                    "GB/s": moved / seconds / 1e9,
                    "of a stream": f"{moved / seconds / stream:.0%}",
                    "least step (ms)": 1e3 * least,
                    "fraction reached": f"{least / seconds:.0%}",
                }
            )
            advance()
    show(f"Training step and evaluation, batch {batch}, medians of {repeats}", rows)
    show(
        f"Roofline of our step: {compute / 1e9:.0f} GFLOP/s in a matrix product, {stream / 1e9:.1f} GB/s in a stream",
        roofline,
    )
