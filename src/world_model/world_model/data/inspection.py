"""What a recording holds, what would feed what, and whether it suffices to train, without converting it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wm_core.bags import Bag, BagError, Choice
from wm_core.bags.survey import CAMERA, CAMERA_TYPES, POSE, TopicSurvey, Wishes, choose_sources, survey
from wm_core.words import counted
from world_model.data.account import Account
from world_model.data.bag_options import BagOptions
from world_model.data.bags import read_recording
from world_model.data.events import camera_info_topic

AGAIN_S = 20.0
"""A place counts as seen again when at least so long has passed."""
_AGAIN_M, _AGAIN_SHARE = 1.0, 0.1
_COMPARED = 1000
SLOWEST_HZ = 1.0
_NOT = "  does not suffice to train"
_LOOKED_AT_PX = 8
"""Side of the pictures that are read to see whether they can be [px]."""


@dataclass(frozen=True)
class Inspection:
    """The report in lines.

    Attributes:
        lines: What is said.
        suffices: Whether the recording suffices to train.
        is_usable: Whether anything would come of converting it.
    """

    lines: list[str]
    suffices: bool
    is_usable: bool


def inspect_bag(
    bag: Bag, wishes: Wishes, progress: Callable[[int, int], None] = lambda done, total: None
) -> Inspection:
    """Return what a recording holds: topics, rates, gaps, clocks, what would feed what, and whether it suffices.

    The recording is read as conversion reads it, so both give the same account.

    Raises:
        DataError: What is asked for is not in the recording.
    """
    surveys = survey(bag, progress=progress)
    duration_s = (bag.end_ns - bag.start_ns) * 1e-9
    lines = [f"{bag.path}: {counted(sum(bag.counts.values()), 'message')} in {duration_s:.1f} s"]
    choices, refusal = _choices(bag, wishes)
    info = camera_info_topic(choices[CAMERA].topic or "", bag.types) if choices else None
    for topic in sorted(bag.types):
        use = "kept with the set" if topic == info else "not used"
        of = surveys.get(topic)
        lines.append(f"  {of.line() if of else f'{topic} ({bag.types[topic]}): {bag.counts[topic]} messages, {use}'}")
    lines += [f"  {topic}: {why}" for topic, why in sorted(bag.unusable.items())]
    lines += [f"  damaged: {damage}" for damage in bag.damages]
    if refusal:
        return Inspection([*lines, f"  {refusal}", _NOT], suffices=False, is_usable=False)
    lines += [f"  {choice}" for choice in choices.values()]
    camera, pose = (surveys.get(choices[target].topic or "") for target in (CAMERA, POSE))
    account = None if camera is None else _read(bag, wishes, progress)
    lines += _news(account, lines) if account else []
    wanting = _wanting(camera, pose, account, duration_s)
    lines += [f"  {text}" for text in wanting]
    suffices = account is not None and not account.is_partial and not wanting
    lines.append("  suffices to train" if suffices else _NOT)
    return Inspection(lines, suffices, account is not None and account.is_usable)


def _choices(bag: Bag, wishes: Wishes) -> tuple[dict[str, Choice], str]:
    """Returns what would feed what, or nothing and why."""
    try:
        return choose_sources(bag, wishes), ""
    except BagError as error:
        return {}, str(error)


def _read(bag: Bag, wishes: Wishes, progress: Callable[[int, int], None]) -> Account:
    """Returns the account that conversion would give."""
    options = BagOptions(
        image_topic=wishes.image_topic,
        pose_topic=wishes.pose_topic,
        action_topic=wishes.action_topic,
        image_size=_LOOKED_AT_PX,
    )
    return read_recording(bag.path, options, progress=progress).account


def _news(account: Account, lines: Sequence[str]) -> list[str]:
    """Returns the lines of an account that say what was not said before."""
    said = "\n".join(lines)
    first = f"  {account.lines()[0].removeprefix(f'{account.recording}: ')}"
    return [first, *(line for line in account.lines()[1:] if line.split(": ", 1)[-1] not in said)]


def _wanting(
    camera: TopicSurvey | None, pose: TopicSurvey | None, account: Account | None, duration_s: float
) -> list[str]:
    """Returns what training would lack."""
    texts = []
    if account is None or camera is None or camera.type not in CAMERA_TYPES:
        return ["there is no camera"]
    if camera.count < 2:
        return ["one picture shows no motion: expected at least 2"]
    if camera.rate_hz < SLOWEST_HZ and account.is_usable:
        texts.append(f"the camera is slower than {SLOWEST_HZ:.0f} Hz: {camera.rate_hz:.2f} Hz")
    if duration_s < AGAIN_S:
        texts.append(f"it lasts {duration_s:.2f} s, shorter than the {AGAIN_S:.0f} s after which a place is seen again")
    if pose is None:
        texts.append("there is no pose, so no memory can be learnt from it")
    elif account.is_usable and not account.poses.known:
        texts.append("no frame has a pose, so no memory can be learnt from it")
    elif pose.moves is False:
        texts.append("the pose does not change")
    elif duration_s >= AGAIN_S and not comes_back(pose):
        texts.append("no place is seen again: what a memory is worth cannot be learnt from it")
    return texts


def comes_back(pose: TopicSurvey) -> bool:
    """Return whether some place is seen again: within 1 m or a tenth of the robot's world, at least 20 s later."""
    count = min(len(pose.values), len(pose.stamps_ns))
    if not count:
        return False
    rows = np.linspace(0, count - 1, min(count, _COMPARED)).astype(int)
    place_N3 = np.stack([pose.values[row][:3] for row in rows])
    second_N = np.array([pose.stamps_ns[row] for row in rows], np.int64) * 1e-9
    near_m = min(_AGAIN_M, _AGAIN_SHARE * float(np.ptp(place_N3, axis=0).max()))
    distance_NN = np.linalg.norm(place_N3[:, None] - place_N3[None], axis=2)
    return bool(((distance_NN <= near_m) & (second_N[:, None] - second_N[None] >= AGAIN_S)).any())
