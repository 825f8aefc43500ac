from __future__ import annotations

from typing import Annotated

import typer

from ..options import Output

RESOLUTIONS = [32, 48, 64, 96, 128, 192, 256]
BATCHES = [4, 8, 16, 32, 64, 128]
WIDTHS = [8, 16, 32, 64, 128]


def scaling(
    output: Output,
    resolution: Annotated[list[int], typer.Option(min=3, help="Points per side; several may be given.")] = RESOLUTIONS,
    batch: Annotated[list[int], typer.Option(min=1, help="Fields a step; several may be given.")] = BATCHES,
    width: Annotated[list[int], typer.Option(min=1, help="Channels; several may be given.")] = WIDTHS,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Time and memory of a training step of our network against resolution, batch and width, beside what counting expects: a CSV.

    One of them is changed at a time, from 64 x 64 points, 16 fields and 32 channels; the head has four times the channels.
    """
    import time

    import pandas as pd

    from ...storage import provenance, write_csv
    from ..progress import progress
    from .network import OURS, Case, ceilings, flops, step_memory, step_seconds, traffic
    from .report import machine
    from .worker import medians, process

    def case(resolution: int = 64, batch: int = 16, width: int = 32) -> Case:
        return Case(OURS, resolution, batch, width, head=4 * width)

    start = time.perf_counter()
    swept = {"resolution": resolution, "batch": batch, "width": width}
    points = [(name, value, case(**{name: value})) for name, values in swept.items() for value in values]
    with process(keep_freed=True) as call:
        compute, stream = call(ceilings, repeats)
    measured = {}
    cases = list(dict.fromkeys(each for _, _, each in points))
    with progress(len(cases), "bench scaling") as advance:
        for each in cases:
            with process(keep_freed=True) as call:
                seconds = medians({each: lambda call=call, each=each: call(step_seconds, each)}, repeats)[each]
                count, (moved, held) = sum(flops(each).values()), traffic(each)
                measured[each] = {
                    "seconds": seconds,
                    "expected_seconds": max(count / compute, moved / stream),
                    "bytes": call(step_memory, each),
                    "expected_bytes": held,
                    "flop": count,
                    "bytes_moved": moved,
                }
            advance()
    rows = [
        {"against": name, "value": value, "resolution": each.resolution, "batch": each.batch, "width": each.width}
        | measured[each]
        for name, value, each in points
    ]
    facts = provenance(
        device="cpu",
        machine=machine(),
        flop_per_second=round(compute),
        bytes_per_second=round(stream),
        seconds=round(time.perf_counter() - start, 3),
    )
    write_csv(output, pd.DataFrame(rows), facts)
