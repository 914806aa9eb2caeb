"""Episodes of tasks: rewards and ends belong to the frames at which the actions were taken."""

import numpy as np
import pytest

from world_model.data.episodes import EpisodeSet
from world_model.data.simulated import SimulatedRun, generate, simulate_episode


@pytest.fixture(scope="module")
def episode():
    return simulate_episode(SimulatedRun(seed=3, duration_s=70.0, image_size=16, tasks=True, still=True))


@pytest.mark.slow
def test_rewards_are_progress_and_contacts_and_ends_are_marked(episode):
    assert np.isfinite(episode.reward_T[:-1]).all()
    assert np.isnan(episode.reward_T[-1])
    assert set(episode.goes_on_T.tolist()) == {0.0, 1.0}
    # A waypoint counts as passed 0.5 m before it, which takes off at most twice that.
    assert np.nanmax(episode.reward_T) < 1.2
    ends = np.flatnonzero(episode.goes_on_T == 0)
    assert np.nansum(episode.reward_T[: ends[0] + 1]) > 0


@pytest.mark.slow
def test_actions_are_those_that_lead_to_the_next_frame():
    run = SimulatedRun(
        seed=3, duration_s=70.0, image_size=16, tasks=True, still=True, exact_pose=True, proprioception=True
    )
    episode = simulate_episode(run)
    turn_T, told_T = episode.proprio_TP[:, 1], episode.action_TA[:, 1]
    # Delay 0.08 s and lag 0.12 s: what is told now is seen best some frames later, and not at all before.
    fit = [np.corrcoef(told_T[1:1300], turn_T[1 + late : 1300 + late])[0, 1] for late in range(8)]
    assert 2 <= int(np.argmax(fit)) <= 4


@pytest.mark.slow
def test_a_set_keeps_rewards_and_ends(tmp_path, episode):
    run = SimulatedRun(seed=3, duration_s=70.0, image_size=16, tasks=True, still=True)
    generate(tmp_path / "set", [run], workers=1)
    kept = EpisodeSet(tmp_path / "set").episode(run.name)
    assert kept.reward_T == pytest.approx(episode.reward_T, nan_ok=True)
    assert np.array_equal(kept.goes_on_T, episode.goes_on_T)
