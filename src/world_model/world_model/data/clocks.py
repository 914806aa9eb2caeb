"""A recording whose camera is stamped by another clock than its poses and actions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from wm_core.alignment import Offset, offset_by_arrival
from world_model.data.account import Account, StreamAccount
from world_model.data.frames import Events

WAY_OUT = "--camera-offset-s states it in seconds; or, as arrival, lets the times at which both were recorded tell it"
_SUSPICIOUS_NS = 1_000_000_000
"""Where poses seem further off by when both were recorded, it is said."""


def on_cameras_clock(events: Events, account: Account, offset_s: float | None) -> None:
    """Bring poses, actions and what the recorder's clock said to the camera's clock, and say by how much.

    Args:
        events: Changed.
        account: Changed; told the offset.
        offset_s: What is to be added to the camera's stamps [s]; ``None``: what arrivals tell, timeline by timeline.
    """
    if offset_s == 0.0:
        return
    starts_ns = [0, *events.restarts_ns]
    if offset_s is not None:
        offsets = [Offset(round(offset_s * 1e9))] * len(starts_ns)
        account.notes.append(f"the camera's clock: {offsets[0]} to that of poses and actions, as asked for")
    else:
        offsets = _by_arrival(account, starts_ns)

    def shifted(stamp_ns: int, arrival_ns: int) -> int:
        return stamp_ns - offsets[max(bisect_right(starts_ns, arrival_ns) - 1, 0)].ns

    for frame in events.frames:
        frame.clock_ns = shifted(frame.clock_ns, frame.arrival_ns)
    events.poses = [
        replace(pose, stamp_ns=pose.stamp_ns and shifted(pose.stamp_ns, pose.arrival_ns)) for pose in events.poses
    ]
    events.actions = [
        replace(
            action,
            stamp_ns=action.stamp_ns and shifted(action.stamp_ns, action.arrival_ns),
            clock_ns=shifted(action.arrival_ns if action.clock_ns is None else action.clock_ns, action.arrival_ns),
        )
        for action in events.actions
    ]
    for stream in (account.poses, account.actions):
        _shift(stream, shifted)


def another_clock(account: Account) -> list[str]:
    """Return what to say of poses that belong to frames and yet seem to be of another clock."""
    offset = offset_by_arrival(_told(account.camera), _told(account.poses))
    if offset is None or not account.poses.known or abs(offset.ns) <= _SUSPICIOUS_NS:
        return []
    return [
        f"by when both were recorded the clock of the poses is {offset} from the camera's: another clock, or comes one "
        f"of both late? {WAY_OUT}"
    ]


def _by_arrival(account: Account, starts_ns: Sequence[int]) -> list[Offset]:
    """Returns the offset of each timeline, as arrivals tell it; none where there is nothing to tell it by."""
    others = _told(account.poses) or _told(account.actions)
    name = "poses" if _told(account.poses) else "actions"
    offsets = []
    for start_ns, end_ns in zip(starts_ns, [*starts_ns[1:], 2**62]):
        own = [pair for pair in _told(account.camera) if start_ns <= pair[1] < end_ns]
        offset = offset_by_arrival(own, others)
        if offset is None:
            account.notes.append("the camera's clock: too few frames, or poses and actions with stamps, to compare it")
        else:
            account.notes.append(
                f"the camera's clock: {offset} to that of the {name}, by when both were recorded; right to the "
                "difference of their delays"
            )
        offsets.append(offset or Offset(0))
    return offsets


def _told(stream: StreamAccount) -> list[tuple[int, int]]:
    return [(stamp, arrival) for stamp, arrival in zip(stream.stamps_ns, stream.arrivals_ns) if stamp]


def _shift(stream: StreamAccount, shifted: Callable[[int, int], int]) -> None:
    pairs = zip(stream.stamps_ns, stream.arrivals_ns)
    stream.stamps_ns = [stamp and shifted(stamp, arrival) for stamp, arrival in pairs]
