"""Imagination through the node: what is imagined is the runtime's, refusals have names, the fast path goes on."""

from __future__ import annotations

import math
import random
from threading import Event

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from rclpy.serialization import deserialize_message, serialize_message

from transition_predictor.imagining.messages import ask_from_msg
from wm_interfaces.action import ImagineStream
from wm_interfaces.msg import ImagineAsk, LatentPrediction, LatentState, MemoryRecord
from wm_interfaces.srv import Imagine, MemoryWindow, RecallMemory
from wm_ros import floats, pose_to_msg
from wm_ros.goal_client import GoalClient
from wm_ros.memory_arrays import ask_from_request, update_to_response
from wm_testing.hostile import hostile
from wm_testing.spinning import Spinning
from wm_testing.windows import Source
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Plan

Z_DIM = 32


class Asking:
    """A world on the executor that nodes run on, whose node is asked to imagine."""

    def __init__(self, world) -> None:
        self.world, self.spinning = world, Spinning()
        self.wait, world.until = self.spinning.wait, self.spinning.until
        self.client = world.peer.create_client(Imagine, "/transition_predictor/imagine")
        self.streams = GoalClient(world.peer, ImagineStream, "/transition_predictor/imagine_stream")
        self.feedback: list[ImagineStream.Feedback] = []
        self.spinning.start((world.node, world.peer))
        world.until(lambda: self.client.service_is_ready() and self.streams.server_is_ready())

    def ask(self, **fields):
        return self.wait(self.client.call_async(Imagine.Request(ask=ask_msg(**fields))))

    def goal(self, **fields):
        goal = ImagineStream.Goal(ask=ask_msg(**fields))
        return self.wait(
            self.streams.send_goal_async(goal, feedback_callback=lambda each: self.feedback.append(each.feedback))
        )

    def result(self, handle):
        return self.wait(handle.get_result_async())

    def close(self) -> None:
        self.spinning.close()
        self.streams.destroy()


