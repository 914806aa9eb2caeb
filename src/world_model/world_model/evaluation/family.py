"""One of the larger models from nothing to its figures within a given time: worlds, training, evaluation, report.

Each part is skipped when an earlier call has left its result in the run's folder, so a killed run goes on.
"""

from __future__ import annotations

import csv
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wm_core.memory.successors import STEP_S
from world_model.data.episodes import EpisodeSet
from world_model.data.simulated import SimulatedRun, generate
from world_model.errors import ConfigError
from world_model.evaluation.decoded import Codec, judge
from world_model.evaluation.family_report import markdown_of
from world_model.evaluation.film_strip import film_strip, write_strip
from world_model.runtime.artifacts import load_artifact
from world_model.training.budget import begin_run, granted_s
from world_model.training.config import TrainConfig
from world_model.training.pipeline import run_training
from world_model.training.report import Report

REPORT_NAME, TEXT_NAME, STRIP_NAME = "report.json", "README.md", "strip.png"
_WORLDS_NAME = "worlds.json"
_SIGHTS_S, _SIGHTS_SHARE = 1.0, 0.5
"""Time between pictures of a building that gives no films [s]; share of the time for worlds that they may take."""
_FORECAST_SHARE = 0.7
"""Of the time for judging that forecasts may take; the rest is for decoding."""
_STAGES = ("pictures", "path", "memory", "without_memory")


class Phases:
    """How long each part of a run took [s].

    Args:
        report: Told when one begins.
        clock: Seconds that only grow.
    """

    def __init__(self, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._started = self._since = clock()
        self._name = ""
        self.seconds: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """End the part before, and begin another."""
        now = self._clock()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 1)
        self._name, self._since = name, now
        self._report.say(f"[{now - self._started:.0f} s] {name}")

    def end(self) -> None:
        """End the last part."""
        self.begin("done")
        self.seconds["all"] = round(self._clock() - self._started, 1)


def on_device(config: TrainConfig, device: str) -> TrainConfig:
    """Return a run on ``cuda``, ``cpu``, or what there is (``auto``).

    Raises:
        ConfigError: A GPU is wanted, and there is none.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise ConfigError(f"device is '{device}', expected auto, cuda or cpu")
    has_gpu = torch.cuda.is_available()
    if not has_gpu and (device == "cuda" or (device == "auto" and config.family.needs_gpu)):
        raise ConfigError(f"'{config.name}' not run: no GPU (torch sees no CUDA device; --device cpu takes hours)")
    if device == "cpu" or not has_gpu:
        pictures = replace(config.pictures, accelerator="cpu")
        return replace(config, pictures=pictures, optimiser=replace(config.optimiser, accelerator="cpu"))
    # The convolutions are most of the work. The transition is small, and its forecasts are compared with numbers.
    pictures = replace(config.pictures, accelerator="cuda", precision="bf16-mixed")
    return replace(config, pictures=pictures, optimiser=replace(config.optimiser, accelerator="cuda"))


def train_family(
    config: TrainConfig, out: Path, *, recordings: Sequence[Path] = (), workers: int = 2, report: Report | None = None
) -> dict[str, Any]:
    """Make worlds, train, judge; write ``report.json``, ``README.md`` and ``strip.png``; return the report.

    Args:
        config: The run, with minutes, on its device.
        out: Folder of the run; what is there already is used.
        recordings: Recordings to learn from beside the worlds; the last quarter of each is held out.
        workers: Processes and threads.
        report: Told what happens.

    Raises:
        ConfigError: No minutes, or parts that do not go together.
        DataError: A recording cannot be used.
    """
    if not config.minutes:
        raise ConfigError("minutes is 0, expected how long the run may take")
    report, config = report or Report(), replace(config, threads=workers)
    out.mkdir(parents=True, exist_ok=True)
    phases = Phases(report)
    begin_run(config, out, used_s(config, out))
    uses_gpu = config.pictures.accelerator == "cuda"
    if uses_gpu:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    phases.begin("worlds")
    episodes = make_worlds(config, out, recordings, workers, report)
    phases.begin("training")
    worlds, recorded = held_out(episodes)
    judged_on = [*worlds[: config.family.forecast], *recorded]
    run_training(config, episodes.path, out, workers=workers, report=report, judged=judged_on)
    phases.begin("evaluation")
    judged, strip = _judged(config, out, episodes, "cuda" if uses_gpu else "cpu", workers)
    phases.end()
    result = {
        "name": config.name,
        "minutes": config.minutes,
        "machine": machine(uses_gpu, workers),
        "seconds": phases.seconds,
        "stages": {name: stage_account(out / name) for name in _STAGES},
        "data": _data_account(episodes),
        "parameters": parameters_of(out / "artifact"),
        "curve": psnr_curve(out / "pictures" / "log.csv"),
        **judged,
        "config": config.to_json(),
    }
    stage = result["stages"]["pictures"]
    stage["pictures_per_s"] = _pictures_per_s(config, stage["steps"], stage["seconds"])
    (out / REPORT_NAME).write_text(json.dumps(result, indent=1) + "\n")
    (out / TEXT_NAME).write_text(markdown_of(result))
    write_strip(out / STRIP_NAME, strip)
    return result


def make_worlds(config: TrainConfig, out: Path, recordings: Sequence[Path], workers: int, report: Report) -> EpisodeSet:
    """Return the set to learn from and to be judged on; once it was complete, it stays as it is."""
    family, path, done = config.family, out / "data", out / _WORLDS_NAME
    if done.is_file():
        return EpisodeSet(path)

    def run(number: int, step_s: float = STEP_S) -> SimulatedRun:
        return SimulatedRun(
            seed=family.seed + number, duration_s=family.seconds, image_size=family.image_size, step_s=step_s
        )

    def tell(finished: int, total: int) -> None:
        report.advance("worlds", finished, total)

    limit_s, started = config.seconds_of("data"), time.monotonic()
    films = [run(number) for number in range(family.held_out + family.drives)]
    sights = [run(len(films) + number, _SIGHTS_S) for number in range(family.sights)]
    if sights:
        generate(path, sights, workers=workers, split="sights", limit_s=_SIGHTS_SHARE * limit_s, step_s=STEP_S)
    splits = {film.name: "valid" if row < family.held_out else "train" for row, film in enumerate(films)}
    # However short the time, there is something to learn from.
    least, left_s = family.held_out + workers, limit_s - (time.monotonic() - started)
    episodes = generate(path, films, workers=workers, split=splits, limit_s=left_s, at_least=least, progress=tell)
    if recordings:
        # What unpacks recordings need not be there where worlds are all there is.
        from world_model.evaluation.family_recordings import add_recordings

        add_recordings(path, recordings, family.image_size)
        episodes = EpisodeSet(path)
    seconds = round(time.monotonic() - started, 1)
    done.write_text(json.dumps({"episodes": episodes.names(), "seconds": seconds}) + "\n")
    return episodes


def used_s(config: TrainConfig, out: Path) -> float:
    """Return how long earlier calls took for what a run's folder holds already [s]."""
    done = out / _WORLDS_NAME
    worlds_s = float(json.loads(done.read_text()).get("seconds", config.seconds_of("data"))) if done.is_file() else 0.0
    return worlds_s + sum(float(stage_account(out / name)["seconds"]) for name in _STAGES)


