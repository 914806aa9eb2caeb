"""How far ahead is what is imagined right? Errors against time ahead, on revisits and first visits; PSNR; a film strip.

Shape suffixes: N = moments, H = times ahead, S = image side, C = colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from world_model.data.bags import with_actions_of
from world_model.data.episodes import Episode
from world_model.errors import DataError
from world_model.evaluation.figures import decoded, psnr
from world_model.evaluation.imagined_episode import (
    HONEST_BASE,
    METHODS,
    WITH_MEMORY,
    WITHOUT_MEMORY,
    ImaginedEpisode,
    imagine_episode,
)
from world_model.evaluation.intervals import block_sums, mean_interval, ratio_interval
from world_model.evaluation.options import EvaluationOptions
from world_model.evaluation.report import about, check_length, load_episodes
from world_model.runtime.artifacts import Artifact, load_artifact

matplotlib.use("Agg")
from matplotlib import pyplot as plt

TIMES_S = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
KINDS = {"revisit": True, "first": False}
# Errors of neighbouring moments are alike: so many are drawn again as one.
_BLOCK = 4
_SHOWN = 6


def evaluate_imagination(
    model_path: str, options: EvaluationOptions, every_s: float = 0.5, say: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, Any], list[Episode], list[ImaginedEpisode]]:
    """Return the evaluation as JSON-ready entries, the episodes, and what was imagined of each.

    ``error`` holds, by method, time ahead [s] and ``revisit | first``, mean NMSE with its 95 % interval; ``ratio`` the
    imagined with memory over the honest base; ``pose`` what the motion model missed, beside what it said it would;
    ``uncertainty`` how well the error expected goes along with the error (rank correlation).

    Args:
        model_path: Artifact.
        options: What is evaluated; its horizons are not looked at.
        every_s: Time between two moments that are imagined from [s].
        say: Told how it goes.

    Raises:
        DataError: The data cannot be read, or nothing of it can be imagined.
    """
    if not 0.0 <= every_s < float("inf"):
        raise DataError(f"moments {every_s} s apart, expected 0 s (each frame) or more")
    artifact = load_artifact(model_path)
    episodes = load_episodes(options, artifact, say)
    check_length(options, episodes, artifact.manifest.step_s)
    artifact = with_actions_of(episodes, artifact, say)
    steps = sorted({max(round(time_s / artifact.manifest.step_s), 1) for time_s in TIMES_S})
    work = partial(_imagine, model_path, steps, every_s, options.start_s)
    say(
        f"{len(episodes)} episode(s), {sum(len(episode) for episode in episodes)} frames, up to {TIMES_S[-1]:g} s ahead"
    )
    if options.workers > 1 and len(episodes) > 1:
        with ProcessPoolExecutor(options.workers, mp_context=torch.multiprocessing.get_context("spawn")) as pool:
            every = list(pool.map(work, episodes))
    else:
        every = [work(episode) for episode in episodes]
    pairs = [(episode, found) for episode, found in zip(episodes, every) if found is not None]
    if not pairs:
        raise DataError(
            f"{options.data}: nothing could be imagined: no {TIMES_S[-1]:g} s of known actions in one basis"
        )
    found = [each for _, each in pairs]
    times = [f"{step * artifact.manifest.step_s:g}" for step in steps]
    result = summarised(found, times)
    result["psnr_db"] = qualities(artifact, [episode for episode, _ in pairs], found, times)
    result["about"] = about(artifact, options, episodes, 0.0) | {"every_s": every_s}
    return result, [episode for episode, _ in pairs], found


def _imagine(
    model_path: str, steps: Sequence[int], every_s: float, start_s: float, episode: Episode
) -> ImaginedEpisode | None:
    torch.set_num_threads(1)
    try:
        artifact = load_artifact(model_path).with_actions(episode.action_TA.shape[1])
        return imagine_episode(episode, artifact, steps, every_s=every_s, start_s=max(start_s, 20.0))
    except DataError:
        return None


def summarised(found: Sequence[ImaginedEpisode], times: Sequence[str]) -> dict[str, Any]:
    """Return errors, ratios and the rest over all moments of some episodes.

    Args:
        found: The episodes.
        times: Names of the times ahead, H.
    """
    error = {name: np.concatenate([each.error[name] for each in found]) for name in METHODS}
    revisit_NH = np.concatenate([each.revisit_NH for each in found])
    counts = [len(each.row_N) for each in found]
    # No block reaches from one episode into the next.
    block_N = np.concatenate([at * 100_000 + np.arange(count) // _BLOCK for at, count in enumerate(counts)])
    result: dict[str, Any] = {"error": {}, "ratio": {}, "pose": {}, "uncertainty": {}, "gate": {}}
    for name, error_NH in error.items():
        result["error"][name] = {
            time: {kind: mean_interval(error_NH[:, h], revisit_NH[:, h] == flag, block_N)
                   for kind, flag in KINDS.items()}
            for h, time in enumerate(times)
        }  # fmt: skip
    uncertainty_NH = np.concatenate([each.uncertainty_NH for each in found])
    gate_NH, missed_NH2 = (np.concatenate([getattr(each, n) for each in found]) for n in ("gate_NH", "missed_NH2"))
    for h, time in enumerate(times):
        pair_N2 = np.column_stack([error[WITH_MEMORY][:, h], error[HONEST_BASE][:, h]])
        known_N = np.isfinite(pair_N2).all(axis=1)
        chosen = {kind: known_N & (revisit_NH[:, h] == flag) for kind, flag in KINDS.items()}
        result["ratio"][time] = {k: ratio_interval(block_sums(pair_N2[c], block_N[c])) for k, c in chosen.items()}
        result["gate"][time] = {k: round(float(gate_NH[c, h].mean()), 4) for k, c in chosen.items() if c.any()}
        result["pose"][time] = _pose_figures(missed_NH2[:, h])
        result["uncertainty"][time] = {
            "rank_correlation": _rank_correlation(uncertainty_NH[known_N, h], pair_N2[known_N, 0]),
            "expected": _mean(uncertainty_NH[known_N, h]), "error": _mean(pair_N2[known_N, 0]),
        }  # fmt: skip
    return result


def _pose_figures(missed_N2: np.ndarray) -> dict[str, float | None]:
    missed_N2 = missed_N2[np.isfinite(missed_N2).all(axis=1)]
    rms_N2 = np.sqrt(np.square(missed_N2).mean(axis=0)) if len(missed_N2) else np.full(2, np.nan)
    return {"missed_m": _mean(rms_N2[:1]), "told_m": _mean(rms_N2[1:])}


def _mean(value_N: np.ndarray) -> float | None:
    return round(float(value_N.mean()), 4) if len(value_N) and np.isfinite(value_N).all() else None


def _rank_correlation(first_N: np.ndarray, second_N: np.ndarray) -> float | None:
    if len(first_N) < 3:
        return None
    rank_2N = np.argsort(np.argsort(np.stack([first_N, second_N]), axis=1), axis=1)
    return round(float(np.asarray(np.corrcoef(rank_2N))[0, 1]), 3)


# ---------------------------------------------------------------- pictures


def qualities(
    artifact: Artifact, episodes: Sequence[Episode], found: Sequence[ImaginedEpisode], times: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the PSNR [dB] of pictures of what was imagined, on revisits, by time ahead and kind of picture."""
    result: dict[str, dict[str, float]] = {}
    for h, time in enumerate(times):
        parts: dict[str, list[np.ndarray]] = {}
        for episode, each in zip(episodes, found):
            rows = np.flatnonzero(each.revisit_NH[:, h] & (each.target_NH[:, h] >= 0) & (each.remembered_NH[:, h] >= 0))
            for name, images in _pictures(artifact, episode, each, rows, h).items():
                parts.setdefault(name, []).append(images)
        joined = {name: np.concatenate(images) for name, images in parts.items()}
        truth = joined.pop("seen", np.empty(0))
        result[time] = {n: round(psnr(images, truth), 2) for n, images in joined.items() if len(truth)}
    return result


