"""The memory of an evaluation: the recorder of the live graph over plain columns, asked as the predictor asks.

Shape suffixes: N = stored states, D = latent size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wm_core.memory.errors import RecordError
from wm_core.memory.held import HeldPlaces
from wm_core.memory.query import Place
from wm_core.memory.record import NO_FEATURE, no_action
from wm_core.memory.recorder import Recorder, Spacing, State
from wm_core.memory.reference_batch import RecordedStates, nearest_states
from wm_core.memory.rows import Rows
from wm_core.memory.scale import ScaleMeter
from wm_core.projection import Projection
from wm_core.se2 import Pose2
from world_model.runtime.artifacts import Manifest
from world_model.runtime.predictor import Observation
from world_model.runtime.retrieved import Memory, MemoryRequest

# One bank, one network: which one is nobody's question here.
_FEATURES = "features"


class MemoryBank:
    """Stores observations as the memory node does, and answers exactly.

    Args:
        spacing: Which observations are kept; default: as the node does, by the scale of the robot's world.
        horizons_s: Times after a state at which its successors are taken [s]; default: one step and 1 s.
        step_s: Step of the model [s]; default: the least horizon.

    Attributes:
        recorder: What decides; its ``counts`` tell what became of successors.
        refused: Observations that are none to store, by the reason.
    """

    def __init__(
        self,
        spacing: Spacing | None = None,
        horizons_s: Sequence[float] | None = None,
        step_s: float | None = None,
    ) -> None:
        self._states = RecordedStates()
        self.recorder = Recorder(self._states, "bank", spacing or ScaleMeter(), horizons_s, step_s=step_s)
        self.refused: Counter[str] = Counter()

    @classmethod
    def of(cls, manifest: Manifest) -> MemoryBank:
        """Return the memory that an artifact is to be used with: its step, its horizons."""
        return cls(horizons_s=(manifest.step_s, manifest.horizon_s), step_s=manifest.step_s)

    def __len__(self) -> int:
        return len(self._states)

    def reproject(self, projection: Projection) -> None:
        """Bring all memories into another basis; observations carry features then.

        Raises:
            ProjectionError: An observation carried none.
        """
        self._states.reproject(projection)

    def observe(self, observation: Observation) -> None:
        """Take one observation of the dense stream: link it to earlier states, and keep it if the spacing says so."""
        pose, action_A = observation.pose, observation.action_A
        place = None if pose is None else Place(pose.x, pose.y, pose.z, pose.yaw)
        action_A = no_action() if action_A is None else action_A
        try:
            code_F = NO_FEATURE if observation.code_F is None else observation.code_F
            state = State(observation.stamp_ns, observation.latent_D, "", place, action_A, feature_F=code_F)
            self.recorder.observe(replace(state, feature_id=_FEATURES) if code_F.size else state)
        except RecordError as error:
            self.refused[error.reason] += 1

    def answer(self, requests: Sequence[MemoryRequest]) -> list[list[Memory]]:
        """Return the exact nearest states of each request, nearest first."""
        return [self._search(request) for request in requests]

    def places(self) -> HeldPlaces:
        """Return what is stored now, to be looked through at many places; the id of a state is its number, from 1."""
        columns = self._states.columns()
        count, unknown_N0 = len(columns.stamp_N), np.empty((len(columns.stamp_N), 0), np.float32)
        x_N, y_N, z_N, yaw_N = np.ascontiguousarray(columns.pose_N4.T)
        rows = Rows(
            np.arange(1, count + 1), columns.stamp_N, x_N, y_N, z_N, yaw_N.astype(np.float32),
            np.zeros(count, np.int32), np.full(count, np.nan, np.float32), unknown_N0, unknown_N0,
            np.zeros(count, np.uint64), columns.latent_ND,
        )  # fmt: skip
        return HeldPlaces.of(rows)

    def stamps(self) -> np.ndarray:
        """Return when the states were seen, by their numbers less 1 [ns]."""
        return self._states.columns().stamp_N

    def _search(self, request: MemoryRequest) -> list[Memory]:
        pose = request.pose
        rows_1K = nearest_states(
            self._states.columns(),
            np.array([[pose.x, pose.y, pose.yaw]]),
            np.array([request.stamp_ns]),
            request.k,
            radius_m=request.radius_m,
            yaw_tolerance_rad=request.yaw_tolerance_rad,
            yaw_weight_m=request.yaw_weight_m,
            exclude_recent_s=request.exclude_recent_s,
            latent_QD=None if request.latent_D is None else request.latent_D[None],
        ).index_QK
        return [self._memory(row, request.successors) for row in rows_1K[0].tolist() if row >= 0]

    def _memory(self, row: int, with_successors: bool) -> Memory:
        record = self._states.records[row]
        found = self._states.successors_of(row) if with_successors else ()
        return Memory(
            row,
            record.stamp_ns,
            record.latent_D,
            Pose2(record.x, record.y, record.z, record.yaw),
            record.action_A if record.action_A.size else None,
            tuple((each.horizon_s, each.dt_s, each.latent_D) for each in found),
        )
