"""The slow branch into a robot's profile: fitted beside what is there, kept where it foresees better, in no hurry."""

from __future__ import annotations

import argparse
import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wm_core.standing_back import stand_back
from world_model.commands.scratch import held, remove_left
from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter
from world_model.data.ticks import tabulate
from world_model.errors import DataError
from world_model.evaluation.adaptation import is_shipped
from world_model.evaluation.slow_adaptation import judge_slow_branch
from world_model.export.world_action import export, restore
from world_model.runtime.adapted import adapted_slow_branch, keep_slow_branch
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.profile import Profile, profile_folder
from world_model.training.report import Report
from world_model.training.world_action_config import WorldActionTraining
from world_model.training.world_action_stage import adapt, embed_ticks

NOTHING_BETTER = 3
# Behind everything else that the robot's computer does.
_NICENESS = 15
# Of one robot's minutes more teach nothing: they are learnt by heart.
STEPS = 600
_LOG, _TURN = "slow_branch.log", ".slow_branch.lock"
# No other command begins what it makes in a profile like that.
_COPIES, _MAKING = ".slow-", ".slow_branch-"


def adapt_to_profile(options: argparse.Namespace, config: WorldActionTraining, report: Report) -> dict[str, Any]:
    """Fit a slow branch to the part ``train`` of a set, and keep it in the profile where ``valid`` says so.

    Args:
        options: ``artifact``, ``data``, ``profile``, ``namespace``, ``phases`` and ``discard_data``.
        config: How it is trained.
        report: Told on the way.

    Of several at once for one profile each has its turn.

    Raises:
        DataError: The set has no held-out part.
    """
    stand_back(options.nice)
    profile = Profile(profile_folder(options.profile, options.namespace))
    try:
        with _turn(profile.folder):
            return _adapt(
                profile, load_artifact(options.artifact), EpisodeSet(options.data), options.phases, config, report
            )
    finally:
        if options.discard_data:
            shutil.rmtree(options.data)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until nobody else adapts a profile's slow branch, and remove what one that was killed had begun."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _TURN).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for begun in folder.glob(f"{_MAKING}*"):
            shutil.rmtree(begun, ignore_errors=True)
        yield


def _adapt(
    profile: Profile,
    source: Artifact,
    data: EpisodeSet,
    phases: int,
    config: WorldActionTraining,
    report: Report,
) -> dict[str, Any]:
    if not data.names("valid"):
        raise DataError(f"{data.path} has no part 'valid' to judge what is learned from the rest")
    present = adapted_slow_branch(profile, source) or source
    (before, shape), (after, _) = restore(present.path), restore(present.path)
    tick = shape.tick_s, shape.history, shape.future, phases
    adapt(after, config, tabulate(data.episodes("train"), *tick), None, report, keep_scale=True)
    held_out = tabulate(data.episodes("valid"), *tick)
    features_KE = embed_ticks(before.encoder, held_out)
    verdicts = judge_slow_branch(before.foresee, after.foresee, features_KE, held_out)
    result: dict[str, Any] = {"verdicts": [each.entries() for each in verdicts], "kept": None}
    if is_shipped(verdicts):
        place = _new_folder(profile.folder)
        with tempfile.TemporaryDirectory(dir=profile.folder, prefix=_MAKING) as folder:
            fresh = Path(folder) / "artifact"
            shutil.copytree(source.path, fresh)
            export(fresh, after, shape, training={**config.account(), "adapted": True})
            fresh.rename(place)
        keep_slow_branch(profile, place, source)
        result["kept"] = str(place)
    return result


def start_in_background(
    learned: Sequence[Episode], held_out: Sequence[Episode], artifact: Artifact, profile: Profile
) -> int:
    """Begin to fit the slow branch to a robot's recordings, in a process that outlives this one; return its number.

    Args:
        learned: Parts to learn from.
        held_out: Parts that judge.
        artifact: With a slow branch.
        profile: Where it is kept, with what the process says (``slow_branch.log``).
    """
    profile.folder.mkdir(parents=True, exist_ok=True)
    remove_left(profile.folder, _COPIES)
    path, manifest = Path(tempfile.mkdtemp(dir=profile.folder, prefix=_COPIES)), artifact.manifest
    about = DatasetManifest(image_size=manifest.image_size, step_s=manifest.step_s, action_dim=manifest.action_dim)
    writer = EpisodeWriter(path, about)
    for split, episodes in (("train", learned), ("valid", held_out)):
        for number, episode in enumerate(episodes):
            writer.write(episode.cut(0.0, float("inf"), name=f"{split}-{number:03d}"), split)
    command = [sys.executable, "-m", "world_model.cli", "slow", "adapt", "--data", str(path), "--discard-data"]
    command += ["--artifact", str(artifact.path), "--profile", f"{profile.folder.resolve()}/", f"--nice={_NICENESS}"]
    command += ["--set", f"predictor_steps={STEPS}"]
    with (profile.folder / _LOG).open("ab") as log, held(path) as descriptor:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=[descriptor]
        )
    # Nobody here waits for it, and that is no oversight to warn of.
    process.returncode = 0
    return process.pid


def _new_folder(folder: Path) -> Path:
    number = 1
    while (folder / f"slow-{number}").exists():
        number += 1
    return folder / f"slow-{number}"
