"""Held-out pictures: how well they come back, and those to come are foreseen, as PSNR and as errors of latents.

Shape suffixes: N = pictures, T = frames, H = horizons, D = latent size, S = image side, C = channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from world_model.data.episodes import Episode, EpisodeSet
from world_model.evaluation.bases import SeenEpisode, Stretch
from world_model.evaluation.online import known_to, run_online
from world_model.evaluation.runner import EpisodeForecasts, forecast_episode
from world_model.evaluation.scores import score, summary
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.pictures import psnr_per_picture
from world_model.training.crew import Crew

HORIZONS = (1, 5, 10, 20, 40)
SHOWN = (1, 20)
"""Steps ahead whose pictures are judged."""
WITH, WITHOUT, NO_CHANGE = "ours", "without memory", "persistence"
_JUDGED = (WITH, "ours, network alone", WITHOUT, "ours, memory emptied", NO_CHANGE, "nearest memory at forecast pose")
_DECODED_PER_EPISODE = 280
_ROWS_PER_EPISODE = 100
_BATCH = 128
_TRIED_FRAMES, _LEAST_FRAMES = 30, 900
"""By how many frames it is measured how long one takes; how many are forecast however long: a lap and some more."""


@dataclass(frozen=True)
class HeldOut:
    """A held-out episode, its latents [T, D] and what was forecast there."""

    episode: Episode
    latent_TD: np.ndarray
    forecasts: EpisodeForecasts


class Codec:
    """Encoder and decoder of an artifact on a device.

    Args:
        artifact: Whose.
        device: Where they run, as torch names it.
    """

    def __init__(self, artifact: Artifact, device: str) -> None:
        on_device = load_artifact(artifact.path, device)
        self._encoder, self._decoder, self._device = on_device.encoder(), on_device.decoder(), device

    def encode(self, image_NSSC: np.ndarray) -> np.ndarray:
        """Return the latents of uint8 pictures, float32 [N, D]."""
        # Parts of other sizes would each be compiled anew.
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            rows = [self._encoder(self._there(image_NSSC[i : i + _BATCH]), None, None) for i in _parts(len(image_NSSC))]
        latent_ND: np.ndarray = torch.cat(rows).float().cpu().numpy()
        return latent_ND

    def decode(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return the pictures of latents, uint8 [N, S, S, 3]."""
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            rows = [self._decoder(self._there(latent_ND[i : i + _BATCH])).cpu() for i in _parts(len(latent_ND))]
        image_NSSC: np.ndarray = torch.cat(rows).numpy()
        return image_NSSC

    def _there(self, array: np.ndarray) -> torch.Tensor:
        # Copied: torch wants arrays that could be written to.
        return torch.from_numpy(np.array(array)).to(self._device)


def judge(
    artifact_path: Path,
    episodes: EpisodeSet,
    names: Sequence[str],
    forecast: int,
    *,
    device: str,
    workers: int,
    within_s: float = math.inf,
) -> tuple[dict[str, Any], list[HeldOut]]:
    """Return what an artifact is worth on held-out episodes as JSON-ready entries, and the forecasts themselves.

    Args:
        artifact_path: Artifact folder.
        episodes: The set they are in.
        names: Which of its episodes.
        forecast: So many of them are forecast, frame by frame, as the graph would.
        device: Where pictures are encoded and decoded.
        workers: Processes that forecast.
        within_s: About how long the forecasts may take [s]: episodes that would take longer are cut short.
    """
    artifact = load_artifact(artifact_path)
    with Crew(workers) as crew, torch.inference_mode():
        codec = Codec(artifact, device)
        latents = {name: codec.encode(episodes.episode(name).image_TSSC) for name in names}
        decoded = [_decoded(codec, episodes.episode(name), latents[name]) for name in names]
        shown = [(name, latents[name]) for name in list(names)[:forecast]]
        known, held = forecasts_of(artifact_path, episodes.path, shown, crew, within_s)
        frames = [len(run.judged_T) for run in known]
        seen = [
            HeldOut(first_of(episodes.episode(name), count), latent_TD[:count], run)
            for (name, latent_TD), run, count in zip(shown, known, frames)
        ]
        ahead = pictures_ahead(codec, seen)
    variance_D = np.array(artifact.manifest.latent_variance)
    return {
        "episodes": {"pictures": len(names), "forecasts": len(shown), "forecast_frames": sum(frames)},
        "psnr_db": {"truth, decoded": psnr_entry(np.concatenate(decoded)), "ahead": ahead},
        "nmse": {"recorded": _nmse(known, variance_D), "held": _nmse(held, variance_D)},
    }, seen


