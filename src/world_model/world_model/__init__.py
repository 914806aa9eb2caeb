"""Latent world models whose dynamics are conditioned on memories.

What nodes import, with numpy and torch only, is ``runtime``. The rest (``data``, ``models``, ``training``,
``evaluation``, ``export``) needs the training extra, ``requirements/train.txt``.
"""

from wm_core.moved import moved

moved(
    {
        "world_model.alignment": "wm_core.alignment",
        "world_model.artifacts": "world_model.runtime.artifacts",
        "world_model.bank": "world_model.evaluation.bank",
        "world_model.conditioning": "world_model.runtime.conditioning",
        "world_model.evidence": "world_model.runtime.evidence",
        "world_model.images": "wm_core.images",
        "world_model.metrics": "world_model.runtime.metrics",
        "world_model.motion": "world_model.runtime.motion",
        "world_model.onnx_export": "world_model.export.onnx_export",
        "world_model.predictor": "world_model.runtime.predictor",
        "world_model.quantise": "world_model.export.quantise",
        "world_model.recording": "wm_core.memory.keyframes",
        "world_model.retrieved": "world_model.runtime.retrieved",
        "world_model.torchscript": "world_model.runtime.torchscript",
    }
)
