"""Plans imagined on a GPU: where they lead, what was seen there, and what would be seen, worked out in one go.

What ``Imagination`` works out in NumPy around its forecast is worked out here by torch, so that between the plans and
what would be seen where they lead nothing comes back to the host.

Shape suffixes: B = plans, S = steps, T = steps of the vehicle, A = action size, F = features of an action,
D = latent size, K = neighbours, N = memories, M = those at hand, J = memories that resemble the present, 3 = (x, y [m],
yaw [rad]).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from latent_planner.vehicle import Response
from world_model.runtime.artifacts import Artifact
from world_model.runtime.captured import Captured, Recorder
from world_model.runtime.conditioning import Retrieval
from world_model.runtime.fused import FusedForecast
from world_model.runtime.pose_search import AtHand, PoseSearch, nearest_poses
from world_model.runtime.tensors import Observed, Retrieved

_LEAST_REACH_M, _MORE_REACH = 2.0, 1.5


class Memories(NamedTuple):
    """All memories on the device, and one more of nothing.

    Attributes:
        latent_ND: Latents within the trained range.
        pose_N3: Where they lie.
        age_N: What the network reads of their ages.
    """

    latent_ND: Tensor
    pose_N3: Tensor
    age_N: Tensor


class Begun(NamedTuple):
    """Where plans begin: on the host, the state where the transition has it; it goes to the device with the plans.

    Attributes:
        pose_3: The robot's.
        latent_1D: What it sees, within the trained range.
        state_1C: The transition's state before that.
        look_1JD: Memories that resemble the begun.
        feature_1JF: How they lie there.
        valid_1J: Which are real.
        action_JA: What was done there; NaN: not known.
    """

    pose_3: Tensor
    latent_1D: Tensor
    state_1C: Tensor
    look_1JD: Tensor
    feature_1JF: Tensor
    valid_1J: Tensor
    action_JA: Tensor


class Ahead(NamedTuple):
    """What plans bring with them, on the host.

    Attributes:
        plan_BSA: Commands of each step.
        action_BA: The first of each plan, within the trained range.
        share_TS: As the vehicle's ``Response`` says.
        free_T3: Likewise.
        weight_F3: Likewise.
        std_S3: Standard errors of the displacement at each step.
        horizon_1S: Times ahead [s].
    """

    plan_BSA: Tensor
    action_BA: Tensor
    share_TS: Tensor
    free_T3: Tensor
    weight_F3: Tensor
    std_S3: Tensor
    horizon_1S: Tensor

    @classmethod
    def of(
        cls,
        plan_BSA: np.ndarray,
        action_BA: np.ndarray,
        response: Response,
        std_S3: np.ndarray,
        horizons_s: list[float],
    ) -> Ahead:
        """Return arrays as tensors."""
        plan, action = (torch.from_numpy(np.ascontiguousarray(each, np.float32)) for each in (plan_BSA, action_BA))
        share, free, weight, std = (
            torch.from_numpy(np.ascontiguousarray(each, np.float64)) for each in (*response, std_S3)
        )
        return cls(plan, action, share, free, weight, std, torch.tensor([horizons_s], dtype=torch.float32))


@dataclass(frozen=True)
class Table:
    """The memories of a window as ``Imagination`` holds them: the last row is one of nothing.

    Attributes:
        latent_ND: Latents within the trained range.
        pose_N3: Where they lie.
        stamp_N: When they were seen [ns].
        id_N: Their ids.
    """

    latent_ND: np.ndarray
    pose_N3: np.ndarray
    stamp_N: np.ndarray
    id_N: np.ndarray


class OnGpu:
    """Forecasts plans where the artifact's weights lie.

    Args:
        artifact: With a transition that ``FusedForecast`` takes.
        retrieval: Which memories are looked for.
        top_k: Memories per step.
        recorder: Of the device.
    """

    def __init__(self, artifact: Artifact, retrieval: Retrieval, top_k: int, recorder: Recorder) -> None:
        self._device, self._retrieval, self._k = recorder.device, retrieval, top_k
        plain = replace(artifact, captures=False)
        self._transition: Any = plain.transition()
        self._fused = FusedForecast(plain.weights("transition"))
        self._scale_3 = torch.tensor(retrieval.scale_3, dtype=torch.float64, device=self._device)
        self.look_up = Captured("plans' lookups", self._look_up, recorder, stays=True)
        self.foresee = Captured("plans' forecasts", self._foresee, recorder)
        self._whole = Captured("plans", self._all, recorder)
        self._step_s = artifact.manifest.step_s
        self._near: tuple[float, AtHand] | None = None
        self._reach_m = _LEAST_REACH_M if retrieval.radius_m > 0 else np.inf

    @property
    def refused(self) -> str:
        """Why plans are not recorded; empty: they are."""
        return self._whole.refused

    def take(self, table: Table) -> None:
        """Take up the memories of a window."""
        self._search = PoseSearch(table.pose_N3[:-1], table.stamp_N[:-1], table.id_N, self._device)
        self._table = table
        self._latent_ND = self._there(table.latent_ND)
        self._pose_N3 = self._there(table.pose_N3)

    def begin(self, begun: Begun, pose_3: np.ndarray, age_N: np.ndarray, newest_ns: int) -> None:
        """Take where plans begin.

        Args:
            begun: There.
            pose_3: The robot's.
            age_N: What the network reads of the memories' ages.
            newest_ns: Memories seen after that are left out [ns].
        """
        self.begun = begun
        self.memories = Memories(self._latent_ND, self._pose_N3, self._there(age_N.astype(np.float32)))
        self._here_3, self._newest_ns, self._near = np.asarray(pose_3, np.float64), newest_ns, None

    def at_hand(self, pose_BS3: np.ndarray) -> AtHand:
        """Return the memories that poses may find, on the device."""
        return self._within(self._reach_of(pose_BS3))[1]

    def imagine(self, ahead: Ahead) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what would be seen at each step [B, S, D], how much memories say in it [B, S], and poses [B, S, 3]."""
        near = self._within(0.0)
        latent, gate, pose = self._whole(ahead, near[1], self.memories, self.begun)
        reach_m = self._reach_of(pose.numpy())
        if reach_m > near[0]:
            # Plans lead further than any did before.
            latent, gate, pose = self._whole(ahead, self._within(reach_m)[1], self.memories, self.begun)
        return latent.numpy(), gate.numpy(), pose.numpy()

    def _reach_of(self, pose_BS3: np.ndarray) -> float:
        """Return how far from the robot poses lead, of those that lead somewhere [m]."""
        dx_BS, dy_BS = pose_BS3[..., 0] - self._here_3[0], pose_BS3[..., 1] - self._here_3[1]
        away_BS = dx_BS * dx_BS + dy_BS * dy_BS
        furthest = float(away_BS.max(initial=0.0))
        return math.sqrt(furthest if not math.isnan(furthest) else np.nanmax(away_BS, initial=0.0))

    def _within(self, reach_m: float) -> tuple[float, AtHand]:
        """Return how far from the robot poses may lead, at least as far as asked, and the memories these may find."""
        if self._near is None or reach_m > self._near[0]:
            if np.isfinite(reach_m) and reach_m > self._reach_m:
                # Somewhat more, so that the next plans need no others.
                self._reach_m = _MORE_REACH * reach_m
            reach_m = max(reach_m, self._reach_m)
            around_m = reach_m + self._retrieval.radius_m
            self._near = reach_m, self._search.around(self._here_3[:2], around_m, self._newest_ns)
        return self._near

    def _there(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def _all(self, ahead: Ahead, at_hand: AtHand, memories: Memories, begun: Begun) -> tuple[Tensor, Tensor, Tensor]:
        pose_BS3 = self.rolled_out(ahead, begun)
        return *self._foresee(ahead, pose_BS3, self._look_up(pose_BS3, at_hand), memories, begun), pose_BS3

    def rolled_out(self, ahead: Ahead, begun: Begun) -> Tensor:
        """Return the pose after each step of plans, [B, S, 3], as the vehicle rolls them out."""
        twist_BT3 = ahead.share_TS @ (_features(ahead.plan_BSA.double()) @ ahead.weight_F3) + ahead.free_T3
        forward_BT, left_BT, rate_BT = twist_BT3.unbind(2)
        yaw_BT = begun.pose_3[2] + torch.cumsum(rate_BT, 1) * self._step_s
        middle_BT = yaw_BT - 0.5 * self._step_s * rate_BT
        cosine_BT, sine_BT = torch.cos(middle_BT), torch.sin(middle_BT)
        moved_BT2 = torch.stack(
            [forward_BT * cosine_BT - left_BT * sine_BT, forward_BT * sine_BT + left_BT * cosine_BT], 2
        )
        place_BT2 = begun.pose_3[:2] + torch.cumsum(moved_BT2, 1) * self._step_s
        held = ahead.share_TS.size(0) // ahead.share_TS.size(1)
        return torch.cat([place_BT2, yaw_BT.unsqueeze(2)], 2)[:, held - 1 :: held].contiguous()

    def _look_up(self, pose_BS3: Tensor, at_hand: AtHand) -> Tensor:
        """Return which memories lie nearest to each pose, [B, S, K]; -1 where there are fewer."""
        retrieval = self._retrieval
        row_GK, _ = nearest_poses(
            pose_BS3.flatten(0, 1), at_hand, self._k, radius_m=retrieval.radius_m,
            yaw_tolerance_rad=retrieval.yaw_tolerance_rad, yaw_weight_m=retrieval.yaw_weight_m,
        )  # fmt: skip
        row_BSK: Tensor = row_GK.unflatten(0, pose_BS3.shape[:2])
        return row_BSK

    def _foresee(
        self, ahead: Ahead, pose_BS3: Tensor, at_BSK: Tensor, memories: Memories, begun: Begun
    ) -> tuple[Tensor, Tensor]:
        """Return what would be seen, and how much memories say in it."""
        retrieved = self._retrieved(ahead.action_BA, pose_BS3, at_BSK, memories, begun)
        latent, _, gate = self._fused.at_once(self._observed(ahead, pose_BS3, begun), retrieved)
        return latent, gate

    def _observed(self, ahead: Ahead, pose_BS3: Tensor, begun: Begun) -> Observed:
        action_BA = ahead.action_BA
        count = len(pose_BS3)
        moved_BS3 = _offsets(pose_BS3, begun.pose_3.expand(count, -1)) / self._scale_3
        std_BS3 = (ahead.std_S3 / self._scale_3).expand(count, -1, -1)
        known_BS1 = torch.isfinite(moved_BS3).all(dim=2, keepdim=True)
        motion = torch.cat([moved_BS3, torch.ones_like(moved_BS3[..., :1]), std_BS3], dim=2)
        motion = motion.masked_fill(~known_BS1, 0.0).float()
        latent = begun.latent_1D.expand(count, -1)
        state = self._transition.observe(latent, action_BA, begun.state_1C.expand(count, -1).contiguous())
        nothing = action_BA.new_zeros(count, 0)
        return Observed(
            state, latent, action_BA, motion, ahead.horizon_1S.expand(count, -1), nothing, nothing
        )  # fmt: skip

    def _retrieved(
        self, action_BA: Tensor, pose_BS3: Tensor, at_BSK: Tensor, memories: Memories, begun: Begun
    ) -> Retrieved:
        count, steps = pose_BS3.shape[:2]
        row_BSK = at_BSK.remainder(len(memories.age_N))
        scaled_BSK3 = _offsets(memories.pose_N3[row_BSK], pose_BS3) / self._scale_3
        distance_BSK = torch.hypot(scaled_BSK3[..., 0], scaled_BSK3[..., 1])
        said = [distance_BSK.sqrt(), scaled_BSK3[..., 2].abs(), memories.age_N[row_BSK].double()]
        feature = torch.cat([scaled_BSK3, torch.stack(said, dim=3)], dim=3).float()
        look = begun.look_1JD.expand(count, -1, -1)
        unknown = at_BSK[:, :, :0] >= 0
        return Retrieved(
            memories.latent_ND[row_BSK], feature, at_BSK >= 0, look, self._resembling(action_BA, begun),
            begun.valid_1J.expand(count, -1), look[:, None, :0].expand(-1, steps, -1, -1), unknown,
        )  # fmt: skip

    def _resembling(self, action_BA: Tensor, begun: Begun) -> Tensor:
        """Return how the memories that resemble the present lie; the last feature is each plan's own.

        That is how its first action differs from the one taken there.
        """
        feature = begun.feature_1JF.expand(len(action_BA), -1, -1)
        if begun.action_JA.size(1) != action_BA.size(1):
            return feature
        count = begun.action_JA.size(0)
        apart_BJ = torch.linalg.vector_norm(begun.action_JA - action_BA[:, None], dim=2)
        apart_BJ = torch.tanh(torch.nan_to_num(apart_BJ, nan=1.0, posinf=1.0, neginf=1.0))
        own_BJF = torch.cat([feature[:, :count, :-1], apart_BJ.unsqueeze(2)], dim=2)
        return torch.cat([own_BJF, feature[:, count:]], dim=1)


def _features(action_BSA: Tensor) -> Tensor:
    """Return what the twist is linear in, as ``motion_model.action_features`` does."""
    count = action_BSA.size(2)
    one_BSA = action_BSA.unbind(2)
    products = [one_BSA[i] * one_BSA[j] for i in range(count) for j in range(i + 1, count)]
    return torch.stack([torch.ones_like(one_BSA[0]), *one_BSA, *products], 2)


def _offsets(pose_K3: Tensor, frame_3: Tensor) -> Tensor:
    """Return poses [..., K, 3] in the frame of others [..., 3], as ``conditioning.offsets_in_frame`` does."""
    less_K3 = pose_K3 - frame_3.unsqueeze(-2)
    yaw_1 = frame_3[..., 2].unsqueeze(-1)
    cosine, sine = torch.cos(yaw_1), torch.sin(yaw_1)
    dx_K, dy_K, turn_K = less_K3.unbind(-1)
    turn_K = torch.remainder(turn_K + np.pi, 2.0 * np.pi) - np.pi
    return torch.stack([dx_K * cosine + dy_K * sine, dy_K * cosine - dx_K * sine, turn_K], dim=-1)
