"""The same forecasts one row per call, as whoever has no batched forecaster makes them, and step by step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from latent_planner.imagination import Imagination, Standpoint
from torch import Tensor

from wm_core.memory.window import Window
from wm_core.se2 import Pose2
from world_model.runtime.artifacts import Artifact
from world_model.runtime.conditioning import (
    APPEARANCE_FEATURES,
    appearance_features,
    motion_features,
    offsets_in_frame,
)
from world_model.runtime.motion_model import MotionModel, expected_error
from world_model.runtime.retrieved import MemoryRequest
from world_model.runtime.tensors import Observed, Retrieved

Forecast = Callable[[Observed, Retrieved], Any]
_OPSET = 18


def torchscript(artifact: Artifact) -> Forecast:
    """Return the forecast in TorchScript."""
    transition = artifact.transition()

    def forecast(observed: Observed, retrieved: Retrieved) -> np.ndarray:
        with torch.inference_mode():
            return transition.forecast(observed, retrieved)[0].numpy()

    return forecast


def onnx(artifact: Artifact, observed: Observed, retrieved: Retrieved) -> Forecast:
    """Return the forecast of one row in onnxruntime, on one thread."""
    import onnxruntime

    from world_model.export.onnx_export import eager_parts, save_onnx

    transition: Any = eager_parts(artifact, ["transition"])["transition"]

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = transition

        def forward(self, *inputs: Tensor) -> Tensor:
            count = len(Observed._fields)
            result: Tensor = self.inner.forecast(Observed(*inputs[:count]), Retrieved(*inputs[count:]))[0]
            return result

    names = [*Observed._fields, *Retrieved._fields]
    inputs = tuple(value.contiguous().clone() for value in (*observed, *retrieved))
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        program: Any = torch.onnx.export(
            Module().eval(), inputs, dynamo=True, opset_version=_OPSET, verbose=False, input_names=names
        )
        path = Path(folder) / "row.onnx"
        save_onnx(program.model_proto, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    taken = [entry.name for entry in session.get_inputs()]
    at = [names.index(name) for name in taken]

    def forecast(observed: Observed, retrieved: Retrieved) -> np.ndarray:
        values = (*observed, *retrieved)
        result: np.ndarray = session.run(None, {name: values[n].numpy() for name, n in zip(taken, at)})[0]
        return result

    return forecast


class Rows:
    """Plans forecast one row per call: a lookup in the window, its features, one forecast.

    What a plan's rows share (the context after its first action, the memories that resemble the present) is made
    before and not counted.

    Args:
        imagination: Begun where the plans are imagined from.
        plan_BSA: The plans.
    """

    def __init__(self, imagination: Imagination, plan_BSA: np.ndarray) -> None:
        self._imagination, self._plan_BSA = imagination, plan_BSA
        self._pose_BS3 = imagination.rolled_out(plan_BSA)
        self._observed = imagination.observed(plan_BSA[:, 0], self._pose_BS3)
        nothing_BSK = np.full((*plan_BSA.shape[:2], 1), -1)
        self._retrieved = imagination.retrieved(plan_BSA[:, 0], nothing_BSK, self._pose_BS3)

    def inputs(self, plan: int, step: int) -> tuple[Observed, Retrieved]:
        """Return what one row's forecast reads, looked up now."""
        imagination = self._imagination
        pose_113 = self._pose_BS3[plan : plan + 1, step : step + 1]
        at_11K = imagination.look_up(pose_113)
        latent, feature, valid = imagination.anticipated(at_11K, pose_113)
        of, at = slice(plan, plan + 1), slice(step, step + 1)
        own, found = self._observed, self._retrieved
        observed = own._replace(
            state=own.state[of], latent=own.latent[of], action=own.action[of], motion=own.motion[of, at],
            horizon_s=own.horizon_s[of, at], history=own.history[of], history_count=own.history_count[of],
        )  # fmt: skip
        return observed, Retrieved(
            latent, feature, valid, found.appearance_latent[of], found.appearance_feature[of],
            found.appearance_valid[of], found.successor_latent[of, at], found.successor_valid[of, at],
        )  # fmt: skip

    def run(self, forecast: Forecast, count: int) -> tuple[np.ndarray, float]:
        """Return the latents of the first plans [B, S, D] and the time of a row [ms].

        Args:
            forecast: In which runtime.
            count: How many rows, whole plans.
        """
        steps = self._plan_BSA.shape[1]
        rows = [(number // steps, number % steps) for number in range(count)]
        forecast(*self.inputs(0, 0))
        begin_s = time.perf_counter()
        latents = [forecast(*self.inputs(plan, step))[0, 0] for plan, step in rows]
        row_ms = (time.perf_counter() - begin_s) * 1e3 / count
        return np.array(latents).reshape(count // steps, steps, -1), row_ms


class StepByStep:
    """Plans imagined one decision after another, each forecast fed back as if it had been seen there.

    Between decisions the context takes in interpolated latents, as that of a slower camera. Each step asks the window
    anew: for the memories at the next pose, and for those that resemble what was imagined last.

    Args:
        artifact: With a transition.
        imagination: Rolls plans out and looks up.
        window: The memories.
        decision_s: Time of a step [s].
    """

    def __init__(self, artifact: Artifact, imagination: Imagination, window: Window, decision_s: float = 0.2) -> None:
        self._manifest, self._transition = artifact.manifest, artifact.transition()
        self._imagination, self._window, self._decision_s = imagination, window, decision_s
        self._std_13 = expected_error(MotionModel.from_manifest(self._manifest.motion), [decision_s])
        self._between = round(decision_s / self._manifest.step_s)

    def imagine(self, begun: Standpoint, plan_BSA: np.ndarray) -> np.ndarray:
        """Return the latents of plans, [B, S, D]."""
        count, steps, _ = plan_BSA.shape
        pose_BS3 = self._imagination.rolled_out(plan_BSA)
        at_BSK = self._imagination.look_up(pose_BS3)
        here_B3 = np.tile(np.asarray(begun.pose_3, float), (count, 1))
        latent = torch.from_numpy(np.tile(begun.latent_D, (count, 1)))
        assert begun.state_1C is not None
        state, before, out = begun.state_1C.expand(count, -1), latent, []
        for step in range(steps):
            action = torch.from_numpy(np.ascontiguousarray(plan_BSA[:, step]))
            with torch.inference_mode():
                for part in range(1, self._between) if step else ():
                    held = torch.from_numpy(np.ascontiguousarray(plan_BSA[:, step - 1]))
                    state = self._transition.observe(before.lerp(latent, part / self._between), held, state)
                state = self._transition.observe(latent, action, state)
            stamp_ns = begun.stamp_ns + int(step * self._decision_s * 1e9)
            there_B13 = pose_BS3[:, step : step + 1]
            retrieved = self._retrieved(stamp_ns, here_B3, there_B13, latent.numpy(), plan_BSA[:, step], at_BSK, step)
            moved = motion_features(
                offsets_in_frame(there_B13, here_B3), np.broadcast_to(self._std_13, there_B13.shape),
                self._imagination.retrieval,
            )  # fmt: skip
            horizon = torch.full((count, 1), self._decision_s)
            history = torch.zeros(count, self._manifest.history_dim), torch.zeros(count, dtype=torch.int64)
            observed = Observed(state, latent, action, torch.from_numpy(moved), horizon, *history)
            before = latent
            with torch.inference_mode():
                latent = self._transition.forecast(observed, retrieved)[0][:, 0]
            out.append(latent.numpy())
            here_B3 = there_B13[:, 0]
        return np.stack(out, axis=1)

    def _retrieved(
        self, stamp_ns: int, here_B3: np.ndarray, there_B13: np.ndarray, latent_BD: np.ndarray,
        action_BA: np.ndarray, at_BSK: np.ndarray, step: int,
    ) -> Retrieved:  # fmt: skip
        latent, feature, valid = self._imagination.anticipated(at_BSK[:, step : step + 1], there_B13)
        seen, place, real = self._appearance(stamp_ns, here_B3, latent_BD, action_BA)
        count, width, size = seen.shape
        after = torch.zeros(count, 1, width, size), torch.zeros(count, 1, width) > 0
        return Retrieved(latent, feature, valid, seen, place, real, *after)

    def _appearance(
        self, stamp_ns: int, here_B3: np.ndarray, latent_BD: np.ndarray, action_BA: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents, features and which are real of the memories that resemble what each plan imagined last."""
        retrieval, encoder_id = self._imagination.retrieval, self._manifest.encoder_id
        queries = [
            MemoryRequest(
                horizon_s=0.0, pose=Pose2(x, y, 0.0, yaw), latent_D=latent_D, rank="latent",
                radius_m=retrieval.radius_m, yaw_tolerance_rad=retrieval.yaw_tolerance_rad,
                yaw_weight_m=retrieval.yaw_weight_m, k=retrieval.appearance_k,
                exclude_recent_s=retrieval.exclude_recent_s, stamp_ns=stamp_ns, successors=True,
            ).to_query(encoder_id)
            for (x, y, yaw), latent_D in zip(here_B3.tolist(), latent_BD)
        ]  # fmt: skip
        answers = self._window.query_batch(queries)
        real_BK = np.array([np.arange(retrieval.appearance_k) < len(found.row_K) for found in answers])
        near = self._window.neighbours(np.concatenate([found.row_K for found in answers]))
        plan_P = np.nonzero(real_BK)[0]
        offset_P3 = offsets_in_frame(near.pose_K4[:, None, [0, 1, 3]], here_B3[plan_P])[:, 0]
        age_s_P = (stamp_ns - near.stamp_K) * 1e-9
        apart_P = np.linalg.norm(near.action_KA - action_BA[plan_P], axis=1)
        latent_BKD = np.zeros((*real_BK.shape, self._manifest.z_dim), np.float32)
        feature_BKF = np.zeros((*real_BK.shape, APPEARANCE_FEATURES), np.float32)
        latent_BKD[real_BK] = near.latent_KD
        feature_BKF[real_BK] = appearance_features(offset_P3, age_s_P, apart_P, retrieval)
        return torch.from_numpy(latent_BKD), torch.from_numpy(feature_BKF), torch.from_numpy(real_BK)


def rank_correlation(first_B: np.ndarray, second_B: np.ndarray) -> float:
    """Return Spearman's rank correlation of two lots of costs."""
    first, second = (np.argsort(np.argsort(cost_B)).astype(np.float64) for cost_B in (first_B, second_B))
    return float(np.corrcoef(first, second)[0, 1])
