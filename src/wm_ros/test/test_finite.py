"""Every number of an outgoing message is looked at."""

from __future__ import annotations

import math
from array import array

import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Float32MultiArray, String

from wm_interfaces.msg import LatentForecast, LatentPrediction, LatentState, PredictionError, VisualHistory
from wm_ros.finite import MAY_BE_UNKNOWN, non_finite_field
from wm_ros.messages import float_array_msg

BAD = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", BAD)
def test_a_number_that_is_not_finite_is_found_wherever_it_is(value):
    nested = LatentPrediction(forecasts=[LatentForecast(), LatentForecast(latent=array("f", [1.0, value]))])
    pose = PoseStamped()
    pose.pose.orientation.w = value
    covariance = PoseWithCovarianceStamped()
    covariance.pose.covariance[7] = value
    assert non_finite_field(Float32(data=value)) == "data"
    assert non_finite_field(float_array_msg([0.0, value])) == "data"
    assert non_finite_field(nested) == "forecasts"
    assert non_finite_field(pose) == "pose"
    assert non_finite_field(covariance) == "pose"
    assert non_finite_field(LatentState(action=array("f", [value]))) == "action"


def test_what_single_precision_cannot_hold_is_found():
    assert non_finite_field(PredictionError(error=1e39)) == "error"
    assert non_finite_field(PredictionError(error=3e38)) == ""
    assert non_finite_field(LatentPrediction(memory_query_ms=-1e39)) == "memory_query_ms"
    assert non_finite_field(PredictionError(step_s=1e39)) == ""


def test_what_is_finite_passes():
    for msg in (Float32MultiArray(), float_array_msg([1e38, -1e38]), String(data="nan"), Image(), LatentState()):
        assert non_finite_field(msg) == ""


def test_nan_means_unknown_only_where_the_message_says_so():
    assert non_finite_field(LatentPrediction(memory_query_ms=math.nan)) == ""
    assert non_finite_field(LatentPrediction(memory_query_ms=math.inf)) == "memory_query_ms"
    assert non_finite_field(PredictionError(error_without_memory=math.nan)) == "error_without_memory"
    assert non_finite_field(LatentState(pose_std=[1.0, 1.0, math.nan, math.nan, math.nan, 0.1])) == ""
    assert non_finite_field(VisualHistory(surprise=math.nan)) == ""
    assert non_finite_field(VisualHistory(tick_s=math.nan)) == "tick_s"


def test_the_fields_that_may_be_unknown_exist():
    import wm_interfaces.msg as messages

    for name, fields in MAY_BE_UNKNOWN.items():
        assert fields <= set(getattr(messages, name).get_fields_and_field_types()), name
