"""A film strip: pictures that came, beside what the decoder makes of them and what was foreseen.

Shape suffixes: N = moments, S = image side, C = channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from world_model.evaluation.decoded import HORIZONS, NO_CHANGE, WITH, WITHOUT, Codec, HeldOut, shown_rows

_STEP = 20
_MOMENTS = 7
_LABEL_PX = 132
_SIDES = (128, 112, 96, 80, 64, 48)


def film_strip(codec: Codec, seen: Sequence[HeldOut]) -> dict[str, np.ndarray]:
    """Return pictures 1 s ahead by what said so, uint8 [N, S, S, 3], revisits in the order of their time.

    Args:
        codec: Encoder and decoder.
        seen: Held-out episodes; the first that has revisits is shown, else the first.
    """
    column = HORIZONS.index(_STEP)
    each = next((e for e in seen if e.forecasts.revisit_TH[:, column].any()), seen[0])
    run, rows = each.forecasts, shown_rows(each, column, len(each.episode))
    revisits = rows[run.revisit_TH[rows, column]]
    rows = revisits if len(revisits) else rows
    rows = rows[np.linspace(0, len(rows) - 1, min(_MOMENTS, len(rows))).astype(int)]
    target_N = run.target_row_TH[rows, column]
    said = {
        "1 s ahead, memory": run.forecast[WITH],
        "1 s ahead, without": run.forecast[WITHOUT],
        "nothing changes": run.forecast[NO_CHANGE],
    }
    image_TSSC = np.asarray(each.episode.image_TSSC)
    return {
        "now": image_TSSC[rows],
        "truth in 1 s": image_TSSC[target_N],
        "truth, decoded": codec.decode(each.latent_TD[target_N]),
        **{name: codec.decode(said_THD[rows, column]) for name, said_THD in said.items()},
    }


def write_strip(path: Path, pictures: Mapping[str, np.ndarray], most_bytes: int = 150_000) -> None:
    """Write rows of pictures as PNG, as large as the limit allows; where the smallest are too large, fewer of each row.

    Args:
        path: Where.
        pictures: Label -> uint8 RGB [N, S, S, 3].
        most_bytes: Limit of the file's size.

    Raises:
        ValueError: Not even one of each row fits.
    """
    count = max(len(image_NSSC) for image_NSSC in pictures.values())
    sizes = [(side, count) for side in _SIDES] + [(_SIDES[-1], fewer) for fewer in range(count - 1, 0, -1)]
    for side, columns in sizes:
        lines = [_line(label, image_NSSC[_spread(image_NSSC, columns)], side) for label, image_NSSC in pictures.items()]
        _, coded = cv2.imencode(".png", np.concatenate(lines)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
        if len(coded) <= most_bytes:
            path.write_bytes(coded.tobytes())
            return
    raise ValueError(f"{len(coded)} bytes at the smallest size, expected {most_bytes} at most")


def _spread(image_NSSC: np.ndarray, count: int) -> np.ndarray:
    """Return the rows of so many pictures, from the first to the last of them."""
    return np.linspace(0, len(image_NSSC) - 1, min(count, len(image_NSSC))).astype(int)


def _line(label: str, image_NSSC: np.ndarray, side: int) -> np.ndarray:
    margin = np.full((side, _LABEL_PX, 3), 255, np.uint8)
    cv2.putText(margin, label, (2, side // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    tiles = [cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA) for image in image_NSSC]
    return np.concatenate([margin, *tiles], axis=1)
