"""Plans imagined on a GPU: what was seen where they lead, and what would be seen, looked up and forecast in one go.

What ``Imagination`` works out in NumPy around its forecast is worked out here by torch, so that between the poses of
the plans and what would be seen there nothing comes back to the host.

Shape suffixes: B = plans, S = steps, A = action size, D = latent size, K = neighbours, N = memories, M = those at hand,
J = memories that resemble the present, 3 = (x, y [m], yaw [rad]).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

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
    """Where plans begin, on the device.

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
        action_BA: The first action of each, within the trained range.
        pose_BS3: Where they lead.
        std_S3: Standard errors of the displacement at each step.
        horizon_1S: Times ahead [s].
    """

    action_BA: Tensor
    pose_BS3: Tensor
    std_S3: Tensor
    horizon_1S: Tensor

    @classmethod
    def of(cls, action_BA: np.ndarray, pose_BS3: np.ndarray, std_S3: np.ndarray, horizons_s: list[float]) -> Ahead:
        """Return arrays as tensors."""
        pose, std = (torch.from_numpy(np.ascontiguousarray(values, np.float64)) for values in (pose_BS3, std_S3))
        action = torch.from_numpy(np.ascontiguousarray(action_BA, np.float32))
        return cls(action, pose, std, torch.tensor([horizons_s], dtype=torch.float32))


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
        self._near: tuple[float, AtHand] | None = None

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
            begun: On the host.
            pose_3: The robot's.
            age_N: What the network reads of the memories' ages.
            newest_ns: Memories seen after that are left out [ns].
        """
        self.begun = Begun(*(value.to(self._device) for value in begun))
        self.memories = Memories(self._latent_ND, self._pose_N3, self._there(age_N.astype(np.float32)))
        self._here_3, self._newest_ns, self._near = np.asarray(pose_3, np.float64), newest_ns, None

    def at_hand(self, pose_BS3: np.ndarray) -> AtHand:
        """Return the memories that poses may find, on the device."""
        away_BS = np.hypot(pose_BS3[..., 0] - self._here_3[0], pose_BS3[..., 1] - self._here_3[1])
        reach_m = float(away_BS.max(initial=0.0)) if self._retrieval.radius_m > 0 else np.inf
        if self._near is None or reach_m > self._near[0]:
            # Somewhat more, so that the next plans need no others.
            reach_m = max(_LEAST_REACH_M, _MORE_REACH * reach_m)
            around_m = reach_m + self._retrieval.radius_m
            self._near = reach_m, self._search.around(self._here_3[:2], around_m, self._newest_ns)
        return self._near[1]

    def imagine(self, ahead: Ahead) -> tuple[np.ndarray, np.ndarray]:
        """Return what would be seen at each step [B, S, D], and how much memories say in it [B, S]."""
        latent, gate = self._whole(ahead, self.at_hand(ahead.pose_BS3.numpy()), self.memories, self.begun)
        return latent.numpy(), gate.numpy()

    def _there(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)

    def _all(self, ahead: Ahead, at_hand: AtHand, memories: Memories, begun: Begun) -> tuple[Tensor, Tensor]:
        return self._foresee(ahead, self._look_up(ahead.pose_BS3, at_hand), memories, begun)

    def _look_up(self, pose_BS3: Tensor, at_hand: AtHand) -> Tensor:
        """Return which memories lie nearest to each pose, [B, S, K]; -1 where there are fewer."""
        retrieval = self._retrieval
        row_GK, _ = nearest_poses(
            pose_BS3.flatten(0, 1), at_hand, self._k, radius_m=retrieval.radius_m,
            yaw_tolerance_rad=retrieval.yaw_tolerance_rad, yaw_weight_m=retrieval.yaw_weight_m,
        )  # fmt: skip
        row_BSK: Tensor = row_GK.unflatten(0, pose_BS3.shape[:2])
        return row_BSK

    def _foresee(self, ahead: Ahead, at: Tensor, memories: Memories, begun: Begun) -> tuple[Tensor, Tensor]:
        """Return what would be seen, and how much memories say in it."""
        retrieved = self._retrieved(ahead, at, memories, begun)
        latent, _, gate = self._fused.at_once(self._observed(ahead, begun), retrieved)
        return latent, gate

    def _observed(self, ahead: Ahead, begun: Begun) -> Observed:
        action_BA, pose_BS3 = ahead.action_BA, ahead.pose_BS3
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

    def _retrieved(self, ahead: Ahead, at_BSK: Tensor, memories: Memories, begun: Begun) -> Retrieved:
        action_BA, pose_BS3 = ahead.action_BA, ahead.pose_BS3
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


def _offsets(pose_K3: Tensor, frame_3: Tensor) -> Tensor:
    """Return poses [..., K, 3] in the frame of others [..., 3], as ``conditioning.offsets_in_frame`` does."""
    less_K3 = pose_K3 - frame_3.unsqueeze(-2)
    yaw_1 = frame_3[..., 2].unsqueeze(-1)
    cosine, sine = torch.cos(yaw_1), torch.sin(yaw_1)
    dx_K, dy_K, turn_K = less_K3.unbind(-1)
    turn_K = torch.remainder(turn_K + np.pi, 2.0 * np.pi) - np.pi
    return torch.stack([dx_K * cosine + dy_K * sine, dy_K * cosine - dx_K * sine, turn_K], dim=-1)
