"""The slow branch that ships: its sizes, and that it foresees in a building it was never shown."""

import pytest

from world_model.data.simulated import SimulatedRun, simulate_episode
from world_model.evaluation.world_action import evaluate
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.motion import MotionModel

pytest.importorskip("wm_sim")


def test_its_sizes_are_those_of_the_topics() -> None:
    artifact = load_artifact("artifact://tiny")
    sizes = artifact.manifest.world_action
    assert sizes is not None
    assert (sizes["embedding_dim"], sizes["history"], sizes["tick_s"]) == (224, 4, 1.0)
    assert artifact.manifest.history_dim == 4 * 224
    assert sizes["image_size"] == artifact.manifest.image_size
    assert (artifact.path / "world_action.pt").stat().st_size < 1_500_000


@pytest.mark.slow
def test_it_foresees_better_than_stays_the_same_in_a_new_building() -> None:
    episode = simulate_episode(SimulatedRun(seed=91_234, duration_s=90.0, step_s=0.5))
    _, rows = evaluate(load_artifact("artifact://tiny"), [episode], 0.5, motion=MotionModel())
    ratios = [rows[horizon_s]["ours/same"]["ratio"] for horizon_s in ("1", "2", "3", "4")]
    assert max(ratios) < 0.8, ratios
