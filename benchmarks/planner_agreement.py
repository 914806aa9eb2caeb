"""Which ranks plans better: all steps forecast in one call, or one after another? Both beside what is really seen.

Plans are those that a search begins with, which neither way has chosen. Of these only such count as lead over ground
that was seen before and is free: what is seen elsewhere nobody can know, and where a robot bumps into a wall it is not.

Shape suffixes: B = plans, S = steps, A = action size, D = latent size, N = memories, 2 = x, y, 3 = (x, y, yaw).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from latent_planner.costs import Imagined
from latent_planner.imagination import Imagination, Standpoint
from latent_planner.optimisers import Cem, SearchSettings

from benchmarks.planner_loop import StepByStep, rank_correlation
from benchmarks.planning_figures import interval
from latent_publisher.encoder import Encoder
from wm_core.memory.window import Window
from wm_sim import Simulation
from world_model.runtime.artifacts import Artifact

KNOWN_M, SAMPLED, JUDGED, FEWEST = 0.5, 768, 64, 16
BODY_M = 0.2


class Deciding(Protocol):
    """A search from one place, as ``benchmarks.planner.Decision`` is one."""

    window: Window
    begun: Standpoint
    imagination: Imagination
    before_A: np.ndarray

    def cost_of(self, imagined: Imagined, latent_BSD: np.ndarray) -> np.ndarray:
        """Return what plans cost with latents from elsewhere."""


def first_plans(decision: Deciding, limits: Any, seed: int) -> np.ndarray:
    """Return the plans that a search from standing still samples first, [B, S, A]."""
    kept: list[np.ndarray] = []

    def evaluate(plan_BSA: np.ndarray) -> np.ndarray:
        kept.append(plan_BSA)
        return np.zeros(len(plan_BSA))

    settings = SearchSettings(plans=SAMPLED, iterations=1)
    Cem(limits, settings, seed).plan(evaluate, decision.begun.pose_3, decision.before_A)
    return kept[0]


def placed(pose_BS3: np.ndarray, from_3: np.ndarray, to_3: np.ndarray) -> np.ndarray:
    """Return the ways that begin at one pose as they are when begun at another, [B, S, 3]."""
    turn = to_3[2] - from_3[2]
    cosine, sine = np.cos(turn), np.sin(turn)
    x_BS, y_BS = pose_BS3[..., 0] - from_3[0], pose_BS3[..., 1] - from_3[1]
    moved = to_3[0] + cosine * x_BS - sine * y_BS, to_3[1] + sine * x_BS + cosine * y_BS, pose_BS3[..., 2] + turn
    return np.stack(moved, axis=-1)


def furthest_m(pose_BS3: np.ndarray, memory_N3: np.ndarray) -> np.ndarray:
    """Return how far each way leads from the memories, a radian counting a metre, [B]."""
    less_BSN3 = pose_BS3[:, :, None] - memory_N3
    turn_BSN = np.abs((less_BSN3[..., 2] + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray((np.hypot(less_BSN3[..., 0], less_BSN3[..., 1]) + turn_BSN).min(axis=2).max(axis=1))


def clear(run: Simulation, pose_BS3: np.ndarray) -> np.ndarray:
    """Return along which ways the robot touches nothing, as things stand now, bool [B]."""
    building = run.building
    start_W2, along_W2 = building.wall_start_S2, building.wall_end_S2 - building.wall_start_S2
    offset = pose_BS3[..., None, :2] - start_W2
    share = np.clip((offset * along_W2).sum(-1) / (along_W2**2).sum(-1), 0.0, 1.0)[..., None]
    walls_m = np.linalg.norm(offset - share * along_W2, axis=-1).min(axis=(1, 2))
    body_N2, radius_N = run.bodies
    if not len(radius_N):
        return np.asarray(walls_m > BODY_M)
    bodies_m = (np.linalg.norm(pose_BS3[..., None, :2] - body_N2, axis=-1) - radius_N).min(axis=(1, 2))
    return np.asarray(np.minimum(walls_m, bodies_m) > BODY_M)


def compared(
    decision: Deciding,
    artifact: Artifact,
    encoder: Encoder,
    run: Simulation,
    here_3: np.ndarray,
    plan_BSA: np.ndarray,
    memory_N3: np.ndarray,
) -> dict[str, float] | None:
    """Return rank correlations of costs, squared errors 2 s ahead and what the choice costs; None: too few plans.

    Args:
        decision: From where.
        artifact: Whose forecaster.
        encoder: What makes latents of what is really seen.
        run: The simulation, at the same moment.
        here_3: Where the robot really is.
        plan_BSA: Plans, of which some count.
        memory_N3: Where memories are.
    """
    pose_BS3 = decision.imagination.rolled_out(plan_BSA)
    true_BS3 = placed(pose_BS3, np.asarray(decision.begun.pose_3), here_3)
    counts_B = clear(run, true_BS3) & (furthest_m(pose_BS3, memory_N3) < KNOWN_M)
    some = np.flatnonzero(counts_B)[:JUDGED]
    if len(some) < FEWEST:
        return None
    imagined = decision.imagination.imagine(plan_BSA[some])
    assert imagined.latent_BSD is not None
    latents = {
        "one_call": imagined.latent_BSD,
        "steps": StepByStep(artifact, decision.imagination, decision.window).imagine(decision.begun, plan_BSA[some]),
    }
    seen = [[encoder.encode(run.view((x, y, yaw))[0]) for x, y, yaw in way] for way in true_BS3[some].tolist()]
    return ranked(decision, imagined, latents, np.array(seen), np.array(artifact.manifest.latent_variance))


def ranked(
    decision: Deciding, imagined: Imagined, latents: dict[str, np.ndarray], seen_BSD: np.ndarray, variance_D: np.ndarray
) -> dict[str, float]:
    """Return how well each way's costs rank plans, beside what is really seen."""
    true_B = decision.cost_of(imagined, seen_BSD)
    cost = {name: decision.cost_of(imagined, latent_BSD) for name, latent_BSD in latents.items()}
    found = {"plans": float(len(true_B)), "one_call_and_steps": rank_correlation(cost["one_call"], cost["steps"])}
    for name, latent_BSD in latents.items():
        found[f"{name}_and_truth"] = rank_correlation(cost[name], true_B)
        found[f"{name}_nmse"] = float(np.mean((latent_BSD - seen_BSD)[:, -1] ** 2 / variance_D))
        # What the plan that seems best really costs beyond the best.
        found[f"{name}_regret"] = float(true_B[cost[name].argmin()] - true_B.min())
    return found


def summed_up(found: Sequence[tuple[int, dict[str, float]]]) -> dict[str, Any]:
    """Return the means over places with 95 % intervals over buildings, and how the two ways differ.

    Args:
        found: Seed of the building and what ``compared`` found, for every place.
    """
    seeds = sorted({seed for seed, _ in found})

    def by_building(name: str) -> np.ndarray:
        return np.array([np.mean([each[name] for seed, each in found if seed == own]) for own in seeds])

    names = [name for name in found[0][1] if name != "plans"]
    values = {name: by_building(name) for name in names}
    for name in ("and_truth", "nmse", "regret"):
        values[f"one_call_less_steps_{name}"] = values[f"one_call_{name}"] - values[f"steps_{name}"]
    told = {name: {"mean": round(float(v.mean()), 3), "interval": interval(v)} for name, v in values.items()}
    return {"places": len(found), "buildings": len(seeds), **told}
