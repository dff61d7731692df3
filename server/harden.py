"""What a process that holds plaintext does about its memory: no core dump, no debugger, no swap if asked.

Python cannot wipe what it has used: freed objects stay in the heap until their pages are reused (docs/threats.md).
So a worker keeps plaintext for one job in one process, and these calls keep that memory from reaching a disk or a
neighbour. Linux; elsewhere the limit on core dumps alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from marginseal.errors import InputError

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2


def protect_memory(*, lock: bool) -> None:
    """RLIMIT_CORE 0, not dumpable (so neither /proc/<pid>/mem nor ptrace for the same user), umask 077.

    lock: mlockall; InputError worker.lock-memory where the limit on locked memory forbids it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if lock and libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        raise InputError("worker.lock-memory", "worker.lock_memory is set and the system does not allow it (memlock)")


def end_with_parent(parent: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent process is gone; at once if it is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
