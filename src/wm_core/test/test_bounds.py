"""How large a value may be before it is believed."""

from __future__ import annotations

import math
from types import SimpleNamespace as Made

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wm_core.bounds import LONGEST_NAME, MOST_VALUES, bounded_vector, checked_name, shown
from wm_core.errors import MessageError
from wm_core.sources import TransformBuffer, action_from_msg, checked_pose, pose_sample_from_msg
from wm_core.sources.transforms import MOST_FRAMES

LEVEL = (0.0, 0.0, 0.0, 1.0)


def array_msg(*values):
    return Made(data=list(values), layout=None)


def stamped(child="base_link", parent="map", x=0.0, sec=1):
    header = Made(frame_id=parent, stamp=Made(sec=sec, nanosec=0))
    shift, turn = Made(x=x, y=0.0, z=0.0), Made(x=0.0, y=0.0, z=0.0, w=1.0)
    return Made(header=header, child_frame_id=child, transform=Made(translation=shift, rotation=turn))


SIZES = st.none() | st.integers(0, 40)


@given(st.lists(st.floats(width=64), max_size=40), SIZES, st.sampled_from([1.0, 1e6, math.inf]))
def test_what_passes_is_finite_small_and_of_the_size(values, size, largest):
    with np.errstate(over="ignore"):
        as_float32 = np.array(values, np.float32)
    fits = bool(np.isfinite(as_float32).all()) and float(np.abs(as_float32).max(initial=0.0)) <= largest
    if not fits or size not in (None, len(values)):
        with pytest.raises(MessageError, match=r"latent-(length|not-finite|too-large)"):
            bounded_vector(values, "latent", size, largest)
        return
    vector = bounded_vector(values, "latent", size, largest)
    assert vector.dtype == np.float32
    assert vector.shape == (len(values),)
    np.testing.assert_array_equal(vector, np.array(values, np.float32))
    assert np.isfinite(vector).all()


def test_a_vector_is_not_copied_before_its_length_is_known():
    class Endless(list):
        def __len__(self):
            return 10**12

    with pytest.raises(MessageError, match="latent-length"):
        bounded_vector(Endless(), "latent")
    assert len(bounded_vector([0.0] * MOST_VALUES, "latent")) == MOST_VALUES
    # As many as there are to be, and still too many.
    with pytest.raises(MessageError, match=f"{MOST_VALUES + 1} values, expected at most {MOST_VALUES}"):
        bounded_vector([0.0] * (MOST_VALUES + 1), "latent", MOST_VALUES + 1)


LARGE, WRONG = "action-too-large", "action-not-finite"


@pytest.mark.parametrize(("value", "reason"), [(1e20, LARGE), (-1.1e6, LARGE), (1e39, WRONG), (math.nan, WRONG)])
def test_actions_beyond_a_million_are_dropped_by_name(value, reason):
    with pytest.raises(MessageError) as caught:
        action_from_msg(array_msg(0.0, value))
    assert caught.value.reason == reason
    assert action_from_msg(array_msg(0.0, 1e6)).values.tolist() == [0.0, 1e6]


@pytest.mark.parametrize("x", [1.1e7, -1e300, 1.7e308])
def test_poses_beyond_every_map_are_dropped_by_name(x):
    with pytest.raises(MessageError, match="pose-too-far"):
        checked_pose((0.0, x, 0.0), LEVEL)
    assert checked_pose((1e7, -1e7, 0.0), LEVEL)[0].tolist() == [1e7, -1e7, 0.0]


@pytest.mark.parametrize("variance", [math.inf, 1e300, math.nan, -1.0])
def test_a_variance_beyond_every_map_says_nothing(variance):
    covariance = np.full(36, variance).tolist()
    pose = Made(position=Made(x=0.0, y=0.0, z=0.0), orientation=Made(x=0.0, y=0.0, z=0.0, w=1.0))
    msg = Made(header=stamped().header, pose=Made(pose=pose, covariance=covariance))
    sample = pose_sample_from_msg(msg)
    assert math.isnan(sample.position_se_m)
    assert math.isnan(sample.yaw_se_rad)


def test_names_are_as_long_as_names_are():
    assert checked_name("m" * LONGEST_NAME, "frame_id")
    for msg in (stamped(parent="m" * 257), stamped(child="c" * 1_000_000)):
        with pytest.raises(MessageError, match="name-too-long"):
            pose_sample_from_msg(msg)
        with pytest.raises(MessageError, match="name-too-long"):
            TransformBuffer().insert(Made(transforms=[msg]))


def test_frames_that_a_peer_makes_up_do_not_fill_the_memory():
    buffer = TransformBuffer()
    buffer.insert(Made(transforms=[stamped("base_link", "map")]))
    made_up = [stamped(f"frame{number}", "elsewhere") for number in range(2 * MOST_FRAMES)]
    with pytest.raises(MessageError, match="tf-too-many-frames"):
        buffer.insert(Made(transforms=made_up))
    assert len(buffer.frames) == MOST_FRAMES
    # Those that are known go on.
    assert len(buffer.insert(Made(transforms=[stamped("base_link", "map", x=2.0, sec=2)]))) == 1
    assert len(TransformBuffer("nowhere").why_not()) < 200


def test_a_transform_that_cannot_be_does_not_take_the_others_of_its_message_along():
    buffer = TransformBuffer()
    broken = stamped("wheel", "base_link", x=math.nan)
    news = buffer.insert(Made(transforms=[broken, stamped("base_link", "map", x=3.0)]))
    assert [sample.position.tolist() for sample in news] == [[3.0, 0.0, 0.0]]
    assert buffer.refused.reason == "pose-not-finite"
    buffer.insert(Made(transforms=[stamped("base_link", "map", x=4.0, sec=2)]))
    assert buffer.refused is None
    with pytest.raises(MessageError, match="pose-not-finite"):
        buffer.insert(Made(transforms=[broken]))


@pytest.mark.parametrize("sec", [-1, 2**31 - 1])
def test_a_transform_of_no_time_is_refused_and_a_static_one_needs_none(sec):
    buffer = TransformBuffer()
    with pytest.raises(MessageError, match="impossible-stamp"):
        buffer.insert(Made(transforms=[stamped("base_link", "map", sec=sec)]))
    buffer.insert(Made(transforms=[stamped("odom", "map", sec=sec)]), is_static=True)
    assert len(buffer.insert(Made(transforms=[stamped("base_link", "odom", sec=1)]))) == 1


def test_transforms_that_together_lead_off_every_map_are_refused():
    buffer = TransformBuffer()
    buffer.insert(Made(transforms=[stamped("odom", "map", x=9e6)]))
    with pytest.raises(MessageError, match="pose-too-far"):
        buffer.insert(Made(transforms=[stamped("base_link", "odom", x=9e6)]))
    assert len(buffer.insert(Made(transforms=[stamped("base_link", "odom", x=1.0)]))) == 1


@pytest.mark.slow
def test_a_clock_that_stands_still_does_not_fill_the_memory():
    buffer = TransformBuffer()
    for _ in range(30):
        buffer.insert(Made(transforms=[stamped()] * 1000))
    assert len(buffer._edges["base_link"]._stamps) <= 20_000


def test_only_a_few_values_are_shown():
    assert shown([1.0, 2.5]) == "[1, 2.5]"
    assert shown(range(1000)) == "[0, 1, 2, 3, 4, 5, 6, 7, ...] (1000 values)"
