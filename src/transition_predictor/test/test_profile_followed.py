"""The node and its robot's profile: read at the start, on request, and named where it is damaged."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from std_srvs.srv import Trigger

from wm_core.se2 import Pose2
from world_model.runtime.adapted import keep_adapted
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.calibration import FUTURES, HELD, STATE_VERSION, MotionCalibration
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.predictor import Observation, Predictor
from world_model.runtime.profile import MOTION, Profile

START_NS, STEP_NS, Z_DIM = 1_000_000_000_000_000_000, 50_000_000, 32


def learned_state() -> dict:
    """A robot that learned to hold half a second's velocity."""
    calibration = MotionCalibration(MotionModel(), 0.05, 2, 1.0, (1.0,))
    names, models = dict.fromkeys(FUTURES, HELD), {HELD: MotionModel(window_s=0.5).to_manifest()}
    return {**calibration.state(), "fits": 1, "names": names, "models": models}


@pytest.mark.slow
def test_the_profile_is_read_on_request(make_world, tmp_path):
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    client = world.peer.create_client(Trigger, "/transition_predictor/reload")
    world.until(client.service_is_ready)

    def reload() -> Trigger.Response:
        future = client.call_async(Trigger.Request())
        world.until(future.done)
        return future.result()

    answer = reload()
    assert answer.success
    assert answer.message.startswith("shipped")
    Profile(tmp_path / "robot").write(MOTION, STATE_VERSION, learned_state())
    assert reload().message.startswith(HELD)
    (tmp_path / "robot" / "motion.json").write_text("{}")
    answer = reload()
    assert not answer.success
    assert "damaged" in answer.message


def test_the_profile_is_read_at_the_start(make_world, tmp_path):
    Profile(tmp_path / "robot").write(MOTION, STATE_VERSION, learned_state())
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    assert world.node._predictor.motion.says().startswith(HELD)


def test_an_adapted_artifact_takes_the_place_of_its_source_at_the_start(make_world, artifact, tmp_path):
    shutil.copytree(artifact.path, tmp_path / "adapted")
    path = tmp_path / "adapted" / "manifest.json"
    entries = json.loads(path.read_text()) | {"name": "adapted"}
    entries.pop("digest")  # changed on purpose
    path.write_text(json.dumps(entries))
    keep_adapted(Profile(tmp_path / "robot"), tmp_path / "adapted", artifact)
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    assert world.node._manifest.name == "adapted"
    world.send(0)
    world.until(lambda: world.predictions)


def adapted_from(artifact, folder, profile, scale=1.5, **changes):
    """An artifact with another unit of errors and name, which a profile names in the place of its source."""
    shutil.copytree(artifact.path, folder)
    path = folder / "manifest.json"
    entries = json.loads(path.read_text())
    entries.pop("digest")  # changed on purpose
    entries |= {"name": "adapted", "latent_variance": [scale * v for v in entries["latent_variance"]], **changes}
    path.write_text(json.dumps(entries))
    keep_adapted(Profile(profile), folder, artifact)


@pytest.mark.slow
def test_a_running_node_takes_up_an_adapted_artifact_at_one_stamp(make_world, artifact, tmp_path):
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    values = [0.1 * math.sin(0.3 * row) for row in range(60)]
    for row in range(25):
        world.predict(row, value=values[row])
    former = world.node._predictor
    adapted_from(artifact, tmp_path / "adapted", tmp_path / "robot")
    world.node._take_up()
    assert world.node._predictor is former  # nothing changes between two latents
    for row in range(25, 60):
        # More than a few latents come before it is ready: it is shown those, too, before it takes over.
        if row >= 40:
            world.until(lambda: not world.node._replacement.is_under_way or world.node._replacement._making.done())
        world.predict(row, value=values[row])
    assert world.node._manifest.name == "adapted"
    assert world.node._predictor is not former
    # What took over forecasts as one that was there from the start.
    always = Predictor(load_artifact(tmp_path / "adapted"))
    for row in range(60):
        pose, latent_D = Pose2(0.05 * row, 0.0, 0.0, 0.0), np.full(Z_DIM, values[row], np.float32)
        action_A = np.array([1.0, 0.0], np.float32)
        always.observe(Observation(START_NS + row * STEP_NS, latent_D, pose, action_A, np.zeros(3)))
        expected = always.predict(None)
    for mine, theirs in zip(world.predictions[-1].forecasts, expected.forecasts):
        np.testing.assert_allclose(mine.latent, theirs.latent_D, atol=1e-4)
    assert world.node._keeper._motion is world.node._predictor.motion
    world.node._take_up()
    assert not world.node._replacement.is_under_way  # once is enough


def test_what_cannot_take_over_is_named_and_the_node_goes_on(make_world, artifact, tmp_path):
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    world.predict(0)
    adapted_from(artifact, tmp_path / "slower", tmp_path / "robot", horizon_s=2.0)
    world.node._take_up()
    world.until(lambda: world.node._replacement._making.done())
    world.predict(1)
    assert "horizon_s is 2.0" in world.node._replacement.problem
    assert "next start" in world.node._replacement.problem
    assert world.node._manifest.name == "random"
    keep_adapted(Profile(tmp_path / "robot"), tmp_path / "nowhere", artifact)
    world.node._take_up()
    world.until(lambda: world.node._replacement._making.done())
    world.predict(2)
    assert "nowhere" in world.node._replacement.problem
