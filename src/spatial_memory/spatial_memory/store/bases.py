"""The basis of a memory's latents, in words that a store keeps, and successors read in it.

Latents of records with a feature follow from it, so a change of basis is one word in the store: what is written there
in an earlier basis is projected again whenever it is read.

Shape suffixes: S = successors, F = feature size.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from spatial_memory.store.extras import Extra
from wm_core.errors import ProjectionError
from wm_core.memory.errors import CorruptStoreError
from wm_core.memory.record import Successor
from wm_core.projection import FeatureSpace, Projection

BASIS = "basis"
"""The word under which a store keeps its basis, once it was changed; before, latents are as they were written."""
WRITTEN_IN = "written_in"
"""The word under which a store keeps how the latents that were written first follow from their features."""


def basis_word(projection: Projection) -> str:
    """Return a projection as text."""
    words = {
        **asdict(projection.space),
        "variance": projection.variance,
        "mean": _text(projection.mean),
        "components": _text(projection.components),
    }
    return json.dumps(words)


def basis_of(meta: Mapping[str, str]) -> Projection | None:
    """Return the basis that a store's latents are to be read in; None: as they were written.

    Raises:
        CorruptStoreError: The word is no basis, or none of the store's encoder.
    """
    if not meta.get(BASIS):
        return None
    try:
        words = json.loads(meta[BASIS])
        space = FeatureSpace(*(words[name] for name in ("feature_id", "size", "grid", "scale", "zero_point")))
        mean_F, components = (np.frombuffer(base64.b64decode(words[name]), "<f4") for name in ("mean", "components"))
        projection = Projection(space, mean_F, components.reshape(-1, space.size), words["variance"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, ProjectionError) as error:
        raise CorruptStoreError(f"the store's description is damaged: its basis is none ({error})") from error
    if projection.encoder_id != meta.get("encoder_id"):
        raise CorruptStoreError("the store's description is damaged: its basis is of another encoder")
    return projection


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def projected(successors: Sequence[Successor], projection: Projection) -> list[Successor]:
    """Return successors with the latents that follow from their features; those without one as they are."""
    size = projection.space.size
    at_S = [at for at, successor in enumerate(successors) if successor.feature_F.size == size]
    found = list(successors)
    if at_S:
        latents = projection.project(np.stack([successors[at].feature_F for at in at_S]))
        for at, latent_D in zip(at_S, latents):
            found[at] = found[at]._replace(latent_D=latent_D)
    return found


def in_basis(
    found: Mapping[int, tuple[Successor, ...]], extras: Mapping[int, Mapping[float, Extra]], projection: Projection
) -> dict[int, tuple[Successor, ...]]:
    """Return what followed some records in a basis, whatever basis it was kept in.

    Args:
        found: As it was kept, by record.
        extras: Its features, by record and horizon.
        projection: The basis.
    """
    keys = [key for key, successors in found.items() for _ in successors]
    featured = [
        item._replace(feature_F=extras[key][item.horizon_s].feature_F)
        if item.horizon_s in extras.get(key, {})
        else item
        for key, successors in found.items()
        for item in successors
    ]
    renewed: dict[int, tuple[Successor, ...]] = {key: () for key in found}
    for key, successor in zip(keys, projected(featured, projection)):
        renewed[key] = (*renewed[key], successor)
    return renewed
