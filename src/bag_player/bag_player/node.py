"""``bag_player``: play a recording into the graph and count every message that was sent.

Unlike ``ros2 bag play`` it needs no rosbag2, takes any camera topic for ``/camera/image_raw``, waits until somebody
listens, and tells stamp and time of publication of each frame, so that a demo can account for all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from time import monotonic, monotonic_ns, sleep
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.node import Node
from rosgraph_msgs.msg import Clock

from bag_player.choosing import choose_topics, parse_remaps, with_all_others
from bag_player.senders import ACTIONS, CAMERA, POSE, TAKES, Sender, make_sender
from bag_player.sent_log import SentLog
from wm_core.bags import Bag, BagError, BagMessage, find_bags
from wm_core.errors import MessageError
from wm_ros import ConfigurationError
from wm_ros.command_line import split_ros_args, stop_on_signal
from wm_ros.programs import ros_for_a_while

__all__ = ["ACTIONS", "CAMERA", "POSE", "TAKES", "BagPlayer", "choose_topics", "main", "parse_remaps"]

_CLOCK_PERIOD_NS = 10_000_000
_SETTLE_S = 1.0
_PROGRESS_EVERY_NS = 500_000_000
_MOST_BEHIND_NS = 200_000_000


class BagPlayer(Node):
    """Publishes a recording's topics at the pace they were recorded, and optionally ``/clock``.

    On a machine that held it up, or is too slow for the rate, playing takes longer: what it is behind with does not go
    out all at once, of which readers of the newest picture would see the last one only.

    Header stamps stay as recorded. What has none (actions as an array or a Twist) goes out at the bag's time, which
    ``/clock`` shows. Messages of a type that is not installed are converted where the graph takes them (``senders``).

    Args:
        bag: What to play, or several recordings, one after the other.
        topics: {recorded topic: topic to publish}, or one such for each recording.
        rate: 2.0 plays twice as fast.
        clock: Publish ``/clock`` with the recording's time.
        log: Where to count; its own if None.
        stop: Ends waiting and playing when set.
        **node_options: Passed to ``rclpy.node.Node``.

    Raises:
        BagError: A topic has a type that is not installed and that the graph does not take.
    """

    def __init__(
        self,
        bag: Bag | Sequence[Bag],
        topics: dict[str, str] | Sequence[dict[str, str]],
        *,
        rate: float = 1.0,
        clock: bool = True,
        log: SentLog | None = None,
        stop: Event | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__("bag_player", **node_options)
        self._bags = [bag] if isinstance(bag, Bag) else list(bag)
        self._topics = [topics] * len(self._bags) if isinstance(topics, dict) else list(topics)
        self._rate = rate
        self.log = log or SentLog()
        self._stop = stop or Event()
        keys = dict.fromkeys(
            (of.types[source], to) for of, m in zip(self._bags, self._topics) for source, to in m.items()
        )
        targets = [target for _, target in keys]
        # Within one process a topic has one type.
        self._senders: dict[tuple[str, str], Sender] = {
            (kind, target): make_sender(self, kind, target, targets.count(target) > 1 and target in (POSE, ACTIONS))
            for kind, target in keys
        }
        self._unusable: Counter[str] = Counter()
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if clock else None
        self._clock_sent_ns = 0
        self._started_ns = self._held_up_ns = 0
        self._duration_ns = max(1, sum(of.end_ns - of.start_ns for of in self._bags))

    def _goes_on(self) -> bool:
        return self.context.ok() and not self._stop.is_set()

    def wait_for_subscribers(self, timeout_s: float, camera_count: int = 1) -> bool:
        """Returns whether, in time, all topics had a subscriber and the camera ``camera_count``."""
        deadline = monotonic() + timeout_s
        while self._goes_on() and monotonic() < deadline:
            self._tell_time(self._bags[0].start_ns, force=True)
            if self._all_heard(camera_count):
                break
            sleep(0.05)
        else:
            return False
        # The reader may learn of the writer a little later than the writer of the reader.
        deadline = monotonic() + _SETTLE_S
        while monotonic() < deadline:
            self._tell_time(self._bags[0].start_ns, force=True)
            sleep(0.05)
        return True

    def _all_heard(self, camera_count: int) -> bool:
        wanted = {key: camera_count if sender.is_camera else 1 for key, sender in self._senders.items()}
        return all(
            self._senders[key].publisher.get_subscription_count() >= count
            for key, count in wanted.items()
            if key[1] in TAKES
        )

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
        played_ns = 0
        for bag, topics in zip(self._bags, self._topics):
            self._started_ns = monotonic_ns()
            told_ns = 0
            for sender in self._senders.values():
                sender.restart()
            for message in bag.prefetched(list(topics)):
                offset_ns = message.steady_ns - bag.start_ns
                if not self._wait_until(bag, offset_ns, stop_ns):
                    return False
                self._send(bag, topics[message.topic], message)
                if monotonic_ns() - told_ns > _PROGRESS_EVERY_NS:
                    told_ns = monotonic_ns()
                    part = (played_ns + offset_ns) / self._duration_ns
                    self.log.progress((done + part) / (loops or done + 1))
            played_ns += bag.end_ns - bag.start_ns
        return True

    def _wait_until(self, bag: Bag, offset_ns: int, stop_ns: int | None) -> bool:
        """Waits for the turn of a message, with the clock running; False when it is time to stop."""
        due_ns = self._started_ns + int(offset_ns / self._rate)
        if (behind_ns := monotonic_ns() - due_ns) > _MOST_BEHIND_NS:
            self._started_ns += behind_ns
            self._held_up_ns += behind_ns
        while self._goes_on() and (stop_ns is None or monotonic_ns() < stop_ns):
            left_ns = due_ns - monotonic_ns()
            if left_ns <= 0:
                return True
            sleep(min(left_ns / 1e9, 0.02))
            if due_ns - monotonic_ns() > 0:
                self._tell_time(bag.start_ns + int((monotonic_ns() - self._started_ns) * self._rate))
        return False

    def _send(self, bag: Bag, target: str, message: BagMessage) -> None:
        sender = self._senders[bag.types[message.topic], target]
        # Always before an action: nodes stamp it by this clock on arrival.
        self._tell_time(message.time_ns, force=target == ACTIONS)
        steady_ns = monotonic_ns()
        try:
            stamps = sender.send(bag, message)
        except MessageError as error:
            self._refuse(message.topic, error)
            return
        for stamp_ns in stamps:
            if sender.is_camera:
                self.log.frame(target, stamp_ns, steady_ns)
            else:
                self.log.other(target)

    def _refuse(self, topic: str, error: MessageError) -> None:
        """Counts a message that could not be converted; the first of its kind is told."""
        self._unusable[f"{topic}: {error.reason}"] += 1
        if self._unusable[f"{topic}: {error.reason}"] == 1:
            self.get_logger().warning(f"{topic}: {error}")

    @property
    def held_up_s(self) -> float:
        """By how much longer playing took than the recording [s]."""
        return self._held_up_ns / 1e9

    @property
    def unusable(self) -> Mapping[str, int]:
        """Messages that could not be converted, by topic and reason."""
        return self._unusable

    def _tell_time(self, time_ns: int, force: bool = False) -> None:
        if self._clock_publisher is None or time_ns == self._clock_sent_ns:
            return
        if force or not 0 <= time_ns - self._clock_sent_ns < _CLOCK_PERIOD_NS:
            self._clock_sent_ns = time_ns
            sec, nanosec = divmod(time_ns, 1_000_000_000)
            self._clock_publisher.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))


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
    parser.add_argument("bag", nargs="+", help="rosbag2 directories, folders of them, .db3 or .mcap files")
    add_playback_options(parser)
    parser.add_argument("--seconds", type=positive, help="stop after this many seconds")
    parser.add_argument("--all", action="store_true", help="play all other topics as well, under their own names")
    parser.add_argument("--no-clock", dest="clock", action="store_false", help="do not publish /clock")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for subscribers (default 30)")
    parser.add_argument("--subscribers", type=int, default=1, help="subscribers of the camera to wait for (default 1)")
    parser.add_argument("--log-fd", type=int, help="file descriptor for JSON lines about what was sent")
    return parser.parse_args(args)


def run(options: argparse.Namespace, stop: Event) -> int:
    """Plays as the options say; returns 0, 1 when messages were lost to damage, or 3 when nobody listened in time.

    Raises:
        BagError: A recording cannot be played.
    """
    bags = [Bag(path) for path in find_bags(map(Path, options.bag))]
    chosen = [choose_topics(bag, parse_remaps(options.topics)) for bag in bags]
    topics = [mapped for mapped, _ in chosen]
    missing: list[str] = []
    if options.all:
        both = [with_all_others(bag, mapped) for bag, mapped in zip(bags, topics)]
        topics, missing = [mapped for mapped, _ in both], sorted({text for _, texts in both for text in texts})
    log = SentLog(options.log_fd)
    player = BagPlayer(bags, topics, rate=options.rate, clock=options.clock, log=log, stop=stop)
    try:
        log.note("topics", topics[0] if len(topics) == 1 else topics)
        for choice in chosen[0][1]:
            player.get_logger().info(str(choice))
        if missing:
            player.get_logger().warning(f"not played, their types are not installed: {', '.join(missing)}")
        if not player.wait_for_subscribers(options.wait, options.subscribers) and not stop.is_set():
            targets = sorted({target for mapped in topics for target in mapped.values()})
            player.get_logger().error(f"nobody subscribed to {', '.join(targets)} within {options.wait:.0f} s")
            return 3
        player.play(options.loop or None, options.seconds)
        if player.held_up_s:
            player.get_logger().warning(f"played {player.held_up_s:.1f} s longer than recorded: the machine held it up")
        return _tell_damage(bags, player, log)
    finally:
        log.close()
        player.destroy_node()


def _tell_damage(bags: Sequence[Bag], player: BagPlayer, log: SentLog) -> int:
    """Names what could not be read; returns 1 when that cost messages."""
    damages = [damage for bag in bags for damage in bag.damages]
    for damage in damages:
        player.get_logger().error(str(damage))
    if damages:
        log.note("damages", [str(damage) for damage in damages])
    return 1 if any(damage.lost_count for damage in damages) else 0


def main(args: Sequence[str] | None = None) -> int:
    """Plays recordings; returns 0 at their end or on Ctrl-C, 1 when damage cost messages, 2 when one is unplayable."""
    own, for_ros = split_ros_args(sys.argv[1:] if args is None else args)
    options = _parse(own)
    stop = stop_on_signal()
    try:
        with ros_for_a_while(for_ros):
            return run(options, stop)
    except (BagError, ConfigurationError) as error:
        print(f"bag_player: {error}", file=sys.stderr)  # noqa: T201
        return 2
