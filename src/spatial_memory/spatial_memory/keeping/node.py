"""What ``spatial_memory`` remembers of what comes in: states with their measured poses, surprise, another basis."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from time import monotonic, monotonic_ns
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.task import Future

from spatial_memory import messages
from spatial_memory.album.node import Album
from spatial_memory.answering.whole import WholeChanges
from spatial_memory.embedded.changes import Allowed
from spatial_memory.keeping.bases import ToldBases
from spatial_memory.model import USUAL_TOP_K
from spatial_memory.params import SpatialMemoryParams
from wm_core.alignment import awaits_measured
from wm_core.bounds import LONGEST_NAME
from wm_core.bounds import checked_name as checked_id
from wm_core.memory.errors import FrameMismatchError, RecordError, SpatialMemoryError, StoreError
from wm_core.memory.joining import PoseJoin
from wm_core.memory.protocol import Memory
from wm_core.memory.recorder import Recorder, State
from wm_core.projection import Projection as Basis
from wm_interfaces.msg import LatentState, PredictionError, Projection
from wm_ros import Health, MessageError, clipped, projection_from_msg, qos, stamp_ns
from wm_ros.one_stream import OneStream
from wm_ros.poseless import PoseWatch

_NEVER_NS = 2**63 - 1
_MOST_HELD_BACK = 6000
_DRAINED_AT_ONCE = 20
_AWAIT_BASIS_S = 5.0
# Names of bases come from messages; a robot has two or three.
_MOST_BASES = 64
_MOST_PROJECTIONS = 8
_UNCERTAIN = (
    "the basis of the memories does not change: several publish the states, and whose it is is not certain; "
    "it does once one of them is alone"
)


class Keeping:
    """Remembers the states of a robot at a spacing; while the whole memory is changed they wait.

    Args:
        health: Where it tells what becomes of them.
        memory: The memory.
        recorder: Decides what is stored.
        whole: Changes of the whole memory.
        allowed: Whose latents may come in.
        album: Keeps pictures of what is stored; None: nobody does.
        params: Of the moment.

    Attributes:
        newest: The newest state; None: none came yet.
        is_model_known: Whether a state said which step and horizons the robot's model has.
    """

    def __init__(
        self,
        health: Health,
        memory: Memory,
        recorder: Recorder,
        whole: WholeChanges,
        allowed: Allowed,
        album: Album | None,
        params: Callable[[], SpatialMemoryParams],
    ) -> None:
        self._health, self._memory, self._recorder, self._whole = health, memory, recorder, whole
        self._allowed, self._album, self._params = allowed, album, params
        self._model = params().model_settings()
        self._join: PoseJoin[LatentState, PoseWithCovarianceStamped] = PoseJoin(params().pose_join_s)
        self._told_top_k = 0
        self.is_model_known = False
        self.newest: State | None = None
        self._bases: deque[str] = deque(maxlen=_MOST_BASES)
        self._awaited, self._projections_waiting = ("", 0.0), 0
        self._told, self._is_changing, self._is_uncertain = ToldBases(), False, False
        self.poses = PoseWatch("they are not remembered")
        self._held_back: deque[LatentState | PredictionError] = deque(maxlen=_MOST_HELD_BACK)

    @property
    def top_k(self) -> int:
        """Neighbours that the robot's model asks for."""
        return self._params().top_k or self._told_top_k or USUAL_TOP_K

    def listen(self, node: Node) -> None:
        """Open topics."""
        self._logger = node.get_logger()
        self._stream = OneStream(node, "latent/state", self._health)
        node.create_subscription(LatentState, "latent/state", self._stream.of(self.on_state), qos.STREAM)
        poses = OneStream(node, "latent/pose", self._health, beside=self._stream)
        node.create_subscription(PoseWithCovarianceStamped, "latent/pose", poses.of(self._on_pose), qos.EVERY)
        errors = OneStream(node, "prediction_error", self._health, beside=self._stream)
        node.create_subscription(PredictionError, "prediction_error", errors.of(self._take), qos.STREAM)
        node.create_subscription(Projection, "latent/projection", self.on_projection, qos.LATCHED_EACH)

    def finish(self) -> None:
        """Keep what waits, and what was to be linked yet."""
        self._told, self._is_changing = ToldBases(), False  # the worker has ended
        self._take_joined(_NEVER_NS)
        self._drain(len(self._held_back))
        try:
            self._recorder.finish()
        except SpatialMemoryError as error:
            self._health.drop("backend-away", str(error))

    def go_on(self) -> None:
        """Take some of what waits, if it need not wait any more."""
        self._take_joined(monotonic_ns())
        self._drain()

    def on_state(self, msg: LatentState) -> None:
        """Take a state, once its measured pose is there."""
        self._health.count("states_received")
        steady_ns = monotonic_ns()
        waits = awaits_measured(msg.pose_status, are_coming=self._join.are_coming(steady_ns))
        self._join.push(stamp_ns(msg.header.stamp), msg, waits=waits, steady_ns=steady_ns)
        self._take_joined(steady_ns)

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        steady_ns = monotonic_ns()
        self._join.pose(stamp_ns(msg.header.stamp), msg, steady_ns)
        self._take_joined(steady_ns)

    def _take_joined(self, steady_ns: int) -> None:
        """Take the states whose measured pose is there; one that did not come in time counts as none."""
        for msg, pose, is_late in self._join.ready(steady_ns):
            if pose is not None:
                msg.has_pose, msg.pose, msg.pose_frame_id = True, pose.pose.pose, pose.header.frame_id
                msg.pose_status = LatentState.POSE_INTERPOLATED
            elif is_late:
                self._health.count("poses_late")
                msg.has_pose = False
            self._take(msg)

    def _take(self, msg: LatentState | PredictionError) -> None:
        """Take what comes in its order; while the whole memory changes nobody waits for it, what comes does."""
        if len(self._held_back) == _MOST_HELD_BACK:
            self._health.drop("held-back", f"more than {_MOST_HELD_BACK} messages came while the memory was changed")
        self._held_back.append(msg)
        self._drain()

    def _drain(self, most: int = _DRAINED_AT_ONCE) -> None:
        for _ in range(min(most, len(self._held_back)) if self._whole.under_way == 0 else 0):
            if self.awaits_basis(self._held_back[0]):
                return
            msg = self._held_back.popleft()
            if isinstance(msg, LatentState):
                self._keep(msg)
            else:
                self._judge(msg)

    def awaits_basis(self, msg: LatentState | PredictionError) -> bool:
        """Return whether a state came before the projection that leads to its basis: it waits for it a while."""
        if not isinstance(msg, LatentState) or not msg.feature_id:
            return False
        if len(msg.encoder_id) > LONGEST_NAME:  # refused as soon as it is taken
            return False
        if self._is_changing or self._change_basis(msg.encoder_id):
            return True
        if msg.encoder_id in self._bases:
            return False
        awaited, until_s = self._awaited
        if awaited == msg.encoder_id:
            if monotonic() < until_s:
                return True
            self._bases.append(awaited)  # waited for long enough: now the memory judges
            return False
        stats = self._memory.stats()
        if stats.feature_id != msg.feature_id or stats.encoder_id in ("", msg.encoder_id):
            self._bases.append(msg.encoder_id)
            return False
        self._awaited = msg.encoder_id, monotonic() + _AWAIT_BASIS_S
        return True

    def _keep(self, msg: LatentState) -> None:
        self.poses.observe(msg)
        try:
            state = self.newest = self._model.apply(messages.state_from_msg(msg))
            self._allowed.check_source(state.encoder_id, state.feature_id, state.latent_D.size, "the latent")
            record = self._recorder.observe(state)
        except (MessageError, RecordError) as error:
            if isinstance(error, FrameMismatchError):
                self._health.degrade("frame", clipped(error))
            if error.reason == "no-pose":
                self._health.skip("no-pose")
            else:
                self._health.drop(error.reason, str(error))
            return
        except StoreError as error:
            self._health.drop("backend-away", str(error))
            return
        self.is_model_known = self.is_model_known or bool(state.horizons_s)
        self._told_top_k = msg.top_k or self._told_top_k
        if record is None:
            self._health.skip("spacing")
            return
        self._health.count("states_stored")
        if self._album is not None:
            self._album.remember(self._recorder.id_of(record.stamp_ns) or 0, record.stamp_ns)
        self._health.degrade("frame", None)

    def _judge(self, msg: PredictionError) -> None:
        far_s = self._recorder.horizons_s[-1]
        if abs(msg.horizon_s - far_s) <= self._recorder.step_s / 2 and math.isfinite(msg.error):
            self._recorder.observe_error(stamp_ns(msg.header.stamp), msg.error)

    def on_projection(self, msg: Projection) -> None:
        """Take note of a basis, off the executor; the memory changes to it with the first state in it."""
        if self._projections_waiting >= _MOST_PROJECTIONS:
            self._health.drop("projection-flood", f"{self._projections_waiting} projections wait already")
            return

        def work() -> Basis:
            projection, before = projection_from_msg(msg), checked_id(msg.previous_encoder_id, "previous_encoder_id")
            self._bases += [each for each in (projection.encoder_id, before) if each not in self._bases]
            return projection

        def tell(done: Future[Any]) -> None:
            self._projections_waiting -= 1
            result = done.result()
            if isinstance(result, Basis):
                self._told.tell(result)
                self._drain()
            else:
                self._health.degrade("projection", clipped(result))

        self._projections_waiting += 1
        self._whole.later(work, is_own=True).add_done_callback(tell)

    def _say_uncertain(self, is_uncertain: bool) -> None:
        if is_uncertain != self._is_uncertain:
            self._is_uncertain = is_uncertain
            self._health.degrade("projection", _UNCERTAIN if is_uncertain else None)

    def _change_basis(self, encoder_id: str) -> bool:
        """Read the memory in a state's basis from now on, off the executor; queries go on, and what comes waits.

        Returns:
            Whether the state has to wait for that.
        """
        basis = self._told.asked_for(encoder_id)
        if basis is None or not self._stream.is_certain:
            self._say_uncertain(basis is not None)
            return False
        self._told.apply(basis)
        self._is_changing, self._is_uncertain = True, False

        def work() -> int:
            count: int = self._whole.make(self._memory.reproject, basis)
            if count:
                self._logger.info(f"projected {count} memories again, for encoder {basis.encoder_id}")
            return count

        def tell(done: Future[Any]) -> None:
            result, self._is_changing = done.result(), False
            self._health.degrade("projection", clipped(result) if isinstance(result, Exception) else None)
            self._drain()

        self._whole.later(work, is_own=True).add_done_callback(tell)
        return True
