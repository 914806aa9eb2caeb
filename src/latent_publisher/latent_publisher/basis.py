"""The projection in force: a fixed one at first, the robot's own once its first minutes are seen.

Shape suffixes: F = numbers of a feature, D = latent size.
"""

from __future__ import annotations

from threading import Thread

import numpy as np

from wm_core.errors import ProjectionError
from wm_core.projection import Projection
from world_model.errors import ProfileError
from world_model.runtime.fitting import FRAMES, FeatureCollector, save_projection, saved_projection
from world_model.runtime.profile import PROJECTION, Profile


class Basis:
    """Projects features, gathers them, fits the robot's own projection on a thread and changes to it between frames.

    Args:
        fixed: Used until the robot's own is fitted.
        profile: Where that is kept, and read from at the start; ``None`` keeps it nowhere.
        frames: Features that it is fitted on; 0 stays with the fixed one.

    Attributes:
        projection: In force.
        trouble: Why the robot's own could not be fitted or kept; empty where nothing is wrong.

    Raises:
        ProfileError: The profile holds a projection that does not fit.
    """

    def __init__(self, fixed: Projection, profile: Profile | None = None, frames: int = FRAMES) -> None:
        self._profile, self._space, self._z_dim = profile, fixed.space, fixed.z_dim
        # What another writes between this and the reading is read once more, which changes nothing.
        self._signature = None if profile is None else profile.signature(PROJECTION)
        saved = saved_projection(profile, fixed.space, fixed.z_dim) if profile is not None else None
        self.projection = saved or fixed
        self._collector = FeatureCollector(fixed.space, frames) if saved is None and frames else None
        self._fitted: Projection | None = None
        self._thread: Thread | None = None
        self.trouble = ""

    @property
    def is_fitted(self) -> bool:
        """Whether the projection in force was fitted on this robot's features."""
        return self.projection.is_fitted

    @property
    def gathered_count(self) -> int:
        """Features gathered for the fit."""
        return 0 if self._collector is None else len(self._collector)

    def present(self, code_F: np.ndarray) -> np.ndarray:
        """Return a feature's latent [D] in the basis that is in force; it is no frame of the stream."""
        latent_D: np.ndarray = self.projection.project(code_F[None])[0]
        return latent_D

    def latent(self, code_F: np.ndarray, stamp_ns: int | None = None) -> tuple[np.ndarray, str | None]:
        """Return a feature's latent [D] and, where it is the first one in another basis, the ``encoder_id`` before.

        Args:
            code_F: int8 [F].
            stamp_ns: Of its frame [ns].
        """
        before, fitted = None, self._fitted
        if fitted is not None:
            before, self._fitted = self.projection.encoder_id, None
            self.projection = fitted
        latent_D = self.present(code_F)
        if self._collector is not None and self._collector.add(code_F, stamp_ns):
            self._thread = Thread(target=self._fit, args=(self._collector,), daemon=True, name="projection")
            self._thread.start()
        return latent_D, before

    def look(self) -> None:
        """Read the projection that another wrote to the profile, if any: the next frame is the first in it.

        What is damaged or does not fit is left alone; ``trouble`` says why.
        """
        if self._profile is None or (self._thread is not None and self._thread.is_alive()):
            return
        signature = self._profile.signature(PROJECTION)
        if signature == self._signature:
            return
        self._signature, self.trouble = signature, ""
        try:
            saved = saved_projection(self._profile, self._space, self._z_dim)
        except ProfileError as error:
            self.trouble = str(error)
            return
        in_force = self._fitted or self.projection
        if saved is not None and saved.encoder_id != in_force.encoder_id:
            self._fitted, self._collector = saved, None

    def wait(self) -> None:
        """Return when nothing is being fitted."""
        if self._thread is not None:
            self._thread.join()

    def _fit(self, collector: FeatureCollector) -> None:
        try:
            fitted = collector.fit(self._z_dim)
            self._fitted = fitted
            if self._profile is not None:
                save_projection(self._profile, fitted)
        except (ProjectionError, ProfileError) as error:
            self.trouble = str(error)
