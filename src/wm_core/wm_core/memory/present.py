"""The moment that ages are counted from: one record stamped in the future must not make all others old."""

from __future__ import annotations

import logging
import time

import numpy as np

_LOG = logging.getLogger(__name__)
_AHEAD_NS = 60_000_000_000
_APART_NS = 86_400_000_000_000


def newest_ns(stamp_N: np.ndarray, clock_ns: int | None = None) -> int:
    """Return the newest stamp [ns], leaving out those more than a minute ahead of the clock where others are not.

    What "recent" is counts from it: 0 where there is none.

    Args:
        stamp_N: Of records [ns].
        clock_ns: As for ``present_ns``.
    """
    if not len(stamp_N):
        return 0
    newest = int(stamp_N.max())
    latest = (time.time_ns() if clock_ns is None else clock_ns) + _AHEAD_NS
    if newest <= latest:
        return newest
    believed_N = stamp_N[stamp_N <= latest]
    return int(believed_N.max()) if len(believed_N) else newest


def present_ns(stamp_N: np.ndarray, clock_ns: int | None = None) -> int:
    """Return the newest stamp that can be believed [ns]; 0 where there is none.

    Left out are stamps more than a minute ahead of the clock, as long as others are not, and then the newest one where
    it lies alone, more than a day after all others.

    Args:
        stamp_N: Of all records [ns].
        clock_ns: What the clock says that the stamps come from [ns]; None: this machine's.
    """
    if not len(stamp_N):
        return 0
    clock_ns = time.time_ns() if clock_ns is None else clock_ns
    believed_N = stamp_N[stamp_N <= clock_ns + _AHEAD_NS]
    newest_N = np.sort(believed_N if len(believed_N) else stamp_N)[-2:].tolist()
    # Python's integers: two stamps may lie further apart than 63 bits hold.
    present = newest_N[0] if newest_N[-1] - newest_N[0] > _APART_NS else newest_N[-1]
    ahead = int(np.count_nonzero(stamp_N > present))
    if ahead:
        _LOG.warning("ages are counted from %.3f s; %d records are stamped later", present / 1e9, ahead)
    return int(present)
