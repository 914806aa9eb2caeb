"""Which policy a name means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from policy_runner.drift import Known
from policy_runner.nearest_drive import NearestDrive, NearestDriveSettings
from policy_runner.policies import HoldLastAction, Policy

HOLD_LAST_ACTION, NEAREST_DRIVE = "hold_last_action", "nearest_drive"


class UnknownPolicyError(ValueError):
    """No policy has this name."""


@dataclass(frozen=True)
class Wanted:
    """What every policy is made with.

    Attributes:
        action_dim: Action size A.
        drive: Of the built-in policies, and what the robot's commands mean.
    """

    action_dim: int
    drive: NearestDriveSettings


def policy_maker(name: str, wanted: Wanted, known: Known | None = None) -> Callable[[], Policy]:
    """Return what makes a policy, as often as it is needed anew.

    Args:
        name: The parameter ``policy``.
        wanted: What it is made with.
        known: What one that is made anew knows of the one before.

    Raises:
        UnknownPolicyError: Nothing is known of that name.
    """
    drive = wanted.drive
    if name == HOLD_LAST_ACTION:
        return partial(HoldLastAction, wanted.action_dim, drive.steps, drive.step_s)
    if name == NEAREST_DRIVE:
        return partial(NearestDrive, wanted.action_dim, drive, known)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise UnknownPolicyError(f"policy is '{name}', expected {HOLD_LAST_ACTION}, {NEAREST_DRIVE} or a folder")
    # Brings torch or onnxruntime, which the built-in ones do not need.
    from policy_runner.exported import ExportedPolicy

    return partial(ExportedPolicy, folder, wanted.action_dim, drive)
