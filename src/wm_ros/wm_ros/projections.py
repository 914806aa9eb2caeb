"""Projections from features to latents, between messages and plain Python."""

from __future__ import annotations

import array

import numpy as np
from std_msgs.msg import Header

from wm_core.projection import FeatureSpace, Projection
from wm_interfaces.msg import Projection as ProjectionMsg
from wm_ros.errors import MessageError
from wm_ros.messages import floats, vector_from_msg


def codes(feature: np.ndarray) -> array.array[int]:
    """Returns an int8 feature as what an ``int8[]`` field takes without checking each."""
    return array.array("b", np.ascontiguousarray(feature, dtype=np.int8).tobytes())


def projection_to_msg(projection: Projection, header: Header, previous_encoder_id: str = "") -> ProjectionMsg:
    """Returns a projection as a message; ``header.stamp`` is of the first frame whose latent is in its basis."""
    space = projection.space
    return ProjectionMsg(
        header=header,
        feature_id=space.feature_id,
        encoder_id=projection.encoder_id,
        previous_encoder_id=previous_encoder_id,
        feature_dim=space.size,
        z_dim=projection.z_dim,
        grid=space.grid,
        mean=floats(projection.mean),
        components=floats(projection.components.ravel()),
        scale=space.scale,
        zero_point=space.zero_point,
        variance=projection.variance or 0.0,
    )


def projection_from_msg(msg: ProjectionMsg) -> Projection:
    """Returns the projection that a message carries.

    Raises:
        MessageError: ``projection-unusable`` where sizes or values contradict each other, ``projection-mismatch`` where
            its arrays are not those that its ``encoder_id`` names.
    """
    mean = vector_from_msg(msg.mean, msg.feature_dim, "mean")
    components = vector_from_msg(msg.components, msg.z_dim * msg.feature_dim, "components")
    try:
        space = FeatureSpace(msg.feature_id, msg.feature_dim, msg.grid, msg.scale, msg.zero_point)
        projection = Projection(space, mean, components.reshape(msg.z_dim, msg.feature_dim), msg.variance or None)
    except ValueError as error:
        raise MessageError("projection-unusable", str(error)) from error
    if projection.encoder_id != msg.encoder_id:
        raise MessageError(
            "projection-mismatch", f"its arrays are of {projection.encoder_id!r}, it names {msg.encoder_id!r}"
        )
    return projection
