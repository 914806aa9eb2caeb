"""Work that gives way to a robot's: less of a full machine, however the system shares it out."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


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
