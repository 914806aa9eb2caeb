"""The report folder: error over horizon, decoded futures beside the truth, a map of the latent space, all numbers.

Shape suffixes: N = samples, D = latent size, S = image side.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from world_model.data.encoding import encode_episode
from world_model.data.episodes import Episode
from world_model.evaluation.report import table, write_json
from world_model.evaluation.runner import EpisodeForecasts
from world_model.runtime.artifacts import Artifact, load_artifact

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_SHOWN = ("ours", "without memory", "nearest memory at forecast pose", "persistence", "ridge regression")
_PICTURES = 5
_MAP_STATES = 1500


def write_report(
    folder: Path,
    result: dict[str, Any],
    model_path: str,
    episodes: Sequence[Episode],
    forecasts: Sequence[EpisodeForecasts],
) -> None:
    """Write ``report.md``, ``numbers.json`` and the figures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    artifact = load_artifact(model_path)
    plot_horizons(result, folder / "error_over_horizon.png")
    quality = plot_futures(artifact, episodes[0], forecasts[0], folder / "futures.png")
    plot_map(artifact, episodes[0], folder / "latent_map.png")
    result["decoded"] = quality
    write_json(result, folder / "numbers.json")
    (folder / "report.md").write_text(_markdown(result))


def plot_horizons(result: dict[str, Any], path: Path) -> None:
    """Draw error over horizon, revisits and first visits apart."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    for axis, kind in zip(axes, ("revisit", "first")):
        for name in _SHOWN:
            by_step = result.get(name)
            if by_step is None:
                continue
            points = [(int(step), cell[kind]) for step, cell in by_step.items() if cell[kind] is not None]
            axis.plot(*zip(*points), marker="o", label=name)
        axis.set(title={"revisit": "revisits", "first": "first visits"}[kind], xlabel="steps ahead", xscale="log")
        steps = [int(step) for step in result[_SHOWN[0]]]
        axis.set_xticks(steps, [str(step) for step in steps])
        axis.minorticks_off()
        if not axis.has_data():
            axis.text(0.5, 0.5, "none were judged", ha="center", va="center", transform=axis.transAxes)
    axes[0].set_ylabel("NMSE of the latent")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def plot_futures(artifact: Artifact, episode: Episode, forecasts: EpisodeForecasts, path: Path) -> dict[str, float]:
    """Draw decoded futures 1 s ahead beside the truth; return the PSNR [dB] of each kind over its revisits."""
    column = int(np.argmin(np.abs(np.arange(forecasts.gate_TH.shape[1]) - 3)))
    names = [name for name in ("ours", "without memory") if name in forecasts.forecast]
    rows = np.flatnonzero(
        forecasts.revisit_TH[:, column] & (forecasts.target_row_TH[:, column] >= 0) & forecasts.judged_T
    )
    if not len(rows) or not artifact.has("decoder"):
        return {}
    rows = rows[np.linspace(0, len(rows) - 1, min(200, len(rows))).astype(int)]
    decoder = artifact.decoder()
    truth_NSSC = np.array(episode.image_TSSC[forecasts.target_row_TH[rows, column]])
    pictures = {"truth": truth_NSSC, "truth, decoded": decoded(decoder, forecasts.target_THD[rows, column])}
    pictures |= {name: decoded(decoder, forecasts.forecast[name][rows, column]) for name in names}
    shown = np.linspace(0, len(rows) - 1, _PICTURES).astype(int)
    figure, axes = plt.subplots(len(pictures), _PICTURES, figsize=(2 * _PICTURES, 2 * len(pictures)), squeeze=False)
    for line, (name, images) in zip(axes, pictures.items()):
        for axis, index in zip(line, shown):
            axis.imshow(images[index])
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return {
        f"psnr_db, {name}": round(psnr(images, truth_NSSC), 2) for name, images in pictures.items() if name != "truth"
    }


def psnr(image_NSSC: np.ndarray, truth_NSSC: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of uint8 images [dB]."""
    error = float(np.mean((image_NSSC.astype(np.float32) - truth_NSSC.astype(np.float32)) ** 2))
    return float(10 * np.log10(255.0**2 / max(error, 1e-9)))


def plot_map(artifact: Artifact, episode: Episode, path: Path) -> None:
    """Draw a t-SNE map of the latents, coloured by place along x, along y, and by yaw."""
    # Only reports need scikit-learn.
    from sklearn.manifold import TSNE

    rows = np.flatnonzero(np.isfinite(episode.pose_T4).all(axis=1))
    rows = rows[:: max(len(rows) // _MAP_STATES, 1)]
    if len(rows) < 50:
        return
    latent_ND = encode_episode(artifact.encoder(), episode, artifact.manifest.inputs)[rows]
    point_N2 = TSNE(init="pca", random_state=0, perplexity=30).fit_transform(latent_ND)
    pose_N4 = np.asarray(episode.pose_T4)[rows]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    for axis, (name, value, colours) in zip(
        axes,
        (
            ("x [m]", pose_N4[:, 0], "viridis"),
            ("y [m]", pose_N4[:, 1], "viridis"),
            ("yaw [rad]", pose_N4[:, 3], "twilight"),
        ),
    ):
        dots = axis.scatter(*point_N2.T, c=value, cmap=colours, s=4)
        axis.set(title=name, xticks=[], yticks=[])
        figure.colorbar(dots, ax=axis)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def decoded(decoder: torch.jit.ScriptModule, latent_ND: np.ndarray) -> np.ndarray:
    """Return what a decoder makes of latents, [N, S, S, C] uint8."""
    with torch.inference_mode():
        picture: np.ndarray = decoder(torch.from_numpy(np.ascontiguousarray(latent_ND, np.float32))).numpy()
        return picture


def _markdown(result: dict[str, Any]) -> str:
    lines = [f"# Evaluation of {result['about']['artifact']} on {result['about']['options']['data']}", ""]
    lines += ["```json", json.dumps(result["about"], indent=1), "```", ""]
    for future in ("recorded", "held"):
        for space, by_name in result["details"][future].items():
            if space in ("ratio_to", "gate"):
                continue
            degrade = degrades_at(by_name)
            lines += [f"## {space}, {future} future actions", "", table(result, future, space), "", degrade, ""]
    lines += [
        "## Ours over others",
        "",
        "```json",
        json.dumps(result["details"]["recorded"]["ratio_to"], indent=1),
        "```",
        "",
    ]
    lines += ["## Cost [ms, one core]", "", "```json", json.dumps(result["cost"], indent=1), "```", ""]
    lines += ["## Decoded, 1 s ahead", "", "```json", json.dumps(result.get("decoded", {}), indent=1), "```", ""]
    return "\n".join(lines)


def degrades_at(by_name: dict[str, Any]) -> str:
    """Return at which horizon our forecast stops being better than predicting the mean."""
    found = {}
    for kind in ("revisit", "first"):
        over = [int(step) for step, cell in by_name["ours"].items() if (cell[kind]["mean"] or 0.0) >= 1.0]
        found[kind] = f"from {min(over)} steps on" if over else "at none of these horizons"
    return f"Ours is no better than the mean on revisits {found['revisit']}, on first visits {found['first']}."
