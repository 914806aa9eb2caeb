"""Episodes of the simulated robot, generated in parallel, each driven long enough to come back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter, split_places, store_episode
from world_model.data.randomised import described, record, world_of
from world_model.data.stream import ActionEvent, PoseEvent, align, delayed
from world_model.errors import DataError

if TYPE_CHECKING:
    from wm_sim import SimStep, Simulation

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
        tasks: Do one task after the other instead of driving round; rewards and ends are stored too.
        wander: Share of random command added while doing tasks, so that contact happens.
        pose_delay_s: Poses arrive so long after their stamp [s]; ``None``: as late as the simulator has them.
        randomise: Everything about robot, camera, building and rates is drawn from the seed.
        rate_hz: Frames per second of a random world; None: drawn too.
    """

    seed: int
    duration_s: float = 120.0
    still: bool = False
    exact_pose: bool = False
    image_size: int = 64
    step_s: float = 0.05
    depth: bool = False
    proprioception: bool = False
    tasks: bool = False
    wander: float = 0.4
    pose_delay_s: float | None = None
    randomise: bool = False
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.randomise and (self.still or self.exact_pose or self.tasks):
            raise DataError("random worlds draw what changes and how poses err; they are neither still nor have tasks")
        if self.image_size < 1:
            raise DataError(f"images of {self.image_size} px, expected at least 1")
        if self.rate_hz is not None and not (self.randomise and 1.0 <= self.rate_hz <= 100.0):
            raise DataError(f"rate_hz is {self.rate_hz} Hz, expected 1 to 100 Hz, of random worlds")

    @property
    def name(self) -> str:
        """Name that tells the runs of a set apart."""
        return (
            f"sim-{self.seed:05d}"
            + ("-still" if self.still else "")
            + ("-exact" if self.exact_pose else "")
            + ("-tasks" if self.tasks else "")
            + ("-random" if self.randomise else "")
        )


def simulate_episode(run: SimulatedRun) -> Episode:
    """Return one simulated episode with its poses and actions aligned as the live node aligns them.

    Raises:
        DataError: Too short to come back anywhere.
    """
    if not SHORTEST_S <= run.duration_s < float("inf"):
        raise DataError(f"a simulated episode of {run.duration_s} s, expected at least {SHORTEST_S} s for revisits")
    cv2.setNumThreads(1)
    if run.randomise:
        return _random_episode(run)
    steps = list(_task_steps(run) if run.tasks else _path_steps(run))
    stamp_T = np.array([round(step.stamp_s * 1e9) for step in steps], np.int64)
    # A command given to a driven robot at a frame is in force at the next.
    commands = [step.action_A for step in (steps[1:] if run.tasks else steps)]
    actions = [ActionEvent(int(stamp), action_A) for stamp, action_A in zip(stamp_T, commands)]
    poses = [_pose_event(step) for step in steps]
    if run.pose_delay_s is not None:
        poses = delayed(poses, stamp_T, stamp_T, run.pose_delay_s)
    aligned = align(stamp_T, stamp_T, poses, actions, ACTION_DIM)
    reward_T, goes_on_T = _outcomes(steps) if run.tasks else (None, None)
    return Episode(
        run.name,
        f"building-{run.seed:05d}",
        np.stack([step.image_HWC for step in steps]),
        stamp_T,
        aligned.pose_T4,
        aligned.action_TA,
        np.array([step.depth_HW for step in steps], np.float16)[:, None] if run.depth else None,
        np.array([step.motion_2 for step in steps], np.float32) if run.proprioception else None,
        reward_T,
        goes_on_T,
        arrivals=aligned.arrivals,
    )


def _random_episode(run: SimulatedRun) -> Episode:
    world = world_of(run.seed, run.rate_hz)
    recorded = record(world, run.seed, run.duration_s, run.image_size, run.depth)
    stamp_T = np.array(recorded.stamps, np.int64)
    poses = recorded.poses
    if run.pose_delay_s is not None:
        poses = delayed(poses, stamp_T, stamp_T, run.pose_delay_s)
    aligned = align(stamp_T, stamp_T, poses, recorded.actions, ACTION_DIM)
    return Episode(
        run.name,
        f"building-{run.seed:05d}",
        np.stack(recorded.images),
        stamp_T,
        aligned.pose_T4,
        aligned.action_TA,
        np.array(recorded.depths, np.float16)[:, None] if run.depth else None,
        np.array(recorded.motions, np.float32) if run.proprioception else None,
        arrivals=aligned.arrivals,
    )


def _simulation(run: SimulatedRun, **options: Any) -> Simulation:
    # Heavy and only needed to generate: training from bags does without the simulator.
    from wm_sim import DEFAULT_CHANGES, DEFAULT_POSE_NOISE, EXACT, STILL, Simulation

    return Simulation(
        run.seed,
        rate_hz=1.0 / run.step_s,
        image_size=(run.image_size, run.image_size),
        changes=STILL if run.still else DEFAULT_CHANGES,
        pose_noise=EXACT if run.exact_pose else DEFAULT_POSE_NOISE,
        depth=run.depth,
        **options,
    )


def _path_steps(run: SimulatedRun) -> Iterator[SimStep]:
    simulation = _simulation(run)
    return (simulation.step() for _ in range(_frame_count(run)))


