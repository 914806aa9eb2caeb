"""The node with a window: filled by a service or by a memory in the same process, away, refused, left behind."""

from __future__ import annotations

import math

import pytest
from rclpy.node import Node

from wm_interfaces.msg import LatentPrediction
from wm_interfaces.srv import MemoryWindow, QueryMemoryBatch
from wm_ros.duplicates import duplicates_of, rival_servers
from wm_ros.memory_arrays import ask_from_request, update_to_response
from wm_testing.nodes import spin_until
from wm_testing.windows import Source

START_NS = 1_000_000_000_000_000_000
Z_DIM = 32


def held(world, index: int = 0) -> int:
    """Sends latents until one is predicted from the window; returns how many were sent."""
    for at in range(index, index + 400):
        if world.predict(at).memory_source == LatentPrediction.MEMORY_WINDOW:
            return at + 1
    raise AssertionError(f"no window after {index + 400} latents: {world.node._health._gauges}")


@pytest.mark.slow
def test_the_window_of_a_memory_in_the_same_process_conditions_forecasts(make_world, artifact):
    world = make_world(window_source=Source(artifact.manifest.encoder_id), window_period_s=0.02)
    first = world.predict(0)
    # Nothing was held yet, and nobody serves the memory.
    assert (first.memory_source, first.degraded) == (LatentPrediction.MEMORY_NONE, True)
    assert math.isnan(first.window_age_s)
    second = world.predict(held(world, 1))
    assert (second.memory_source, second.degraded_reason) == (LatentPrediction.MEMORY_WINDOW, "")
    assert 1 in second.forecasts[0].memory_ids
    assert second.forecasts[0].gate >= 0.0
    assert 0.0 <= second.window_age_s < 10.0
    assert math.isfinite(second.memory_query_ms)
    assert not world.queries


def test_the_window_is_filled_by_the_service_and_outlives_it(make_world, artifact):
    world = make_world(window_period_s=0.02)
    source = Source(artifact.manifest.encoder_id)

    def serve(request, response):
        return update_to_response(source.window(ask_from_request(request)), response)

    service = world.peer.create_service(MemoryWindow, "/spatial_memory/window", serve)
    world.until(world.node._remembering.held._client.service_is_ready)
    index = held(world)
    world.peer.destroy_service(service)
    world.until(lambda: not world.node._remembering.held._client.service_is_ready())
    # An answer may still have been on its way, and is taken in after the next prediction.
    world.until(lambda: world.node._remembering.held.age_s > 0.3)
    world.predict(index)
    index += 1
    ages = []
    for at in range(index, index + 5):
        prediction = world.predict(at)
        assert (prediction.memory_source, prediction.degraded) == (LatentPrediction.MEMORY_WINDOW, False)
        ages.append(prediction.window_age_s)
    assert ages == sorted(ages)
    assert ages[-1] > ages[0]


def test_a_memory_that_does_not_tell_is_named_until_it_does(make_world, artifact, monkeypatch):
    monkeypatch.setattr("wm_ros.memory_window._SILENT_S", 0.3)
    source = Source(artifact.manifest.encoder_id)
    world = make_world(window_source=source, window_period_s=0.02)
    index, health, tell = held(world), world.node._health, source.window
    assert "window_age" not in health._degraded
    source.window = lambda _: None
    world.until(lambda: world.node._remembering.held.age_s > 0.1)
    world.predict(index)
    world.until(lambda: world.node._remembering.held.age_s > 1.0)
    prediction = world.predict(index + 1)
    assert (prediction.memory_source, prediction.degraded) == (LatentPrediction.MEMORY_WINDOW, False)
    assert "s old: it does not answer" in health._degraded["window_age"]
    assert health._gauges["window"] == "not kept current: the memory does not answer"
    # Asked again at the first prediction that is a period after the last, and said to be well in the same breath.
    world.until(lambda: world.node._remembering.held._is_due())
    source.window = tell
    world.predict(index + 2)
    assert "window_age" not in health._degraded
    assert health._gauges["window"] == "kept current"


@pytest.mark.slow
def test_the_memory_is_asked_beyond_the_window(make_world, artifact):
    world = make_world(window_source=Source(artifact.manifest.encoder_id, spare_m=0.5), window_period_s=0.02)
    world.serve(world.remember)
    assert [world.predict(index).memory_source for index in range(3)] == [LatentPrediction.MEMORY_SERVICE] * 3
    # Nobody is left to ask: what is held is better than nothing.
    world.peer.destroy_service(world.service)
    world.until(lambda: not world.node._remembering.client.service_is_ready())
    assert world.predict(3).memory_source == LatentPrediction.MEMORY_WINDOW


def test_a_source_that_refuses_leaves_the_memory_itself(make_world, artifact):
    source = Source(artifact.manifest.encoder_id)
    source.refuses = True
    world = make_world(window_source=source, window_period_s=0.02)
    world.serve(world.remember)
    assert world.predict(0).memory_source == LatentPrediction.MEMORY_SERVICE
    assert world.node._health._gauges["window"] == "not kept current: no"


