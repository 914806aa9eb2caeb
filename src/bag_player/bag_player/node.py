"""``bag_player``: play a recording into the graph and count every message that was sent.

Unlike ``ros2 bag play`` it needs no rosbag2, takes any camera topic for ``/camera/image_raw``, waits until somebody
listens, and tells stamp and time of publication of each frame, so that a demo can account for all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from threading import Event
from time import monotonic, monotonic_ns, sleep
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32MultiArray

from bag_player.sent_log import SentLog
from wm_core.bags import IMAGE_TYPES, Bag, BagError, BagMessage, header_stamp_ns, match_topics
from wm_ros.command_line import split_ros_args, stop_on_signal

CAMERA, POSE, ACTIONS = "/camera/image_raw", "/pose", "/actions"
TAKES: dict[str, tuple[str, ...]] = {
    CAMERA: IMAGE_TYPES,
    POSE: ("geometry_msgs/msg/PoseStamped",),
    ACTIONS: ("std_msgs/msg/Float32MultiArray",),
}
"""{input topic of the graph: types it takes}."""

MESSAGE_TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "std_msgs/msg/Float32MultiArray": Float32MultiArray,
}

_CLOCK_PERIOD_NS = 10_000_000
_SETTLE_S = 1.0
_PROGRESS_EVERY_NS = 500_000_000


class BagPlayer(Node):
    """Publishes a recording's camera, pose and action topics at the pace they were recorded, and optionally ``/clock``.

    Header stamps stay as recorded. ``/actions`` has no header: it goes out at the bag's time, which ``/clock`` shows.

    Args:
        bag: What to play.
        topics: {recorded topic: topic to publish}.
        rate: 2.0 plays twice as fast.
        clock: Publish ``/clock`` with the recording's time.
        log: Where to count; its own if None.
        stop: Ends waiting and playing when set.
        **node_options: Passed to ``rclpy.node.Node``.

    Raises:
        BagError: A topic has a type that the graph does not take.
    """

    def __init__(
        self,
        bag: Bag,
        topics: dict[str, str],
        *,
        rate: float = 1.0,
        clock: bool = True,
        log: SentLog | None = None,
        stop: Event | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__("bag_player", **node_options)
        self._bag = bag
        self._topics = topics
        self._rate = rate
        self.log = log or SentLog()
        self._stop = stop or Event()
        self._senders: dict[str, Publisher[Any]] = {s: self._sender(bag.types[s], t) for s, t in topics.items()}
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if clock else None
        self._clock_sent_ns = 0
        self._duration_ns = max(1, bag.end_ns - bag.start_ns)

    def _sender(self, kind: str, target: str) -> Publisher[Any]:
        if kind not in MESSAGE_TYPES:
            raise BagError(f"'{target}': a {kind} cannot be played into the graph")
        # Reliable towards poses and actions; a camera stays best effort, as drivers are.
        qos = QoSProfile(depth=50)
        if kind in IMAGE_TYPES:
            qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        topic = f"{target}/compressed" if kind == IMAGE_TYPES[1] and not target.endswith("/compressed") else target
        # What the graph hears is named within its namespace.
        name = topic.lstrip("/") if target in TAKES else topic
        return self.create_publisher(MESSAGE_TYPES[kind], name, qos)

    def _goes_on(self) -> bool:
        return self.context.ok() and not self._stop.is_set()

    def wait_for_subscribers(self, timeout_s: float, camera_count: int = 1) -> bool:
        """Returns whether, in time, all topics had a subscriber and the camera ``camera_count``."""
        deadline = monotonic() + timeout_s
        while self._goes_on() and monotonic() < deadline:
            self._tell_time(self._bag.start_ns, force=True)
            if self._all_heard(camera_count):
                break
            sleep(0.05)
        else:
            return False
        # The reader may learn of the writer a little later than the writer of the reader.
        deadline = monotonic() + _SETTLE_S
        while monotonic() < deadline:
            self._tell_time(self._bag.start_ns, force=True)
            sleep(0.05)
        return True

    def _all_heard(self, camera_count: int) -> bool:
        wanted = {s: camera_count if self._bag.types[s] in IMAGE_TYPES else 1 for s in self._senders}
        return all(sender.get_subscription_count() >= wanted[s] for s, sender in self._senders.items())

    def play(self, loops: int | None = 1, seconds: float | None = None) -> None:
        """Sends the recording, ``loops`` times or, if None, until ``seconds`` have passed or ROS is shut down."""
        stop_ns = None if seconds is None else monotonic_ns() + int(seconds * 1e9)
        done = 0
        while self._goes_on() and (loops is None or done < loops):
            finished = self._play_once(stop_ns, done, loops)
            done += 1
            self.log.note("loops", done)
            if not finished:
                return

    def _play_once(self, stop_ns: int | None, done: int, loops: int | None) -> bool:
        started_ns = monotonic_ns()
        told_ns = 0
        for message in self._bag.prefetched(list(self._senders)):
            offset_ns = message.time_ns - self._bag.start_ns
            due_ns = started_ns + int(offset_ns / self._rate)
            if not self._wait_until(due_ns, started_ns, stop_ns):
                return False
            self._send(message)
            if monotonic_ns() - told_ns > _PROGRESS_EVERY_NS:
                told_ns = monotonic_ns()
                self.log.progress((done + offset_ns / self._duration_ns) / (loops or done + 1))
        return True

    def _wait_until(self, due_ns: int, started_ns: int, stop_ns: int | None) -> bool:
        """Waits, with the clock running; False when it is time to stop."""
        while self._goes_on() and (stop_ns is None or monotonic_ns() < stop_ns):
            left_ns = due_ns - monotonic_ns()
            if left_ns <= 0:
                return True
            sleep(min(left_ns / 1e9, 0.02))
            if due_ns - monotonic_ns() > 0:
                self._tell_time(self._bag.start_ns + int((monotonic_ns() - started_ns) * self._rate))
        return False

    def _send(self, message: BagMessage) -> None:
        target, sender = self._topics[message.topic], self._senders[message.topic]
        # Always before an action: nodes stamp it by this clock on arrival.
        self._tell_time(message.time_ns, force=target == ACTIONS)
        if self._bag.types[message.topic] in IMAGE_TYPES:
            steady_ns = monotonic_ns()
            sender.publish(message.data)
            self.log.frame(target, header_stamp_ns(message.data), steady_ns)
        else:
            sender.publish(message.data)
            self.log.other(target)

    def _tell_time(self, time_ns: int, force: bool = False) -> None:
        if self._clock_publisher is None or time_ns == self._clock_sent_ns:
            return
        if force or not 0 <= time_ns - self._clock_sent_ns < _CLOCK_PERIOD_NS:
            self._clock_sent_ns = time_ns
            sec, nanosec = divmod(time_ns, 1_000_000_000)
            self._clock_publisher.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))


def parse_remaps(pairs: Sequence[str]) -> dict[str, str]:
    """Returns {recorded topic: topic of the graph} from ``FROM:=TO`` words.

    Raises:
        BagError: A word is not of that form.
    """
    remaps = {}
    for pair in pairs:
        source, separator, target = pair.partition(":=")
        if not separator or not source.startswith("/") or not target.startswith("/"):
            raise BagError(f"'{pair}': expected /RECORDED/TOPIC:=/GRAPH/TOPIC")
        remaps[source] = target
    return remaps


def add_playback_options(parser: argparse.ArgumentParser) -> None:
    """Adds what the player and the demo have in common."""
    parser.add_argument(
        "--topics", nargs="+", default=[], metavar="FROM:=TO", help="recorded topic:=topic of the graph"
    )
    parser.add_argument(
        "--loop", nargs="?", type=int, const=0, default=1, metavar="N", help="play N times; without N until stopped"
    )
    parser.add_argument("--rate", type=positive, default=1.0, help="2.0 plays twice as fast (default 1.0)")


def positive(text: str) -> float:
    """Returns a number from the command line that must be above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")
    return value


