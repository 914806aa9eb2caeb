"""Pictures of the foreseen: which forecast belongs to which time, which kind is shown, and the topic watched."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from transition_predictor.imagining.worker import jpeg_of
from transition_predictor.showing.strip import (
    DECODED,
    REMEMBERED,
    Forecasts,
    Foreseen,
    Preference,
    read_jpeg,
    side_by_side,
    similarity,
)
from wm_core.images import image_from_msg
from wm_interfaces.msg import MemoryRecord
from wm_interfaces.srv import RecallMemory
from wm_ros import image_to_msg, qos, stamp_msg

START_NS, STEP_NS = 1_000_000_000_000_000_000, 50_000_000


def foreseen(made_ns: int, target_ns: int) -> Foreseen:
    return Foreseen(made_ns, target_ns, np.zeros(4), (1,))


def test_a_forecast_is_found_by_the_time_it_is_for():
    kept = Forecasts(tolerance_ns=30)
    for made_ns in range(0, 1000, 50):
        kept.add(foreseen(made_ns, made_ns + 400))
    assert kept.due(620).target_ns == 600
    assert kept.due(399).made_ns == 0
    assert kept.due(340) is None
    assert kept.newest({900, 925, 850}).made_ns == 900
    assert kept.newest({925}) is None
    kept.add(foreseen(100, 500))
    assert (kept.newest({100, 900}).made_ns, kept.due(620)) == (100, None)
    kept.clear()
    assert kept.newest({100}) is None


def test_the_kind_that_was_closer_to_what_was_seen_is_shown():
    rng, preference = np.random.default_rng(0), Preference()
    assert preference.order() == (DECODED, REMEMBERED)
    seen_SSC = rng.integers(0, 256, (64, 64, 3), np.uint8)
    near_SSC, far_SSC = np.clip(seen_SSC * 0.95, 0, 255).astype(np.uint8), 255 - seen_SSC
    preference.learn(seen_SSC, {DECODED: far_SSC})
    assert preference.order() == (DECODED, REMEMBERED)
    preference.learn(seen_SSC, {DECODED: far_SSC, REMEMBERED: near_SSC})
    assert preference.order() == (REMEMBERED, DECODED)
    for _ in range(20):
        preference.learn(seen_SSC, {DECODED: near_SSC, REMEMBERED: far_SSC})
    assert preference.order() == (DECODED, REMEMBERED)
    always = Preference(REMEMBERED)
    always.learn(seen_SSC, {DECODED: near_SSC, REMEMBERED: far_SSC})
    assert always.order() == (REMEMBERED,)


def test_pictures_are_alike_by_their_structure():
    rng = np.random.default_rng(1)
    seen_SSC = cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST)
    moved_SSC, blurred_SSC = np.roll(seen_SSC, 1, axis=1), cv2.GaussianBlur(seen_SSC, (0, 0), 12.0)
    assert similarity(seen_SSC, seen_SSC) == pytest.approx(1.0)
    assert similarity(moved_SSC, seen_SSC) > 2 * similarity(blurred_SSC, seen_SSC)
    assert similarity(255 - seen_SSC, seen_SSC) < 0.0


def test_pictures_stand_in_a_row_with_captions():
    red_HW3 = np.zeros((10, 20, 3), np.uint8)
    red_HW3[:] = (255, 0, 0)
    green_SSC = np.zeros((6, 6, 3), np.uint8)
    green_SSC[:] = (0, 255, 0)
    strip_HW3 = side_by_side([(red_HW3, "seen"), (None, "nothing"), (green_SSC, "squeezed")], 64)
    # All as wide and high as what the camera sees.
    assert strip_HW3.shape == (32 + 18, 3 * 64, 3)
    assert (strip_HW3[:32, :64] == (255, 0, 0)).all()
    assert len(np.unique(strip_HW3[:32, 64:128])) == 1
    assert (strip_HW3[:32, 128:] == (0, 255, 0)).all()
    assert strip_HW3[32:, :64].max() > 200
    assert side_by_side([(np.zeros((900, 3, 3), np.uint8), "slim")], 64).shape == (128 + 18, 64, 3)
    assert read_jpeg(b"") is None
    assert read_jpeg(b"no jpeg") is None


class Watched:
    """A world with a camera, memories with pictures, and somebody who looks."""

    def __init__(self, world) -> None:
        self.world, self.raw, self.compressed = world, [], []
        self.camera = world.peer.create_publisher(Image, "/camera/image_raw", qos.SENSOR)
        world.peer.create_service(RecallMemory, "/spatial_memory/recall", self._recall)
        world.serve(world.remember)
        recall = world.node._imagination.imaginer._album._recall
        world.until(recall.service_is_ready)
        self.green = np.zeros((64, 64, 3), np.uint8)
        self.green[:] = (0, 255, 0)

    def _recall(self, request, response):
        response.records = [MemoryRecord(id=each) for each in request.ids]
        response.pictures_of = [CompressedImage(format="jpeg", data=jpeg_of(self.green)) for _ in request.ids]
        response.success = True
        return response

    def look(self):
        peer = self.world.peer
        self.looking = peer.create_subscription(Image, "/imagination/image", self.raw.append, qos.STREAM)
        self.also = peer.create_subscription(
            CompressedImage, "/imagination/image/compressed", self.compressed.append, qos.STREAM
        )
        self.world.until(lambda: self.camera.get_subscription_count() == 1)

    def see(self, index: int, picture_HW3: np.ndarray) -> None:
        self.take(index, picture_HW3)
        self.world.predict(index)

    def take(self, index: int, picture_HW3: np.ndarray) -> None:
        self.camera.publish(image_to_msg(picture_HW3, stamp_msg(START_NS + index * STEP_NS), "camera"))

    def until_shown(self, count: int, picture_HW3: np.ndarray, index: int = 0) -> int:
        """Drive until so many pictures came; return how many latents were sent."""
        while len(self.raw) < count:
            self.see(index, picture_HW3)
            index += 1
            assert index < 4000
        return index


@pytest.mark.slow
def test_who_looks_sees_the_present_beside_what_was_foreseen(make_world):
    watched = Watched(make_world(imagination_rate=20.0))
    world = watched.world
    world.predict(0)
    assert watched.camera.get_subscription_count() == 0
    assert world.node._health.counted("pictures_shown") == 0
    watched.look()
    blue = np.zeros((48, 64, 3), np.uint8)
    blue[:] = (0, 0, 255)
    index = watched.until_shown(3, blue, 1)
    strip_HW3 = image_from_msg(watched.raw[-1])
    assert strip_HW3.shape[:2] == (144 + 18, 3 * 192)
    assert (strip_HW3[:144, :192] == (0, 0, 255)).all()
    assert watched.raw[-1].header.frame_id == "camera"
    # The seen is green from now on, as the pictures remembered: they are the closer ones.
    while not _is_green(watched.raw[-1]):
        index = watched.until_shown(len(watched.raw) + 1, watched.green, index)
    world.until(lambda: len(watched.compressed) > 0)
    file = np.frombuffer(bytes(watched.compressed[-1].data), np.uint8)
    assert cv2.imdecode(file, cv2.IMREAD_COLOR).shape == image_from_msg(watched.raw[-1]).shape
    for each in (watched.looking, watched.also):
        world.peer.destroy_subscription(each)
    world.until(lambda: watched.camera.get_subscription_count() == 0)


@pytest.mark.slow
def test_pictures_that_always_come_after_their_forecasts_are_shown(make_world):
    watched = Watched(make_world(imagination_rate=20.0))
    watched.look()
    blue = np.full((48, 64, 3), (0, 0, 255), np.uint8)
    for index in range(400):
        watched.world.predict(index)
        watched.take(index - 3, blue)
        if len(watched.raw) > 2:
            break
    assert len(watched.raw) > 2


def _is_green(msg: Image) -> bool:
    """Return whether what is foreseen is shown as the remembered picture."""
    tile_HW3 = image_from_msg(msg)[20:180, 2 * 192 + 20 : 3 * 192 - 20].astype(int)
    return bool((np.abs(tile_HW3 - (0, 255, 0)) < 30).all())
