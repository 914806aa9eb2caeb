import numpy as np
import pytest

from wm_core.errors import FrameError
from wm_core.images import prepare_depth, prepare_image


def test_resizing_averages_areas():
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2, :2] = 100
    assert prepare_image(image, 2)[0, 0].tolist() == [100, 100, 100]
    assert prepare_image(np.tile(np.uint8([[[0], [200]]]), (4, 2, 3)), 2)[..., 0].tolist() == [[100, 100], [100, 100]]


def test_the_right_size_passes_untouched():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert prepare_image(image, 64) is image


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
    ],
)
def test_what_is_not_an_image_is_refused(image):
    with pytest.raises(FrameError):
        prepare_image(image, 2)


def test_size_must_be_positive():
    with pytest.raises(ValueError, match="image size is 0"):
        prepare_image(np.zeros((4, 4, 3), np.uint8), 0)


def test_depth_comes_out_in_metres_with_unknown_as_zero():
    millimetres = np.array([[1500, 0], [250, 65535]], np.uint16)
    assert prepare_depth(millimetres, 2)[0] == pytest.approx(np.array([[1.5, 0.0], [0.25, 65.535]]))
    assert prepare_depth(np.array([[np.nan, 2.0], [np.inf, 1.0]]), 2)[0].tolist() == [[0.0, 2.0], [0.0, 1.0]]
