"""The scale of what a robot saw, measured as it drives and stated in its profile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spatial_memory.params import SpatialMemoryParams
from spatial_memory.store.scales import is_news, read_scale, write_scale
from wm_core.memory.frames import Metric
from wm_core.memory.keyframes import Spacing
from wm_core.memory.scale import Scale, ScaleMeter
from world_model.errors import ProfileError
from world_model.runtime.profile import Profile


class ScaleBook:
    """Measures a scale, beginning with what the profile states.

    Args:
        params: Of the moment; what the user set there wins over the scale.
        profile: Of the robot; None: it has none.

    Raises:
        ProfileError: What it states is damaged.
    """

    def __init__(self, params: Callable[[], SpatialMemoryParams], profile: Profile | None) -> None:
        self._params, self._profile = params, profile
        self._told: Scale | None = None if profile is None else read_scale(profile)

    def begin(self, metric: Metric) -> None:
        """Measure from now on, on a map."""
        self.meter = ScaleMeter(metric, self._told, lambda scale: self._params().spacing(scale))

    def include(self, places_N3: np.ndarray) -> None:
        """Let the extent of what was seen reach to places of earlier runs."""
        self.meter.include(places_N3)

    @property
    def scale(self) -> Scale:
        """As measured so far."""
        return self.meter.scale

    @property
    def spacing(self) -> Spacing:
        """When a state is stored."""
        return self.meter.spacing

    @property
    def same_place_m(self) -> float:
        """How near memories of one place lie [m]."""
        return self._params().same_place_m(self.scale)

    def news(self) -> Callable[[], str | None] | None:
        """Return what states the scale in the profile, and returns why that failed; None: there is nothing to state."""
        scale, profile, spacing, same_place_m = self.scale, self._profile, self.spacing, self.same_place_m
        if profile is None or not is_news(scale, self._told):
            return None
        self._told = scale

        def work() -> str | None:
            try:
                write_scale(profile, scale, same_place_m, spacing)
            except ProfileError as error:
                return str(error)
            return None

        return work
