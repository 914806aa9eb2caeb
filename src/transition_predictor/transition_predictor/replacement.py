"""The artifact that a robot's profile names anew while the node is running: made ready beside the one in use."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from wm_core.errors import CoreError
from world_model.errors import ProfileError
from world_model.runtime.adapted import adapted_artifact
from world_model.runtime.artifacts import Artifact
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.profile import TRANSITION, Profile

# What a context and its experts are made from, of another network: they have forgotten what lies further back.
_REPLAYED = 400
# Between two shown observations the thread rests [s]: the graph's own must not wait for it.
_REST_S = 0.005
# So many may be shown between two latents.
_FEW = 3


@dataclass(frozen=True)
class Ready:
    """A predictor that has seen what the one in use has seen.

    Attributes:
        artifact: Whose.
        predictor: It has seen the first ``seen_count`` observations.
        seen_count: How many.
    """

    artifact: Artifact
    predictor: Predictor
    seen_count: int


class Replacement:
    """Loads what a profile names in the place of the artifact in use, and shows it what was seen, on its own thread.

    Args:
        profile: The robot's profile; ``None`` never names anything.
        source: The artifact that the node was given.
        in_use: The one in use.
        make: Makes a predictor of an artifact.

    Attributes:
        problem: Why what the profile names was not taken; empty where it was.
    """

    def __init__(
        self, profile: Profile | None, source: Artifact, in_use: Artifact, make: Callable[[Artifact], Predictor]
    ) -> None:
        self._profile, self._source, self._in_use, self._make = profile, source, in_use, make
        self._signature = None if profile is None else profile.signature(TRANSITION)
        self._recent: deque[Observation] = deque(maxlen=_REPLAYED)
        self._seen_count = 0
        self._worker = None if profile is None else ThreadPoolExecutor(1, thread_name_prefix="replacement")
        self._making: Future[Ready | None] | None = None
        self.problem = ""

    @property
    def is_under_way(self) -> bool:
        """Whether something is being made ready, or is."""
        return self._making is not None

    def observe(self, observation: Observation) -> None:
        """Take note of what the predictor in use has seen."""
        if self._worker is not None:
            self._recent.append(observation)
            self._seen_count += 1

    def look(self) -> None:
        """Begin to make ready what the profile names since the last look, if that is another artifact."""
        if self._profile is None or self._worker is None or self._making is not None:
            return
        signature = self._profile.signature(TRANSITION)
        if signature == self._signature:
            return
        self._signature, self.problem = signature, ""
        self._making = self._worker.submit(self._ready, self._profile, list(self._recent), self._seen_count)

    def take(self) -> Ready | None:
        """Return what was made ready, once; it has then seen all that was observed.

        What kept it from being ready is in ``problem``; what was not expected ends the node.
        """
        if self._making is None or not self._making.done():
            return None
        making, self._making = self._making, None
        try:
            ready = making.result()
        except CoreError as error:
            self.problem = str(error)
            return None
        if ready is None:
            return None
        missed = min(self._seen_count - ready.seen_count, len(self._recent))
        seen = list(self._recent)[len(self._recent) - missed :]
        if missed > _FEW and self._worker is not None:
            self._making = self._worker.submit(_caught_up, ready, seen, self._seen_count)
            return None
        _show(ready.predictor, seen)
        self._in_use = ready.artifact
        return ready

    def close(self) -> None:
        """Wait until nothing is made any more."""
        if self._worker is not None:
            self._worker.shutdown()

    def _ready(self, profile: Profile, seen: list[Observation], seen_count: int) -> Ready | None:
        artifact = adapted_artifact(profile, self._source)
        if artifact is None or artifact.path == self._in_use.path:
            return None
        mine, theirs = self._in_use.manifest, artifact.manifest
        for name in ("z_dim", "action_dim", "step_s", "horizon_s", "history_dim"):
            if getattr(mine, name) != getattr(theirs, name):
                raise ProfileError(
                    f"the profile names {artifact.path}, whose {name} is {getattr(theirs, name)}, not "
                    f"{getattr(mine, name)}: it takes its place at the next start"
                )
        return _caught_up(Ready(artifact, self._make(artifact), 0), seen, seen_count)


def _caught_up(ready: Ready, seen: list[Observation], seen_count: int) -> Ready:
    _show(ready.predictor, seen, _REST_S)
    return replace(ready, seen_count=seen_count)


def _show(predictor: Predictor, seen: list[Observation], rest_s: float = 0.0) -> None:
    for observation in seen:
        predictor.observe(observation)
        predictor.predict(None)
        time.sleep(rest_s)
