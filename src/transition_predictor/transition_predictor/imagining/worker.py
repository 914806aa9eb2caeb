"""Imagining on a thread of its own: network, decoder and memory beyond the window are that thread's alone.

Shape suffixes: B = candidates, S = steps, N = pictures, D = latent size, K = memories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from transition_predictor.imagining.scene import Ask, Beyond, Scene, moment_of, places_for, plan_of
from wm_core.memory.held import HeldPlaces
from world_model.runtime.artifacts import Artifact
from world_model.runtime.imagination import Imagination
from world_model.runtime.imagined import Imagined, Plan
from world_model.runtime.moment import Moment
from world_model.runtime.served import ServedDecoder

DECODED, REMEMBERED = "decoded", "remembered"
_JPEG_QUALITY = 90
_STEPS_AT_ONCE = 1


class Album(Protocol):
    """Pictures that a memory keeps."""

    def pictures(self, ids: Sequence[int]) -> dict[int, bytes]:
        """Return the JPEG files of some memories, of those that have one."""


@dataclass(frozen=True)
class Picture:
    """A picture of a step; ``jpeg`` is empty where there is none."""

    step: int
    jpeg: bytes


@dataclass(frozen=True)
class Told:
    """What was imagined, and pictures of it.

    Attributes:
        imagined: All steps, or as far as it came.
        moment: From where.
        pictures: Of some steps.
        kind: ``decoded``, ``remembered``, or why there are none; empty where none were asked for.
        is_whole: False where it was ended before.
    """

    imagined: Imagined
    moment: Moment
    pictures: tuple[Picture, ...] = ()
    kind: str = ""
    is_whole: bool = True


class Imaginer:
    """Imagines what is asked. Not thread-safe: one thread owns it.

    Args:
        artifact: Whose network; another one takes its place by ``use``.
        top_k: Memories at each place; None: as the artifact was trained.
        beyond: The memory beyond what a scene holds.
        album: Its pictures.
    """

    def __init__(self, artifact: Artifact, top_k: int | None, beyond: Beyond, album: Album) -> None:
        self._artifact, self._top_k, self._beyond, self._album = artifact, top_k, beyond, album
        self._imagination: Imagination | None = None
        self._decoder: ServedDecoder | None = None

    def use(self, artifact: Artifact) -> None:
        """Go on with another artifact."""
        if artifact is not self._artifact:
            self._artifact, self._imagination, self._decoder = artifact, None, None

    @property
    def has_decoder(self) -> bool:
        """Whether latents can be turned into pictures."""
        return self._artifact.has("decoder")

    def imagine(self, ask: Ask, scene: Scene) -> Told:
        """Return what follows.

        Raises:
            ImaginationError: It cannot be imagined as it was asked for.
        """
        moment, plan, places = self._prepared(ask, scene)
        imagined = self._loaded().imagine(moment, plan, places)
        return self._told(ask, moment, imagined)

    def stream(self, ask: Ask, scene: Scene, tell: Callable[[Told], None], is_ended: Callable[[], bool]) -> Told:
        """Return what follows, and tell each step, with its picture, before the next is imagined.

        Args:
            ask: What to imagine.
            scene: From where.
            tell: Called with each step.
            is_ended: Asked before each step whether to stop there; the first is always imagined.

        Raises:
            ImaginationError: As ``imagine``.
        """
        moment, plan, places = self._prepared(ask, scene)
        parts: list[Told] = []
        for at, part in enumerate(self._steps(moment, plan, places)):
            parts.append(self._told(ask, moment, part, at))
            tell(parts[-1])
            if is_ended():
                break
        imagined = Imagined.joined([part.imagined for part in parts])
        pictures = tuple(picture for part in parts for picture in part.pictures)
        return Told(imagined, moment, pictures, self._kind(pictures), len(parts) == plan.steps)

    def _steps(self, moment: Moment, plan: Plan, places: HeldPlaces | None) -> Iterator[Imagined]:
        return self._loaded().steps(moment, plan, places, _STEPS_AT_ONCE)

    def _prepared(self, ask: Ask, scene: Scene) -> tuple[Moment, Plan, HeldPlaces | None]:
        imagination = self._loaded()
        moment = moment_of(ask, scene, imagination, self._beyond)
        plan = plan_of(ask, moment, scene.manifest)
        if not ask.asks_memory:
            return moment, plan, None
        pose_BS3 = imagination.where(moment, plan)
        return moment, plan, places_for(pose_BS3, imagination.radius_m, scene, self._beyond)

    def _loaded(self) -> Imagination:
        if self._imagination is None:
            self._imagination = Imagination(self._artifact, self._top_k)
        return self._imagination

    # ---------------------------------------------------------------- pictures

    def _told(self, ask: Ask, moment: Moment, imagined: Imagined, before: int = 0) -> Told:
        """Return what was imagined after so many steps, with the pictures that are asked for of it."""
        steps = range(before + 1, before + len(imagined.time_S) + 1)
        shown = [step for step in steps if ask.image_every and step % ask.image_every == 0]
        if not shown:
            return Told(imagined, moment)
        rows = [step - before - 1 for step in shown]
        if self.has_decoder:
            jpegs = [jpeg_of(each) for each in self.decoded(imagined.latent_BSD[0, rows])]
        else:
            jpegs = self.remembered(imagined.id_BSK[0, rows])
        pictures = tuple(map(Picture, shown, jpegs))
        return Told(imagined, moment, pictures, self._kind(pictures))

    def _kind(self, pictures: Sequence[Picture]) -> str:
        if not pictures:
            return ""
        if self.has_decoder:
            return DECODED
        if any(picture.jpeg for picture in pictures):
            return REMEMBERED
        return "the artifact has no decoder, and no picture is remembered there: see store_thumbnails"

    def decoded(self, latent_ND: np.ndarray) -> np.ndarray:
        """Return pictures that a decoder makes of latents, [N, S, S, 3] uint8."""
        if self._decoder is None:
            self._decoder = ServedDecoder(self._artifact)
        return self._decoder(latent_ND)

    def remembered(self, id_NK: np.ndarray) -> list[bytes]:
        """Return, for some places, the picture of the nearest memory there that has one, [N]; empty: none has."""
        kept = self._album.pictures(sorted(set(id_NK[id_NK > 0].tolist())))
        return [next((kept[each] for each in id_K if each in kept), b"") for id_K in id_NK.tolist()]


def jpeg_of(picture_SSC: np.ndarray, quality: int = _JPEG_QUALITY) -> bytes:
    """Return an RGB picture as a JPEG file."""
    is_done, file = cv2.imencode(
        ".jpg", cv2.cvtColor(picture_SSC, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert is_done
    return bytes(file.tobytes())
