"""Memory of a model that is closed, given back to the system."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Free what nothing refers to, and hand it to the system.

    A graph lies in cycles that Python, which does not see how large it is, would leave for long,
    and glibc keeps freed memory for itself.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim:
            trim(0)
