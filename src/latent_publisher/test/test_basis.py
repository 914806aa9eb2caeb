"""The change to a robot's own basis: at one named frame, kept with the robot, and what ``~/encode`` answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from latent_publisher import node
from latent_publisher.basis import Basis
from latent_publisher.node import LatentPublisher
from wm_core.projection import FeatureSpace, Projection
from wm_interfaces.msg import LatentState
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_interfaces.srv import EncodeImage
from wm_ros import image_to_msg, projection_from_msg, qos, stamp_msg, stamp_ns
from wm_testing.nodes import ros_context, spin_until  # noqa: F401
from world_model.errors import ProfileError
from world_model.runtime.fitting import gathered, save_projection
from world_model.runtime.profile import Profile

SPACE = FeatureSpace("0123456789abcdef", 12, 2, 0.5, 0)
FIXED = Projection(SPACE, np.zeros(12), np.eye(2, 12))
STEP_NS = 50_000_000


class Corners:
    """Stands for an encoder of features: the colours of a picture's quarters, halved."""

    encoder_id, z_dim, action_dim, step_s, wants_depth, proprioception_dim = FIXED.encoder_id, 2, 2, 0.05, False, 0
    takes_any_actions = False
    horizons_s, top_k, fixed, motion = (0.05, 1.0), 7, FIXED, None

    def look(self, image_HW3: np.ndarray) -> np.ndarray:
        height, width = image_HW3.shape[0] // 2, image_HW3.shape[1] // 2
        quarters = image_HW3.reshape(2, height, 2, width, 3).mean((1, 3))
        return (quarters.ravel() / 2).astype(np.int8)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    quarters = np.random.default_rng(seed).integers(0, 250, (count, 2, 2, 3), dtype=np.uint8)
    return quarters.repeat(2, axis=1).repeat(2, axis=2)


def codes_of(images: np.ndarray) -> np.ndarray:
    return np.stack([Corners().look(image) for image in images])


class World:
    """The node, a peer that sends frames one by one, and what it heard."""

    def __init__(self, **given) -> None:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node, self.peer = LatentPublisher(Corners(), parameter_overrides=overrides), Node("peer")
        self.states: list[LatentState] = []
        self.projections: list[ProjectionMsg] = []
        self.heard: list[str] = []
        self.peer.create_subscription(LatentState, "/latent/state", self._on_state, qos.STREAM)
        self.peer.create_subscription(ProjectionMsg, "/latent/projection", self.projections.append, qos.LATCHED)
        self.images = self.peer.create_publisher(Image, "/camera/image_raw", 10)
        self.until(lambda: self.images.get_subscription_count() and self.node._state_publisher.get_subscription_count())

    def _on_state(self, msg: LatentState) -> None:
        self.states.append(msg)

    def until(self, predicate) -> None:
        spin_until(predicate, self.node, self.peer)

    def send(self, images: np.ndarray) -> None:
        for image in images:
            count = len(self.states)
            self.images.publish(image_to_msg(image, stamp_msg((count + 1) * STEP_NS), "camera"))
            self.until(lambda before=count: len(self.states) > before)
            self.node._basis.wait()

    def close(self) -> None:
        self.node.destroy_node()
        self.peer.destroy_node()


