"""Many plans imagined at once: where they lead, what was seen there, and what would be seen, all steps in one call.

Every step of a plan is forecast from the present, at the pose to which the motion model takes the plan by then, with
the memories around that pose. Nothing is fed back, so that a hundred plans of ten steps are one batch.

Shape suffixes: B = plans, S = steps, A = action size, D = latent size, K = neighbours, N = memories,
3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latent_planner.costs import Imagined
from latent_planner.on_gpu import Ahead, Begun, OnGpu, Table
from latent_planner.vehicle import Vehicle
from wm_core.memory.errors import QueryError
from wm_core.memory.packed import Neighbours
from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from world_model.errors import ArtifactError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import (
    Retrieval,
    age_feature,
    anticipated_features,
    motion_features,
    offsets_in_frame,
)
from world_model.runtime.cuda_graphs import CudaGraphs
from world_model.runtime.fused import FusedForecast
from world_model.runtime.motion_model import MotionModel, expected_error
from world_model.runtime.ranges import TrainingRange
from world_model.runtime.retrieved import MemoryRequest, Present, appearance_arrays
from world_model.runtime.tensors import Observed, Retrieved

TOP_K = 4
"""Memories per step: for the price of half as many as one forecast asks for, plans cost and rank the same."""


@dataclass(frozen=True)
class Standpoint:
    """From where plans are imagined.

    Attributes:
        stamp_ns: Of the newest latent [ns].
        pose_3: Where it was seen.
        latent_D: What was seen.
        state_1C: The transition's state before that; None: nothing was seen before.
    """

    stamp_ns: int
    pose_3: np.ndarray
    latent_D: np.ndarray
    state_1C: Tensor | None = None


class Imagination:
    """Imagines plans with one artifact, over the memories of one window.

    Args:
        artifact: With or without a transition; without one, what is remembered at a place is what will be seen there.
        vehicle: The robot's motion; its step is the artifact's.
        decision_s: Time of one step of a plan [s], a multiple of the vehicle's step.
        top_k: Memories per step.
        threads: How many parts of the plans are forecast at a time.
        use_memory: False imagines with the network that was trained without memory, for comparison.

    Attributes:
        transition: Whose context a ``Standpoint`` may carry.
        on_gpu: What imagines plans where the artifact lies on a GPU; None: they are imagined on the processor.

    Raises:
        ValueError: ``decision_s`` is no multiple of the vehicle's step.
    """

    def __init__(
        self, artifact: Artifact, vehicle: Vehicle, *, decision_s: float = 0.2, top_k: int = TOP_K,
        threads: int = 1, use_memory: bool = True,
    ) -> None:  # fmt: skip
        manifest = artifact.manifest
        self._repeat = round(decision_s / vehicle.step_s)
        if self._repeat < 1 or abs(self._repeat * vehicle.step_s - decision_s) > 1e-6:
            raise ValueError(f"decision_s is {decision_s} s, no multiple of the step {vehicle.step_s} s")
        self._manifest, self._vehicle, self._decision_s = manifest, vehicle, decision_s
        self.retrieval = Retrieval.from_manifest(manifest.memory)
        self._k = top_k
        self._motion = MotionModel.from_manifest(manifest.motion)
        self.transition = artifact.transition() if use_memory else artifact.without_memory()
        self._fused = _fused(artifact) if use_memory else None
        self.on_gpu = self._gpu(artifact)
        self._threads, self._pool = threads, ThreadPoolExecutor(threads) if threads > 1 else None
        mean_D, variance_D = np.array(manifest.latent_mean), np.array(manifest.latent_variance)
        has_network = artifact.has("transition")
        unbounded_D = variance_D if has_network else np.full_like(variance_D, np.inf)
        self._range = TrainingRange(artifact.action_statistics(), mean_D, unbounded_D)
        self._has_network = has_network
        self._held: tuple[int, int, int] | None = None
        self._window: Window | None = None
        self._begun: Standpoint | None = None

    def begin(self, standpoint: Standpoint, window: Window | None) -> None:
        """Take where the robot is, and the memories around it; both hold for every plan until the next call.

        Args:
            standpoint: Where it is.
            window: The memories, of this artifact's encoder; None: there are none.
        """
        self._take(window)
        self._begun = standpoint
        self._age_s_N = (standpoint.stamp_ns - self._stamp_N) * 1e-9
        self._appearance = self._resembling(standpoint)
        if self.on_gpu is not None:
            age_N = age_feature(self._age_s_N)
            self.on_gpu.begin(self._begun_there(standpoint), standpoint.pose_3, age_N, self._newest_ns(standpoint))

    def imagine(self, plan_BSA: np.ndarray) -> Imagined:
        """Return what would come of plans whose steps each last ``decision_s``.

        Raises:
            ValueError: ``begin`` was not called, or the window does not reach to where the plans lead.
        """
        if self._begun is None:
            raise ValueError("nothing to imagine from: begin was not called")
        if self.on_gpu is not None:
            latent_BSD, said_BS, pose_BS3 = self.on_gpu.imagine(self.ahead(plan_BSA))
            self._check_covered(pose_BS3)
            return Imagined(plan_BSA, pose_BS3, latent_BSD, 1.0 - said_BS)
        pose_BS3 = self.rolled_out(plan_BSA)
        size = -(-len(plan_BSA) // self._threads)
        parts = [slice(start, start + size) for start in range(0, len(plan_BSA), size)]

        def work(part: slice) -> tuple[np.ndarray, np.ndarray]:
            return self.foresee(plan_BSA[part], pose_BS3[part], self.look_up(pose_BS3[part]))

        found = map(work, parts) if self._pool is None else self._pool.map(work, parts)
        latents, said = (np.concatenate(values) for values in zip(*found))
        return Imagined(plan_BSA, pose_BS3, latents, 1.0 - said)

    def ahead(self, plan_BSA: np.ndarray) -> Ahead:
        """Return what plans bring with them to a GPU."""
        steps, response = plan_BSA.shape[1], self._vehicle.response(plan_BSA.shape[1], self._repeat)
        action_BA = self._range.action(plan_BSA[:, 0])
        return Ahead.of(plan_BSA, action_BA, response, self._std(steps), self.horizons_s(steps))

    def rolled_out(self, plan_BSA: np.ndarray) -> np.ndarray:
        """Return the pose after each step of plans, [B, S, 3]."""
        assert self._begun is not None
        fine_BTA = np.repeat(plan_BSA, self._repeat, axis=1)
        pose_3 = np.asarray(self._begun.pose_3, float)
        # About the robot: single precision is for small numbers.
        moved_BT3 = self._vehicle.roll_out(np.array([0.0, 0.0, pose_3[2]]), fine_BTA)
        moved_BS3 = np.asarray(moved_BT3[:, self._repeat - 1 :: self._repeat], np.float64)
        return np.asarray(moved_BS3 + np.array([pose_3[0], pose_3[1], 0.0]))

    def look_up(self, pose_BS3: np.ndarray) -> np.ndarray:
        """Return which memories lie nearest in pose to each of many poses, [B, S, K]; -1 where there are fewer."""
        assert self._begun is not None
        if self._window is None or not len(self._window):
            return np.full((*pose_BS3.shape[:2], self._k), -1)
        asked, retrieval = pose_BS3.reshape(-1, 3), self.retrieval
        newest = self._newest_ns(self._begun)
        found = self._window.nearest_poses(
            asked, self._k, radius_m=retrieval.radius_m, yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
            yaw_weight_m=retrieval.yaw_weight_m, newest_G=np.full(len(asked), newest),
        )  # fmt: skip
        return np.asarray(self._place_of[found.row_GK].reshape(*pose_BS3.shape[:2], self._k))

    def foresee(self, plan_BSA: np.ndarray, pose_BS3: np.ndarray, at_BSK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what would be seen at each step [B, S, D], and how much memories say in it [B, S].

        Args:
            plan_BSA: The plans.
            pose_BS3: Where they lead.
            at_BSK: The memories nearest to that, as ``look_up`` gives them.
        """
        if not self._has_network:
            return self._copied(at_BSK, offsets_in_frame(self._pose_N3[at_BSK], pose_BS3))
        observed = self.observed(plan_BSA[:, 0], pose_BS3)
        retrieved = self.retrieved(plan_BSA[:, 0], at_BSK, pose_BS3)
        with torch.inference_mode():
            forecast = self.transition.forecast if self._fused is None else self._fused.forecast
            latent_BSD, _, gate_BS = forecast(observed, retrieved)
        return latent_BSD.numpy(), gate_BS.numpy()

    def observed(self, action_BA: np.ndarray, pose_BS3: np.ndarray) -> Observed:
        """Return the present of each plan: what is seen now and its first action, and where its steps lead."""
        begun = self._begun
        assert begun is not None
        count, steps = pose_BS3.shape[:2]
        moved_BS3 = offsets_in_frame(pose_BS3, np.asarray(begun.pose_3, float))
        motion_BSM = motion_features(moved_BS3, np.broadcast_to(self._std(steps), moved_BS3.shape), self.retrieval)
        action_BA = self._range.action(action_BA.astype(np.float32))
        latent_BD = torch.from_numpy(self._range.latent(begun.latent_D)[None].astype(np.float32)).expand(count, -1)
        action = torch.from_numpy(np.ascontiguousarray(action_BA))
        with torch.inference_mode():
            state_1C = self.transition.initial(1) if begun.state_1C is None else begun.state_1C
            state_BC = self.transition.observe(latent_BD, action, state_1C.expand(count, -1))
        horizon_BS = torch.tensor(self.horizons_s(steps), dtype=torch.float32).expand(count, -1)
        history = torch.zeros(1, 1).expand(count, self._manifest.history_dim), torch.zeros(count, dtype=torch.int64)
        return Observed(state_BC, latent_BD, action, torch.from_numpy(motion_BSM), horizon_BS, *history)

    def anticipated(self, at_BSK: np.ndarray, pose_BS3: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, features and which are real of the memories nearest to many poses."""
        assert self._begun is not None
        offset_BSK3 = offsets_in_frame(self._pose_N3[at_BSK], pose_BS3)
        feature = anticipated_features(offset_BSK3, self._age_s_N[at_BSK], self.retrieval)
        return self._latent[torch.from_numpy(at_BSK)], torch.from_numpy(feature), torch.from_numpy(at_BSK >= 0)

    def retrieved(self, action_BA: np.ndarray, at_BSK: np.ndarray, pose_BS3: np.ndarray) -> Retrieved:
        """Return what the memory says for each plan and step, as the network reads it."""
        count, steps = at_BSK.shape[:2]
        begun, width, size = self._begun, self.retrieval.appearance_k, self._manifest.z_dim
        assert begun is not None
        present = Present(begun.stamp_ns, _pose2(begun.pose_3), None)
        near = appearance_arrays(self._appearance, present, width, size, self.retrieval)
        feature = torch.from_numpy(near["appearance_feature"]).repeat(count, 1, 1)
        # Of these features the last alone is the plan's own: how its first action differs from the one taken there.
        action_KA = self._appearance.action_KA
        if len(action_KA) and action_KA.shape[1] == action_BA.shape[1]:
            difference_BK = np.linalg.norm(action_KA - self._range.action(action_BA)[:, None], axis=2)
            known_BK = np.where(np.isfinite(difference_BK), difference_BK, 1.0).astype(np.float32)
            feature[:, : len(action_KA), -1] = torch.from_numpy(np.tanh(known_BK))
        latent_1KD = torch.from_numpy(self._range.latent(near["appearance_latent"]))
        # What followed what looks like the present is what came of the actions taken then, not of the plan's.
        nothing, unknown = torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, dtype=torch.bool)
        return Retrieved(
            *self.anticipated(at_BSK, pose_BS3), latent_1KD.expand(count, -1, -1), feature,
            torch.from_numpy(near["appearance_valid"]).expand(count, -1),
            nothing.expand(count, steps, width, size), unknown.expand(count, steps, width),
        )  # fmt: skip

    def horizons_s(self, steps: int) -> list[float]:
        """Return the times ahead of the steps [s]."""
        return [self._decision_s * (step + 1) for step in range(steps)]

    def _std(self, steps: int) -> np.ndarray:
        return expected_error(self._motion, self.horizons_s(steps))

    def _take(self, window: Window | None) -> None:
        """Take up the memories of a window, unless they are those held."""
        key = (0, 0, 0) if window is None else (id(window), window.epoch, window.revision)
        if self._held == key:
            return
        self._window, self._held, dim = window, key, self._manifest.z_dim
        row_N = np.empty(0, np.int64) if window is None else window.row_numbers
        if window is None or not len(row_N):
            table = Neighbours.none(dim, self._manifest.action_dim)
        else:
            table = window.neighbours(row_N)
        # One row more, of nothing, for -1; and the last of these numbers is where -1 leads.
        self._place_of = np.full(int(row_N.max(initial=-1)) + 2, -1)
        self._place_of[row_N] = np.arange(len(row_N))
        latent_ND = np.concatenate([self._range.latent(table.latent_KD), np.zeros((1, dim))])
        self._latent = torch.from_numpy(latent_ND.astype(np.float32))
        self._pose_N3 = np.concatenate([table.pose_K4[:, [0, 1, 3]], np.zeros((1, 3))])
        self._stamp_N = np.append(table.stamp_K, 0)
        if self.on_gpu is not None:
            self.on_gpu.take(Table(self._latent.numpy(), self._pose_N3, self._stamp_N, table.id_K))

    def _newest_ns(self, standpoint: Standpoint) -> int:
        """Return until when memories may have been seen [ns]."""
        return standpoint.stamp_ns - int(self.retrieval.exclude_recent_s * 1e9)

    def _check_covered(self, pose_BS3: np.ndarray) -> None:
        window, radius_m = self._window, self.retrieval.radius_m
        if window is not None and len(window) and not window.covers_poses(pose_BS3.reshape(-1, 3), radius_m):
            raise QueryError("some of the discs leave the window's area: ask the memory")

    def _gpu(self, artifact: Artifact) -> OnGpu | None:
        """Return what imagines plans on the artifact's GPU; None where there is none, or no forecast for it."""
        if self._fused is None or torch.device(artifact.device).type != "cuda":
            return None
        return OnGpu(artifact, self.retrieval, self._k, CudaGraphs(artifact.device))

    def _begun_there(self, begun: Standpoint) -> Begun:
        """Return where plans begin, for the GPU."""
        here, settings = Present(begun.stamp_ns, _pose2(begun.pose_3), None), self.retrieval
        near = appearance_arrays(self._appearance, here, settings.appearance_k, self._manifest.z_dim, settings)
        state_1C = self.transition.initial(1) if begun.state_1C is None else begun.state_1C
        arrays = (
            self._range.latent(near["appearance_latent"]).astype(np.float32), near["appearance_feature"],
            near["appearance_valid"], self._appearance.action_KA.astype(np.float32),
        )  # fmt: skip
        return Begun(
            torch.from_numpy(np.array(begun.pose_3, np.float64)),
            torch.from_numpy(self._range.latent(begun.latent_D)[None].astype(np.float32)),
            state_1C, *map(torch.from_numpy, arrays),
        )  # fmt: skip

    def _resembling(self, standpoint: Standpoint) -> Neighbours:
        """Return the memories around the robot that resemble what it sees."""
        retrieval, pose = self.retrieval, _pose2(standpoint.pose_3)
        request = MemoryRequest(
            horizon_s=0.0, pose=pose, latent_D=standpoint.latent_D, rank="latent", radius_m=retrieval.radius_m,
            yaw_tolerance_rad=retrieval.yaw_tolerance_rad, yaw_weight_m=retrieval.yaw_weight_m,
            k=retrieval.appearance_k, exclude_recent_s=retrieval.exclude_recent_s, stamp_ns=standpoint.stamp_ns,
            successors=True,
        )  # fmt: skip
        query = request.to_query(self._manifest.encoder_id)
        if self._window is None or not len(self._window):
            return Neighbours.none(self._manifest.z_dim, self._manifest.action_dim)
        return self._window.neighbours(self._window.query_batch([query])[0].row_K)

    def _copied(self, at_BSK: np.ndarray, offset_BSK3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of what was seen around each pose, the nearer the more; where nothing was, the present."""
        assert self._begun is not None
        spread_S3 = 0.15**2 + np.square(self._std(at_BSK.shape[1]) / self.retrieval.scale_3)
        far_BSK = 0.5 * (np.square(offset_BSK3 / self.retrieval.scale_3) / spread_S3[:, None]).sum(axis=3)
        far_BSK = np.where(at_BSK >= 0, far_BSK, np.inf)
        nearest_BS1 = far_BSK.min(axis=2, keepdims=True)
        is_any_BS = np.isfinite(nearest_BS1[..., 0])
        weight_BSK = np.exp(np.where(np.isfinite(nearest_BS1), nearest_BS1, 0.0) - far_BSK)
        weight_BSK /= np.maximum(weight_BSK.sum(axis=2, keepdims=True), 1e-12)
        copied_BSD = np.einsum("bsk,bskd->bsd", weight_BSK.astype(np.float32), self._latent.numpy()[at_BSK])
        latent_BSD = np.where(is_any_BS[..., None], copied_BSD, self._begun.latent_D.astype(np.float32))
        return latent_BSD, np.where(is_any_BS, np.exp(-0.1 * np.where(is_any_BS, nearest_BS1[..., 0], 0.0)), 0.0)


def _fused(artifact: Artifact) -> FusedForecast | None:
    """Return the forecast with shared parts; None where the transition is of another kind."""
    if not artifact.has("transition"):
        return None
    try:
        return FusedForecast(artifact.weights("transition"))
    except ArtifactError:
        return None


def _pose2(pose_3: np.ndarray) -> Pose2:
    return Pose2(float(pose_3[0]), float(pose_3[1]), 0.0, float(pose_3[2]))
