"""Ages of predictions with and without a planner beside them that replans at 10 Hz and imagines its 16 best plans."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Float32MultiArray

from benchmarks.driver import RATE_HZ, SIZES, STREAM, Driver, StartError, drive, own_domain_id, ros
from benchmarks.slow_branch import commands
from wm_bringup.configuration import ros_arguments
from wm_demo.graph import Graph, executable
from wm_interfaces.action import Plan
from wm_ros.goal_client import GoalClient

# The robot's circle takes 12.6 s: then there is remembered ground all the way round.
_WARM_UP_S, _ASKED_BEFORE_S = 17.0, 3.0
_MOST_RISE = 0.10


class Goal:
    """Asks for one goal on the driver's circle over and over, and counts plans.

    The robot does not obey, and so never stops there: the planner goes on planning.

    Args:
        driver: Whose node it speaks through.
    """

    def __init__(self, driver: Driver) -> None:
        self.plan_count, self.outcomes = 0, list[str]()
        self._client: Any = GoalClient(driver, Plan, "/latent_planner/plan")
        driver.create_subscription(Float32MultiArray, "/planned_actions", self._on_plan, STREAM)

    @property
    def is_served(self) -> bool:
        """Whether somebody takes goals."""
        return bool(self._client.server_is_ready())

    def ask(self) -> None:
        """Ask for it."""
        pose = PoseStamped()
        pose.header.frame_id = "map"
        pose.pose.position.y, pose.pose.orientation.z, pose.pose.orientation.w = 4.0, 1.0, 0.0
        goal = Plan.Goal(kind=Plan.Goal.POSE, pose=pose, any_yaw=True, time_limit_s=3600.0)
        self._client.send_goal_async(goal).add_done_callback(self._on_answer)

    def _on_answer(self, answer: Any) -> None:
        handle = answer.result()
        if handle.accepted:
            handle.get_result_async().add_done_callback(self._on_end)

    def _on_end(self, ended: Any) -> None:
        result = ended.result().result
        self.outcomes.append(f"{result.name}: {result.message}")
        self.ask()

    def _on_plan(self, msg: Any) -> None:
        # What is longer than one command is a plan made anew, or followed on.
        self.plan_count += len(msg.data) > 2


class _Asking(Driver):
    """Plays the robot, and asks for a goal once there is remembered ground."""

    def __init__(self, size: tuple[int, int], seed: int, *, is_planned: bool) -> None:
        super().__init__(size, seed)
        self.goal = Goal(self) if is_planned else None

    def send(self, index: int) -> None:
        """Publish one frame, and ask for the goal in time."""
        super().send(index)
        if self.goal is not None and index == round((_WARM_UP_S - _ASKED_BEFORE_S) * RATE_HZ):
            self.goal.ask()


def run(is_planned: bool, form: str, size: str, seconds: float, domain_id: int, seed: int) -> dict[str, Any]:
    """Return ages of /latent and /latent_next [ms], and how many plans were made meanwhile.

    Raises:
        StartError: Something did not come up, or no plan was made.
    """
    with TemporaryDirectory(prefix="bench_planner_") as folder, ros(domain_id):
        scratch = Path(folder)
        started = commands(form, True, scratch)
        if is_planned:
            planner = "latent_planner"
            started[planner] = [*executable(planner, f"{planner}_node"), *ros_arguments(scratch, nodes=[planner])]
        driver = _Asking(SIZES[size], seed, is_planned=is_planned)
        graph, before = Graph(started, scratch), [0]

        def is_ready() -> bool:
            if (trouble := graph.trouble()) is not None:
                raise StartError(trouble)
            there = (
                driver.is_heard()
                and driver.count_publishers("/latent_next")
                and (driver.goal is None or driver.goal.is_served)
            )
            return bool(there)

        def counting() -> None:
            graph.start_measuring()
            before[0] = driver.goal.plan_count if driver.goal else 0

        try:
            drive(driver, seconds, is_ready, _WARM_UP_S, counting)
            cpu_percent = graph.cpu_percent()
        finally:
            graph.stop()
        found: dict[str, Any] = {"latent": driver.latent_ages_ms(), "latent_next": driver.next_ages_ms()}
        if driver.goal is not None:
            found["plans_hz"] = round((driver.goal.plan_count - before[0]) / seconds, 2)
            if not found["plans_hz"]:
                raise StartError(f"no plan was made: {driver.goal.outcomes or 'no goal was answered'}")
        driver.destroy_node()
    return {**found, "cpu_percent": round(cpu_percent, 1)}


def live(pairs: int, seconds: float, size: str, form: str) -> dict[str, Any]:
    """Return p50 of ages of every alternation, and the median rise with the planner.

    Args:
        pairs: Alternations; which comes first alternates too.
        seconds: Of each run [s].
        size: Of the camera's pictures.
        form: Of the graph: ``composed`` or ``separate``; the planner is a process of its own, as it is launched.
    """
    domain_id, each = own_domain_id(), []
    for pair in range(pairs):
        order = (False, True) if pair % 2 == 0 else (True, False)
        found = {planned: run(planned, form, size, seconds, domain_id, pair) for planned in order}
        p50 = {
            topic: [round(float(np.median(found[planned][topic])), 3) for planned in (False, True)]
            for topic in ("latent", "latent_next")
        }
        p50["cpu_percent"] = [found[planned]["cpu_percent"] for planned in (False, True)]
        each.append({**p50, "plans_hz": found[True]["plans_hz"]})
        print(f"alternation {pair + 1} of {pairs}: {each[-1]}", file=sys.stderr, flush=True)
    rises = {topic: [row[topic][1] / row[topic][0] - 1.0 for row in each] for topic in ("latent", "latent_next")}
    median = {f"{topic}_rise": round(float(np.median(rise)), 4) for topic, rise in rises.items()}
    return {
        "form": form, "size": size, "seconds": seconds, **median,
        "is_within": median["latent_next_rise"] <= _MOST_RISE, "without_and_with": each,
    }  # fmt: skip
