"""What a prior is worth among the experts: ours beside ours without it, on the same frames, and beside each alone.

Errors count in each recording's own variance, from the tenth second after the slowest horizon's first forecast came
true, as `wm evaluate` counts them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from world_model.data.episodes import Episode, EpisodeSet
from world_model.evaluation.comparable import in_own_unit, settled
from world_model.evaluation.intervals import block_sums, ratio_interval
from world_model.evaluation.runner import forecast_episode, name_without
from world_model.evaluation.scores import Scores, score
from world_model.runtime.artifacts import Artifact, load_artifact
from world_model.runtime.switches import PRIOR

OURS, WITHOUT = "ours", name_without(PRIOR)
SINGLES = ("persistence", "running mean", "online ridge", "nearest memory at forecast pose", "mean of 4 nearest")
PARTS = {"prior_with_memory": "ours, network alone", "prior_without_memory": "network without memory"}
# Fewer frames say nothing.
LEAST = 100


def main() -> None:
    """Measure one artifact on converted sets, and print what came."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prior", description=__doc__)
    parser.add_argument("artifact")
    parser.add_argument("sets", type=Path, nargs="+", help="converted sets")
    parser.add_argument("--horizons", type=int, nargs="+", default=[1, 20], help="steps ahead")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    artifact, result = load_artifact(options.artifact), {}
    for path in options.sets:
        episodes = list(EpisodeSet(path).episodes())
        result[path.name] = worth(artifact, episodes, options.horizons)
        for line in lines(path.name, result[path.name]):
            print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def worth(artifact: Artifact, episodes: Sequence[Episode], horizons: Sequence[int]) -> dict[str, Any]:
    """Return ``{"known" | "held": {HORIZON_S: {"revisits" | "first": {name: NMSE, "n", "ratio", "interval", ..}}}}``.

    ``ratio`` is ours over ours without the prior, ``interval`` its 95 % bounds by paired block bootstrap, ``to_best``
    ours over the best single of ``SINGLES``.

    Args:
        artifact: With a prior.
        episodes: What it has not seen.
        horizons: Steps ahead.
    """
    step_s, result = artifact.manifest.step_s, {}
    for future, known in (("known", True), ("held", False)):
        runs, images = [], []
        for episode in episodes:
            made = forecast_episode(episode, artifact, horizons, known_future=known, without=(PRIOR,), only_ours=True)
            runs += [in_own_unit(settled(run, episode, max(horizons) * step_s)) for run in made]
            images += [np.asarray(episode.image_TSSC)] * len(made)
        scores = score(runs, images, np.ones(artifact.manifest.z_dim), None)
        result[future] = {
            str(round(step * step_s, 6)): {
                kind: _cell(scores, column, revisit) for kind, revisit in (("revisits", True), ("first", False))
            }
            for column, step in enumerate(horizons)
        }
    return result


def _cell(scores: Scores, column: int, revisit: bool) -> dict[str, Any]:
    errors = {name: error_NH[:, column] for name, error_NH in scores.error["latent"].items()}
    good_N = (scores.revisit_NH[:, column] == revisit) & np.isfinite(errors[OURS])
    if good_N.sum() < LEAST:
        return {"n": int(good_N.sum())}
    sums = block_sums(np.column_stack([errors[OURS], errors[WITHOUT]])[good_N], scores.block_N[good_N])
    means = {name: float(error_N[good_N].mean()) for name, error_N in errors.items()}
    ratio, best = ratio_interval(sums), min(SINGLES, key=means.__getitem__)
    told = {"ours": OURS, "without_prior": WITHOUT, **PARTS, **{name.replace(" ", "_"): name for name in SINGLES}}
    return {name: round(means[theirs], 5) for name, theirs in told.items()} | {
        "n": int(good_N.sum()),
        "ratio": ratio["ratio"],
        "interval": [ratio["low"], ratio["high"]],
        "best_single": best,
        "to_best": round(means[OURS] / means[best], 4),
    }


def lines(name: str, result: dict[str, Any]) -> list[str]:
    """Return a line for each cell."""
    said = []
    for future, by_horizon in result.items():
        for horizon, kinds in by_horizon.items():
            for kind, cell in kinds.items():
                where = f"{name} {future} {horizon} s {kind} n {cell['n']}"
                if "ratio" not in cell:
                    said.append(where)
                    continue
                said.append(
                    f"{where}: ours {cell['ours']:.4f}, without prior {cell['without_prior']:.4f}, ratio "
                    f"{cell['ratio']:.3f} {cell['interval']}, over {cell['best_single']} {cell['to_best']:.3f}; prior "
                    f"alone {cell['prior_with_memory']:.4f}, without memory {cell['prior_without_memory']:.4f}"
                )
    return said


if __name__ == "__main__":
    main()