def _parse(args: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bag_player", description=__doc__.split("\n", 1)[0])
    parser.add_argument("bag", help="rosbag2 directory, or a .db3 or .mcap file")
    add_playback_options(parser)
    parser.add_argument("--seconds", type=positive, help="stop after this many seconds")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="do not publish /clock")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for subscribers (default 30)")
    parser.add_argument("--subscribers", type=int, default=1, help="subscribers of the camera to wait for (default 1)")
    parser.add_argument("--log-fd", type=int, help="file descriptor for JSON lines about what was sent")
    return parser.parse_args(args)


def run(options: argparse.Namespace, stop: Event) -> int:
    """Plays as the options say; returns 0, or 3 when nobody listened in time.

    Raises:
        BagError: The recording cannot be played.
    """
    bag = Bag(options.bag)
    topics = match_topics(bag.types, parse_remaps(options.topics), TAKES)
    if CAMERA not in topics.values():
        raise BagError(
            f"no camera topic in '{bag.path}'; it has: {describe(bag)}; name it with --topics FROM:={CAMERA}"
        )
    log = SentLog(options.log_fd)
    player = BagPlayer(bag, topics, rate=options.rate, clock=options.clock, log=log, stop=stop)
    try:
        log.note("topics", topics)
        if not player.wait_for_subscribers(options.wait, options.subscribers) and not stop.is_set():
            player.get_logger().error(f"nobody subscribed to {', '.join(topics.values())} within {options.wait:.0f} s")
            return 3
        player.play(options.loop or None, options.seconds)
        return 0
    finally:
        log.close()
        player.destroy_node()


def describe(bag: Bag) -> str:
    """Returns the topics of a recording with types and counts, in words."""
    return ", ".join(f"{topic} ({kind}, {bag.counts.get(topic, 0)})" for topic, kind in sorted(bag.types.items()))


def main(args: Sequence[str] | None = None) -> int:
    """Plays a recording; returns 0 at its end or on Ctrl-C, 2 with one line when it cannot be played."""
    own, for_ros = split_ros_args(sys.argv[1:] if args is None else args)
    options = _parse(own)
    stop = stop_on_signal()
    rclpy.init(args=for_ros, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return run(options, stop)
    except BagError as error:
        print(f"bag_player: {error}", file=sys.stderr)  # noqa: T201
        return 2
    finally:
        rclpy.try_shutdown()
