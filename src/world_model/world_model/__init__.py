"""Latent world models whose dynamics are conditioned on memories.

The rooms, each importing only from those before it: ``runtime`` (what nodes import, with numpy and torch only),
``models``, ``data``, ``export``, ``training``, ``evaluation``, ``commands`` and ``cli`` (the command line ``wm``). All
but ``runtime`` need the training extra, ``requirements/train.txt``. What was never trained is in ``extras``.
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
        "world_model.evaluation.spaces": "world_model.data.pixel_space",
        "world_model.models.pretrained": "world_model.extras.pretrained",
        "world_model.training.outcomes": "world_model.extras.outcomes",
        "world_model.training.perceptual": "world_model.extras.perceptual",
        "world_model.world_action": "world_model.runtime",
        "world_model.world_action.collapse": "world_model.training.collapse",
        "world_model.world_action.comparison": "world_model.evaluation.predictor_variants",
        "world_model.world_action.compress": "world_model.models.map_compressor",
        "world_model.world_action.evaluation": "world_model.evaluation.world_action",
        "world_model.world_action.export": "world_model.export.world_action",
        "world_model.world_action.history": "world_model.runtime.history",
        "world_model.world_action.history_gate": "world_model.evaluation.history_gate",
        "world_model.world_action.losses": "world_model.training.losses",
        "world_model.world_action.model": "world_model.models.world_action",
        "world_model.world_action.retrieval": "world_model.evaluation.pose_retrieval",
        "world_model.world_action.target": "world_model.models.target_encoder",
        "world_model.world_action.targets": "world_model.evaluation.target_variants",
        "world_model.world_action.ticks": "world_model.data.ticks",
        "world_model.world_action.training": "world_model.training.world_action_stage",
    }
)
