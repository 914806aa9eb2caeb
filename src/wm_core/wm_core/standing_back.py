"""Work that gives way to a robot's: less of a full machine, however the system shares it out."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_THREADS = Path("/proc/self/task")


def stand_back(by: int) -> None:
    """Let this process give way to others, for good.

    Niceness alone does not reach beyond the session where Linux shares a processor out among sessions first
    (``kernel.sched_autogroup_enabled``, as on desktops): a process that leads a session of its own has the whole
    session stand back. One that shares the session of a terminal or a launch file stands back within that one only.
    Source: sched(7), autogroup.

    Args:
        by: Added to its niceness, 0 to 19.
    """
    niceness = os.nice(by)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")


def keep_to(processors: int) -> frozenset[int]:
    """Keep this process, all of its threads and what they start, to a few processors, for good.

    Niceness says who runs next, not who is interrupted: a thread that wakes on a processor where one of a lower weight
    runs may wait until the next tick of the kernel (``CONFIG_HZ``, 1 to 10 ms). The processors that this process leaves
    free have none of that. Source: sched(7), sched_setaffinity(2).

    Args:
        processors: How many at most, the last ones of those that it may run on; 0: all of them.

    Returns:
        Those that it may run on from now.
    """
    allowed = sorted(os.sched_getaffinity(0))
    kept = frozenset(allowed[-processors:])
    done: set[str] = set()
    # One that begins meanwhile, of a thread that was not reached yet, is met in the next look.
    while len(kept) < len(allowed) and (begun := {task.name for task in _THREADS.iterdir()} - done):
        for thread in begun:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), kept)
        done |= begun
    return kept
