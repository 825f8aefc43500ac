"""`mld` in processes that have PyTorch imported already: they start in milliseconds, so that hundreds can be stopped."""

import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from multilevel_diffusion.storage import read_csv, read_tensors

STAGES = ("train", "sample", "score_error", "convergence", "along_training", "log_density")
MODULES = ["torch._dynamo", *(f"multilevel_diffusion.{name}" for name in ("networks", "cli"))]
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([*MODULES, *(f"multilevel_diffusion.stages.{name}" for name in STAGES)])


def command(log, arguments, memory=None):
    """Be `mld ARGUMENTS`, with both streams in a file, and with so many bytes of memory more than at the start."""
    from multilevel_diffusion.__main__ import run

    if memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory,) * 2)
    with open(log, "ab", buffering=0) as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    torch.set_num_threads(1)
    sys.argv = ["mld", *map(str, arguments)]
    run()


def start(log, arguments, memory=None):
    process = context.Process(target=command, args=(log, arguments, memory))
    process.start()
    return process


def finish(log, arguments):
    """The seconds that a command takes, which must end well."""
    began = time.monotonic()
    process = start(log, arguments)
    process.join()
    assert process.exitcode == 0, Path(log).read_text()
    return time.monotonic() - began


def stop_at_random_moments(log, arguments, seconds, chance: random.Random, signals):
    """Start a command and stop it, by one of the signals, up to three times; then let it end. The number of stops."""
    stops = 0
    for _ in range(chance.randint(1, 3)):
        process = start(log, arguments)
        process.join(chance.uniform(0, seconds))
        if process.exitcode is None:
            sent = chance.choice(signals)
            os.kill(process.pid, sent)
            process.join(60)
            stops += process.exitcode == -sent
            assert process.exitcode in (0, -sent), Path(log).read_text()
        else:
            assert process.exitcode == 0, Path(log).read_text()
    finish(log, arguments)
    return stops


def assert_same_results(found: Path, expected: Path):
    """The same files with the same tensors and rows to the last bit, but for seconds; nothing is left over."""
    names = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (found, expected)]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(".safetensors"):
            a, b = (read_tensors(folder / name)[0] for folder in (found, expected))
            assert a.keys() == b.keys()
            for key in a:
                assert torch.equal(a[key], b[key]), f"{name}: {key}"
        elif name.endswith(".csv"):
            a, b = (_timeless(read_csv(folder / name)) for folder in (found, expected))
            pd.testing.assert_frame_equal(a, b, check_exact=True)


def _timeless(table: pd.DataFrame) -> pd.DataFrame:
    """Without the column and the rows of seconds."""
    if "posterior" in table:
        table = table[~table.posterior.str.startswith("seconds")].reset_index(drop=True)
    return table.drop(columns="seconds", errors="ignore")


KILLED, ASKED = (signal.SIGKILL,), (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