@pytest.mark.slow
def test_only_what_changed_is_asked_for_while_the_robot_stays_near(make_world, artifact):
    source = Source(artifact.manifest.encoder_id)
    world = make_world(window_source=source, window_period_s=0.02)
    index = held(world)
    while len(source.asked) < 4:
        index += 1
        world.predict(index)
    assert [ask.epoch for ask in source.asked] == [0, 5, 5, 5]


def test_without_a_window_nothing_is_held(make_world, artifact):
    source = Source(artifact.manifest.encoder_id)
    world = make_world(window_source=source, window_radius_m=0.0)
    world.serve(world.remember)
    assert world.predict(0).memory_source == LatentPrediction.MEMORY_SERVICE
    assert not source.asked


@pytest.mark.slow
def test_a_window_in_another_frame_is_refused_as_by_the_memory(make_world, artifact):
    source = Source(artifact.manifest.encoder_id)
    world = make_world(window_source=source, window_period_s=0.02)
    held(world)
    world.node._remembering.held._window.frame_id = "odom"
    prediction = world.predict(90, pose_frame_id="map")
    assert prediction.degraded_reason.startswith("memory refused")


@pytest.fixture
def never_taken_for_silent(monkeypatch):
    """On a machine that stands still for seconds, the memory kept to would be."""
    monkeypatch.setattr("wm_ros.one_memory._KEPT_S", 3600.0)


@pytest.mark.slow
def test_of_two_memories_one_is_kept_to_and_both_are_named(make_world, artifact, never_taken_for_silent):
    world = make_world(window_period_s=0.02)
    encoder_id = artifact.manifest.encoder_id
    nodes = {epoch: Node(name) for epoch, name in ((5, "one_memory"), (6, "other_memory"))}
    sources = {epoch: Source(encoder_id, epoch=epoch) for epoch in nodes}

    def serve(epoch):
        def answer(request, response):
            return update_to_response(sources[epoch].window(ask_from_request(request)), response)

        nodes[epoch].create_service(MemoryWindow, "/spatial_memory/window", answer)

    world.until = lambda predicate: spin_until(predicate, world.node, world.peer, *nodes.values())
    held_ = world.node._remembering.held
    serve(5)
    world.until(held_._client.service_is_ready)
    index = held(world)
    serve(6)
    world.until(lambda: len(rival_servers(world.node, "/spatial_memory/window")) == 2)
    # The first answer counts: the other memory's, where the one that is held is slow.
    world.until = lambda predicate: spin_until(predicate, world.node, world.peer, nodes[6])
    while not world.node._health.counted("windows_of_another_memory"):
        index += 1
        world.predict(index)
        assert held_.window.epoch == 5
    world.until = lambda predicate: spin_until(predicate, world.node, world.peer, *nodes.values())
    text = world.node._health._degraded["memories"]
    assert "2 memories answer (/one_memory, /other_memory)" in text
    assert "2 nodes answer /spatial_memory/window: /one_memory, /other_memory" in duplicates_of(world.node)
    # Its restart, and another one where it is gone, are taken at once.
    nodes.pop(5).destroy_node()
    world.until(lambda: not rival_servers(world.node, "/spatial_memory/window"))
    while held_.window is None or held_.window.epoch == 5:
        index += 1
        world.predict(index)
    nodes.pop(6).destroy_node()


@pytest.mark.slow
def test_answers_of_another_memory_than_the_one_kept_to_are_named_and_not_used(make_world, never_taken_for_silent):
    world = make_world(window_radius_m=0.0)
    nodes = {epoch: Node(name) for epoch, name in ((5, "one_memory"), (6, "other_memory"))}

    def serve(epoch):
        def answer(request, response):
            response = world.remember(request, response)
            response.epoch = epoch
            return response

        nodes[epoch].create_service(QueryMemoryBatch, "/spatial_memory/query_batch", answer)

    serve(5)
    world.until = lambda predicate: spin_until(predicate, world.node, world.peer, nodes[5])
    world.until(world.node._remembering.client.service_is_ready)
    assert world.predict(0).memory_source == LatentPrediction.MEMORY_SERVICE
    serve(6)
    world.until(lambda: len(rival_servers(world.node, "/spatial_memory/query_batch")) == 2)
    # Only the other one is quick enough.
    world.until = lambda predicate: spin_until(predicate, world.node, world.peer, nodes[6])
    index = 1
    while not world.node._health.counted("answers_of_another_memory"):
        prediction = world.predict(index)
        index += 1
    assert (prediction.memory_source, prediction.degraded_reason) == (
        LatentPrediction.MEMORY_NONE, "another memory answered")  # fmt: skip
    assert "2 memories answer (/one_memory, /other_memory)" in world.node._health._degraded["memories"]
    # Where the one kept to is gone, the other one is taken at once.
    nodes.pop(5).destroy_node()
    world.until(lambda: not rival_servers(world.node, "/spatial_memory/query_batch"))
    assert world.predict(index).memory_source == LatentPrediction.MEMORY_SERVICE
    nodes.pop(6).destroy_node()