def _pictures(
    artifact: Artifact, episode: Episode, found: ImaginedEpisode, rows: np.ndarray, h: int
) -> dict[str, np.ndarray]:
    """Return what was seen, and pictures of what was imagined for then, by kind, [rows, S, S, C]."""
    images = np.asarray(episode.image_TSSC)
    pictures = {"seen": images[found.target_NH[rows, h]], "remembered": images[found.remembered_NH[rows, h]]}
    if artifact.has("decoder") and len(rows):
        decoder = artifact.decoder()
        pictures |= {name: decoded(decoder, found.latent[name][rows, h]) for name in (WITH_MEMORY, WITHOUT_MEMORY)}
    return pictures


def draw(
    folder: Path,
    result: dict[str, Any],
    artifact: Artifact,
    episodes: Sequence[Episode],
    found: Sequence[ImaginedEpisode],
) -> None:
    """Write ``error_over_time.png`` and ``film.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, kind in zip(axes, KINDS):
        for name in METHODS:
            cells = {float(time): cell[kind]["mean"] for time, cell in result["error"][name].items()}
            points = [(time, mean) for time, mean in cells.items() if mean is not None]
            if points:
                axis.plot(*zip(*points), marker="o", label=name)
        axis.set(title={"revisit": "revisits", "first": "first visits"}[kind], xlabel="time ahead [s]")
    axes[0].set_ylabel("NMSE of the latent")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(folder / "error_over_time.png", dpi=120)
    plt.close(figure)
    _draw_film(folder / "film.png", artifact, episodes[0], found[0], list(result["error"][WITH_MEMORY]))


def _draw_film(path: Path, artifact: Artifact, episode: Episode, found: ImaginedEpisode, times: Sequence[str]) -> None:
    """Draw one moment's future, as it came and as it was imagined; the moment whose revisit reaches furthest."""
    complete_NH = (found.target_NH >= 0) & (found.remembered_NH >= 0) & found.revisit_NH
    row = np.array([int(complete_NH.sum(axis=1).argmax())])
    columns = [h for h in range(len(times)) if complete_NH[row[0], h]][-_SHOWN:]
    if not columns:
        return
    by_column = [_pictures(artifact, episode, found, row, h) for h in columns]
    names = list(by_column[0])
    figure, axes = plt.subplots(len(names), len(columns), figsize=(1.7 * len(columns), 1.8 * len(names)), squeeze=False)
    for line, name in zip(axes, names):
        for axis, pictures, h in zip(line, by_column, columns):
            axis.imshow(pictures[name][0])
            axis.set(xticks=[], yticks=[], title=f"{times[h]} s" if name == names[0] else "")
        line[0].set_ylabel(name, fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def table(result: dict[str, Any]) -> str:
    """Return one Markdown table: methods by time ahead, revisits and first visits."""
    times = list(result["ratio"])
    lines = ["| method | " + " | ".join(f"{time} s rev | {time} s first" for time in times) + " |"]
    lines.append("|---" * (2 * len(times) + 1) + "|")
    for name in METHODS:
        means = [result["error"][name][time][kind]["mean"] for time in times for kind in KINDS]
        lines.append(f"| {name} | " + " | ".join("-" if mean is None else f"{mean:.3f}" for mean in means) + " |")
    return "\n".join(lines)
