"""How often the frames of an episode come, and the episode on a step of another length.

Time is counted by stamps, never in rows: a camera of any rate, one that jitters and one that drops frames all end up on
the model's step, with what was really seen told from what was interpolated.

Shape suffixes: T = frames, G = rows of the grid, D = latent size, N = episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.runtime.stepping import measured_step_s

__all__ = ["Stepped", "check_rates", "horizons_in_steps", "keeps_step", "measured_step_s", "on_step"]

NEAR = 0.4
"""Share of a step that a frame may lie off a row of the grid and still be what was seen there."""
SAME = 0.1
"""Share by which the measured step may differ from another and be the same: a clock, not a rate."""
NOMINAL_STEP_S = 0.05
"""What the configured horizons are steps of [s]."""
_DROPPED = 1.5
_LONG_GAP = 10
_LONG_GAP_FRAMES = 3
_SETTLE = 6


@dataclass(frozen=True)
class Stepped:
    """An episode, frame by frame or on a grid of equal steps; of a grid's rows the pictures are empty.

    Attributes:
        episode: Stamps, poses and actions of the rows.
        latent_TD: Their latents.
        measured_T: Whether a row was seen (a frame lies within 0.4 of a step), not interpolated, bool.
    """

    episode: Episode
    latent_TD: np.ndarray
    measured_T: np.ndarray


def keeps_step(stamp_T: np.ndarray, step_s: float) -> bool:
    """Return whether rows are steps: frames come at the step, and none is missing."""
    longest_s = float(np.diff(np.asarray(stamp_T, np.int64)).max(initial=0)) * 1e-9
    same = abs(measured_step_s(stamp_T) / step_s - 1.0) <= SAME
    return same and longest_s <= _DROPPED * step_s


def on_step(episode: Episode, latent_TD: np.ndarray, step_s: float) -> Stepped:
    """Return an episode on steps of this length: as it is if it keeps them, else interpolated between its frames.

    Args:
        episode: Aligned episode.
        latent_TD: Its latents.
        step_s: Step of the model [s].
    """
    stamp_T = np.asarray(episode.stamp_T, np.int64)
    if len(stamp_T) < 2 or keeps_step(stamp_T, step_s):
        return Stepped(episode, latent_TD, np.ones(len(stamp_T), bool))
    step_ns = round(step_s * 1e9)
    grid_G = np.arange(stamp_T[0], stamp_T[-1] + 1, step_ns, dtype=np.int64)
    row_G = np.clip(np.searchsorted(stamp_T, grid_G, side="right") - 1, 0, len(stamp_T) - 2)
    gap_G = stamp_T[row_G + 1] - stamp_T[row_G]
    part_G = (grid_G - stamp_T[row_G]) / gap_G
    off_G = np.minimum(part_G, 1.0 - part_G) * gap_G
    longest_s = max(_LONG_GAP * step_s, _LONG_GAP_FRAMES * measured_step_s(stamp_T))
    measured_G = (off_G <= NEAR * step_ns) & ~_after_gap(gap_G > longest_s * 1e9)
    stepped = replace(
        episode,
        image_TSSC=np.zeros((len(grid_G), 0, 0, 3), np.uint8),
        stamp_T=grid_G,
        pose_T4=_poses_between(np.asarray(episode.pose_T4, float), row_G, part_G),
        action_TA=_between(np.asarray(episode.action_TA), row_G, part_G),
        depth_T1SS=None,
        proprio_TP=None,
        reward_T=None,
        goes_on_T=None,
        views_TVSSC=None,
        views_known_TV=None,
        pose_std_T2=None if episode.pose_std_T2 is None else np.asarray(episode.pose_std_T2)[row_G],
    )
    return Stepped(stepped, _between(latent_TD, row_G, part_G), measured_G)


def horizons_in_steps(horizons: Sequence[int], stamps: Sequence[np.ndarray], step_s: float) -> tuple[int, ...]:
    """Return the horizons that cameras can show, as steps of this length.

    Frames that come at the step show every horizon. Those of a slower camera show multiples of its own gap: each
    horizon becomes the nearest one. Cameras of different rates show the union.

    Args:
        horizons: As configured: steps of 0.05 s.
        stamps: Stamps of each episode.
        step_s: Step of the model [s].
    """
    steps: set[int] = set()
    for gap_s in {round(max(measured_step_s(stamp_T), step_s), 3) for stamp_T in stamps}:
        if abs(gap_s / NOMINAL_STEP_S - 1.0) <= SAME and abs(step_s / NOMINAL_STEP_S - 1.0) <= SAME:
            steps |= set(horizons)
            continue
        for horizon in horizons:
            shown_s = max(round(horizon * NOMINAL_STEP_S / gap_s), 1) * gap_s
            steps.add(max(round(shown_s / step_s), 1))
    return tuple(sorted(steps))


def check_rates(episodes: Sequence[Episode], step_s: float) -> None:
    """Refuse episodes whose frames come at another step, for stages that cannot interpolate (pictures).

    Raises:
        DataError: Names the first such episode, its step and the one expected.
    """
    for episode in episodes:
        found_s = measured_step_s(episode.stamp_T)
        if abs(found_s / step_s - 1.0) > SAME:
            raise DataError(
                f"episode {episode.name} has a frame each {found_s:.3f} s, expected {step_s:.3f} s: "
                "convert it with another --rate-hz, or into a set of its own"
            )


def _between(value_TX: np.ndarray, row_G: np.ndarray, part_G: np.ndarray) -> np.ndarray:
    """Return values between the rows and those after them; on a frame what is there, whatever its neighbours are."""
    start_GX, end_GX = value_TX[row_G], value_TX[row_G + 1]
    part_G1 = part_G[:, None].astype(value_TX.dtype)
    mixed_GX = start_GX + part_G1 * (end_GX - start_GX)
    return np.asarray(np.where(part_G1 == 0.0, start_GX, np.where(part_G1 == 1.0, end_GX, mixed_GX)))


def _poses_between(pose_T4: np.ndarray, row_G: np.ndarray, part_G: np.ndarray) -> np.ndarray:
    pose_G4 = _between(pose_T4, row_G, part_G)
    start_G, end_G = pose_T4[row_G, 3], pose_T4[row_G + 1, 3]
    turn_G = (end_G - start_G + np.pi) % (2 * np.pi) - np.pi
    inside_G = (part_G > 0.0) & (part_G < 1.0)
    pose_G4[:, 3] = np.where(inside_G, start_G + part_G * turn_G, pose_G4[:, 3])
    return np.asarray(pose_G4)


def _after_gap(in_gap_G: np.ndarray) -> np.ndarray:
    """Return which rows lie in a long gap or so shortly after it that the context is mostly made up, bool [G]."""
    doubtful_G: np.ndarray = in_gap_G.copy()
    for rows in range(1, _SETTLE + 1):
        doubtful_G[rows:] |= in_gap_G[:-rows]
    return doubtful_G
