"""The film strip: what was seen, what had been foreseen for that moment, how near that came. No ROS.

Shape suffixes: N = moments, D = latent size, SSC = square picture, uint8 RGB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wm_core.images import prepare_image
from wm_demo.film import Moment
from world_model.errors import ArtifactError
from world_model.runtime.artifacts import load_artifact

_SIDE = 96
Decoder = Callable[[np.ndarray], np.ndarray]
"""Returns pictures [N, S, S, 3] of latents [N, D]."""


@dataclass(frozen=True)
class Foreseen:
    """A picture that was foreseen, and how near it came: its peak signal-to-noise ratio [dB]."""

    image_SSC: np.ndarray
    near_db: float


@dataclass(frozen=True)
class Still:
    """One column of the strip.

    Attributes:
        after_s: Since the first moment of the run [s].
        seen: When the forecast was made, which is what "nothing changes" foresees.
        decoded: The latent that was foreseen, as a picture; None: it cannot be made.
        remembered: What had been seen before at the place where the robot was expected; None: nothing.
        real_SSC: What came.
    """

    after_s: float
    seen: Foreseen
    decoded: Foreseen | None
    remembered: Foreseen | None
    real_SSC: np.ndarray


@dataclass(frozen=True)
class Strip:
    """Some stills, and why none of them is decoded; empty where they are."""

    stills: tuple[Still, ...]
    not_decoded: str = ""


def strip_of(moments: Sequence[Moment], model_path: str, begin_ns: int) -> Strip:
    """Return the film strip of some moments.

    Args:
        moments: Those that are to be shown.
        model_path: The artifact that foresaw.
        begin_ns: Stamp of the first moment of the run.
    """
    complete = [moment for moment in moments if moment.real_HWC is not None]
    decode, side, encoder_id = _decoder(model_path)
    fits = all(moment.encoder_id == encoder_id for moment in complete)
    if decode is None or not fits:
        why = "the artifact has no decoder" if fits or decode is None else "latents are in the robot's own basis"
        return Strip(tuple(_still(moment, None, side, begin_ns) for moment in complete), why)
    if not complete:
        return Strip(())
    pictures = decode(np.stack([moment.latent_D for moment in complete]))
    return Strip(tuple(_still(moment, each, side, begin_ns) for moment, each in zip(complete, pictures)))


def _decoder(model_path: str) -> tuple[Decoder | None, int, str]:
    """Return what makes pictures of latents, their side, and of which encoder; None where there is none."""
    try:
        artifact = load_artifact(model_path)
        if not artifact.has("decoder"):
            return None, _SIDE, artifact.manifest.encoder_id
        module = artifact.decoder()
    except ArtifactError:
        return None, _SIDE, ""

    def decode(latent_ND: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            image_NSSC: np.ndarray = module(torch.from_numpy(np.ascontiguousarray(latent_ND, np.float32))).numpy()
        return image_NSSC

    return decode, artifact.manifest.image_size, artifact.manifest.encoder_id


def _still(moment: Moment, decoded_SSC: np.ndarray | None, side: int, begin_ns: int) -> Still:
    assert moment.real_HWC is not None
    real_SSC = prepare_image(moment.real_HWC, side)

    def foreseen(image_HWC: np.ndarray) -> Foreseen:
        image_SSC = prepare_image(image_HWC, side)
        return Foreseen(image_SSC, psnr_db(image_SSC, real_SSC))

    remembered_HWC = moment.remembered_HWC
    return Still(
        (moment.target_ns - begin_ns) / 1e9,
        foreseen(moment.seen_HWC),
        None if decoded_SSC is None else foreseen(decoded_SSC),
        None if remembered_HWC is None else foreseen(remembered_HWC),
        real_SSC,
    )


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two pictures [dB]; infinite where they are the same."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)