@pytest.fixture
def make_asking(make_world):
    made = []

    def make(**given) -> Asking:
        made.append(Asking(make_world(**given)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ask_msg(actions=(), latent=(), **fields) -> ImagineAsk:
    return ImagineAsk(actions=floats(list(actions)), latent=floats(list(latent)), **fields)


def held(world) -> None:
    """Sends latents until one is predicted from the window."""
    for index in range(400):
        if world.predict(index).memory_source == LatentPrediction.MEMORY_WINDOW:
            return
    raise AssertionError(f"no window: {world.node._health._gauges}")


@pytest.fixture
def asking(make_asking, artifact):
    asking = make_asking(window_source=Source(artifact.manifest.encoder_id), window_period_s=0.02)
    held(asking.world)
    return asking


@pytest.mark.slow
def test_what_is_imagined_is_what_the_library_imagines(asking, artifact):
    node = asking.world.node
    action_BSA = np.random.default_rng(0).uniform(-1, 1, size=(3, 24, 2)).astype(np.float32)
    answer = asking.ask(actions=action_BSA.reshape(-1), candidates=3)
    assert answer.success, answer.message
    scene, got = node._scene(), answer.imagined
    expected = Imagination(artifact).imagine(scene.moment, Plan.of_actions(action_BSA, 2, 0.05), scene.places)
    assert (got.candidates, got.z_dim, got.first_step, got.encoder_id) == (3, Z_DIM, 1, artifact.manifest.encoder_id)
    assert got.times_s == pytest.approx(0.05 * np.arange(1, 25))
    np.testing.assert_allclose(got.latents, expected.latent_BSD.reshape(-1), atol=1e-5)
    np.testing.assert_allclose(got.poses, expected.pose_BS3.reshape(-1), atol=1e-9)
    np.testing.assert_allclose(got.pose_std, expected.std_BS3.reshape(-1), atol=1e-6)
    np.testing.assert_allclose(got.gates, expected.gate_BS.reshape(-1), atol=1e-5)
    np.testing.assert_allclose(got.uncertainties, expected.uncertainty_BS.reshape(-1), rtol=1e-4)
    assert list(got.memory_ids) == expected.id_BSK.reshape(-1).tolist()
    assert any(got.memory_ids)
    assert answer.compute_ms > 0.0
    assert len(got.rewards) == 0
    without = asking.ask(actions=action_BSA.reshape(-1), candidates=3, without_memory=True)
    assert not any(without.imagined.memory_ids)


def test_from_a_latent_a_memory_and_along_a_path(asking):
    latent = asking.ask(start=ImagineAsk.FROM_LATENT, latent=np.zeros(Z_DIM), actions=(1.0, 0.0), horizon_s=0.5)
    assert latent.success, latent.message
    assert not latent.imagined.has_poses
    memory = asking.ask(start=ImagineAsk.FROM_MEMORY, memory_id=3, actions=(1.0, 0.0), horizon_s=1.0)
    assert memory.success, memory.message
    # The third memory lies at x = 2 m, and 1 m/s leads to the fourth.
    assert memory.imagined.poses[-3:] == pytest.approx([3.0, 0.0, 0.0], abs=1e-6)
    assert memory.imagined.memory_ids[-memory.imagined.top_k] == 4
    path = [pose_to_msg((x, 0.5, 0.0), (0.0, 0.0, 0.0, 1.0)) for x in (5.0, 6.0)]
    along = asking.ask(path=path, path_step_s=0.5)
    assert along.success, along.message
    assert along.imagined.poses[-3:] == pytest.approx([6.0, 0.5, 0.0])
    assert len(along.imagined.times_s) == 20


@pytest.mark.parametrize(("poses", "apart_s", "steps"), [(7, 0.7, 98), (3, 1.1, 66), (10_000, 0.0004, 80)])
def test_a_path_is_imagined_to_its_end_however_float32_carries_its_steps(poses, apart_s, steps):
    msg = ImagineAsk(path=[pose_to_msg((1.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))] * poses, path_step_s=apart_s)
    # As it comes over the wire.
    msg = deserialize_message(serialize_message(msg), ImagineAsk)
    ask = ask_from_msg(msg, 2)
    assert Plan.of_path(ask.path_P3, ask.spacing_s, 2, 0.05, np.zeros(3)).steps == steps


def test_pictures_are_decoded(asking, artifact):
    answer = asking.ask(actions=(0.5, 0.0), horizon_s=1.0, image_every=5)
    assert answer.imagined.pictures == "decoded"
    assert list(answer.imagined.picture_steps) == [5, 10, 15, 20]
    assert all(bytes(image.data).startswith(b"\xff\xd8") for image in answer.imagined.images)


REFUSED = [
    ("no-actions", {}),
    ("action-size", {"actions": (1.0, 2.0, 3.0)}),
    ("not-finite", {"actions": (math.nan, 0.0)}),
    ("horizon", {"actions": (0.0, 0.0), "horizon_s": 6.0}),
    ("horizon", {"actions": (0.0, 0.0), "horizon_s": math.nan}),
    ("horizon", {"actions": (0.0, 0.0), "horizon_s": 1e-9}),
    ("horizon", {"actions": [0.0] * 2 * 200}),
    ("too-many", {"actions": [0.0] * 2 * 1000, "candidates": 1000, "horizon_s": 5.0}),
    ("start", {"actions": (0.0, 0.0), "start": 9}),
    ("latent-size", {"actions": (0.0, 0.0), "start": ImagineAsk.FROM_LATENT, "latent": [0.0] * 3}),
    ("not-finite", {"actions": (0.0, 0.0), "start": ImagineAsk.FROM_LATENT, "latent": [math.nan] * Z_DIM}),
    ("latent-too-large", {"actions": (0.0, 0.0), "start": ImagineAsk.FROM_LATENT, "latent": [1e9] * Z_DIM}),
    ("foreign-encoder", {"actions": (0.0, 0.0), "start": ImagineAsk.FROM_LATENT, "latent": [0.0] * Z_DIM,
                         "encoder_id": "another"}),
    ("memory-absent", {"actions": (0.0, 0.0), "start": ImagineAsk.FROM_MEMORY, "memory_id": 999}),
    ("action-too-large", {"actions": (1e30, 0.0), "horizon_s": 1.0}),
    ("pose", {"path": [pose_to_msg((math.nan, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))]}),
    ("two-plans", {"actions": (0.0, 0.0), "path": [pose_to_msg((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))]}),
]  # fmt: skip


def test_what_cannot_be_imagined_is_refused_by_name(asking):
    for reason, fields in REFUSED:
        answer = asking.ask(**fields)
        assert (answer.success, answer.reason) == (False, reason), fields
        assert answer.message
        wrapped = asking.result(asking.goal(**fields))
        assert (wrapped.status, wrapped.result.reason) == (GoalStatus.STATUS_ABORTED, reason), fields
    assert asking.world.node._health._counts["imaginations_refused"] == 2 * len(REFUSED)
    assert asking.ask(actions=(0.0, 0.0)).success


@pytest.mark.slow
def test_before_anything_was_seen_the_present_is_refused(make_asking):
    asking = make_asking()
    answer = asking.ask(actions=(0.0, 0.0))
    assert (answer.success, answer.reason) == (False, "nothing-seen")
    latent = asking.ask(start=ImagineAsk.FROM_LATENT, latent=np.zeros(Z_DIM), actions=(1.0, 0.0), has_pose=True,
                        pose=pose_to_msg((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)))  # fmt: skip
    assert latent.success, latent.message
    assert latent.imagined.has_poses


def test_each_step_is_told_and_all_of_them_at_the_end(asking):
    handle = asking.goal(actions=(0.5, 0.2), horizon_s=0.6)
    wrapped = asking.result(handle)
    asking.world.until(lambda: len(asking.feedback) >= 12)
    assert wrapped.status == GoalStatus.STATUS_SUCCEEDED
    assert [each.step.first_step for each in asking.feedback] == list(range(1, 13))
    told = [value for each in asking.feedback for value in each.step.latents]
    np.testing.assert_allclose(told, wrapped.result.imagined.latents, atol=1e-5)


def test_a_picture_comes_with_its_step_and_all_of_them_at_the_end(asking):
    wrapped = asking.result(asking.goal(actions=(0.5, 0.2), horizon_s=0.6, image_every=5))
    asking.world.until(lambda: len(asking.feedback) >= 12)
    whole, steps = wrapped.result.imagined, [each.step for each in asking.feedback]
    assert [list(step.picture_steps) for step in steps] == [[at] if at in (5, 10) else [] for at in range(1, 13)]
    assert list(whole.picture_steps) == [5, 10]
    assert [bytes(step.images[0].data) for step in (steps[4], steps[9])] == [bytes(each.data) for each in whole.images]
    assert whole.pictures == steps[4].pictures == "decoded"
    assert steps[0].pictures == ""
    assert whole.images[1].header.stamp == steps[9].images[0].header.stamp


@pytest.mark.slow
def test_a_cancelled_one_ends_with_what_came_of_it(asking):
    node = asking.world.node
    server, steps = node._imagination, []
    real = server.imaginer._steps

    def slowed(*given):
        """Wait in each step until the cancel came, as far as the third."""
        for number, part in enumerate(real(*given)):
            steps.append(number)
            if number == 2:
                cancelled.wait(20.0)
            yield part

    cancelled = Event()
    server.imaginer._steps = slowed
    handle = asking.goal(actions=(0.5, 0.2), horizon_s=5.0)
    asking.world.until(lambda: len(asking.feedback) >= 2)
    future = handle.cancel_goal_async()
    asking.world.until(future.done)
    cancelled.set()
    wrapped = asking.result(handle)
    assert (wrapped.status, wrapped.result.reason) == (GoalStatus.STATUS_CANCELED, "cancelled")
    assert 3 <= len(wrapped.result.imagined.times_s) < 100
    assert len(wrapped.result.imagined.latents) == len(wrapped.result.imagined.times_s) * Z_DIM


def test_forecasts_go_on_while_something_is_imagined(asking):
    goes_on, server = Event(), asking.world.node._imagination
    real = server.imaginer.imagine
    server.imaginer.imagine = lambda *given: goes_on.wait(20.0) and real(*given)
    future = asking.client.call_async(Imagine.Request(ask=ask_msg(actions=(0.0, 0.0))))
    asking.world.until(lambda: server.work._waiting == 1)
    # Each is predicted although the imagining thread is stuck.
    for index in range(500, 505):
        assert asking.world.predict(index).memory_source
    assert not future.done()
    goes_on.set()
    asking.world.until(future.done)
    assert future.result().success


@pytest.mark.slow
def test_memories_out_of_reach_are_asked_of_the_memory(make_asking, artifact):
    """The window holds nothing: a memory's record and what lies around it come from the services."""
    asking, source, asked = make_asking(window_radius_m=0.0), Source(artifact.manifest.encoder_id), []
    world = asking.world

    def recall(request, response):
        asked.append(list(request.ids))
        found = [each for each in source.records if each.id in request.ids]
        for each in found:
            record = MemoryRecord(id=each.id, latent=floats(each.latent_D), encoder_id=each.encoder_id)
            record.position.x = each.x
            response.records.append(record)
        response.success, response.unknown_ids = True, [i for i in request.ids if i not in {e.id for e in found}]
        return response

    def window(request, response):
        return update_to_response(source.window(ask_from_request(request)), response)

    services = [world.peer.create_service(RecallMemory, "/spatial_memory/recall", recall),
                world.peer.create_service(MemoryWindow, "/spatial_memory/window", window)]  # fmt: skip
    assert len(services) == 2
    world.predict(0)
    memory = world.node._imagination
    world.until(lambda: memory.imaginer._beyond._recall.service_is_ready())
    answer = asking.ask(start=ImagineAsk.FROM_MEMORY, memory_id=3, actions=(1.0, 0.0), horizon_s=1.0)
    assert answer.success, answer.message
    assert answer.imagined.poses[-3:] == pytest.approx([3.0, 0.0, 0.0], abs=1e-6)
    assert asked == [[3]]
    # A path may lead anywhere, and a memory hold any number.
    assert source.asked[-1].area.max_count == 50_000
    unknown = asking.ask(start=ImagineAsk.FROM_MEMORY, memory_id=77, actions=(1.0, 0.0), horizon_s=1.0)
    assert (unknown.success, unknown.reason) == (False, "unknown-memory")


@pytest.mark.slow
def test_whatever_is_asked_is_answered(asking):
    rng, world = random.Random(3), asking.world
    usual = {"latent": floats(np.zeros(Z_DIM)), "encoder_id": world.encoder_id, "w": 1.0, "actions": floats([1.0, 0.0]),
             "horizon_s": 0.5, "frame_id": "map", "pose_frame_id": "map"}  # fmt: skip
    world.predict(0)
    for index in range(20):
        request = hostile(Imagine.Request, rng, usual, rng.choice([0.1, 0.3, 0.6]))
        answer = asking.wait(asking.client.call_async(request))
        assert answer.success or answer.reason
        world.latents.publish(hostile(LatentState, rng, usual, rng.choice([0.05, 0.3])))
        assert world.node._health.counted("faults") == 0, (index, request)
    assert asking.ask(actions=(1.0, 0.0), horizon_s=0.5).success