def psnr_entry(psnr_N: np.ndarray) -> dict[str, Any]:
    """Return the mean over pictures, the PSNR of their mean squared error, and how many they are."""
    if not len(psnr_N):
        return {"mean": None, "pooled": None, "n": 0}
    pooled = -10.0 * np.log10(np.mean(10.0 ** (-psnr_N / 10.0)))
    return {"mean": round(float(psnr_N.mean()), 2), "pooled": round(float(pooled), 2), "n": len(psnr_N)}


def pictures_ahead(codec: Codec, seen: Sequence[HeldOut]) -> dict[str, Any]:
    """Return PSNR [dB] by seconds ahead, then by what said so, then by ``all | revisit | first``.

    ``truth, decoded`` is what the decoder makes of the latent that came: no forecast can be better. ``nothing changes``
    is the present picture itself.
    """
    result: dict[str, Any] = {}
    for step in SHOWN:
        column = HORIZONS.index(step)
        scores: dict[str, list[np.ndarray]] = {}
        revisit = []
        for each in seen:
            rows = shown_rows(each, column)
            revisit.append(each.forecasts.revisit_TH[rows, column])
            for name, psnr_N in _of_rows(codec, each, rows, column).items():
                scores.setdefault(name, []).append(psnr_N)
        is_revisit_N = np.concatenate(revisit)
        result[f"{step} steps"] = {
            name: {
                kind: psnr_entry(np.concatenate(parts)[chosen_N])
                for kind, chosen_N in (
                    ("all", np.ones_like(is_revisit_N)),
                    ("revisit", is_revisit_N),
                    ("first", ~is_revisit_N),
                )
            }
            for name, parts in scores.items()
        }
    return result


def shown_rows(held_out: HeldOut, column: int, count: int = _ROWS_PER_EPISODE) -> np.ndarray:
    """Return some judged rows of an episode, evenly spread, whose target at a horizon was seen."""
    run = held_out.forecasts
    rows = np.flatnonzero(run.judged_T & (run.target_row_TH[:, column] >= 0))
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)] if len(rows) else rows


