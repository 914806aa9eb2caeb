"""The errors of this package, all of them ``ValueError``: the input was wrong, and the text says what was expected.

* ``WorldModelError``: base of all
    * ``ArtifactError``: a model artifact that is missing, damaged, or not what was asked for
    * ``DataError``: a recording or converted data set that cannot be used
    * ``ConfigError``: a training configuration with a wrong or unknown entry
    * ``ProfileError``: a part of a robot's profile that is damaged, of another version, or cannot be written
    * ``ObservationError``: a latent, pose or action of the wrong size or not finite
    * ``ImaginationError``: what cannot be imagined as it was asked for; ``reason`` names why
"""

from wm_core.errors import CoreError


class WorldModelError(CoreError):
    """Base of every error this package raises on purpose."""


class ArtifactError(WorldModelError):
    """A model artifact is missing, damaged, or differs from what was asked for."""


class DataError(WorldModelError):
    """A recording or a converted data set cannot be used."""


class ConfigError(WorldModelError):
    """A training configuration has a wrong or unknown entry."""


class ProfileError(WorldModelError):
    """A part of a robot's profile is damaged, of another version, or cannot be written."""


class ObservationError(WorldModelError):
    """A latent, pose or action has the wrong size or is not finite."""


class ImaginationError(WorldModelError):
    """Something cannot be imagined as it was asked for.

    Args:
        reason: Names why, such as ``action-size``, ``horizon`` or ``unknown-memory``.
        detail: What was asked and what was expected.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail
