"""The node ``latent_publisher``: camera, pose and actions in, ``/latent`` and ``/latent/state`` out."""

from __future__ import annotations

from time import monotonic_ns, perf_counter
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, Header

from latent_publisher.basis import Basis
from latent_publisher.decoding.node import Decoding
from latent_publisher.diagnosis import InputDoctor
from latent_publisher.encoder import Encoder
from latent_publisher.messages import Encoded, pose_msg, state_msg
from latent_publisher.params import LatentPublisherParams
from latent_publisher.side_inputs import NearestInTime
from wm_core.alignment import ActionStatus, Aligned, ArrivalClock, CameraClock, FrameAligner, Offset, PoseStatus
from wm_core.errors import FrameError
from wm_core.sources import ActionSample, PoseSample
from wm_core.timeline import Pacer, Passage, Timeline
from wm_core.words import counted
from wm_interfaces.msg import LatentState, Projection
from wm_interfaces.srv import EncodeImage
from wm_ros import (
    ActionInput,
    CameraSubscription,
    FrameMsg,
    ManagedNode,
    MessageError,
    PoseInput,
    believable_stamp_ns,
    clipped,
    codes,
    depth_from_msg,
    float_array_msg,
    floats,
    projection_to_msg,
    qos,
    run_node,
    stamp_ns,
    vector_from_msg,
)
from wm_ros.one_stream import OneStream
from world_model.runtime.profile import Profile, profile_folder

_SIDE_INPUT_TOLERANCE_S = 0.1
_CLOCK_PATIENCE_NS = 2_000_000_000
_DAY_NS = 86_400_000_000_000
_NAMED_FOR_S = 10.0
_ITS_SENDER = "Does its sender fill header.stamp, by the clock of the others?"
# The profile is looked at after so many frames: five seconds at 20 Hz.
_LOOK_EVERY = 100
_POSE_COUNTERS = {status: f"pose_{status.name.lower()}" for status in PoseStatus}
_ACTION_COUNTERS = {status: f"action_{status.name.lower()}" for status in ActionStatus}


