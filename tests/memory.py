"""How much memory something takes: what it needs each time, not what a cache or another test's thread takes once."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def least_peak(run: Callable[[int], object], times: int = 3) -> int:
    """The least peak of several runs, numbered from 0, in bytes that Python and numpy allocated."""
    peaks = []
    for number in range(times):
        gc.collect()
        tracemalloc.start()
        try:
            run(number)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
