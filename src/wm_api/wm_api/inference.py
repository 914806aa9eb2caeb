"""The three models that the Open Inference Protocol names: encoder, transition and decoder, as tensors in and out.

Shape suffixes: B = batch, S = steps, A = action size, D = latent size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wm_api.errors import InvalidError
from wm_api.models import Models
from wm_api.schemas import Pose, Start
from wm_api.tensors import Spec
from wm_api.world import World

Tensors = Mapping[str, np.ndarray]
_MOST_ROWS = 64


@dataclass(frozen=True)
class InferenceModel:
    """A model as the protocol sees it.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        platform: What runs it.
        run: From inputs to outputs, on the inference worker's thread.
    """

    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    platform: str
    run: Callable[[Tensors], Tensors]


def models_of(world: World) -> dict[str, InferenceModel]:
    """Return the models of an artifact by name; the decoder only where there is one."""
    models, manifest = world.models, world.models.manifest
    found = {"encoder": _encoder(models), "transition": _transition(world)}
    if models.has_decoder:
        side = manifest.image_size
        found["decoder"] = InferenceModel(
            (Spec("latent", "FP32", (-1, manifest.z_dim)),),
            (Spec("image", "UINT8", (-1, side, side, 3)),),
            _platform(models, "decoder"),
            lambda tensors: {"image": models.decode(_rows(tensors["latent"], "latent"))},
        )
    return found


def _platform(models: Models, part: str) -> str:
    named = models.manifest.part(part)
    return f"{named[1]}_artifact" if named else "world_model_no_network"


def _rows(array: np.ndarray, name: str) -> np.ndarray:
    if len(array) > _MOST_ROWS:
        raise InvalidError(f"{name}.shape", f"{len(array)} rows, at most {_MOST_ROWS} are taken at once")
    return array


def _encoder(models: Models) -> InferenceModel:
    manifest, encoder = models.manifest, models.encoder
    inputs = [Spec("image", "UINT8", (-1, -1, -1, 3))]
    if encoder.wants_depth:
        inputs.append(Spec("depth", "FP32", (-1, -1, -1)))
    if encoder.proprioception_dim:
        inputs.append(Spec("proprioception", "FP32", (-1, encoder.proprioception_dim)))

    def run(tensors: Tensors) -> Tensors:
        images_BHWC = _rows(tensors["image"], "image")
        for name in ("depth", "proprioception"):
            if name in tensors and len(tensors[name]) != len(images_BHWC):
                raise InvalidError(f"{name}.shape", f"{len(tensors[name])} rows, there are {len(images_BHWC)} images")
        depths, others = tensors.get("depth"), tensors.get("proprioception")
        return {"latent": models.encode_batch(images_BHWC, depths, others)}

    outputs = (Spec("latent", "FP32", (-1, manifest.z_dim)),)
    return InferenceModel(tuple(inputs), outputs, _platform(models, "encoder"), run)


def _transition(world: World) -> InferenceModel:
    manifest = world.models.manifest
    inputs = (
        Spec("latent", "FP32", (-1, manifest.z_dim)),
        Spec("action", "FP32", (-1, -1, manifest.action_dim)),
        Spec("pose", "FP32", (-1, 4), optional=True),
        Spec("use_memory", "BOOL", (1,), optional=True),
    )
    outputs = (Spec("latent_next", "FP32", (-1, -1, manifest.z_dim)), Spec("gate", "FP32", (-1, -1)))

    def run(tensors: Tensors) -> Tensors:
        latent_BD, action_BSA = _rows(tensors["latent"], "latent"), tensors["action"]
        pose_B4 = tensors.get("pose")
        for name, array in (("action", action_BSA), ("pose", pose_B4)):
            if array is not None and len(array) != len(latent_BD):
                raise InvalidError(f"{name}.shape", f"{len(array)} rows, there are {len(latent_BD)} latents")
        with_memory = "use_memory" not in tensors or bool(tensors["use_memory"][0])
        steps = world.steps_of(None, action_BSA[0])
        rows = [_rolled(world, latent_BD[at], action_BSA[at], None if pose_B4 is None else pose_B4[at], with_memory)
                for at in range(len(latent_BD))]  # fmt: skip
        assert all(len(row[0]) == steps for row in rows)
        return {"latent_next": np.stack([row[0] for row in rows]), "gate": np.stack([row[1] for row in rows])}

    return InferenceModel(inputs, outputs, _platform(world.models, "transition"), run)


def _rolled(
    world: World, latent_D: np.ndarray, action_SA: np.ndarray, pose_4: np.ndarray | None, with_memory: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the latents [S, D] and gates [S] that follow one latent."""
    x, y, z, yaw = (0.0,) * 4 if pose_4 is None else pose_4.tolist()
    pose = None if pose_4 is None else Pose.model_construct(x=x, y=y, z=z, yaw=yaw)
    start = Start.model_construct(latent=latent_D.tolist(), action=None, pose=pose, stamp_ns=None, memory=with_memory)
    imagined = world.imagine(world.look(start, action_SA.tolist()), len(action_SA))
    return np.stack([each.latent_D for each in imagined]), np.array([each.gate for each in imagined], np.float32)
