"""Events in the order in which a robot's driver would send them."""

import itertools

import numpy as np
import pytest

from wm_sim import EXACT, PoseNoise, Simulation, simulate
from wm_sim.timeline import ActionEvent, FrameEvent, PoseEvent, Timeline


def events(count, rate_hz=10.0, pose_rate_hz=50.0, **options):
    timeline = Timeline(Simulation(1, image_size=(16, 16), **options), rate_hz, pose_rate_hz)
    return [timeline.next() for _ in range(count)]


def stamps(found, kind):
    return np.array([event.stamp_s for event in found if isinstance(event, kind)])


@pytest.mark.slow
def test_each_kind_keeps_its_own_rate_and_all_come_in_order():
    found = events(400)
    assert stamps(found, FrameEvent) == pytest.approx(np.arange(len(stamps(found, FrameEvent))) / 10.0)
    assert stamps(found, PoseEvent) == pytest.approx(np.arange(len(stamps(found, PoseEvent))) / 50.0)
    assert stamps(found, ActionEvent) == pytest.approx(np.arange(len(stamps(found, ActionEvent))) / 20.0)
    assert all(a.due_s <= b.due_s for a, b in itertools.pairwise(found))


@pytest.mark.slow
def test_poses_come_late_and_keep_their_stamp():
    found = [event for event in events(300, pose_noise=PoseNoise(latency_s=0.1)) if isinstance(event, PoseEvent)]
    late = np.array([event.due_s - event.stamp_s for event in found])
    assert late.mean() == pytest.approx(0.1, abs=0.005)


@pytest.mark.slow
def test_agrees_with_simulate():
    found = events(300, rate_hz=20.0, pose_rate_hz=20.0, pose_noise=EXACT)
    steps = list(simulate(1, 4.0, image_size=(16, 16), pose_noise=EXACT))
    frames = [event for event in found if isinstance(event, FrameEvent)]
    poses = [event for event in found if isinstance(event, PoseEvent)]
    actions = [event for event in found if isinstance(event, ActionEvent)]
    for step, frame, pose, action in zip(steps, frames, poses, actions):
        assert np.array_equal(step.image_HWC, frame.image_HWC)
        assert pose.pose == step.true_pose
        assert action.action_2 == pytest.approx(step.action_A)


@pytest.mark.slow
def test_skipped_frames_are_counted_and_the_rest_stays_on_schedule():
    timeline = Timeline(Simulation(1, image_size=(16, 16)), 10.0, 50.0)
    assert isinstance(timeline.next(), FrameEvent)
    assert timeline.skip_frames(0.55) == 5
    frame = next(event for event in iter(timeline.next, None) if isinstance(event, FrameEvent))
    assert frame.stamp_s == pytest.approx(0.6)


@pytest.mark.slow
def test_impossible_rates_are_refused():
    with pytest.raises(ValueError, match=r"0\.0 Hz"):
        Timeline(Simulation(1, image_size=(16, 16)), 10.0, 0.0)
