"""What a robot learned of its motion, kept in its profile: read at the start and when it was written by another."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from world_model.errors import ProfileError
from world_model.runtime.calibration import STATE_VERSION
from world_model.runtime.own_motion import OwnMotion
from world_model.runtime.profile import MOTION, Profile


class MotionKeeper:
    """Keeps a robot's motion and its profile alike.

    Writing waits for the disk, so a thread of its own does it.

    Args:
        profile: The robot's profile; ``None`` keeps nothing.
        motion: What is learned.

    Attributes:
        problem: Why the profile was not read or written; empty where it was.
    """

    def __init__(self, profile: Profile | None, motion: OwnMotion) -> None:
        self._profile, self._motion = profile, motion
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="profile") if profile is not None else None
        self._writing: Future[int] | None = None
        self._signature: tuple[int, int] | None = None
        self._kept: Mapping[str, Any] | None = None
        self._is_foreign = False
        self.problem = ""

    def look(self) -> bool:
        """Read the profile where another wrote it, else write what was learned; return whether it was read."""
        if self._profile is None or (self._writing is not None and not self._writing.done()):
            return False
        if self._writing is not None:
            self._finish()
        if self._profile.signature(MOTION) != self._signature:
            return self._read(self._profile)
        self._write(self._profile)
        return False

    def follow(self, motion: OwnMotion) -> None:
        """Keep another motion from now on, which goes on from what the former has learned."""
        state = self._motion.state()
        if state is not None:
            motion.restore(state)
        self._motion = motion

    def close(self) -> None:
        """Write what was learned and wait until it is written."""
        if self._writer is None:
            return
        self.look()
        self._writer.shutdown()
        self._finish()

    def _finish(self) -> None:
        writing, self._writing = self._writing, None
        if writing is None or self._profile is None:
            return
        error = writing.exception()
        if error is not None and not isinstance(error, ProfileError):
            raise error
        self.problem = ""
        if error is not None:
            self.problem, self._kept = str(error), None
        self._signature = self._profile.signature(MOTION)

    def _read(self, profile: Profile) -> bool:
        self._signature = profile.signature(MOTION)
        try:
            part = profile.read(MOTION, STATE_VERSION)
            if part is not None:
                self._motion.restore(part.entries)
        except ProfileError as error:
            self.problem, self._is_foreign = str(error), True
            return False
        self._is_foreign = False
        self.problem, self._kept = "", self._motion.state()
        return part is not None

    def _write(self, profile: Profile) -> None:
        state = self._motion.state()
        # What cannot be understood is another's: it is left alone.
        if self._writer is None or state is None or self._is_foreign or not _differs(state, self._kept):
            return
        self._kept = state
        self._writing = self._writer.submit(profile.write, MOTION, STATE_VERSION, state)


def _differs(state: Mapping[str, Any], kept: Mapping[str, Any] | None) -> bool:
    """Return whether what was learned is worth writing: something was fitted, and it is not what is kept."""
    names = ("names", "models")
    return bool(state["fits"]) and (kept is None or any(state[name] != kept[name] for name in names))