class LatentPublisher(ManagedNode[LatentPublisherParams]):
    """Publish one latent per accepted camera frame, under that frame's own stamp.

    Subscribes ``/camera/image_raw`` (sensor_msgs/Image, or CompressedImage on it or on ``TOPIC/compressed``), ``/pose``
    (geometry_msgs/PoseStamped, or what ``pose_source`` says), ``/actions`` (std_msgs/Float32MultiArray, or what
    ``action_source`` says) and, for artifacts that want them, ``/camera/depth/image_raw`` (sensor_msgs/Image) and
    ``/proprioception`` (std_msgs/Float32MultiArray). Publishes ``/latent`` (std_msgs/Float32MultiArray) and
    ``/latent/state`` (wm_interfaces/LatentState) at once, with the pose that the motion model expects where the
    measured one is not there yet; that follows on ``/latent/pose`` (geometry_msgs/PoseWithCovarianceStamped) under the
    frame's stamp. Where the artifact makes features, ``/latent/projection`` (wm_interfaces/Projection, latched) tells
    from which frame on latents are in which basis. Serves ``~/encode`` (wm_interfaces/EncodeImage).
    """

    def __init__(self, encoder: Encoder | None = None, **node_options: Any) -> None:
        super().__init__("latent_publisher", LatentPublisherParams, **node_options)
        self._given = encoder
        self.start()

    def prepare(self) -> None:
        """Load weights."""
        self._encoder = self._given or Encoder(self._params.load())
        name, frames, fixed = self._params.profile, self._params.projection_frames, self._encoder.fixed
        profile = Profile(profile_folder(name, self.get_namespace())) if name else None
        self._basis = None if fixed is None else Basis(fixed, profile, frames)
        self._decoding = Decoding(self._health, lambda: self.executor)
        self._is_basis_told, self._told_id, self._looked_count = False, self._encoder.encoder_id, 0

    def configure(self) -> None:
        """Make ready what frames, poses and actions will meet."""
        params = self._params
        self._health.gauge("encoder_id", self._encoder.encoder_id)
        self._pacer, self._timeline, self._clock_of_frames = Pacer(params.publish_rate), Timeline(), ArrivalClock()
        self._camera_clock = CameraClock(params.camera_offset_s, params.camera_offset_by_arrival)
        encoder = self._encoder
        self._aligner: FrameAligner[Encoded] = FrameAligner(
            encoder.action_dim, encoder.step_s, encoder.motion, params.waits()
        )
        self._doctor = InputDoctor(params.pose_max_age_s, params.action_max_age_s)
        self._told_offset: Offset | None = Offset(0)  # nothing is to be said of one clock
        self._clocks_differ_since_ns: int | None = None
        self._frame_ns = 0
        self._depth: NearestInTime[np.ndarray] = NearestInTime(_SIDE_INPUT_TOLERANCE_S)
        self._proprioception: NearestInTime[np.ndarray] = NearestInTime(_SIDE_INPUT_TOLERANCE_S)
        self._latent_publisher = self.create_publisher(Float32MultiArray, "latent", qos.STREAM)
        self._state_publisher = self.create_publisher(LatentState, "latent/state", qos.STREAM)
        self._pose_publisher = self.create_publisher(PoseWithCovarianceStamped, "latent/pose", qos.EVERY)
        if self._basis is not None:
            self._projection_publisher = self.create_publisher(Projection, "latent/projection", qos.LATCHED)

    def release(self) -> None:
        """End the thread that decodes."""
        self._decoding.close()

    def params_changed(self, params: LatentPublisherParams) -> None:
        """Follow another rate."""
        if params.publish_rate != self._params.publish_rate:
            self._pacer = Pacer(params.publish_rate)

    def activate(self) -> None:
        """Open the inputs; the camera comes last, so no frame is early."""
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        longest_s = max(self._params.pose_wait_s, self._params.action_wait_s, 1e-3)
        self._deadline = self.create_timer(longest_s, self._on_deadline, clock=steady)
        self._deadline.cancel()
        params, health = self._params, self._health
        frames = (params.tf_map_frame, params.tf_body_frame)
        self._pose_input = PoseInput(
            self, health, params.pose_source, *frames, self._on_pose, self._doctor.refused_pose
        )
        self._action_input = ActionInput(
            self,
            health,
            params.action_source,
            self._encoder.action_dim,
            self._on_action,
            self._encoder.takes_any_actions,
        )
        if self._encoder.wants_depth:
            depths = OneStream(self, "camera/depth/image_raw", health).of(self._on_depth)
            self.create_subscription(Image, "camera/depth/image_raw", depths, qos.SENSOR)
        if self._encoder.proprioception_dim:
            take = OneStream(self, "proprioception", health).of(self._on_proprioception)
            self.create_subscription(Float32MultiArray, "proprioception", take, qos.INPUT)
        # In a group of its own: while a request waits for its picture, frames go on.
        self.create_service(EncodeImage, "~/encode", self._on_encode, callback_group=MutuallyExclusiveCallbackGroup())
        self._camera = CameraSubscription(
            self,
            "camera/image_raw",
            self._on_image,
            self._params.image_transport,
            refused=self._refuse_packet,
            health=health,
        )
        health.expect("images", params.image_timeout_s, self._camera.why_silent)
        health.expect("pose", params.image_timeout_s, self._pose_input.why_silent)
        health.expect("action", params.image_timeout_s, self._action_input.why_silent)

    def _refuse_packet(self, error: MessageError) -> None:
        self._health.count("frames_received")
        self._health.drop(error.reason, error.detail)

    def _on_image(self, msg: FrameMsg) -> None:
        self._health.count("frames_received")
        self._health.tick("images")
        try:
            frame_ns, steady_ns = believable_stamp_ns(msg.header.stamp), monotonic_ns()
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if not self._is_wanted(frame_ns, steady_ns):
            return
        header = msg.header
        self._decoding.frame(msg, frame_ns, lambda picture: self._take(header, picture, frame_ns, steady_ns))

    def _take(self, header: Header, picture: np.ndarray, frame_ns: int, steady_ns: int) -> None:
        if not self.is_active:  # it was decoded beside, and meanwhile all has ended
            self._health.skip("decoded-late")
            return
        begin = perf_counter()
        try:
            encoded = self._encoded(header, picture, self._depth.at(frame_ns), self._proprioception.at(frame_ns))
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        except FrameError as error:
            self._health.drop("frame-unusable", str(error))
            return
        self._latent_publisher.publish(float_array_msg(encoded.latent_D))
        self._health.sample("encode_ms", (perf_counter() - begin) * 1e3)
        self._health.count("frames_encoded")
        self._health.tick("latent")
        self._aligner.frame(encoded, frame_ns, steady_ns)
        self._publish_ready()

    def _encoded(
        self, header: Header, picture: np.ndarray, depth_HW: np.ndarray | None, proprioception_P: np.ndarray | None
    ) -> Encoded:
        """Returns a frame's latent and feature; tells of the basis before the first frame in it."""
        if self._basis is None:
            latent_D = self._encoder.encode(picture, depth_HW, proprioception_P)
            return Encoded(header, latent_D, self._encoder.encoder_id)
        feature_F = self._encoder.look(picture)
        self._looked_count += 1
        if self._looked_count % _LOOK_EVERY == 0:
            self._basis.look()
        latent_D, before = self._basis.latent(feature_F, stamp_ns(header.stamp))
        self._health.degrade("projection", self._basis.trouble or None)
        if before is not None or not self._is_basis_told:
            self._tell_basis(self._basis, header, before or "")
        return Encoded(header, latent_D, self._told_id, feature_F)

    async def _on_encode(self, request: EncodeImage.Request, response: EncodeImage.Response) -> EncodeImage.Response:
        """Answers what the encoder makes of a picture that is none of the stream."""
        picture = request.image if request.image.data else request.compressed
        try:
            image_HW3 = await self._decoding.picture(picture)
            if self._basis is None:
                latent_D = self._encoder.encode(image_HW3)
                response.unlike = await self._decoding.on_thread(lambda: self._encoder.unlike(image_HW3, latent_D))
            else:
                feature_F = self._encoder.look(image_HW3)
                latent_D = self._basis.present(feature_F)
                response.feature_id, response.feature = self._basis.projection.space.feature_id, codes(feature_F)
        except (MessageError, FrameError) as error:
            response.message = str(error)
            return response
        response.encoder_id = self._encoder.encoder_id if self._basis is None else self._basis.projection.encoder_id
        response.latent, response.success = floats(latent_D), True
        return response

    def _tell_basis(self, basis: Basis, header: Header, before: str) -> None:
        self._is_basis_told, self._told_id = True, basis.projection.encoder_id
        self._projection_publisher.publish(projection_to_msg(basis.projection, header, before))
        self._health.gauge("encoder_id", self._told_id)
        self._health.gauge("projection", "fitted on this robot" if basis.is_fitted else "fixed")
        if before:
            self.get_logger().info(f"latents are in this robot's own basis from now on: {self._told_id}")

    def _is_wanted(self, frame_ns: int, steady_ns: int) -> bool:
        """Returns whether a frame is due, after taking note of its stamp; counts why not."""
        passage = self._timeline.check(frame_ns, steady_ns)
        if passage is Passage.AHEAD:
            self._say_off("frame", "frame-ahead", frame_ns, "the frames before it")
            return False
        if passage in (Passage.JUMPS_BACK, Passage.JUMPS_AHEAD):
            self._health.count(f"time_{passage.value}")
            text = f"the frames' time {passage.value} to {frame_ns * 1e-9:.3f} s: starting anew"
            self._health.warn(f"time_{passage.value}", text)
            # A recording that loops is usual, and no day long.
            if abs(frame_ns - self._frame_ns) > _DAY_NS:
                self._health.degrade_for(_NAMED_FOR_S, "frame_time", f"{text}. {_ITS_SENDER}")
            for aligned in self._aligner.restart():
                self._publish_state(aligned)
            self._depth.clear()
            self._proprioception.clear()
            self._doctor.restart()
            self._decoding.restart()
            self._camera_clock.restart()
        elif passage is Passage.REPEATED:
            self._doctor.frame(frame_ns, usable=False)
            self._say_what_is_wrong()
            self._health.drop("frame-repeated", f"stamp {frame_ns * 1e-9:.3f} s came before; is the camera stamped?")
            return False
        elif passage is Passage.OUT_OF_ORDER:
            self._health.drop("frame-out-of-order", f"stamp {frame_ns * 1e-9:.3f} s is older than the last")
            return False
        self._frame_ns = frame_ns
        self._camera_clock.frame(frame_ns, steady_ns)
        self._clock_of_frames.frame(frame_ns, steady_ns, self._now_ns())
        self._say_offset()
        self._doctor.frame(frame_ns, usable=True)
        self._warn_of_clocks(steady_ns)
        if not self._pacer.is_due(frame_ns):
            self._health.skip("paced")
            return False
        return True

    def _now_ns(self) -> int:
        """Returns the node's time, on the camera's clock where that is another."""
        now_ns = self.get_clock().now().nanoseconds
        on_cameras_ns = self._camera_clock.on_cameras(now_ns)
        return now_ns if on_cameras_ns is None else on_cameras_ns

    def _say_offset(self) -> None:
        """Names the offset of the camera's clock, where it was asked for, and each time that another is taken."""
        offset = self._camera_clock.offset
        if offset == self._told_offset:
            return
        self._told_offset, told = offset, str(offset or "not known yet")
        how = "by when frames and poses arrive" if self._params.camera_offset_by_arrival else "as configured"
        self._health.gauge("camera_offset", f"{told}, {how}")
        if offset is not None:
            self.get_logger().info(f"the camera's clock: {told} to that of poses and actions, {how}")

    def _warn_of_clocks(self, steady_ns: int) -> None:
        """Warns of another clock that stays: at the start of a recording, and where it loops, ``/clock`` comes late."""
        clock = self._clock_of_frames
        if not clock.clocks_differ:
            self._clocks_differ_since_ns = None
        elif self._clocks_differ_since_ns is None:
            self._clocks_differ_since_ns = steady_ns
        since_ns = self._clocks_differ_since_ns
        if since_ns is None or steady_ns - since_ns < _CLOCK_PATIENCE_NS:
            self._health.degrade("clock", None)
            return
        text = f"frames are stamped {clock.offset_s:.1f} s off this node's clock"
        self._health.degrade("clock", f"{text}; actions are timed by the frames instead")

    def _say_what_is_wrong(self) -> None:
        """Names inputs that arrive and cannot be used, and what would help."""
        for key, text in self._doctor.findings(monotonic_ns()).items():
            self._health.degrade(key, text)

    def _on_pose(self, sample: PoseSample) -> None:
        if self._aligner.frame_id not in ("", sample.frame_id):
            names = f"'{clipped(sample.frame_id)}' now, before in '{clipped(self._aligner.frame_id)}'"
            self._health.warn("pose-frame", f"poses are told in {names}")
        errors, now_ns = (sample.position_se_m, sample.yaw_se_rad), monotonic_ns()
        pose = sample.position, sample.quaternion
        self._health.count("poses_received")
        self._health.tick("pose")
        self._camera_clock.pose(sample.stamp_ns, now_ns)
        at_ns = self._camera_clock.on_cameras(sample.stamp_ns)
        if at_ns is None:
            self._health.count("poses_before_offset")
            return
        if not self._aligner.pose(at_ns, *pose, errors, sample.frame_id, now_ns):
            self._say_off("pose", "pose-off-time", sample.stamp_ns, "the poses before it")
        self._doctor.pose(at_ns, now_ns, sample.frame_id)
        while self._aligner.jumps:
            jump = self._aligner.jumps.popleft()
            self._health.count(f"pose_jumps/{jump.kind.name.lower()}")
            self._doctor.jumped(jump, now_ns)
        self._publish_ready()

    def _on_action(self, sample: ActionSample) -> None:
        now_ns = monotonic_ns()
        self._health.count("actions_received")
        self._health.tick("action")
        action_ns: int | None = self._clock_of_frames.arrival_ns(now_ns, self._now_ns())
        if sample.stamp_ns:
            self._camera_clock.action(sample.stamp_ns, now_ns)
            action_ns = self._camera_clock.on_cameras(sample.stamp_ns)
        if action_ns is None:
            self._health.count("actions_before_offset")
            return
        if not self._aligner.action(action_ns, sample.values, now_ns):
            self._say_off("action", "action-off-time", action_ns, "the actions before it")
        self._doctor.action(action_ns, now_ns, is_stamped=bool(sample.stamp_ns))
        self._publish_ready()

    def _say_off(self, name: str, reason: str, at_ns: int, others: str) -> None:
        """Names a message that is left out for its stamp, a while longer than it comes."""
        text = f"stamp {at_ns * 1e-9:.3f} s lies far off {others}"
        self._health.drop(reason, text)
        advice = f"{counted(self._health.counted(f'dropped/{reason}'), name)} so far left out: {text}. {_ITS_SENDER}"
        self._health.degrade_for(_NAMED_FOR_S, f"{name}_stamps", advice)

    def _on_depth(self, msg: Image) -> None:
        try:
            self._depth.insert(stamp_ns(msg.header.stamp), depth_from_msg(msg))
        except MessageError as error:
            self._health.drop(error.reason, error.detail)

    def _on_proprioception(self, msg: Float32MultiArray) -> None:
        arrival_ns = self._clock_of_frames.arrival_ns(monotonic_ns(), self._now_ns())
        try:
            values = vector_from_msg(msg.data, self._encoder.proprioception_dim, "proprioception")
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        self._proprioception.insert(arrival_ns, values)

    def _on_deadline(self) -> None:
        self._deadline.cancel()
        self._publish_ready()

    def _publish_ready(self) -> None:
        for aligned in self._aligner.ready(monotonic_ns()):
            self._publish_state(aligned)
        self._publish_measured()
        if self._aligner.next_deadline_ns() is not None and self._deadline.is_canceled():
            self._deadline.reset()

    def _publish_measured(self) -> None:
        """Publishes the measured pose of each frame that lies between two poses by now."""
        for at_ns, pose in self._aligner.measured():
            self._pose_publisher.publish(pose_msg(at_ns, pose, self._aligner.frame_id))

    def _publish_state(self, aligned: Aligned[Encoded]) -> None:
        encoder, pose, action = self._encoder, aligned.pose, aligned.action
        feature_id = "" if self._basis is None else self._basis.projection.space.feature_id
        timing = (encoder.step_s, encoder.horizons_s, encoder.top_k)
        self._state_publisher.publish(state_msg(aligned, feature_id, timing, self._aligner.frame_id))
        self._doctor.state(pose.status, action.status)
        self._say_what_is_wrong()
        self._health.count(_POSE_COUNTERS[pose.status])
        self._health.count(_ACTION_COUNTERS[action.status])


def main() -> None:
    """Run the node; exit code 0 after a signal, 2 when it cannot be configured."""
    raise SystemExit(run_node(LatentPublisher, describe=(LatentPublisher, LatentPublisherParams)))
