from __future__ import annotations

from typing import Annotated

import typer

from ..options import Steps

RESOLUTIONS = [32, 64]
SAMPLERS = ["euler-maruyama", "heun", "dpm-solver++"]


def sample(
    resolution: Annotated[list[int], typer.Option(min=3, help="Points per side; several may be given.")] = RESOLUTIONS,
    sampler: Annotated[list[str], typer.Option(help="As in `mld sample`; several may be given.")] = SAMPLERS,
    steps: Steps = 10,
    batch: Annotated[int, typer.Option(min=1, help="Fields drawn together.")] = 64,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    """Evaluations and samples a second, against evaluations of neuraloperator's FNO with the default allocator."""
    from functools import partial

    from ...config import parse_sampler
    from ..progress import progress
    from .network import OURS, STOCK, Case, evaluations, forward_seconds, sampling_seconds
    from .report import show
    from .worker import medians, process

    samplers = [parse_sampler(text, "--sampler") for text in sampler]
    rows = []
    with progress(len(resolution), "bench sample") as advance:
        for n in resolution:
            with process(keep_freed=False) as theirs, process(keep_freed=True) as ours:
                case = Case(OURS, n, batch)
                calls = {
                    "neuraloperator": partial(theirs, forward_seconds, Case(STOCK, n, batch)),
                    "ours": partial(ours, forward_seconds, case),
                }
                calls |= {f"ours, {each}": partial(ours, sampling_seconds, case, each, steps) for each in samplers}
                seconds = medians(calls, repeats)
                counts = dict.fromkeys(calls, 1)
                counts |= {f"ours, {each}": ours(evaluations, case, each, steps) for each in samplers}
            for name, taken in seconds.items():
                rows.append(
                    {
                        "resolution": n,
                        "what": name,
                        "evaluations": counts[name],
                        "fields/s": batch / taken,
                        "evaluations/s": batch * counts[name] / taken,
                        "times as many": counts[name] * seconds["neuraloperator"] / taken,
                    }
                )
            advance()
    show(f"Evaluations of the paper's network and samples in {steps} steps, {batch} fields at a time", rows)
