"""The memory of this process: whether glibc keeps what is freed, and how much was in use at most."""

import contextlib
import ctypes
import math
import re
import resource
from pathlib import Path

SIGNS: tuple[str, ...] = (
    "out of memory",
    "allocate memory",
    "bad_alloc",
    "Storage size calculation overflowed",
    "multiplication overflow",
)
SIGNS += ("Memory allocation", "could not create a memory")
"""What errors for want of memory say, of PyTorch, C++, MKL and oneDNN."""


def keep_freed_memory() -> None:
    """Tell glibc to serve large blocks from a heap it keeps, because most of a training step would else go to page faults."""
    m_trim_threshold, m_mmap_max = -1, -4
    _glibc("mallopt", m_mmap_max, 0)
    _glibc("mallopt", m_trim_threshold, -1)  # never; a number of bytes would have to be below 2 GiB


def out_of_memory(error: BaseException) -> str | None:
    """What to say of an error that is for want of memory; None of any other.

    PyTorch and the libraries below it raise a RuntimeError of which only the text tells.
    """
    text = " ".join(str(error).split())
    if not isinstance(error, MemoryError) and not any(sign in text for sign in SIGNS):
        return None
    found = re.search(r"(\d+) bytes", text)
    asked = f": {int(found[1]) / 2**30:.3g} GiB were asked for at once" if found else ""
    return f"memory does not suffice{asked}; take fewer points per side, fewer samples or a smaller batch"


CGROUPS = Path("/sys/fs/cgroup")
_before = 0.0


def available() -> float:
    """Bytes that can be had without swapping, within the limit of a container or job; infinite where there is no /proc."""
    found, held = _entry("/proc/meminfo", "MemAvailable"), _entry("/proc/self/status", "VmSize")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    own = math.inf if limit == resource.RLIM_INFINITY or math.isnan(held) else limit - held
    return min(math.inf if math.isnan(found) else found, own, _left_in_group())


def _left_in_group() -> float:
    """Bytes up to the least limit of the control groups (version 2) of this process; infinite where there is none.

    What a group holds of files can be given up, and does not count.
    """
    left = math.inf
    with contextlib.suppress(OSError, ValueError):
        own = Path(Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip().lstrip("/"))
        for group in (CGROUPS / own, *(CGROUPS / above for above in own.parents)):
            with contextlib.suppress(OSError, ValueError):
                limit, held = (float((group / f"memory.{name}").read_text()) for name in ("max", "current"))
                files = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE)
                left = min(left, limit - held + (float(files[1]) if files else 0.0))
    return left


def reset_peak() -> None:
    """Let `peak` count from what is in use now; what glibc kept of freed memory goes back to the system first."""
    global _before
    _glibc("malloc_trim", 0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's mark goes down to what is resident
    except OSError:
        _before = math.nan  # the mark would be of an earlier time
    else:
        _before = resident()


def peak() -> float:
    """Return the most bytes resident at once since `reset_peak`, beyond those resident then; nan where /proc keeps no mark."""
    return _entry("/proc/self/status", "VmHWM") - _before


def resident() -> float:
    """Return the bytes of this process that are in memory; nan where there is no /proc."""
    return _entry("/proc/self/status", "VmRSS")


def _glibc(function: str, *arguments: int) -> None:
    """Call a function that only glibc has; with another C library nothing happens."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def _entry(file: str, field: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(file).read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024.0 * int(line.split()[1])
    return math.nan
