"""What is served: models, a memory, and the present; every method is for the inference worker's thread.

Shape suffixes: D = latent size, A = action size, S = steps, H = height, W = width.
"""

from __future__ import annotations

import base64
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from wm_api.errors import ApiError, InvalidError, NotThereError, UnavailableError
from wm_api.goals import Goals
from wm_api.imagining import Ask, Found, Imagined, Look
from wm_api.live import Live
from wm_api.memories import ServedMemory, without_age
from wm_api.models import Models, vector
from wm_api.pictures import Gallery, jpeg_of
from wm_api.schemas import Start
from wm_core.memory.errors import BackendAwayError, QueryError
from wm_core.memory.packed import Neighbours
from wm_core.se2 import Pose2
from world_model.errors import ObservationError
from world_model.runtime.prediction import Forecast, Observation
from world_model.runtime.retrieved import MemoryRequest

T = TypeVar("T")
CONTEXT = 8
"""Observations that the context of a look ahead is built from."""
_DRIVES = itertools.count(1)
_UNTIMED_NS = 0
# A look ahead from no known time takes every memory for this old.
_UNTIMED_AGE_NS = 60_000_000_000


class World:
    """Models, memory and present behind the service.

    Args:
        models: Of the artifact.
        memory: What is remembered; None: nothing is.
        longest_rollout_s: Furthest ahead that may be imagined [s].

    Attributes:
        live: What is happening now.
        gallery: Pictures by name.
        mode: Where the present comes from: ``graph``, ``recording`` or ``none``.
        longest_steps: Most steps of a rollout.
        goals: Who drives; None: nobody.
        on_wanted: Told which of the newest pictures somebody asks for: a source need not bring what nobody looks at.
    """

    def __init__(self, models: Models, memory: ServedMemory | None = None, longest_rollout_s: float = 5.0) -> None:
        self.models, self.memory = models, memory
        self.live = Live()
        self.gallery = Gallery(models.decode if models.has_decoder else None)
        self.mode = "none"
        self.on_wanted: Callable[[str], None] | None = None
        self.goals: Goals | None = None
        self.longest_steps = max(int(longest_rollout_s / models.manifest.step_s + 1e-6), 1)
        self._past: deque[Observation] = deque(maxlen=CONTEXT)
        self._drive = next(_DRIVES)
        self._lock = threading.Lock()

    def observe(self, observation: Observation) -> None:
        """Take what is observed now, from any thread."""
        with self._lock:
            if self._past and observation.stamp_ns <= self._past[-1].stamp_ns:
                self._begin_drive()
            self._past.append(observation)

    def change_models(self, models: Models) -> None:
        """Go on with other models: those of another basis of the same features."""
        self.models = models
        self.restart()

    def restart(self) -> None:
        """Forget the present: what comes next does not follow from it."""
        with self._lock:
            self._begin_drive()

    def _begin_drive(self) -> None:
        self._past.clear()
        self._drive = next(_DRIVES)

    @property
    def present(self) -> Observation | None:
        """The newest observation."""
        with self._lock:
            return self._past[-1] if self._past else None

    # ------------------------------------------------------------------ where to begin

    def look(self, start: Start, actions: Sequence[Sequence[float]] | None = None) -> Look:
        """Return where a look ahead begins.

        Args:
            start: As asked.
            actions: The one taken now and those that follow; None: ``start.action`` is held.

        Raises:
            InvalidError: Sizes that do not fit the artifact.
            ApiError: 409: nothing is live.
        """
        size = self.models.manifest.action_dim
        if actions is not None and start.action is not None:
            raise InvalidError("action", "given beside actions, which say what is taken now")
        given_SA = None
        if actions is not None:
            given_SA = np.stack([vector(row, size, f"actions.{at}") for at, row in enumerate(actions)])
        elif start.action is not None:
            given_SA = vector(start.action, size, "action")[None]
        past, drive = self._past_of(start)
        if given_SA is not None:
            drive = None
            past = (*past[:-1], replace(past[-1], action_A=given_SA[0]))
            # A constant action is a plan, too: nobody is to guess how the drive goes on.
            given_SA = given_SA[1:] if len(given_SA) > 1 else given_SA
        is_timed = past[-1].stamp_ns != _UNTIMED_NS
        ask = self._asker(is_timed) if start.memory and self.memory is not None else None
        return Look(past, given_SA, ask, drive)

    def _past_of(self, start: Start) -> tuple[tuple[Observation, ...], int | None]:
        """Return up to where a look ahead begins, and of which drive that is, if it is as it was seen."""
        pose = None if start.pose is None else Pose2(start.pose.x, start.pose.y, start.pose.z, start.pose.yaw)
        if start.latent == "now":
            with self._lock:
                past, drive = tuple(self._past), self._drive
            if not past:
                raise ApiError(409, "nothing is live: give a latent, or serve a recording or a graph", "latent")
            if pose is not None:
                # Another place than where it is: what came before does not lead there.
                past = (replace(past[-1], pose=pose, pose_std_3=None, orientation=None),)
            if start.stamp_ns is not None:
                past = (*past[:-1], replace(past[-1], stamp_ns=start.stamp_ns))
            return past, drive if pose is None and start.stamp_ns is None else None
        latent_D = vector(start.latent, self.models.manifest.z_dim, "latent")
        stamp_ns = _UNTIMED_NS if start.stamp_ns is None else start.stamp_ns
        return (Observation(stamp_ns, latent_D, pose),), None

    def _asker(self, is_timed: bool) -> Ask:
        memory, encoder_id = self.memory, self.models.manifest.encoder_id
        assert memory is not None

        def ask(requests: Sequence[MemoryRequest]) -> list[Found]:
            queries = [request.to_query(encoder_id) for request in requests]
            if not is_timed:
                queries = [without_age(query) for query in queries]
            try:
                answers = memory.neighbours(queries)
            except QueryError as error:
                raise ApiError(409, f"the memory cannot be asked: {error}", "memory") from error
            except BackendAwayError as error:
                raise UnavailableError(f"the memory does not answer, ask without it: {error}") from error
            if is_timed:
                return answers
            return [_a_minute_old(found) for found in answers]

        return ask

    # ------------------------------------------------------------------ answers

    def predict(self, look: Look) -> dict[str, Any]:
        """Return the forecasts of one step and the artifact's horizon.

        Raises:
            InvalidError: A start that the predictor refuses.
        """
        begin_s = perf_counter()
        forecasts, outside = _refusing(lambda: self.models.forecaster.predict(look))
        answer = {
            "forecasts": [forecast_entry(each) for each in forecasts],
            "memory_used": any(each.memory_ids for each in forecasts),
            "outside": list(outside),
        }
        return {**self.models.identity(), **answer, "ms": _ms_since(begin_s)}

    def steps_of(self, horizon: int | None, actions: Sequence[Any] | None) -> int:
        """Return how many steps a rollout has.

        Raises:
            InvalidError: More than may be imagined, or fewer than actions.
        """
        manifest = self.models.manifest
        usual = max(round(manifest.horizon_s / manifest.step_s), 1)
        steps = horizon if horizon is not None else len(actions) if actions is not None else usual
        if steps > self.longest_steps:
            name = "actions" if horizon is None else "horizon"
            raise InvalidError(
                name, f"{steps} steps of {manifest.step_s:g} s, at most {self.longest_steps} are imagined"
            )
        if actions is not None and len(actions) > steps:
            raise InvalidError("actions", f"{len(actions)} actions for {steps} steps")
        return steps

    def imagine(self, look: Look, steps: int) -> list[Imagined]:
        """Return what follows, one entry per step.

        Raises:
            InvalidError: A start that the predictor refuses.
        """
        return _refusing(lambda: self.models.imaginer.imagine(look, steps))

    def frames(self, imagined: Sequence[Imagined]) -> list[tuple[bytes, str] | None]:
        """Return the JPEG of each step and how it came to be: ``decoded``, ``remembered``, or None without either."""
        if self.models.has_decoder:
            pictures = self.models.decode(np.stack([each.latent_D for each in imagined]))
            return [(jpeg_of(picture), "decoded") for picture in pictures]
        ids = list(dict.fromkeys(each for step in imagined for each in step.memory_ids))
        jpeg_of_id = self._pictures_of(ids)
        found = (next((jpeg_of_id[each] for each in step.memory_ids if each in jpeg_of_id), None) for step in imagined)
        return [None if jpeg is None else (jpeg, "remembered") for jpeg in found]

    def _pictures_of(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the JPEGs of memories, of those that have one: as shown here, else as the memory keeps them."""
        here = {each: self.gallery.remembered(each) for each in ids}
        found = {each: jpeg for each, jpeg in here.items() if jpeg is not None}
        missing = [each for each in ids if each not in found]
        if self.memory is None or not missing:
            return found
        return found | self.memory.pictures(missing)

    def step_entries(self, imagined: Sequence[Imagined], images: str, rollout: str) -> list[dict[str, Any]]:
        """Return steps as JSON says them.

        Args:
            imagined: The steps.
            images: ``none``, ``data`` or ``url``.
            rollout: Its name in URLs.
        """
        frames = self.frames(imagined) if images != "none" else [None] * len(imagined)
        entries = []
        for each, frame in zip(imagined, frames):
            entry = {"step": each.step, **forecast_entry(each), "frame": None, "frame_source": None}
            if frame is not None:
                jpeg, entry["frame_source"] = frame
                entry["frame"] = self._shown(jpeg, images, rollout, each.step)
            entries.append(entry)
        return entries

    def _shown(self, jpeg: bytes, images: str, rollout: str, step: int) -> str:
        if images == "data":
            return base64.b64encode(jpeg).decode("ascii")
        self.gallery.imagine(rollout, step, jpeg)
        return f"/frames/rollouts/{rollout}/{step}.jpg"

    def wanted(self, name: str) -> None:
        """Take note that somebody looks at one of the newest pictures."""
        if self.on_wanted is not None:
            self.on_wanted(name)

    def picture_of_memory(self, memory_id: int) -> bytes | None:
        """Return the JPEG of a memory: as it was seen, else as its latent decodes, or None."""
        jpeg = self._pictures_of([memory_id]).get(memory_id)
        if jpeg is not None or self.memory is None or not self.models.has_decoder:
            return jpeg
        records = self.memory.get([memory_id])
        if not records or records[0].latent_D.size != self.models.manifest.z_dim:
            return None
        return jpeg_of(self.models.decode(records[0].latent_D[None])[0])

    def served_memory(self) -> ServedMemory:
        """Return the memory.

        Raises:
            NotThereError: None is served.
        """
        if self.memory is None:
            raise NotThereError("no memory is served: start with --memory FILE, with --bag BAG, or beside a graph")
        return self.memory


def forecast_entry(each: Forecast | Imagined) -> dict[str, Any]:
    """Return what is expected at one time ahead as JSON says it."""
    std = each.pose_std_3
    return {
        "horizon_s": round(each.horizon_s, 6),
        "latent": each.latent_D.tolist(),
        "without_memory": each.without_memory_D.tolist(),
        "gate": float(each.gate),
        "pose": None if each.pose is None else pose_entry(each.pose),
        "pose_std": None if std is None or not np.isfinite(std).all() else [float(value) for value in std],
        "revisit": bool(each.revisit),
        "memory_ids": [int(memory_id) for memory_id in each.memory_ids],
    }


def pose_entry(pose: Pose2) -> dict[str, float]:
    """Return a pose as JSON says it."""
    return {"x": float(pose.x), "y": float(pose.y), "z": float(pose.z), "yaw": float(pose.yaw)}


def _a_minute_old(found: Found) -> Found:
    stamp_ns = _UNTIMED_NS - _UNTIMED_AGE_NS
    if isinstance(found, Neighbours):
        return replace(found, stamp_K=np.full_like(found.stamp_K, stamp_ns))
    return [replace(each, stamp_ns=stamp_ns) for each in found]


def _refusing(function: Callable[[], T]) -> T:
    try:
        return function()
    except ObservationError as error:
        raise InvalidError("latent", str(error)) from error


def _ms_since(begin_s: float) -> float:
    return math.floor((perf_counter() - begin_s) * 1e6) / 1e3
