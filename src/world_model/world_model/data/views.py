"""Several cameras of one robot: what the others showed when a frame of the first one was taken.

Shape suffixes: T = frames, V = further cameras, S = image side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from wm_core.bags import Bag
from wm_core.bags.survey import CAMERA_TYPES
from wm_core.timeline import NS_PER_S
from world_model.data.bags import Recording
from world_model.errors import DataError

ALL = "all"
"""Names every further camera of a recording."""
TOLERANCE_S = 0.1
"""Largest difference between the stamps of pictures that were taken together, as in the node of the slow branch."""


def with_views(recording: Recording, views: Mapping[str, Recording]) -> Recording:
    """Return a recording whose episodes hold, beside each frame, what further cameras showed at that time.

    Each view gives the picture nearest in time, at most ``TOLERANCE_S`` away; the account says for how many frames.

    Args:
        recording: Of the first camera.
        views: Name of each further camera -> what was read of it, at the same size.

    Raises:
        DataError: A view has no pictures at all.
    """
    if not views:
        return recording
    found = {name: _pictures(name, view) for name, view in views.items()}
    known = dict.fromkeys(views, 0)
    episodes = []
    for episode in recording.episodes:
        image_TVSSC = np.zeros((len(episode), len(found), *episode.image_TSSC.shape[1:]), np.uint8)
        known_TV = np.zeros((len(episode), len(found)), bool)
        for column, (name, (stamp_N, image_NSSC)) in enumerate(found.items()):
            row_T = _nearest(stamp_N, np.asarray(episode.stamp_T))
            known_TV[:, column] = np.abs(stamp_N[row_T] - episode.stamp_T) <= TOLERANCE_S * NS_PER_S
            image_TVSSC[known_TV[:, column], column] = image_NSSC[row_T[known_TV[:, column]]]
            known[name] += int(known_TV[:, column].sum())
        episodes.append(replace(episode, views_TVSSC=image_TVSSC, views_known_TV=known_TV))
    frames = sum(map(len, episodes))
    for name, view in views.items():
        lost = f", {sum(view.account.reasons.values())} lost to faults" if view.account.reasons else ""
        recording.account.notes.append(
            f"view {name}: {view.account.camera.read} frames read, known for {known[name]} of {frames} frames{lost}"
        )
    return Recording(recording.account, episodes)


def further_cameras(bag: Bag, camera: str) -> list[str]:
    """Return the topics of a recording's cameras other than this one; of one camera's the raw one, and no depth."""
    topics = [t for t, kind in sorted(bag.types.items()) if kind in CAMERA_TYPES and bag.counts[t] and "depth" not in t]
    taken = {_plain(camera): camera}
    for topic in topics:
        taken.setdefault(_plain(topic), topic)
    return [topic for topic in taken.values() if topic != camera]


def _plain(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _pictures(name: str, view: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Returns stamps, ascending, and pictures of all parts of a view."""
    if not view.episodes:
        raise DataError(f"view {name} has no usable pictures: {'; '.join(view.account.lines())}")
    stamp_N = np.concatenate([np.asarray(episode.stamp_T) for episode in view.episodes])
    image_NSSC = np.concatenate([np.asarray(episode.image_TSSC) for episode in view.episodes])
    order_N = np.argsort(stamp_N, kind="stable")
    return stamp_N[order_N], image_NSSC[order_N]


def _nearest(stamp_N: np.ndarray, wanted_T: np.ndarray) -> np.ndarray:
    after_T = np.clip(np.searchsorted(stamp_N, wanted_T), 1, max(len(stamp_N) - 1, 1)).clip(max=len(stamp_N) - 1)
    before_T = np.maximum(after_T - 1, 0)
    is_before_T = np.abs(wanted_T - stamp_N[before_T]) <= np.abs(stamp_N[after_T] - wanted_T)
    return np.asarray(np.where(is_before_T, before_T, after_T))
