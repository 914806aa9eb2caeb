"""Latents that change their basis: the predictor goes over with the first of them, and judges nothing across."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.node import Node
from std_msgs.msg import Header

from transition_predictor.bases import Bases
from transition_predictor.node import TransitionPredictor
from wm_core.projection import FeatureSpace, Projection
from wm_interfaces.msg import LatentState
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_ros import codes, floats, projection_to_msg, qos, stamp_msg
from wm_testing.features import make_feature_artifact
from world_model.runtime.artifacts import load_artifact

pytestmark = pytest.mark.training
START_NS, STEP_NS = 1_000_000_000_000_000_000, 50_000_000


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("features")
    make_feature_artifact(path, z_dim=32)
    return load_artifact(path)


@pytest.fixture
def world(make_world):
    made = make_world(use_memory=False)
    made.told = made.peer.create_publisher(ProjectionMsg, "/latent/projection", qos.LATCHED)
    return made


def features(size: int, count: int = 80) -> np.ndarray:
    angle = 2.0 * np.pi * np.arange(count)[:, None] / 40.0 * np.arange(1, size + 1) / size
    noise = np.random.default_rng(0).normal(size=(count, size))
    return np.rint(60.0 * np.sin(angle) + noise).astype(np.int8)


def tell(world, projection: Projection, index: int) -> None:
    header = Header(stamp=stamp_msg(START_NS + index * STEP_NS))
    world.told.publish(projection_to_msg(projection, header, "before"))


def changes(basis: Projection, code_F: np.ndarray) -> dict:
    latent_D = basis.project(code_F[None])[0]
    ids = {"encoder_id": basis.encoder_id, "feature_id": basis.space.feature_id}
    return {"latent": floats(latent_D), "feature": codes(code_F), **ids}


def test_it_goes_over_with_the_first_latent_and_judges_nothing_across(world, artifact):
    fixed, rows = artifact.projection, features(artifact.projection.space.size)
    own = Projection.fit(fixed.space, rows, 32)
    for index in range(40):
        assert world.predict(index, **changes(fixed, rows[index])).encoder_id == fixed.encoder_id
    assert "fixed basis" in gauge(world.node, "errors")
    tell(world, own, 40)
    for index in range(40, 70):
        prediction = world.predict(index, **changes(own, rows[index]))
        assert prediction.encoder_id == own.encoder_id
        # Nothing changes: said in the new basis from the first forecast on.
        held_D = own.project(rows[index : index + 1])[0]
        assert np.abs(np.array(prediction.forecasts[0].latent) - held_D).max() < 4.0 * np.sqrt(own.variance)
        # One step ahead from the frame after the change on, 1 s ahead from twenty after.
        due = index - 40 + max(index - 59, 0)
        world.until(lambda due=due: len(world.errors) == due)
    switch = stamp_msg(START_NS + 40 * STEP_NS)
    first = min(error.predicted_from.sec * 10**9 + error.predicted_from.nanosec for error in world.errors)
    assert first >= switch.sec * 10**9 + switch.nanosec
    assert world.node._health.counted("changes_of_basis") == 1
    assert gauge(world.node, "errors") == "published"
    step = next(error for error in world.errors if error.horizon_s < 0.5)
    index = (step.predicted_from.sec * 10**9 + step.predicted_from.nanosec - START_NS) // STEP_NS
    apart_D = own.project(rows[index + 1 : index + 2])[0] - own.project(rows[index : index + 1])[0]
    assert step.error_persistence == pytest.approx(float(np.square(apart_D).mean()) / own.variance, rel=1e-3)


def test_a_latent_that_comes_before_its_basis_waits_for_it(world, artifact):
    fixed, rows = artifact.projection, features(artifact.projection.space.size)
    own = Projection.fit(fixed.space, rows, 32)
    world.predict(0, **changes(fixed, rows[0]))
    world.send(1, **changes(own, rows[1]))
    world.until(lambda: world.node._health.counted("latents_before_their_basis"))
    assert len(world.predictions) == 1
    tell(world, own, 1)
    world.until(lambda: len(world.predictions) == 2)
    assert world.predictions[1].encoder_id == own.encoder_id


def test_the_latents_of_a_second_graph_are_left_out_and_the_first_goes_on_when_it_has_gone(world, artifact):
    fixed, rows = artifact.projection, features(artifact.projection.space.size)
    own = Projection.fit(fixed.space, rows, 32)
    world.predict(0, **changes(fixed, rows[0]))
    first, second = world.latents, Node("second")
    world.latents = second.create_publisher(LatentState, "/latent/state", qos.STREAM)
    told = second.create_publisher(ProjectionMsg, "/latent/projection", qos.LATCHED)
    told.publish(projection_to_msg(own, Header(stamp=stamp_msg(START_NS)), fixed.encoder_id))
    world.until(lambda: world.node._bases.is_known(own.encoder_id))
    world.until(world.latents.get_subscription_count)
    for index in range(1, 4):
        world.send(index, **changes(own, rows[index]))
        world.until(lambda index=index: world.node._health.counted("dropped/other-stream") == index)
    world.latents = first
    assert world.predict(4, **changes(fixed, rows[4])).encoder_id == fixed.encoder_id
    second.destroy_node()
    assert world.predict(5, **changes(fixed, rows[5])).encoder_id == fixed.encoder_id
    assert world.node._health.counted("changes_of_basis") == 0


def test_a_basis_of_another_ends_no_waiting_for_the_own_one(artifact):
    fixed = artifact.projection
    bases: Bases[str] = Bases(artifact.manifest)
    own, other = (Projection(fixed.space, fixed.mean + add, fixed.components) for add in (1.0, 2.0))
    bases.wait(own.encoder_id, "a state")
    assert bases.tell(other) == []
    assert bases.tell(own) == ["a state"]
    assert bases.tell(own) == []


def test_what_is_of_another_network_is_refused(world, artifact):
    fixed, rows = artifact.projection, features(artifact.projection.space.size)
    other = FeatureSpace("another", fixed.space.size, 2, 0.1, 0)
    foreign = Projection(other, fixed.mean, fixed.components)
    tell(world, foreign, 0)
    world.until(lambda: world.node._health.counted("dropped/projection-mismatch"))
    world.send(0, **changes(foreign, rows[0]))
    world.until(lambda: world.node._health.counted("dropped/encoder-mismatch"))
    world.send(1, **(changes(fixed, rows[1]) | {"feature": codes(rows[1][:5])}))
    world.until(lambda: world.node._health.counted("dropped/feature-length"))


def gauge(node: TransitionPredictor, name: str) -> str:
    return next(entry.value for entry in node._health.status().values if entry.key == name)


def test_a_flood_of_bases_is_bounded_and_the_one_in_use_stays(world, artifact):
    fixed, rows = artifact.projection, features(artifact.projection.space.size)
    own = Projection.fit(fixed.space, rows, 32)
    world.node._on_projection(projection_to_msg(own, Header()))
    assert world.predict(0, **changes(own, rows[0])).encoder_id == own.encoder_id
    for number in range(40):
        other = Projection(fixed.space, own.mean + number + 1, own.components)
        world.node._on_projection(projection_to_msg(other, Header()))
    assert own.encoder_id in world.node._bases.projections
    assert other.encoder_id in world.node._bases.projections
    assert len(world.node._bases.projections) == 17
