"""What a robot's experts learned, kept in its profile: a start begins with it, and a drive adds to it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from world_model.errors import ProfileError
from world_model.runtime.handed_on import Learned, keep_experts, known_experts
from world_model.runtime.predictor import Predictor
from world_model.runtime.profile import Profile

# Predictions after which what was learned is written: a minute at 20 Hz.
_WRITE_EVERY = 1200
# What is learned within less is no prior for another day.
_LEAST = 400


class ExpertsKeeper:
    """Keeps the experts' memory and the robot's profile alike; a thread of its own waits for the disk.

    Args:
        profile: The robot's profile; ``None`` keeps nothing.

    Attributes:
        problem: Why the profile was not read or written; empty where it was.
    """

    def __init__(self, profile: Profile | None) -> None:
        self._profile = profile
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="experts") if profile is not None else None
        self._writing: Future[int] | None = None
        self._known: Learned | None = None
        self._predicted = self._written = 0
        self.problem = ""
        if profile is not None:
            try:
                self._known = known_experts(profile)
            except ProfileError as error:
                self.problem = str(error)

    def begin(self, predictor: Predictor) -> bool:
        """Let a predictor that has observed nothing yet begin with what is known; return whether it did.

        What does not fit, or is of another basis, is left alone, and ``problem`` names why.
        """
        if self._known is None:
            return False
        try:
            predictor.begin(self._known)
        except ProfileError as error:
            self.problem = str(error)
            return False
        self._known, self.problem = None, ""
        return True

    def predicted(self, predictor: Predictor, is_final_basis: bool) -> None:
        """Take note of a prediction, and now and then write what was learned.

        Args:
            predictor: Whose experts learn.
            is_final_basis: Whether latents are in the basis that the next start begins with.
        """
        self._predicted += 1
        if is_final_basis and self._predicted - self._written >= _WRITE_EVERY:
            self._write(predictor)

    def close(self, predictor: Predictor, is_final_basis: bool) -> None:
        """Write what was learned since, where that is worth it, and wait until it is written."""
        if self._writer is None:
            return
        if is_final_basis and self._predicted - self._written >= _LEAST:
            self._write(predictor)
        self._writer.shutdown()
        self._finish()

    def _write(self, predictor: Predictor) -> None:
        if self._writer is None or self._profile is None or (self._writing is not None and not self._writing.done()):
            return
        self._finish()
        self._written = self._predicted
        self._writing = self._writer.submit(keep_experts, self._profile, predictor.learned())

    def _finish(self) -> None:
        writing, self._writing = self._writing, None
        error = None if writing is None else writing.exception()
        if error is not None and not isinstance(error, ProfileError):
            raise error
        if writing is not None:
            self.problem = "" if error is None else str(error)
