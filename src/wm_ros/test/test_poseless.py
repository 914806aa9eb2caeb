"""Latents whose poses cannot be used are named with what it costs and what would help."""

from __future__ import annotations

import pytest

from wm_interfaces.msg import LatentState
from wm_ros.poseless import JUDGED, PoseWatch

TOO_OLD, ABSENT = LatentState.POSE_TOO_OLD, LatentState.POSE_ABSENT


def latent(status: int | None = None) -> LatentState:
    """A latent with a pose, or one that lacks it for a reason."""
    if status is None:
        return LatentState(has_pose=True, pose_status=LatentState.POSE_INTERPOLATED)
    return LatentState(has_pose=False, pose_status=status)


def watched(*statuses: int | None) -> PoseWatch:
    watch = PoseWatch("nothing is kept")
    for status in statuses:
        watch.observe(latent(status))
    return watch


@pytest.mark.parametrize(
    "statuses",
    [
        [None] * JUDGED,
        [TOO_OLD] * (JUDGED - 1),
        [TOO_OLD, None] * JUDGED,
        [TOO_OLD] * JUDGED + [None] * (JUDGED // 2),
    ],
    ids=["all have one", "too few to tell", "half have one", "works again"],
)
def test_nothing_is_said_of_poses_that_come(statuses):
    assert watched(*statuses).complaint() == (None, "")


@pytest.mark.parametrize(("status", "remedy"), [(TOO_OLD, "by the camera's clock"), (ABSENT, "is a pose published?")])
def test_the_cost_and_the_remedy_are_named(status, remedy):
    text, cause = watched(*[None] * 10, *[status] * (JUDGED - 5)).complaint()
    assert text.startswith("35 of the last 40 latents have no pose: nothing is kept; ")
    assert remedy in cause
    assert text.endswith(cause)


def test_the_cause_stays_while_the_numbers_change():
    assert watched(*[None] * 10, *[TOO_OLD] * 35).complaint()[1] == watched(*[TOO_OLD] * 40).complaint()[1]
