"""Episodes of the simulated robot, generated in parallel, each driven long enough to come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter, split_places, store_episode
from world_model.data.stream import ActionEvent, PoseEvent, align
from world_model.errors import DataError

ACTION_DIM = 2
# One loop of a building takes about 35 s: less than two loops would hold no revisit older than the excluded past.
SHORTEST_S = 70.0


@dataclass(frozen=True, kw_only=True)
class SimulatedRun:
    """What one simulated episode is.

    Attributes:
        seed: Building and run.
        duration_s: Length [s].
        still: Nothing in the building changes.
        exact_pose: Poses without noise or latency.
        image_size: Side of the image [px].
        step_s: Time between frames [s].
        depth: Render depth too.
        proprioception: Store measured forward speed and yaw rate too.
    """

    seed: int
    duration_s: float = 120.0
    still: bool = False
    exact_pose: bool = False
    image_size: int = 64
    step_s: float = 0.05
    depth: bool = False
    proprioception: bool = False

    @property
    def name(self) -> str:
        """Name that tells the runs of a set apart."""
        return f"sim-{self.seed:05d}" + ("-still" if self.still else "") + ("-exact" if self.exact_pose else "")


def simulate_episode(run: SimulatedRun) -> Episode:
    """Return one simulated episode with its poses and actions aligned as the live node aligns them.

    Raises:
        DataError: Too short to come back anywhere.
    """
    # Heavy and only needed to generate: training from bags does without the simulator.
    from wm_sim import DEFAULT_CHANGES, DEFAULT_POSE_NOISE, EXACT, STILL, simulate

    if run.duration_s < SHORTEST_S:
        raise DataError(f"a simulated episode of {run.duration_s} s has no revisits, expected at least {SHORTEST_S} s")
    cv2.setNumThreads(1)
    steps = simulate(
        run.seed,
        run.duration_s,
        rate_hz=1.0 / run.step_s,
        image_size=(run.image_size, run.image_size),
        changes=STILL if run.still else DEFAULT_CHANGES,
        pose_noise=EXACT if run.exact_pose else DEFAULT_POSE_NOISE,
        depth=run.depth,
    )
    images, stamps, poses, actions, depths, motions = [], [], [], [], [], []
    for step in steps:
        stamp_ns = round(step.stamp_s * 1e9)
        x, y, yaw = step.pose
        quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        poses.append(PoseEvent(round(step.pose_arrival_s * 1e9), stamp_ns, (x, y, 0.0), quaternion))
        actions.append(ActionEvent(stamp_ns, step.action_A))
        images.append(step.image_HWC)
        stamps.append(stamp_ns)
        motions.append(step.motion_2)
        if step.depth_HW is not None:
            depths.append(step.depth_HW.astype(np.float16)[None])
    stamp_T = np.array(stamps, np.int64)
    aligned = align(stamp_T, stamp_T, poses, actions, ACTION_DIM)
    return Episode(
        run.name,
        f"building-{run.seed:05d}",
        np.stack(images),
        stamp_T,
        aligned.pose_T4,
        aligned.action_TA,
        np.stack(depths) if run.depth else None,
        np.array(motions, np.float32) if run.proprioception else None,
    )


def generate(
    path: Path,
    runs: list[SimulatedRun],
    *,
    workers: int = 2,
    valid_share: float = 0.1,
    test_share: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EpisodeSet:
    """Generate episodes into a converted set; those already there are kept, so a killed run goes on where it was.

    Args:
        path: Folder of the set.
        runs: What to simulate; all of one image size and step.
        workers: Processes.
        valid_share: Share of the buildings held out for validation.
        test_share: Share of the buildings held out for test.
        progress: Called with (done, total) episodes.

    Raises:
        DataError: No runs, or runs of different sizes.
    """
    if len({(run.image_size, run.step_s) for run in runs}) != 1:
        raise DataError("simulated runs of one set must have one image size and one step")
    manifest = DatasetManifest(
        image_size=runs[0].image_size, step_s=runs[0].step_s, action_dim=ACTION_DIM, source={"kind": "wm_sim"}
    )
    writer = EpisodeWriter(path, manifest)
    splits = split_places([f"building-{run.seed:05d}" for run in runs], valid_share, test_share)
    missing = [run for run in runs if not writer.has(run.name)]
    progress(len(runs) - len(missing), len(runs))
    with ProcessPoolExecutor(workers) as pool:
        futures = {pool.submit(partial(_generate_one, path), run): run for run in missing}
        for done, future in enumerate(as_completed(futures), start=len(runs) - len(missing) + 1):
            run, frames = futures[future], future.result()
            place = f"building-{run.seed:05d}"
            writer.register(run.name, place, frames, splits[place])
            progress(done, len(runs))
    return EpisodeSet(path)


def _generate_one(path: Path, run: SimulatedRun) -> int:
    episode = simulate_episode(run)
    store_episode(path, episode)
    return len(episode)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of a text such as ``1000-1031,1048``.

    Raises:
        DataError: Not numbers and ranges.
    """
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            seeds.extend(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise DataError(f"seeds '{text}': expected numbers and ranges such as 1000-1031,1048") from error
    return seeds
