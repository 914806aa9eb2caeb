"""The memories around the robot in a node's own process.

They are kept current by ``/spatial_memory/window``, or by the memory itself where both run in one process.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from wm_core.memory.errors import QueryError
from wm_core.memory.held import HeldPlaces
from wm_core.memory.journal import Area, WindowAsk, WindowSource, WindowUpdate
from wm_core.memory.packed import Neighbours
from wm_core.memory.query import Query
from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from wm_interfaces.srv import MemoryWindow
from wm_ros.errors import MessageError
from wm_ros.health import Health
from wm_ros.memory_arrays import ask_to_request, update_from_response
from wm_ros.one_memory import OneMemory
from wm_ros.present import Moment, Present

_PATIENCE_S = 2.0
# All of an area is asked for at most this often, whatever the robot does.
_SELDOM_S = 1.0
_ROOM = 1.5
# From when on a memory that is asked and says nothing is named.
_SILENT_S = 3.0


@dataclass(frozen=True)
class WindowSettings:
    """How much of the memory a node holds.

    Attributes:
        radius_m: Around the robot [m]; 0: hold nothing.
        max_age_s: At most this much older than the newest memory [s]; 0: any.
        max_count: At most so many; the radius becomes smaller instead. 0: any.
        period_s: Time between two looks at what changed [s].
    """

    radius_m: float
    max_age_s: float
    max_count: int
    period_s: float


class HeldMemories:
    """A window around the robot, and when to look for changes: after a prediction, so that none waits for it.

    Args:
        node: Owns the client; its executor delivers the answers.
        health: Where it tells how much is held, and why it is not kept current.
        settings: How much to hold.
        source: A memory in the same process; None: the service ``spatial_memory/window``.

    Attributes:
        one: Which memory that is; whose other answers are to be used, too.
        problem: Why the window was not kept current when that was last tried; empty where it was.
    """

    def __init__(
        self, node: Node, health: Health, settings: WindowSettings, source: WindowSource | None = None
    ) -> None:
        self._node, self._health, self._settings, self._source = node, health, settings, source
        self._window, self.one = Window(), OneMemory(node, health)
        self._client: Client[MemoryWindow.Request, MemoryWindow.Response] | None = None
        if source is None and settings.radius_m > 0:
            self._client = node.create_client(MemoryWindow, "spatial_memory/window")
        self._pending: Future[MemoryWindow.Response] | None = None
        self._asked = WindowAsk(Area(0.0, 0.0, 1.0))
        self._sent_s = self._current_s = self._whole_s = self._heard_s = -math.inf
        self._unanswered_s = math.inf
        self._present = Present(node)
        self._asked_at: Moment | None = None
        self.problem = ""

    @property
    def age_s(self) -> float:
        """Time since the window was last known to be as the memory is [s]; NaN: it holds nothing."""
        return monotonic() - self._current_s if self._window.area is not None else math.nan

    @property
    def silence_s(self) -> float:
        """Time since the memory last answered, be it with a refusal [s]; infinite: it never did."""
        return monotonic() - self._heard_s

    def is_as_of(self, moment_s: float) -> bool:
        """Return whether all that the memory had acknowledged at a time of the steady clock [s] is held.

        Where it is not, the next ``refresh`` asks, whatever the period.
        """
        if self._window.area is not None and self._current_s >= moment_s:
            return True
        self._asked_at = None
        return False

    @property
    def window(self) -> Window | None:
        """What is held; None: nothing was told yet."""
        return self._window if self._window.area is not None else None

    def places(self) -> HeldPlaces | None:
        """Return what is held now, for another thread to look through; None: nothing."""
        return self._window.held() if self._window.area is not None else None

    def answer(self, queries: Sequence[Query], *, whatever: bool = False) -> list[Neighbours] | None:
        """Return what the memory would answer; None: the window does not reach as far, so it has to be asked.

        Args:
            queries: What is wanted.
            whatever: Answer with what is held, even if the memory may know more.

        Raises:
            QueryError: The memory would refuse one.
        """
        window = self._window
        if window.area is None or not (whatever or all(window.covers(query) for query in queries)):
            return None
        return [window.neighbours(found.row_K) for found in window.query_batch(queries)]

    def refresh(self, pose: Pose2 | None, frame_id: str) -> None:
        """Look for changes, and for another area where the robot nears the rim, if it is time to.

        Args:
            pose: Where the robot is; None: not known.
            frame_id: Frame of that.
        """
        now_s = monotonic()
        self._present.look()
        # Taken in here and not when it comes, so that no latent waits for it.
        if self._pending is not None and self._pending.done():
            self._take_answer(self._pending.result())
        self._tell_silence(now_s)
        if not self._settings.radius_m or not self._is_due():
            return
        area = self._wanted_area(pose, frame_id, now_s)
        if area is None:
            return
        self._asked_at = self._present.now()
        self._ask(self._window.ask(area), now_s)

    def _is_due(self) -> bool:
        """Return whether it is time to look for changes: memories grow as fast as the clock goes that is followed."""
        asked_at, period_s = self._asked_at, self._settings.period_s
        return asked_at is None or self._present.elapsed_s(asked_at) >= period_s

    def _tell_silence(self, now_s: float) -> None:
        """Say that what is held gets old, once the memory was asked and has not told for a while."""
        if now_s - self._unanswered_s <= _SILENT_S or self._window.area is None:
            self._health.degrade("window_age", None)
            return
        self._health.gauge("window", "not kept current: the memory does not answer")
        text = f"what is held of the memory is {self.age_s:.0f} s old: it does not answer, or is busy as a whole"
        self._health.degrade("window_age", text)

    def _wanted_area(self, pose: Pose2 | None, frame_id: str, now_s: float) -> Area | None:
        """Return the area to hold: the one held, while the robot is in its inner half and it is not overfull."""
        held, settings = self._window.area, self._settings
        if pose is None:
            return None if held is None else self._asked.area
        if held is not None:
            far_m = math.hypot(pose.x - held.x, pose.y - held.y)
            is_overfull = 0 < settings.max_count * _ROOM < len(self._window)
            stays = far_m <= held.radius_m / 2.0 and not is_overfull and frame_id == self._asked.area.frame_id
            if stays or now_s - self._whole_s < _SELDOM_S:
                return self._asked.area
        return Area(pose.x, pose.y, settings.radius_m, settings.max_age_s, settings.max_count, frame_id)

    def _ask(self, ask: WindowAsk, now_s: float) -> None:
        self._unanswered_s = min(self._unanswered_s, now_s)
        if self._source is not None:
            self._asked, self._heard_s = ask, now_s
            try:
                update = self._source.window(ask)
            except QueryError as error:
                self._refused(str(error))
                return
            if update is not None:
                self.one.takes(update.epoch, "spatial_memory/window", "windows")
                self._take(update, now_s)
            return
        assert self._client is not None
        if self._pending is not None:
            if now_s - self._sent_s < _PATIENCE_S:
                return
            self._client.remove_pending_request(self._pending)
        self._pending = None
        if self._client.service_is_ready():
            self._asked, self._sent_s = ask, now_s
            self._pending = self._client.call_async(ask_to_request(ask))

    def _take_answer(self, response: MemoryWindow.Response) -> None:
        self._pending, self._heard_s = None, monotonic()
        if not response.success:
            self._refused(response.message)
            return
        assert self._client is not None
        if not self.one.takes(response.epoch, self._client.srv_name, "windows"):
            self._asked_at = None
            return
        try:
            self._take(update_from_response(response, self._asked.area), self._sent_s)
        except MessageError as error:
            self._refused(str(error))

    def _take(self, update: WindowUpdate, asked_s: float) -> None:
        """Become as the memory was when it was asked."""
        if not self._window.apply(update, self._asked.area):
            self._asked_at = None
            return
        self._current_s, self.problem = asked_s, ""
        self._answered()
        if update.is_whole:
            self._whole_s = asked_s
            self._health.count("window_fetched")
        self._health.gauge("window", "kept current")
        self._health.gauge("window_count", len(self._window))
        self._health.gauge("window_revision", self._window.revision)

    def _refused(self, why: str) -> None:
        # No fault: the memory itself is asked as long as there is no window.
        self.problem = why
        self._answered()
        self._health.gauge("window", f"not kept current: {why}")

    def _answered(self) -> None:
        self._unanswered_s = math.inf
        self._health.degrade("window_age", None)
