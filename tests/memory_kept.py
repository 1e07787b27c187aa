"""Freed memory stays with the process that runs the tests: the next graph takes it sooner."""

import ctypes
import gc
import platform

from mgn.inference import embedder

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def keep() -> None:
    """Free blocks are not handed to the system, neither by size nor when a model is closed.

    Before each test: TensorFlow sets the first of these anew.
    """
    embedder.give_back = gc.collect  # without the trimming
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_MMAP_MAX, 0)