def held_out(episodes: EpisodeSet) -> tuple[list[str], list[str]]:
    """Return the held-out episodes of worlds, and those of recordings."""
    names = episodes.names("valid")
    worlds = [name for name in names if name.startswith("sim-")]
    return worlds, [name for name in names if name not in worlds]


def machine(uses_gpu: bool, workers: int) -> str:
    """Return in words where a run ran."""
    where = f"{torch.cuda.get_device_name()}, " if uses_gpu else "no GPU used, "
    return f"{where}{platform.machine()}, {workers} process(es) and threads, torch {torch.__version__}"


def parameters_of(artifact: Path) -> dict[str, int]:
    """Return how many weights each part of an artifact has."""
    loaded = load_artifact(artifact)
    parts = ("encoder", "decoder", "transition", "without_memory")
    return {part: sum(value.numel() for value in loaded.weights(part).values()) for part in parts}


def psnr_curve(log: Path) -> list[dict[str, float]]:
    """Return the held-out PSNR of pictures over the time of their stage, from its log: minutes, step, PSNR [dB]."""
    rows = _logged(log)
    return [
        {"minutes": round(terms["seconds"] / 60.0, 3), "step": step, "psnr_db": round(terms["psnr_db"], 2)}
        for step, terms in rows.items()
        if "psnr_db" in terms
    ]


def stage_account(folder: Path) -> dict[str, Any]:
    """Return how many steps a stage took, in how many seconds, and its last held-out losses."""
    rows = _logged(folder / "log.csv")
    if not rows:
        return {"steps": 0, "seconds": 0.0}
    last = max(rows)
    return {"steps": last, "seconds": round(rows[last]["seconds"], 1), "last": rows[last]}


def _logged(log: Path) -> dict[int, dict[str, float]]:
    """Return the terms of each step in a log; where it was validated, what came of that counts."""
    rows: dict[int, dict[str, float]] = {}
    if log.is_file():
        with log.open(newline="") as file:
            for row in csv.DictReader(file):
                rows.setdefault(int(row["step"]), {})[row["term"]] = float(row["value"])
    return rows


def _pictures_per_s(config: TrainConfig, steps: int, seconds: float) -> float:
    per_step = config.pictures.batch * config.pictures.sequence + config.pictures.stills
    return round(steps * per_step / max(seconds, 1e-9), 1)


def _data_account(episodes: EpisodeSet) -> dict[str, Any]:
    def frames(split: str) -> int:
        return sum(int(episodes.manifest.episodes[name]["frames"]) for name in episodes.names(split))

    return {
        "image_size": episodes.manifest.image_size,
        "learned": {"episodes": len(episodes.names("train")), "frames": frames("train")},
        "sights": {"episodes": len(episodes.names("sights")), "frames": frames("sights")},
        "held_out": {"episodes": len(episodes.names("valid")), "frames": frames("valid")},
    }


def _judged(
    config: TrainConfig, out: Path, episodes: EpisodeSet, device: str, workers: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what the artifact is worth in worlds and on recordings, and the film strip of the worlds."""
    worlds, recorded = held_out(episodes)
    path, within_s = out / "artifact", _FORECAST_SHARE * granted_s(config, "judging", out / "evaluation")
    judged = partial(judge, path, episodes, device=device, workers=workers, within_s=within_s)
    result, seen = judged(worlds, config.family.forecast)
    with torch.inference_mode():
        strip = film_strip(Codec(load_artifact(path), device), seen)
    groups = {"worlds": result}
    if recorded:
        groups["recordings"], _ = judged(recorded, len(recorded))
    return groups, strip
