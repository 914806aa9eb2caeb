"""The slow branch that a robot's profile names in the place of the artifact's: taken up at a tick."""

from __future__ import annotations

import numpy as np

from wm_core.errors import CoreError
from world_model.errors import ProfileError
from world_model.runtime.adapted import adapted_slow_branch
from world_model.runtime.artifacts import Artifact
from world_model.runtime.profile import SLOW, Profile
from world_model.runtime.served import ServedSlowBranch, served_slow_branch

# Embeddings have variance 1; compiled anew they differ by rounding.
_ALIKE = 1e-4


class SlowBranchFollower:
    """Looks now and then whether the profile names another slow branch; one thread at a time.

    Args:
        profile: The robot's; ``None`` never names any.
        source: The artifact that the node was given.
        model: Its slow branch: embeddings stay its own, whatever is taken up foresees them.

    Attributes:
        problem: Why what the profile names was not taken; empty where it was.
        source_path: Folder of the one in use.
    """

    def __init__(self, profile: Profile | None, source: Artifact, model: ServedSlowBranch) -> None:
        self._profile, self._source, self._model = profile, source, model
        self._signature: tuple[int, int] | None = None
        self.problem, self.source_path = "", source.path

    def look(self) -> ServedSlowBranch | None:
        """Return the model that the profile names since the last look, if that is another one."""
        if self._profile is None:
            return None
        signature = self._profile.signature(SLOW)
        if signature == self._signature:
            return None
        self._signature, self.problem = signature, ""
        try:
            adapted = adapted_slow_branch(self._profile, self._source)
            if adapted is None or adapted.path == self.source_path:
                return None
            model = served_slow_branch(adapted)
            self._check(model, adapted)
        except CoreError as error:
            self.problem = str(error)
            return None
        self.source_path = adapted.path
        return model

    def _check(self, model: ServedSlowBranch, adapted: Artifact) -> None:
        """Refuse one that sees other embeddings: the history, and who reads it, would mix both."""
        sizes = self._source.manifest.world_action or {}
        size, generator = int(sizes["image_size"]), np.random.default_rng(0)
        # One picture, as a tick has it: on a GPU each other shape would be recorded for its own.
        image = generator.integers(0, 256, (1, 1, size, size, 3), np.uint8)
        valid = np.ones((1, 1), bool)
        if not np.allclose(model.embed(image, valid), self._model.embed(image, valid), atol=_ALIKE):
            raise ProfileError(f"{adapted.path} has a slow branch that sees other embeddings than {self._source.path}")
