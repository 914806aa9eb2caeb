"""Projections there and back."""

from __future__ import annotations

import numpy as np
import pytest
from std_msgs.msg import Header

from wm_core.projection import FeatureSpace, Projection
from wm_ros import MessageError, codes, projection_from_msg, projection_to_msg, stamp_msg

SPACE = FeatureSpace("0123456789abcdef", 8, 2, 0.05, -7)


def projection(variance: float | None) -> Projection:
    random = np.random.default_rng(4)
    return Projection(SPACE, random.normal(size=8), random.normal(size=(3, 8)), variance)


@pytest.mark.parametrize("variance", [None, 0.25])
def test_there_and_back(variance):
    one = projection(variance)
    msg = projection_to_msg(one, Header(stamp=stamp_msg(5)), "before")
    other = projection_from_msg(msg)
    assert (other.space, other.encoder_id, other.variance) == (SPACE, one.encoder_id, variance)
    assert (msg.previous_encoder_id, msg.feature_dim, msg.z_dim) == ("before", 8, 3)


def test_codes_keep_their_sign():
    assert list(codes(np.array([-128, -1, 0, 127], np.int8))) == [-128, -1, 0, 127]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("mean", [1.0], "mean-length"),
        ("components", [float("nan")] * 24, "components-not-finite"),
        ("grid", 3, "projection-unusable"),
        ("scale", 0.0, "projection-unusable"),
        ("variance", -1.0, "projection-unusable"),
        ("encoder_id", "another", "projection-mismatch"),
        ("mean", [0.0] * 8, "projection-mismatch"),
    ],
)
def test_what_contradicts_itself_is_refused(field, value, reason):
    msg = projection_to_msg(projection(0.25), Header())
    setattr(msg, field, value)
    with pytest.raises(MessageError, match=reason):
        projection_from_msg(msg)