def forecasts_of(
    artifact_path: Path,
    data: Path,
    shown: Sequence[tuple[str, np.ndarray]],
    crew: Crew,
    within_s: float = math.inf,
) -> tuple[list[EpisodeForecasts], list[EpisodeForecasts]]:
    """Return the forecasts of some episodes with recorded future actions, and with the last action held.

    The first have ``without memory`` too, the network that was trained without.

    Args:
        artifact_path: Artifact folder.
        data: Set that the episodes are in.
        shown: Their names and latents [T, D].
        crew: Who makes them.
        within_s: About how long it may take [s]; longer episodes are cut to as many frames as that allows.
    """
    jobs = [(*each, kind) for kind in ("recorded", "held", WITHOUT) for each in shown]
    work = partial(_forecast, artifact_path, data)
    most = _frames_within(crew, artifact_path, data, shown[0], within_s, -(-len(jobs) // crew.workers))
    found = [run for run in crew.map(work, [(name, z_TD[:most], kind) for name, z_TD, kind in jobs]) if run]
    count = len(shown)
    known, held, without = found[:count], found[count : 2 * count], found[2 * count :]
    for run, other in zip(known, without):
        run.forecast[WITHOUT] = other.forecast[WITHOUT]
    return known, held


def first_of(episode: Episode, frames: int) -> Episode:
    """Return the first frames of an episode."""
    if frames >= len(episode):
        return episode
    return episode.cut(0.0, float(episode.stamp_T[frames] - episode.stamp_T[0]) * 1e-9)


def _frames_within(
    crew: Crew, artifact_path: Path, data: Path, first: tuple[str, np.ndarray], within_s: float, turns: int
) -> int | None:
    """Return how many frames can be forecast so often one after another, by what a few take; None: all.

    All processes are tried at a time, as they will be busy later.
    """
    if within_s == math.inf:
        return None
    begun_s = time.monotonic()
    name, latent_TD = first
    tries = [(name, latent_TD[:_TRIED_FRAMES])] * crew.workers
    taken = [seconds for seconds in crew.map(partial(_tried_s, artifact_path, data), tries) if seconds is not None]
    left_s = within_s - (time.monotonic() - begun_s)
    return max(int(left_s / turns / max(taken) * _TRIED_FRAMES), _LEAST_FRAMES)


def _tried_s(artifact_path: Path, data: Path, job: tuple[str, np.ndarray]) -> float:
    """Return how long one pass along some frames takes [s], after another."""
    artifact = load_artifact(artifact_path)
    _forecast_with(artifact, data, (*job, "recorded"))
    begun_s = time.perf_counter()
    _forecast_with(artifact, data, (*job, "recorded"))
    return time.perf_counter() - begun_s


def _forecast(artifact_path: Path, data: Path, job: tuple[str, np.ndarray, str]) -> EpisodeForecasts:
    return _forecast_with(load_artifact(artifact_path), data, job)


def _forecast_with(artifact: Artifact, data: Path, job: tuple[str, np.ndarray, str]) -> EpisodeForecasts:
    """Return one pass along an episode's first frames; of the network without memory nothing but its forecasts."""
    name, latent_TD, kind = job
    episode = first_of(EpisodeSet(data).episode(name), len(latent_TD))
    unit_D = np.array(artifact.manifest.latent_variance)
    seen = SeenEpisode((Stretch(0, len(episode), latent_TD, unit_D),))
    if kind == WITHOUT:
        known = known_to(artifact, episode)
        said_THD = run_online(episode, known, seen, artifact, HORIZONS, True, use_memory=False).latent_THD
        nothing = np.empty(0)
        return EpisodeForecasts(
            name, nothing, nothing, nothing, nothing, {WITHOUT: said_THD}, nothing, nothing, nothing
        )
    (run,) = forecast_episode(episode, artifact, HORIZONS, known_future=kind == "recorded", only_ours=True, seen=seen)
    return run


def _decoded(codec: Codec, episode: Episode, latent_TD: np.ndarray) -> np.ndarray:
    rows = np.linspace(0, len(episode) - 1, min(_DECODED_PER_EPISODE, len(episode))).astype(int)
    return _psnr(codec.decode(latent_TD[rows]), np.asarray(episode.image_TSSC)[rows])


def _of_rows(codec: Codec, held_out: HeldOut, rows: np.ndarray, column: int) -> dict[str, np.ndarray]:
    """Return the PSNR of each row's picture at a horizon, by what said so."""
    run, image_TSSC = held_out.forecasts, np.asarray(held_out.episode.image_TSSC)
    target_N = run.target_row_TH[rows, column]
    truth_NSSC = image_TSSC[target_N]
    said = {name: run.forecast[name][rows, column] for name in _JUDGED if name in run.forecast}
    scores = {name: _psnr(codec.decode(latent_ND), truth_NSSC) for name, latent_ND in said.items()}
    scores["truth, decoded"] = _psnr(codec.decode(held_out.latent_TD[target_N]), truth_NSSC)
    return {**scores, "nothing changes": _psnr(image_TSSC[rows], truth_NSSC)}


def _psnr(image_NSSC: np.ndarray, truth_NSSC: np.ndarray) -> np.ndarray:
    score_N: np.ndarray = psnr_per_picture(torch.from_numpy(image_NSSC), torch.from_numpy(truth_NSSC)).numpy()
    return score_N


def _nmse(runs: Sequence[EpisodeForecasts], variance_D: np.ndarray) -> dict[str, Any]:
    scores = score(runs, [np.empty(0)] * len(runs), variance_D, None)
    return summary(scores, HORIZONS, "latent")


def _parts(count: int) -> range:
    return range(0, count, _BATCH)
