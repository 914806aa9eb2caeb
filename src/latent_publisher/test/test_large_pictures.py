"""Pictures that take long to decode hold nothing up: what comes meanwhile goes out, and none goes out after a later."""

from __future__ import annotations

from threading import Event

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from latent_publisher.decoding import node as decoding
from wm_core.images import most_decoding_s
from wm_interfaces.srv import EncodeImage
from wm_ros import stamp_msg, stamp_ns

from .test_node import START_NS, World, make_world, ros_context

__all__ = ["make_world", "ros_context"]
STEP_NS = 50_000_000


def png(side: int, shade: int) -> bytes:
    return cv2.imencode(".png", np.full((side, side, 3), shade, np.uint8))[1].tobytes()


SMALL, LARGE = png(8, 10), png(1400, 200)


@pytest.fixture
def world(make_world, monkeypatch) -> World:
    made = make_world(image_type=CompressedImage, image_topic="/camera/image_raw/compressed", action_wait_s=0.0)
    made.let_go, made.decoding, usual = Event(), Event(), decoding.picture_from_msg

    def slow(msg):
        if len(msg.data) == len(LARGE):
            made.decoding.set()
            assert made.let_go.wait(60.0)
        return usual(msg)

    monkeypatch.setattr(decoding, "picture_from_msg", slow)
    yield made
    made.let_go.set()


def send(world: World, step: int, data: bytes) -> None:
    count = world.node._health.counted("frames_received")
    msg = CompressedImage(format="png", data=data)
    msg.header.stamp = stamp_msg(START_NS + step * STEP_NS)
    world.images.publish(msg)
    world.until(lambda: world.node._health.counted("frames_received") == count + 1)


def steps(world: World) -> list[int]:
    return [(stamp_ns(state.header.stamp) - START_NS) // STEP_NS for state in world.states]


def test_what_a_picture_costs_is_told_by_its_header():
    cheap = cv2.imencode(".jpg", np.zeros((1080, 1920, 3), np.uint8))[1].tobytes()
    assert most_decoding_s(SMALL) < most_decoding_s(cheap) < decoding.COSTLY_S < most_decoding_s(LARGE)
    assert most_decoding_s(b"\x89PNG\r\n\x1a\n") == most_decoding_s(b"") == most_decoding_s(b"nothing") == 0.0
    webp = cv2.imencode(".webp", np.zeros((1080, 1920, 3), np.uint8))[1].tobytes()
    assert most_decoding_s(webp) > decoding.COSTLY_S


@pytest.mark.slow
def test_small_frames_go_out_while_a_large_one_is_decoded_and_that_never_after_them(world):
    send(world, 0, SMALL)
    send(world, 1, LARGE)
    world.until(world.decoding.is_set)
    send(world, 2, LARGE)
    for step in (3, 4):
        send(world, step, SMALL)
    world.until(lambda: steps(world) == [0, 3, 4])
    assert world.node._health.counted("skipped/decoding") == 1
    world.let_go.set()
    world.until(lambda: world.node._health.counted("skipped/decoded-late") == 1)
    send(world, 5, LARGE)
    world.until(lambda: steps(world) == [0, 3, 4, 5])
    np.testing.assert_allclose(world.states[-1].latent, [200.0] * 3, atol=1.0)


@pytest.mark.slow
def test_a_large_picture_of_a_request_holds_no_frame_up(world):
    client = world.peer.create_client(EncodeImage, "/latent_publisher/encode")
    world.until(client.service_is_ready)
    request = EncodeImage.Request()
    request.compressed.data = LARGE
    answer, done = client.call_async(request), []
    small = CompressedImage(format="png", data=SMALL)
    small.header.stamp = stamp_msg(START_NS)

    def is_over() -> bool:  # in one executor from beginning to end: the request waits in it
        if world.decoding.is_set() and not done:
            world.images.publish(small)
            done.append("sent")
        if steps(world) == [0] and not world.let_go.is_set():
            assert not answer.done()
            world.let_go.set()
        return answer.done()

    world.until(is_over)
    assert answer.result().success


@pytest.mark.slow
def test_whose_picture_is_decoded_while_the_node_is_cleaned_up_is_told_so_at_once(world):
    client = world.peer.create_client(EncodeImage, "/latent_publisher/encode")
    world.until(client.service_is_ready)
    request = EncodeImage.Request()
    request.compressed.data = LARGE
    answers, stopped = [client.call_async(request) for _ in range(3)], []

    def is_over() -> bool:  # in one executor from beginning to end: the request waits in it
        if world.decoding.is_set() and not stopped:
            stopped.append(world.node.trigger_deactivate())
            world.node.trigger_cleanup()
        return all(answer.done() for answer in answers)

    world.until(is_over)
    assert not world.let_go.is_set()
    assert [answer.result().message[:9] for answer in answers] == ["stopped: "] * 3
    world.let_go.set()