def _task_steps(run: SimulatedRun) -> Iterator[SimStep]:
    """Yield the frames of a robot that does one task after the other, each from where the last one ended."""
    from wm_sim import TASKS, make_building, make_task
    from wm_sim.pilot import Pilot

    building = make_building(run.seed)
    task = make_task(TASKS[0], building, run.seed)
    simulation = _simulation(run, driven_by="actions", task=task)
    pilot, action, done = Pilot(simulation, task, run.wander, run.seed), None, 0
    for _ in range(_frame_count(run)):
        step = simulation.step(action)
        yield step
        if step.outcome and not step.outcome.goes_on:
            done += 1
            task = make_task(TASKS[done % len(TASKS)], building, run.seed + done, step.true_pose)
            simulation.assign(task)
            pilot = Pilot(simulation, task, run.wander, run.seed + done)
        action = pilot.steer(step)


def _frame_count(run: SimulatedRun) -> int:
    return math.ceil(round(run.duration_s / run.step_s, 6))


def _pose_event(step: SimStep) -> PoseEvent:
    x, y, yaw = step.pose
    quaternion = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
    return PoseEvent(round(step.pose_arrival_s * 1e9), round(step.stamp_s * 1e9), (x, y, 0.0), quaternion)


def _outcomes(steps: list[SimStep]) -> tuple[np.ndarray, np.ndarray]:
    """Return reward of the action taken at each frame, NaN at the last, and 1 where the task goes on after it."""
    outcomes = [step.outcome for step in steps[1:] if step.outcome]
    reward_T = np.array([*(outcome.reward for outcome in outcomes), math.nan], np.float32)
    return reward_T, np.array([*(outcome.goes_on for outcome in outcomes), True], np.float32)


def generate(
    path: Path,
    runs: list[SimulatedRun],
    *,
    workers: int = 2,
    valid_share: float = 0.1,
    test_share: float = 0.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    split: str | Mapping[str, str] | None = None,
    limit_s: float = math.inf,
    at_least: int = 0,
    step_s: float | None = None,
) -> EpisodeSet:
    """Generate episodes into a converted set; those already there are kept, so a killed run goes on where it was.

    Args:
        path: Folder of the set.
        runs: What to simulate; all of one image size and step.
        workers: Processes.
        valid_share: Share of the buildings held out for validation.
        test_share: Share of the buildings held out for test.
        progress: Called with (done, total) episodes.
        split: Which split all of them belong to, or each by its name, whatever the shares.
        limit_s: No episode is begun after this time [s]; those that were not begun are left out.
        at_least: So many of the first are made, however late.
        step_s: Time between frames of the set [s], where these runs are pictures and no films; default: theirs.

    Raises:
        DataError: No runs, or runs of different sizes, or some random and some not.
    """
    if len({(run.image_size, run.step_s, run.randomise) for run in runs}) != 1:
        raise DataError("simulated runs of one set must have one image size and one step, and all be random or none")
    delay_s = runs[0].pose_delay_s
    source: dict[str, Any] = {"kind": "wm_sim"} | ({"randomised": True} if runs[0].randomise else {})
    source |= {} if delay_s is None else {"pose_delay_s": delay_s}
    manifest = DatasetManifest(
        image_size=runs[0].image_size,
        step_s=runs[0].step_s if step_s is None else step_s,
        action_dim=ACTION_DIM,
        source=source,
    )
    writer = EpisodeWriter(path, manifest)
    splits = split_places([f"building-{run.seed:05d}" for run in runs], valid_share, test_share)
    latest_s = time.monotonic() + limit_s
    latest = {run: math.inf if row < at_least else latest_s for row, run in enumerate(runs)}
    missing = [run for run in runs if not writer.has(run.name)]
    progress(len(runs) - len(missing), len(runs))
    for done, (run, frames) in enumerate(_generated(path, missing, workers, latest), len(runs) - len(missing) + 1):
        place = f"building-{run.seed:05d}"
        if frames:
            named = split.get(run.name) if isinstance(split, Mapping) else split
            writer.register(run.name, place, frames, named or splits[place], _drawn(run))
        progress(done, len(runs))
    return EpisodeSet(path)


def _generated(
    path: Path, runs: list[SimulatedRun], workers: int, latest_s: Mapping[SimulatedRun, float]
) -> Iterator[tuple[SimulatedRun, int]]:
    """Yield each run that is stored and how many frames it has; 0 where it was too late to begin."""
    if workers <= 1:
        yield from ((run, _generate_one(path, run, latest_s[run])) for run in runs)
        return
    # A forked process would wait for ever for the threads of this one's OpenCV.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_generate_one, path, run, latest_s[run]): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _drawn(run: SimulatedRun) -> dict[str, Any]:
    """Return what a set's manifest says of a run beside its place and length: of a random world all that was drawn."""
    if not run.randomise:
        return {}
    world = described(run.seed, run.rate_hz)
    return {"step_s": round(1.0 / world["frame_rate_hz"], 4), "world": world}


def _generate_one(path: Path, run: SimulatedRun, latest_s: float) -> int:
    """Return the frames of an episode that is now on disk; 0 where it was too late to begin."""
    if time.monotonic() > latest_s:
        return 0
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
    if not seeds:
        raise DataError(f"seeds '{text}': expected the first of a range to be no larger than the last")
    return seeds
