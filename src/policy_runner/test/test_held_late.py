"""A robot that is held while answers come late, twice in a row: it faces as it is asked to, and no farther round."""

from __future__ import annotations

import numpy as np
import pytest

from policy_runner.chunks import PREFIX, Chunk, ChunkBuffer, Combining
from policy_runner.execution import Execution, ExecutionSettings
from policy_runner.nearest_drive import NearestDrive, NearestDriveSettings
from policy_runner.policies import Memories, Observation
from wm_core.limits import Limiter, Limits

S, PERIOD_S, RESPONSE_TICKS = 1_000_000_000, 0.02, 10
LIMITS = Limits(low=(-0.5, -2.2), high=(1.5, 2.2), rate=(3.0, 8.0), jerk=(100.0, 200.0))


def bend() -> Memories:
    """A drive of 1 m/s that bends to the left by 2 rad/s from 1.5 m on."""
    times_s = 0.1 * np.arange(60)
    yaw = np.clip(2.0 * (times_s - 1.5), 0.0, 0.5 * np.pi)
    place_N2 = np.cumsum(0.1 * np.column_stack([np.cos(yaw), np.sin(yaw)]), axis=0)
    return Memories(
        np.round(times_s * S).astype(np.int64), np.zeros(60, int), np.column_stack([place_N2, yaw]),
        np.column_stack([np.ones(60), np.gradient(yaw, 0.1)]),
    )  # fmt: skip


class HeldWorld:
    """A robot that turns as it is told, a response later, and stays where it is; answers come when they are said to."""

    def __init__(self, place_2: tuple[float, float], yaw_rad: float) -> None:
        self.policy = NearestDrive(2, NearestDriveSettings(steps=60))
        settings = ExecutionSettings()
        self.run = Execution(settings, ChunkBuffer(Combining(PREFIX)), Limiter(LIMITS, PERIOD_S), np.zeros(2))
        self.place_2, self.sent_rad = place_2, [yaw_rad] * RESPONSE_TICKS
        self.memories, self.tick, self.due = bend(), 0, None
        self.yaws_rad: list[float] = []

    def go(self, seconds: float, latency_s: float, answers: int | None = None) -> None:
        """Go on for some time, or until so many answers have come."""
        for _ in range(round(seconds / PERIOD_S)):
            now_ns = round(self.tick * PERIOD_S * S)
            here_3 = np.array([*self.place_2, self.sent_rad[-RESPONSE_TICKS]])
            if self.tick % 5 == 0:
                self.run.see(now_ns, np.array([*self.place_2, self.sent_rad[-1]]), now_ns + S // 5)
            if self.due is not None and now_ns >= self.due[0]:
                self.run.offer(self.due[2], (now_ns - self.due[1]) / S, now_ns)
                self.due = None
                answers = None if answers is None else answers - 1
            if answers == 0:
                return
            if self.due is None and self.run.wants_chunk(now_ns):
                self.run.asked(now_ns)
                decided_PA = self.run.decided(now_ns, 0.05, now_ns)
                chunk = self.policy.act(Observation(now_ns, np.zeros(1), here_3, 0.0, None, decided_PA, self.memories))
                self.due = now_ns + round(latency_s * S), now_ns, chunk
            command_A = self.run.step(now_ns).command_A
            self.sent_rad.append(self.sent_rad[-1] + PERIOD_S * float(command_A[1]))
            self.yaws_rad.append(here_3[2])
            self.tick += 1


def test_two_late_answers_in_a_row_do_not_turn_it_back():
    """Each would turn it back to its way, the second for a robot that the first has not turned; it is not free yet."""
    world = HeldWorld((1.7, 0.1), 0.4)
    world.go(3.5, 0.3)
    faced_rad, before = world.yaws_rad[-1], len(world.yaws_rad)
    assert faced_rad < 0.0
    world.go(4.0, 0.95, answers=3)  # The first is one that was asked for before.
    assert world.run.counts.late == 0
    assert len(world.yaws_rad) - before >= 1.5 / PERIOD_S
    assert max(world.yaws_rad[before:]) < faced_rad + 0.1
    world.go(1.0, 0.3)
    assert world.yaws_rad[-1] < faced_rad - 0.2


def test_what_is_counted_on_is_that_it_stays_as_it_is_to_face():
    world = HeldWorld((1.7, 0.1), 0.4)
    world.go(3.5, 0.3)
    now_ns = round(world.tick * PERIOD_S * S)
    rates = [float(action_A[1]) for _, action_A in world.run.planned(now_ns + S, now_ns + 2 * S)]
    assert rates == pytest.approx([0.0] * len(rates), abs=0.1)


def held_execution(run: Execution, turned_rad: float) -> None:
    """Offer a chunk that faces 0.4 rad for 0.5 s and turns back by 2 rad/s then, to a robot that faces otherwise."""
    time_H = 0.05 * np.arange(60)
    facing_H = np.clip(0.4 - 2.0 * (time_H - 0.5), 0.0, 0.4)
    action_HA = np.column_stack([np.full(60, 0.3), np.where((time_H >= 0.5) & (time_H < 0.7), -2.0, 0.0)])
    run.see(0, np.array([0.0, 0.0, turned_rad]), 0)
    run.offer(Chunk(0, 0.05, action_HA, facing_H=facing_H, waits_s=0.25), 0.0, 0)


@pytest.mark.parametrize(("speed_m_s", "faces_rad"), [(0.0, 0.4), (0.3, 0.0)], ids=["is held", "comes free"])
def test_who_is_held_is_turned_as_it_is_to_face_and_back_once_it_is_free(speed_m_s, faces_rad):
    settings = ExecutionSettings(response_s=0.0)
    run = Execution(settings, ChunkBuffer(Combining(PREFIX)), Limiter(LIMITS, PERIOD_S), np.zeros(2))
    yaw_rad = -0.3
    held_execution(run, yaw_rad)
    for tick in range(125):
        now_ns = round(tick * PERIOD_S * S)
        place_m = max(0.0, speed_m_s * (tick * PERIOD_S - 0.6))
        run.see(now_ns, np.array([place_m, 0.0, yaw_rad]), now_ns)
        yaw_rad += PERIOD_S * float(run.step(now_ns).command_A[1])
    assert yaw_rad == pytest.approx(faces_rad, abs=0.05)
