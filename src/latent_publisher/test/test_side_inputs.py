"""Side inputs, found by the stamp of a frame."""

from __future__ import annotations

import numpy as np

from latent_publisher.side_inputs import NearestInTime

MS = 1_000_000


def test_nearest_in_time():
    depth = NearestInTime(0.1)
    assert depth.at(0) is None
    for ms in (0, 50, 100):
        depth.insert(ms * MS, np.array([ms]))
    assert depth.at(60 * MS)[0] == 50
    assert depth.at(201 * MS) is None
