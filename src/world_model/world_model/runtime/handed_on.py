"""What the experts of one drive hand on to the next: where they begin, which what comes then can overrule.

Moments of examples are handed on with a part of their weight, as if there were only so much of them: they shape the
first seconds and fade as any other evidence does. The mixture that bounds the regret keeps half of its plain prior, so
its bound grows by at most the logarithm of 2 for each learner, whatever was handed on (``guard.DelayedMixture.bound``).

Shape suffixes: D = latent size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from world_model.errors import ProfileError
from world_model.runtime.experts import WITH_MEMORY, WITHOUT_MEMORY
from world_model.runtime.panel import Panel
from world_model.runtime.profile import EXPERTS, Part, Profile

VERSION = 1
# What was learned counts so much of what it counted then.
WORTH = 0.25
_MEAN = "mean"


@dataclass(frozen=True)
class Learned:
    """What the experts of all horizons have learned, in one basis of the latents.

    Attributes:
        entries: What it is bound to: ``encoder_id``, ``step_s``, ``action_dim``, ``horizons_s`` and experts by name.
        arrays: Moments and weights, ``HORIZON.NAME`` each, and the robot's own mean.
    """

    entries: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, panel: Panel, encoder_id: str, step_s: float) -> Learned:
        """Return what a panel has learned.

        Args:
            panel: Whose.
            encoder_id: The basis of its latents.
            step_s: Step of the model [s].
        """
        arrays = {_MEAN: panel.learned_mean()}
        for number, experts in enumerate(panel.experts):
            arrays |= {f"{number}.{name}": array for name, array in experts.learned().items()}
        return cls(_bound_to(panel, encoder_id, step_s), arrays)

    def begin(self, panel: Panel, encoder_id: str, step_s: float) -> None:
        """Let a panel that has seen nothing begin with what was learned; horizons that are not known begin plainly.

        Raises:
            ProfileError: It is of another basis, step, action or set of experts, or damaged; nothing was taken then.
        """
        mine = _bound_to(panel, encoder_id, step_s)
        if misfit := self._misfit(mine):
            raise ProfileError(f"{misfit}: they begin anew")
        mean_D = self._array(_MEAN, panel.learned_mean().shape)
        taken = [
            (experts, self._of_horizon(known.index(horizon_s), experts.learned()))
            for known in [self._horizons()]
            for experts, horizon_s in zip(panel.experts, mine["horizons_s"])
            if horizon_s in known
        ]
        panel.begin_with_mean(mean_D, WORTH)
        for experts, arrays in taken:
            experts.begin(arrays, WORTH)

    def misfit(self, other: Learned) -> str:
        """Return why one cannot begin where the other ended: basis, step, action or experts; empty: it can."""
        return self._misfit(other.entries)

    def _misfit(self, mine: Mapping[str, Any]) -> str:
        names = [name for name in mine if name != "horizons_s" and self.entries.get(name) != mine[name]]
        other, expected = ({name: entries.get(name) for name in names} for entries in (self.entries, mine))
        return f"experts were learned with {other}, here it is {expected}" if names else ""

    def _horizons(self) -> list[float]:
        horizons_s = self.entries.get("horizons_s")
        if not isinstance(horizons_s, list):
            raise ProfileError(f"experts in the profile name no horizons: {horizons_s!r}")
        return horizons_s

    def _of_horizon(self, number: int, like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: self._array(f"{number}.{name}", array.shape) for name, array in like.items()}

    def _array(self, name: str, shape: Sequence[int]) -> np.ndarray:
        array = self.arrays.get(name)
        if array is None or array.shape != tuple(shape) or not np.isfinite(array).all():
            found = None if array is None else list(array.shape)
            raise ProfileError(f"'{name}' of the experts in the profile is {found}, expected {list(shape)}, finite")
        return array


def _bound_to(panel: Panel, encoder_id: str, step_s: float) -> dict[str, Any]:
    return {
        "encoder_id": encoder_id,
        "step_s": step_s,
        "action_dim": panel.action_dim,
        "horizons_s": [round(float(horizon_s), 6) for horizon_s in panel.horizons_s],
        "has_prior": panel.has_prior,
        "without_memory": list(WITHOUT_MEMORY),
        "with_memory": list(WITH_MEMORY),
    }


def keep_experts(profile: Profile, learned: Learned) -> int:
    """Write what was learned to a robot's profile and return the part's revision.

    Raises:
        ProfileError: It cannot be written.
    """
    return profile.write(EXPERTS, VERSION, learned.entries, learned.arrays)


def known_experts(profile: Profile) -> Learned | None:
    """Return what a robot's profile knows of experts; ``None`` where it knows nothing.

    Raises:
        ProfileError: It is damaged or of another version.
    """
    part: Part | None = profile.read(EXPERTS, VERSION)
    return None if part is None else Learned(part.entries, part.arrays)