@pytest.fixture
def make_world(ros_context):  # noqa: F811
    worlds = []

    def make(**given) -> World:
        worlds.append(World(**given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.mark.parametrize("rate_hz", [20, 7])
def test_what_recordings_are_learned_with_gathers_as_the_live_basis(rate_hz):
    codes, frames = codes_of(pictures(80)), 60
    stamps = [number * 1_000_000_000 // rate_hz for number in range(len(codes))]
    live, changed = Basis(FIXED, frames=frames), []
    for number, (code_F, stamp) in enumerate(zip(codes, stamps)):
        if live.latent(code_F, stamp)[1] is not None:
            changed.append(number)
        live.wait()
    collector, count = gathered(SPACE, zip(codes, stamps), frames)
    assert [count] == changed
    assert collector.fit(2).encoder_id == live.projection.encoder_id


def test_one_frame_is_the_first_in_the_other_basis(make_world, tmp_path):
    world, images = make_world(projection_frames=20, profile=str(tmp_path)), pictures(24)
    world.send(images)
    world.until(lambda: len(world.projections) == 2)
    own = Projection.fit(SPACE, codes_of(images[:20]), 2)
    ids = [state.encoder_id for state in world.states]
    assert ids == [FIXED.encoder_id] * 20 + [own.encoder_id] * 4
    for state, code_F, image in zip(world.states, codes_of(images), images):
        basis = own if state.encoder_id == own.encoder_id else FIXED
        assert (state.feature_id, list(state.feature)) == (SPACE.feature_id, code_F.tolist()), image
        np.testing.assert_allclose(state.latent, basis.project(code_F[None])[0], atol=1e-4)
    first, second = world.projections
    assert (stamp_ns(first.header.stamp), first.previous_encoder_id, first.variance) == (STEP_NS, "", 0.0)
    assert (stamp_ns(second.header.stamp), second.previous_encoder_id) == (21 * STEP_NS, FIXED.encoder_id)
    assert projection_from_msg(second).encoder_id == own.encoder_id
    assert second.variance == pytest.approx(own.variance)


@pytest.mark.slow
def test_the_next_start_begins_where_this_one_ended(make_world, tmp_path):
    make_world(projection_frames=20, profile=str(tmp_path)).send(pictures(22))
    again = make_world(projection_frames=20, profile=str(tmp_path))
    again.send(pictures(25, seed=1))
    own = Projection.fit(SPACE, codes_of(pictures(22)[:20]), 2)
    assert {state.encoder_id for state in again.states} == {own.encoder_id}


def test_what_another_writes_to_the_profile_is_in_force_from_one_frame_on(make_world, tmp_path, monkeypatch):
    monkeypatch.setattr(node, "_LOOK_EVERY", 5)
    world, images = make_world(projection_frames=20, profile=str(tmp_path)), pictures(29)
    world.send(images[:7])
    first, second = (Projection.fit(SPACE, codes_of(pictures(20, seed=seed)), 2) for seed in (5, 6))
    save_projection(Profile(tmp_path), first)
    world.send(images[7:12])
    save_projection(Profile(tmp_path), second)
    world.send(images[12:16])
    (tmp_path / "projection.json").write_text("{}")
    world.send(images[16:])  # more than the 20 that a projection would be fitted on
    ids = [state.encoder_id for state in world.states]
    assert ids == [FIXED.encoder_id] * 9 + [first.encoder_id] * 5 + [second.encoder_id] * 15
    world.until(lambda: len(world.projections) == 3)
    assert [stamp_ns(told.header.stamp) for told in world.projections] == [STEP_NS, 10 * STEP_NS, 15 * STEP_NS]
    assert [told.previous_encoder_id for told in world.projections] == ["", FIXED.encoder_id, first.encoder_id]
    assert "damaged" in world.node._basis.trouble


def test_its_own_projection_is_not_taken_for_another(tmp_path):
    basis = Basis(FIXED, Profile(tmp_path), 4)
    for code_F in codes_of(pictures(6)):
        basis.latent(code_F)
        basis.wait()
    basis.look()
    assert basis.latent(codes_of(pictures(1))[0])[1] is None
    assert (basis.is_fitted, basis.trouble) == (True, "")


def test_without_frames_to_fit_on_it_stays(make_world):
    world = make_world(projection_frames=0)
    world.send(pictures(5))
    assert {state.encoder_id for state in world.states} == {FIXED.encoder_id}


@pytest.mark.slow
def test_any_picture_is_encoded_and_leaves_no_trace(make_world):
    world, (image,) = make_world(projection_frames=20), pictures(1, seed=3)
    client = world.peer.create_client(EncodeImage, "/latent_publisher/encode")
    world.until(client.service_is_ready)

    def ask(msg: Image) -> EncodeImage.Response:
        future = client.call_async(EncodeImage.Request(image=msg))
        world.until(future.done)
        return future.result()

    answer, refused = ask(image_to_msg(image, stamp_msg(1), "")), ask(Image(data=b"123"))
    code_F = codes_of(image[None])
    assert answer.success
    assert list(answer.feature) == code_F[0].tolist()
    np.testing.assert_allclose(answer.latent, FIXED.project(code_F)[0])
    assert (answer.encoder_id, answer.feature_id) == (FIXED.encoder_id, SPACE.feature_id)
    assert not refused.success
    assert refused.message
    assert world.node._basis.gathered_count == 0
    assert not world.states


def test_a_profile_of_other_features_is_refused(tmp_path: Path):
    other = Projection(FeatureSpace("another", 12, 2, 0.5, 0), np.zeros(12), np.eye(2, 12), 1.0)
    basis = Basis(other, Profile(tmp_path), 4)
    for code_F in codes_of(pictures(6)):
        basis.latent(code_F)
    basis.wait()
    with pytest.raises(ProfileError, match="use another profile"):
        Basis(FIXED, Profile(tmp_path))


def test_what_cannot_be_fitted_is_said():
    basis = Basis(FIXED, None, 2)
    for code_F in codes_of(pictures(4)):
        basis.latent(code_F)
        basis.wait()
    assert "2 components cannot be fitted" in basis.trouble
    assert basis.projection is FIXED
