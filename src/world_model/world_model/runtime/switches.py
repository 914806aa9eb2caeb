"""Parts of the predictor that can be switched off at run time, to see what each of them earns.

The weights stay as they were trained: what is switched off is left out, nothing is trained to make up for it.
"""

from collections.abc import Collection
from dataclasses import replace

from world_model.errors import ArtifactError, ConfigError
from world_model.runtime.artifacts import Artifact
from world_model.runtime.motion import MotionModel
from world_model.runtime.served import ServedTransition, served_transition

VIEW_WARP = "view_warp"
APPEARANCE = "appearance"
EVIDENCE = "evidence"
POSE_SMOOTHING = "pose_smoothing"
PATH_FORESIGHT = "path_foresight"
CALIBRATION = "motion_calibration"
PRIOR = "prior"

SWITCHES = {
    VIEW_WARP: "remembered latents are copied as they were seen, not as they look from where the robot will be",
    APPEARANCE: "no appearance neighbours and none of their successors; the network sees none were found",
    EVIDENCE: "the network's forecast stands as it is, whatever came true lately",
    POSE_SMOOTHING: "poses are taken as they are measured",
    PATH_FORESIGHT: "a held action leads where the motion model says, with the error it has when actions are known",
    PRIOR: "what was learned from many robots does not speak",
    CALIBRATION: "the artifact's motion model and path foresight are followed as they are, whatever came true",
}
"""Part -> what is true without it."""

# The last layer of the view warp. What it adds to a latent is this layer's output, times how far away the view is.
_WARP_LAYER = "memory.warp.leave."


def switched_off(without: Collection[str]) -> frozenset[str]:
    """Return the parts to leave out.

    Raises:
        ConfigError: There is no such part.
    """
    unknown = sorted(set(without) - set(SWITCHES))
    if unknown:
        raise ConfigError(f"no part '{unknown[0]}' to switch off; there are {', '.join(SWITCHES)}")
    return frozenset(without)


def transition_without(artifact: Artifact, off: Collection[str]) -> ServedTransition:
    """Return an artifact's transition less the parts of it that are switched off.

    Raises:
        ArtifactError: Its transition has no view warp that could be switched off.
    """
    if VIEW_WARP not in off:
        return served_transition(artifact)
    # As ``served_transition``, only where it is needed.
    import torch

    from world_model.runtime.served_torch import TorchTransition

    # Freezing folds weights into constants, so they are changed before: what ships stays as it is.
    transition = artifact.transition(frozen=False)
    leaving = [parameter for name, parameter in transition.named_parameters() if name.startswith(_WARP_LAYER)]
    if not leaving:
        raise ArtifactError(f"the transition of artifact '{artifact.manifest.name}' has no view warp to switch off")
    with torch.no_grad():
        for parameter in leaving:
            parameter.zero_()
    return TorchTransition(artifact.running("transition", transition))


def motion_without(model: MotionModel, off: Collection[str]) -> MotionModel:
    """Return a motion model less the parts of it that are switched off."""
    return replace(model, pose_gain=(1.0, 1.0)) if POSE_SMOOTHING in off else model
