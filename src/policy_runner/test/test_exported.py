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


@pytest.mark.parametrize(
    ("robot", "second"),
    [
        (NearestDriveSettings(), 0.5),
        (NearestDriveSettings(steering=STEERING_ANGLE, wheelbase_m=0.4), float(np.arctan(0.4 * 0.5))),
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
