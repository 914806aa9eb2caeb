"""A recording that plays as if it were live: encoded, predicted, judged and, without another memory, remembered.

Shape suffixes: T = frames, H = height, W = width, D = latent size.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import cv2
import numpy as np

from wm_api.imagining import Found
from wm_api.memories import FileMemory
from wm_api.models import Models
from wm_api.own_basis import in_own_basis
from wm_api.showing import Showing, error_entry, forecast_entries
from wm_api.world import World
from wm_core.bags import Bag, BagError, BagMessage, header_stamp_ns
from wm_core.errors import FrameError, MessageError, ProjectionError
from wm_core.images import picture_from_msg
from wm_core.memory.errors import QueryError, RecordError
from wm_core.memory.query import Place
from wm_core.memory.record import MemoryRecord, Successor, no_action
from wm_core.memory.recorder import Recorder, State
from wm_core.se2 import Pose2
from world_model.data.bags import BagOptions, Recording, read_recording, unusable
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.runtime.fitting import FRAMES
from world_model.runtime.metrics import ErrorTracker
from world_model.runtime.prediction import Observation
from world_model.runtime.predictor import Predictor
from world_model.runtime.retrieved import MemoryRequest

_WIDEST_PX = 640
_WANTED_S = 5.0
_STATS_EVERY = 20
_MOST_SAID = 10

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """What plays, and how.

    Attributes:
        path: Of the recording; None: a simulated robot drives.
        speed: 1 is as recorded.
        is_repeated: Over and over, or once.
        seed: Of the simulated building and drive.
        duration_s: Of the simulated drive [s].
        topics: Of the recording, where they are named: ``image_topic``, ``pose_topic``, ``action_topic``.
        camera_offset_s: As ``BagOptions`` has it.
    """

    path: Path | None
    speed: float = 1.0
    is_repeated: bool = True
    seed: int = 0
    duration_s: float = 120.0
    topics: Mapping[str, str] = field(default_factory=dict)
    camera_offset_s: float | None = 0.0

    @property
    def name(self) -> str:
        """What to call it."""
        return f"simulator {self.seed}" if self.path is None else self.path.name

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0.01 <= self.speed <= 100.0:
            raise DataError(f"speed {self.speed} is not within 0.01..100")


class CameraFrames:
    """The pictures of a recording in their own size, decoded only where somebody looks.

    Args:
        path: Of the recording.
        topic: Of its camera.
    """

    def __init__(self, path: Path, topic: str) -> None:
        self._bag, self._topic = Bag(path), topic
        self._messages: Iterator[BagMessage] = iter(())
        self._next: tuple[int, BagMessage] | None = None
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self._messages = self._bag.messages([self._topic])
        self._advance()

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """Return the picture of a stamp, [H, W, 3], or None where none of that stamp can be read.

        Stamps ascend from call to call.
        """
        while self._next is not None and self._next[0] < stamp_ns:
            self._advance()
        if self._next is None or self._next[0] != stamp_ns:
            return None
        try:
            return _smaller(picture_from_msg(self._bag.decode(self._next[1])))
        except (MessageError, AttributeError):
            # A video's packets are no pictures by themselves: whoever looks gets the small ones.
            return None

    def _advance(self) -> None:
        self._next = None
        for message in self._messages:
            try:
                self._next = header_stamp_ns(message.data), message
            except BagError:
                continue
            return


class Player:
    """Plays an episode into a world, on a thread of its own.

    Args:
        world: Where it plays.
        recorded: What plays.
        kept: The memory that it fills; None: the world's memory stays as it is.
    """

    def __init__(self, world: World, recorded: Recorded, kept: FileMemory | None = None) -> None:
        self._world, self._recorded, self._kept = world, recorded, kept
        self.showing = Showing(world)
        self._predictor = Predictor(world.models.artifact)
        self._camera: CameraFrames | None = None
        self._wanted_s = -_WANTED_S
        self.refused: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="recording")
        world.mode = "recording"
        world.on_wanted = self._on_wanted

    def start(self) -> None:
        """Begin to read and play."""
        self._thread.start()

    def stop(self) -> None:
        """End, and return when it has."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _on_wanted(self, name: str) -> None:
        if name == "camera":
            self._wanted_s = monotonic()

    def _say(self, state: str, detail: str = "") -> None:
        self._world.live.happened("source", {"state": state, "detail": detail}, "source")

    def _run(self) -> None:
        self._say("reading", self._recorded.name)
        try:
            episodes = self._simulated() if self._recorded.path is None else self._read(self._recorded.path)
            self._take_basis(episodes)
        except (DataError, BagError, ProjectionError) as error:
            _LOG.error("cannot be played: %s", error)  # also for who looks at the console and at no page
            self._say("failed", str(error))
            return
        is_first = True
        while not self._stop.is_set() and (is_first or self._recorded.is_repeated):
            self._begin()
            self._say("playing" if is_first else "restarted", f"{sum(map(len, episodes))} frames")
            for episode in episodes:
                self._play(episode)
            is_first = False
        self._say("ended")

    def _take_basis(self, episodes: Sequence[Episode]) -> None:
        """Go on in the recording's own basis, unless a memory says which."""
        loaded = self._world.models.artifact
        artifact = in_own_basis(loaded, episodes) if self._kept is not None else loaded
        if artifact is loaded:
            return
        self._world.change_models(Models(artifact))
        self._predictor = Predictor(artifact)
        self._say("basis", f"fitted on the first driving, {FRAMES} frames or as long: {artifact.manifest.encoder_id}")

    def _simulated(self) -> Sequence[Episode]:
        # Drawing a building is for those who ask for it.
        from world_model.data.simulated import SimulatedRun, simulate_episode

        manifest, recorded = self._world.models.manifest, self._recorded
        run = SimulatedRun(
            seed=recorded.seed, duration_s=recorded.duration_s, image_size=manifest.image_size, step_s=manifest.step_s,
            depth="depth" in manifest.inputs, proprioception="proprioception" in manifest.inputs,
        )  # fmt: skip
        return [simulate_episode(run)]

    def _read(self, path: Path) -> Sequence[Episode]:
        manifest = self._world.models.manifest
        named = self._recorded.topics
        options = BagOptions(
            image_topic=named.get("image_topic"), pose_topic=named.get("pose_topic"),
            action_topic=named.get("action_topic"), image_size=manifest.image_size, rate_hz=1.0 / manifest.step_s,
            action_dim=manifest.action_dim, camera_offset_s=self._recorded.camera_offset_s,
        )  # fmt: skip
        recording: Recording = read_recording(path, options, progress=self._progress)
        for line in recording.account.lines():
            _LOG.info(line)
        if not recording.episodes:
            raise DataError(unusable(recording.account))
        topic = recording.account.camera.topic
        self._camera = CameraFrames(path, topic) if topic else None
        return recording.episodes

    def _progress(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise DataError("the service ended while the recording was read")

    def _begin(self) -> None:
        """Forget what the pass before has left: what is shown is as a robot sees it for the first time."""
        manifest = self._world.models.manifest
        self._predictor.reset()
        self._world.restart()
        self.showing.restart()
        self._tracker = ErrorTracker(np.asarray(manifest.latent_variance), manifest.step_s / 2)
        self._recorder: Recorder | None = None
        if self._kept is not None:
            self._kept.memory.clear()
            self._world.gallery.forget()
            self._sink = _Pictured(self._kept, self._world)
            horizons_s = (manifest.step_s, manifest.horizon_s)
            self._recorder = Recorder(self._sink, "recording", horizons_s=horizons_s, step_s=manifest.step_s)
        if self._camera is not None:
            self._camera.restart()

    def _play(self, episode: Episode) -> None:
        begin_s, first_ns = monotonic(), int(episode.stamp_T[0])
        for row, stamp_ns in enumerate(episode.stamp_T.tolist()):
            due_s = begin_s + (stamp_ns - first_ns) * 1e-9 / self._recorded.speed
            if self._stop.wait(max(due_s - monotonic(), 0.0)):
                return
            self._frame(episode, row, stamp_ns, due_s)

    def _frame(self, episode: Episode, row: int, stamp_ns: int, due_s: float) -> None:
        image_HW3 = np.asarray(episode.image_TSSC[row])
        try:
            latent_D = self._encode(episode, row, image_HW3)
        except FrameError as error:
            self._refuse(str(error))
            return
        observation = _observation(episode, row, stamp_ns, latent_D, self._world.models.manifest.action_dim)
        self._show_camera(stamp_ns, image_HW3)
        self._world.observe(observation)
        requests = self._predictor.observe(observation)
        for scored in self._tracker.observe(observation):
            self.showing.judged(error_entry(scored))
        prediction = self._predictor.predict(self._ask(requests))
        self._tracker.expect(prediction)
        self._remember(observation, image_HW3)
        # No frame is left out: where the machine cannot keep up, what is shown is late.
        self.showing.ages["prediction"] = round((monotonic() - due_s) * 1e3, 2)
        self.showing.show(observation, forecast_entries(prediction.forecasts))

    def _encode(self, episode: Episode, row: int, image_HW3: np.ndarray) -> np.ndarray:
        depth_T1SS, proprio_TP = episode.depth_T1SS, episode.proprio_TP
        depth_HW = None if depth_T1SS is None else np.asarray(depth_T1SS[row, 0], np.float32)
        proprio_P = None if proprio_TP is None else np.asarray(proprio_TP[row], np.float32)
        return self._world.models.encoder.encode(image_HW3, depth_HW, proprio_P)

    def _show_camera(self, stamp_ns: int, image_HW3: np.ndarray) -> None:
        is_wanted = monotonic() - self._wanted_s < _WANTED_S
        large = self._camera.at(stamp_ns) if self._camera is not None and is_wanted else None
        self._world.gallery.put("camera", image_HW3 if large is None else large)

    def _ask(self, requests: Sequence[MemoryRequest]) -> Sequence[Found] | None:
        memory = self._world.memory
        if memory is None or not requests:
            return None
        encoder_id = self._world.models.manifest.encoder_id
        try:
            return memory.neighbours([one.to_query(encoder_id) for one in requests])
        except QueryError as error:
            self._refuse(str(error))
            return None

    def _remember(self, observation: Observation, image_HW3: np.ndarray) -> None:
        memory = self._world.memory
        if memory is not None and self._world.live.frame_count % _STATS_EVERY == 0:
            found = memory.stats()
            self.showing.memory = {"count": found.memory_count, "cells": found.cell_count}
        if self._recorder is None:
            return
        pose, action_A = observation.pose, observation.action_A
        place = None if pose is None else Place(pose.x, pose.y, pose.z, pose.yaw)
        action_A = no_action() if action_A is None else action_A
        self._sink.image_HW3 = image_HW3
        encoder_id = self._world.models.manifest.encoder_id
        try:
            self._recorder.observe(State(observation.stamp_ns, observation.latent_D, encoder_id, place, action_A))
        except RecordError as error:
            self._refuse(error.reason, "not remembered")

    def _refuse(self, why: str, what: str = "cannot be used") -> None:
        """Counts what cannot be used, and says it where it is the first of its kind."""
        if not self.refused[why] and len(self.refused) < _MOST_SAID:
            _LOG.warning("%s: %s", what, why)
        self.refused[why] += 1


class _Pictured:
    """A memory's writing half that keeps a picture with each record."""

    def __init__(self, memory: FileMemory, world: World) -> None:
        self._memory, self._world = memory.memory, world
        self.image_HW3: np.ndarray | None = None

    def insert(self, records: Sequence[MemoryRecord]) -> list[int]:
        ids = self._memory.insert(records)
        for memory_id in ids:
            if self.image_HW3 is not None:
                self._world.gallery.remember(memory_id, self.image_HW3)
        return ids

    def link(self, record_id: int, successor: Successor) -> bool:
        return self._memory.link(record_id, successor)

    def set_surprise(self, record_id: int, surprise: float) -> bool:
        return self._memory.set_surprise(record_id, surprise)


def _observation(episode: Episode, row: int, stamp_ns: int, latent_D: np.ndarray, action_dim: int) -> Observation:
    pose_4 = np.asarray(episode.pose_T4[row], np.float64)
    pose = Pose2(*pose_4.tolist()) if np.isfinite(pose_4).all() else None
    action_A = np.asarray(episode.action_TA[row], np.float32)
    is_known = len(action_A) == action_dim and bool(np.isfinite(action_A).all())
    return Observation(stamp_ns, latent_D, pose, action_A if is_known else None)


def _smaller(image_HW3: np.ndarray) -> np.ndarray:
    height, width = image_HW3.shape[:2]
    if width <= _WIDEST_PX:
        return image_HW3
    size = (_WIDEST_PX, max(round(height * _WIDEST_PX / width), 1))
    return cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA)
