"""One pass over a recording: frames by the rules of the live node, poses, actions and side inputs as they arrive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from wm_core.bags import Bag, BagMessage
from wm_core.bags.survey import TF, TF_STATIC, VIDEO_TYPES, take_pose
from wm_core.errors import FrameError, MessageError
from wm_core.images import depth_from_msg, picture_from_msg, prepare_depth
from wm_core.sources import STANDS_ASIDE, TF_TYPE, WITH_ASIDE, TransformBuffer, action_from_msg, stamp_ns_of
from world_model.data.account import Account, Fate
from world_model.data.bag_options import BagOptions
from world_model.data.frames import Events, FrameIntake
from world_model.data.stream import ActionEvent, PoseEvent

_SIDE_TOLERANCE_NS = 100_000_000
_SIDE_KEPT = 30
# A robot moves aside where it goes so at least this share of how fast it goes forward.
_ASIDE_SHARE = 0.05


def read_events(
    bag: Bag, options: BagOptions, account: Account, progress: Callable[[int, int], None] = lambda done, total: None
) -> Events:
    """Return what a recording holds, counted in ``account``, whose streams say which topics to read."""
    return _Pass(bag, options, account).run(progress)


class _Pass:
    def __init__(self, bag: Bag, options: BagOptions, account: Account) -> None:
        self._bag, self._options, self._account = bag, options, account
        self._events, self._tf = Events(), TransformBuffer()
        self._intake, self._clock_ns = FrameIntake(options, account, self._events), 0
        self._side: dict[str, list[tuple[int, np.ndarray]]] = {"depth": [], "proprioception": []}
        self._video: Any = None
        self._left_out: list[float] = []
        is_video = account.camera.type in VIDEO_TYPES
        self._takes: dict[str, Callable[[BagMessage], None]] = {
            str(account.camera.topic): self._take_packet if is_video else self._take_image
        }
        if account.poses.topic is not None:
            self._takes[account.poses.topic] = self._take_pose
        if account.poses.type == TF_TYPE:
            self._takes |= {topic: self._take_pose for topic in (TF, TF_STATIC) if topic in bag.types}
        if account.actions.topic is not None:
            self._takes[account.actions.topic] = self._take_action
        if options.depth_topic is not None:
            self._takes[options.depth_topic] = self._take_depth
        if options.proprioception_topic is not None:
            self._takes[options.proprioception_topic] = self._take_proprioception
        info = camera_info_topic(str(account.camera.topic), bag.types)
        if info is not None:
            self._takes[info] = self._take_info

    def run(self, progress: Callable[[int, int], None]) -> Events:
        topics = list(self._takes)
        total = sum(self._bag.counts[topic] for topic in topics)
        for done, message in enumerate(self._bag.messages(topics), start=1):
            self._clock_ns = message.time_ns
            self._takes[message.topic](message)
            if done % 200 == 0 or done == total:
                progress(done, total)
        if self._video is not None:
            for stamp_ns, picture in self._video.flush():
                self._offer(stamp_ns, self._account.camera.arrivals_ns[-1], partial(_itself, picture))
        if self._account.poses.type == TF_TYPE and not self._events.poses:
            self._account.notes.append(self._tf.why_not())
        self._keep_one_frame()
        self._tell_aside()
        return self._events

    def _tell_aside(self) -> None:
        """Puts the speed aside among the actions of a robot that moves so, or says that it is not among them."""
        most = max(map(abs, self._left_out), default=0.0)
        forward = max((abs(float(action.values[0])) for action in self._events.actions), default=0.0)
        if most <= max(STANDS_ASIDE, _ASIDE_SHARE * forward):
            return
        if self._options.own_actions is not None and self._options.action_dim is None:
            self._events.actions = [
                replace(action, values=np.insert(action.values, 1, np.float32(aside)))
                for action, aside in zip(self._events.actions, self._left_out)
            ]
            return
        self._account.notes.append(
            f"{self._account.actions.topic} tells a speed aside (linear.y) of up to {most:.3g} m/s, which is not among "
            f"the actions: of {WITH_ASIDE} it is the second (--action-dim {WITH_ASIDE} of wm data bag)"
        )

    def _keep_one_frame(self) -> None:
        """Leaves out poses of all frames but the one most are told in: places of two frames are not comparable."""
        stream, poses = self._account.poses, self._events.poses
        counts = Counter(pose.frame_id for pose in poses)
        if len(counts) < 2:
            return
        kept = max(counts, key=lambda frame_id: (counts[frame_id], frame_id == "map"))
        told = ", ".join(f"{count} in '{frame_id}'" for frame_id, count in counts.items())
        self._account.notes.append(f"poses on {stream.topic} are told in more than one frame ({told}); kept: '{kept}'")
        stream.unusable["pose-frame"] += len(poses) - counts[kept]
        rows = [row for row, pose in enumerate(poses) if pose.frame_id == kept]
        self._events.poses = [poses[row] for row in rows]
        stream.arrivals_ns = [stream.arrivals_ns[row] for row in rows]
        stream.stamps_ns = [stream.stamps_ns[row] for row in rows]

    def _take_image(self, message: BagMessage) -> None:
        try:
            msg = self._bag.decode(message)
        except MessageError as error:
            self._account.camera.read += 1
            self._account.note_fault(message.steady_ns, Fate.UNUSABLE, error.reason, str(error))
            return
        self._offer(stamp_ns_of(msg), message.steady_ns, lambda: picture_from_msg(msg))

    def _take_packet(self, message: BagMessage) -> None:
        """Decodes every packet, since later ones build on it, and offers the pictures that are complete."""
        try:
            video = _video_module()
            codec, stamp_ns, data = video.packet_fields(self._bag.decode(message))
            self._video = self._video or video.VideoDecoder(codec)
            pictures = list(self._video.decode(stamp_ns, data))
        except MessageError as error:
            self._account.camera.read += 1
            self._account.note_fault(message.steady_ns, Fate.UNUSABLE, error.reason, str(error))
            return
        for of_ns, picture in pictures:
            self._offer(of_ns, message.steady_ns, partial(_itself, picture))

    def _offer(self, stamp_ns: int, arrival_ns: int, picture: Callable[[], np.ndarray]) -> None:
        offset_s = self._options.camera_offset_s
        # By arrival: the offset is known only once all is read.
        told_ns = arrival_ns if offset_s is None else stamp_ns + round(offset_s * 1e9)
        depth, proprioception = self._nearest("depth", stamp_ns), self._nearest("proprioception", told_ns)
        self._intake.offer(stamp_ns, arrival_ns, self._clock_ns, picture, depth, proprioception)

    def _take_pose(self, message: BagMessage) -> None:
        stream = self._account.poses
        kind = self._bag.types[message.topic]
        stream.read += message.topic != TF_STATIC
        try:
            samples = take_pose(self._bag.decode(message), kind, self._tf, message.topic == TF_STATIC)
        except MessageError as error:
            stream.unusable[error.reason] += 1
            return
        for sample in samples:
            position, turn = tuple(sample.position.tolist()), tuple(sample.quaternion.tolist())
            errors, frame_id = (sample.position_se_m, sample.yaw_se_rad), sample.frame_id
            self._events.poses.append(PoseEvent(message.steady_ns, sample.stamp_ns, position, turn, frame_id, errors))
            stream.arrivals_ns.append(message.steady_ns)
            stream.stamps_ns.append(sample.stamp_ns)

    def _take_action(self, message: BagMessage) -> None:
        stream = self._account.actions
        stream.read += 1
        try:
            action = action_from_msg(self._bag.decode(message), self._options.action_dim)
        except MessageError as error:
            stream.unusable[error.reason] += 1
            return
        self._left_out.append(action.left_out)
        self._events.actions.append(ActionEvent(message.steady_ns, action.values, action.stamp_ns, message.time_ns))
        stream.arrivals_ns.append(message.steady_ns)
        stream.stamps_ns.append(action.stamp_ns)

    def _take_depth(self, message: BagMessage) -> None:
        try:
            msg = self._bag.decode(message)
            depth = prepare_depth(depth_from_msg(msg), self._options.image_size).astype(np.float16)
        except (MessageError, FrameError) as error:
            self._note_once(f"{message.topic}: {error}")
            return
        self._side["depth"] = [*self._side["depth"][1 - _SIDE_KEPT :], (stamp_ns_of(msg), depth)]

    def _take_proprioception(self, message: BagMessage) -> None:
        try:
            sample = action_from_msg(self._bag.decode(message))
        except MessageError as error:
            self._note_once(f"{message.topic}: {error}")
            return
        kept = self._side["proprioception"][1 - _SIDE_KEPT :]
        by_arrival = self._options.camera_offset_s is None
        at_ns = message.steady_ns if by_arrival else sample.stamp_ns or message.time_ns
        self._side["proprioception"] = [*kept, (at_ns, sample.values)]

    def _take_info(self, message: BagMessage) -> None:
        if self._account.camera_info is not None:
            return
        try:
            msg = self._bag.decode(message)
        except MessageError as error:
            self._note_once(f"{message.topic}: {error}")
            return
        self._account.camera_info = camera_info_entries(msg)

    def _nearest(self, name: str, stamp_ns: int) -> np.ndarray | None:
        values = self._side[name]
        if not values:
            return None
        found = min(values, key=lambda item: abs(item[0] - stamp_ns))
        return found[1] if abs(found[0] - stamp_ns) <= _SIDE_TOLERANCE_NS else None

    def _note_once(self, text: str) -> None:
        if text not in self._account.notes:
            self._account.notes.append(text)


def _itself(picture: np.ndarray) -> np.ndarray:
    return picture


def camera_info_topic(camera_topic: str, types: Mapping[str, str]) -> str | None:
    """Return the topic of a camera's CameraInfo in a recording, None where it has none.

    Args:
        camera_topic: Of the pictures, raw or of an image transport (``.../image_raw``, ``.../image_raw/compressed``).
        types: Type of each topic of the recording.
    """
    beside = camera_topic.rpartition("/")[0]
    # A transport's topic lies below that of the raw picture.
    for folder in (beside, beside.rpartition("/")[0]):
        if types.get(f"{folder}/camera_info") == "sensor_msgs/msg/CameraInfo":
            return f"{folder}/camera_info"
    return None


def camera_info_entries(msg: Any) -> dict[str, Any]:
    """Return a sensor_msgs/CameraInfo as JSON-ready entries; ROS 1 and 2 spell its matrices differently."""
    matrices = {name: getattr(msg, name, getattr(msg, name.upper(), ())) for name in ("k", "d", "r", "p")}
    return {
        "frame_id": msg.header.frame_id,
        "width": int(msg.width),
        "height": int(msg.height),
        "distortion_model": msg.distortion_model,
        **{name: [float(value) for value in values] for name, values in matrices.items()},
    }


def _video_module() -> Any:
    try:
        return import_module("wm_core.images.video")
    except ModuleNotFoundError as error:
        raise MessageError("image-encoding", "video packets are read through PyAV: pip install av") from error
