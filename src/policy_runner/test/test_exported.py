"""An exported policy in the runner: fed with all frames, its answer as the robot's commands."""

import numpy as np
import pytest
import torch

from policy_runner.choice import UnknownPolicyError, Wanted, policy_maker
from policy_runner.nearest_drive import NOTHING, STEERING_ANGLE, NearestDriveSettings
from policy_runner.policies import Frame, Memories, Observation, PolicyError
from wm_policy.errors import PolicyFileError
from wm_testing.policies import export_made_up_policy

STEP_NS = 50_000_000


class Steady(torch.nn.Module):
    """Gives the middle of the upper half of each action's range."""

    def forward(self, forecast: torch.Tensor) -> torch.Tensor:
        return torch.full([1, 4, 2], 0.5) + 0.0 * forecast[:, :1, None]


class Bend(torch.nn.Module):
    """Gives a path, and the twist of a steady bend."""

    def forward(self, forecast: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        twist = torch.tensor([1.0, 0.5]).repeat(1, 4, 1) + 0.0 * forecast[:, :1, None]
        return torch.zeros([1, 4, 2]), twist


def exported(folder, network=Steady, **changes):
    return export_made_up_policy(folder, network(), **changes)


def observation(encoder_id="e", memories=None):
    frames = tuple(
        Frame(at * STEP_NS, np.zeros(3, np.float32), encoder_id, np.array([0.05 * at, 0.0, 0.0]), np.array([1.0, 0.0]))
        for at in range(40)
    )
    return Observation(39 * STEP_NS, np.zeros(3), frames=frames, memories=memories)


def made(folder, robot=None):
    return policy_maker(str(folder), Wanted(2, robot or NearestDriveSettings()))()


def test_its_actions_begin_at_the_newest_frame(tmp_path):
    chunk = made(exported(tmp_path)).act(observation())
    assert (chunk.stamp_ns, chunk.step_s) == (39 * STEP_NS, 0.05)
    assert chunk.action_HA == pytest.approx(np.tile([1.5, 0.5], (4, 1)))


def test_memories_are_handed_on_in_their_order(tmp_path):
    memories = Memories(
        np.array([2, 1]), np.zeros(2, int), np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 3), np.float32)
    )
    policy, trails = made(exported(tmp_path)), []
    inputs = policy._policy.observer.inputs
    policy._policy.observer.inputs = lambda trail=None: trails.append(trail) or inputs(trail)
    policy.act(observation(memories=memories))
    assert trails[0].stamp_N.tolist() == [1, 2]


class Turning(torch.nn.Module):
    """Gives a quarter of a round to the left, ever faster, and the twists of it."""

    def forward(self, forecast: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        turn = 0.1 * torch.arange(1.0, 5.0) + 0.0 * forecast[0, 0]
        path = torch.stack([torch.sin(turn), 1.0 - torch.cos(turn)], dim=1)
        return path[None], torch.stack([1.0 + turn, torch.full([4], 2.0)], dim=1)[None]


def test_what_takes_time_is_commanded_so_much_earlier_and_the_path_says_where_that_leads(tmp_path):
    exported(tmp_path, Turning, output="trajectory", action_least=[], action_most=[])
    late, at_once = (made(tmp_path, NearestDriveSettings(response_s=each)).act(observation()) for each in (0.1, 0.0))
    assert at_once.action_HA.shape == (4, 2)
    assert late.action_HA == pytest.approx(at_once.action_HA[2:])
    assert late.path_H3 == pytest.approx(at_once.path_H3[:2])
    # From where the robot is now; it turns by 2 rad/s in steps of 0.05 s.
    unit_m = at_once.action_HA[0, 0] / 1.1
    assert at_once.path_H3[0] == pytest.approx([39 * 0.05, 0.0, 0.0], abs=0.02)
    way_m = at_once.path_H3 - at_once.path_H3[0]
    assert way_m[1:, 0] == pytest.approx(unit_m * np.sin([0.1, 0.2, 0.3]), abs=0.01)
    assert way_m[1:, 2] == pytest.approx([0.1, 0.2, 0.3])


def test_of_a_robot_that_is_slower_than_the_trajectory_is_long_the_last_twist_is_left(tmp_path):
    exported(tmp_path, Bend, output="trajectory", action_least=[], action_most=[])
    assert made(tmp_path, NearestDriveSettings(response_s=5.0)).act(observation()).action_HA.shape == (1, 2)


@pytest.mark.parametrize(
    ("robot", "second"),
    [
        (NearestDriveSettings(response_s=0.0), 0.5),
        (NearestDriveSettings(steering=STEERING_ANGLE, wheelbase_m=0.4, response_s=0.0), float(np.arctan(0.4 * 0.5))),
    ],
)
def test_a_trajectory_becomes_commands(tmp_path, robot, second):
    exported(tmp_path, Bend, output="trajectory", action_least=[], action_most=[])
    chunk = made(tmp_path, robot).act(observation())
    unit_m = chunk.action_HA[0, 0]
    assert unit_m == pytest.approx(1.0, abs=0.05)
    assert chunk.action_HA[:, 1] == pytest.approx(np.full(4, second), abs=0.02)


def test_latents_of_another_encoder_are_refused_by_name(tmp_path):
    with pytest.raises(PolicyError, match="encoder other"):
        made(exported(tmp_path)).act(observation("other"))


def test_what_this_robot_cannot_drive_is_refused(tmp_path):
    exported(tmp_path, Bend, output="trajectory", action_least=[], action_most=[])
    with pytest.raises(ValueError, match="trajectory"):
        made(tmp_path, NearestDriveSettings(steering=NOTHING))


def test_what_is_no_policy_is_refused(tmp_path):
    with pytest.raises(PolicyFileError):
        made(tmp_path)
    with pytest.raises(UnknownPolicyError, match="none_such"):
        policy_maker("none_such", Wanted(2, NearestDriveSettings()))
