"""A DDS domain for those who want to be alone."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from functools import cache
from pathlib import Path

_DOMAINS = 100


@cache
def own_domain_id() -> int:
    """Returns a DDS domain id of this process's own, 1..100: above, ports collide with the system's.

    Nobody else who asks here gets it while this process lives, and nobody of the machine is in it at present. Where all
    are taken, it is one of those.
    """
    first = os.getpid()
    domains = [1 + (first + step) % _DOMAINS for step in range(_DOMAINS)]
    return next((each for each in domains if not _is_inhabited(each) and _take(each)), domains[0])


def _is_inhabited(domain_id: int) -> bool:
    """Returns whether somebody has the port of a domain's first participant. Source: DDSI-RTPS 2.5, 9.6.2.3."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain_id + 10))
        except OSError:
            return True
    return False


def _take(domain_id: int) -> bool:
    """Takes a domain for as long as this process lives; false where another one has it."""
    try:
        # Never closed: who holds the file's lock has the domain.
        lock = os.open(Path(tempfile.gettempdir(), f"world_model_domain_{domain_id}.lock"), os.O_CREAT | os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return False
    return True
