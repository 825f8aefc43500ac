"""Functions for a process of its own, in a module that is quick to import."""

from multilevel_diffusion import memory


def most_of(size):
    """The peak of using a block and freeing it."""
    memory.reset_peak()
    _ = b"x" * size
    return memory.peak()


def resident_after(size):
    """Bytes resident beyond those before while a block is in use, and after it has been freed."""
    before = memory.resident()
    block = b"x" * size
    most = memory.resident()
    del block
    return most - before, memory.resident() - before
