"""How far an execution is, and how it ends."""

from __future__ import annotations

from enum import Enum


class Mode(Enum):
    """How far an execution is."""

    WAITING = "waiting"
    RUNNING = "running"
    HOLDING = "holding"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Outcome(Enum):
    """How an execution ends."""

    REACHED = "REACHED"
    CANCELLED = "CANCELLED"
    PREEMPTED = "PREEMPTED"
    REFUSED = "REFUSED"
    NOT_RECOGNISED = "NOT_RECOGNISED"
    STALE_INPUTS = "STALE_INPUTS"
    NO_CHUNKS = "NO_CHUNKS"
    OUTSIDE = "OUTSIDE"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
