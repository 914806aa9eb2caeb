"""The node and its robot's profile: read at the start, on request, and named where it is damaged."""

from __future__ import annotations

import shutil

from std_srvs.srv import Trigger

from world_model.runtime.adapted import keep_adapted
from world_model.runtime.calibration import FUTURES, HELD, STATE_VERSION, MotionCalibration
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.profile import MOTION, Profile


def learned_state() -> dict:
    """A robot that learned to hold half a second's velocity."""
    calibration = MotionCalibration(MotionModel(), 0.05, 2, 1.0, (1.0,))
    names, models = dict.fromkeys(FUTURES, HELD), {HELD: MotionModel(window_s=0.5).to_manifest()}
    return {**calibration.state(), "fits": 1, "names": names, "models": models}


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
    path.write_text(path.read_text().replace('"random"', '"adapted"'))
    keep_adapted(Profile(tmp_path / "robot"), tmp_path / "adapted", artifact)
    world = make_world(profile=str(tmp_path / "robot"), use_memory=False)
    assert world.node._manifest.name == "adapted"
    world.send(0)
    world.until(lambda: world.predictions)
