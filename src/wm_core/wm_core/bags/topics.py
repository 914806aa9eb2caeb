"""Which recorded topic feeds which topic of the graph: by what it holds, then by its name; never by a guess."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wm_core.bags.errors import BagError
from wm_core.words import counted

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
"""What a camera topic may carry."""
CLEARLY_MORE = 2.0
"""How many times the messages of another topic make one the better of two."""
_FEW = 0.1
"""Share of the messages of the fullest candidate below which a name counts for nothing."""

_FUSED = {"/pose": "odometry/filtered"}
"""What the topic is called in which a state estimator joins the others that feed the same topic of the graph."""
_FRONT, _ELSEWHERE = "front", ("left", "right", "rear", "back", "behind", "side")
"""Where the cameras of one robot look, by their names."""
_GREY = ("mono8", "mono16", "8UC1")
"""What says of a picture that it has no colours."""


@dataclass(frozen=True)
class Candidate:
    """A recorded topic that could feed a topic of the graph.

    Attributes:
        topic: Its name in the recording.
        count: Messages, None where not known.
        rank: What its type and frame say; smaller is better.
        moves: Whether what it says changes; None where not known.
        told: What else is worth saying of it.
    """

    topic: str
    count: int | None = None
    rank: int = 0
    moves: bool | None = None
    told: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        count = "" if self.count is None else counted(self.count, "message")
        still = "does not change" if self.moves is False else ""
        return f"{self.topic} ({', '.join(text for text in (count, still, self.told) if text)})"


@dataclass(frozen=True)
class Choice:
    """Which of some candidates feeds a topic of the graph.

    Attributes:
        target: Topic of the graph.
        topic: The one chosen, None without one.
        why: Reason, in words.
        others: Candidates not taken.
        is_tie: Whether none was taken because two are equally good.
    """

    target: str
    topic: str | None
    why: str
    others: tuple[Candidate, ...] = field(default=())
    is_tie: bool = False

    def __str__(self) -> str:
        """Return it in words."""
        rest = f"; not taken: {', '.join(map(str, self.others))}" if self.others else ""
        return f"{self.target} <- {self.topic or 'nothing'} ({self.why}){rest}"


def choose(target: str, candidates: Sequence[Candidate], why_none: str = "") -> Choice:
    """Decides which candidate feeds a topic of the graph.

    Empty topics are left out. Of the rest, one of the same name (for cameras also NAME/compressed) goes first, unless
    it has hardly any messages beside another, or says always the same while another does not. Then what says something
    that changes, the better type, and at least twice the messages decide; then custom: raw before compressed of one
    camera, colour before grey, the left of a stereo pair, of several cameras the one that looks ahead, what a state
    estimator filtered, the one of that name in a namespace. Else it is a tie.

    Args:
        target: Topic of the graph.
        candidates: Topics that could feed it.
        why_none: Why others of a fitting type are no candidates.
    """
    filled = [c for c in candidates if c.count is None or c.count > 0]
    if not filled:
        return Choice(target, None, why_none or "no topic of a fitting type with messages", tuple(candidates))
    most = max(c.count or 0 for c in filled)
    moving = [c for c in filled if c.moves]
    heard = [c for c in filled if c.count is None or c.count >= _FEW * most]
    lively = [c for c in heard if c.moves is not False] if moving else heard
    best = lively or heard
    named = [c for name in (target, f"{target}/compressed") for c in best if c.topic == name]
    if named:
        return _taken(target, named[0], "of that name", candidates)
    best = [c for c in best if c.rank == min(c.rank for c in best)]
    if len(best) == 1:
        return _taken(target, best[0], _why_best(best[0], filled), candidates)
    best.sort(key=lambda c: -(c.count or 0))
    if best[0].count is not None and best[0].count >= CLEARLY_MORE * (best[1].count or 0):
        return _taken(target, best[0], "it has most messages", candidates)
    usual = _by_custom(target, best)
    if usual is not None:
        return _taken(target, *usual, candidates)
    return Choice(target, None, "equally good candidates", tuple(candidates), is_tie=True)


def _why_best(best: Candidate, filled: Sequence[Candidate]) -> str:
    if len(filled) == 1:
        return "the only one with messages"
    most, others = max(c.count or 0 for c in filled), [c for c in filled if c is not best]
    if all(c.count is not None and c.count < _FEW * most for c in others):
        return "the others have hardly any messages beside it"
    is_alone = best.moves and not any(c.moves for c in others)
    return "it changes, the others do not" if is_alone else "the best of those with messages"


def _taken(target: str, candidate: Candidate, why: str, candidates: Sequence[Candidate]) -> Choice:
    count = "" if candidate.count is None else f", {counted(candidate.count, 'message')}"
    return Choice(target, candidate.topic, why + count, tuple(c for c in candidates if c is not candidate))


def _by_custom(target: str, candidates: Sequence[Candidate]) -> tuple[Candidate, str] | None:
    """Returns which of equally good candidates custom takes, and why; None where it takes none."""
    one = _one_camera(candidates)
    if one is not None:
        return one, "the raw one of one camera"
    coloured = [c for c in candidates if not any(word in c.told for word in _GREY)]
    if 0 < len(coloured) < len(candidates):
        return (coloured[0], "the one in colour") if len(coloured) == 1 else _by_custom(target, coloured)
    left = [c for c in candidates if "left" in c.topic]
    names = {c.topic for c in left}
    is_stereo = bool(left) and all(c in left or c.topic.replace("right", "left") in names for c in candidates)
    one = _one_camera(left) if is_stereo else None
    if one is not None:
        return one, "the left one of a stereo pair"
    elsewhere = [c for c in candidates if any(word in c.topic for word in _ELSEWHERE)]
    ahead = [c for c in candidates if _FRONT in c.topic and c not in elsewhere]
    is_known = bool(ahead and elsewhere) and len(ahead) + len(elsewhere) == len(candidates)
    one = _one_camera(ahead) if is_known else None
    if one is not None:
        return one, "the one that looks ahead"
    fused = [c for c in candidates if target in _FUSED and _FUSED[target] in c.topic]
    if len(fused) == 1:
        return fused[0], "the one that joins the others"
    named = [c for c in candidates if c.topic.endswith((target, f"{target}/compressed"))]
    one = _one_camera(named) if named else None
    return None if one is None else (one, "of that name in a namespace")


def _one_camera(candidates: Sequence[Candidate]) -> Candidate | None:
    """Returns the raw topic where all candidates are one camera's, raw and compressed."""
    shortest = min(candidates, key=lambda c: len(c.topic))
    return shortest if all(c.topic.startswith(shortest.topic) for c in candidates) else None


def match_topics(
    types: Mapping[str, str], remaps: Mapping[str, str], wanted: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Decides which recorded topic is played as which topic of the graph; ``explain_topics`` says why.

    Args:
        types: {recorded topic: type}; ``Bag.types`` knows the counts as well.
        remaps: {recorded topic: topic of the graph}, chosen by the user.
        wanted: {topic of the graph: types it takes}.

    Returns:
        {recorded topic: topic of the graph}; a wanted topic that the recording lacks, or for which two are equally
        good, is left out.

    Raises:
        BagError: A renamed topic is not in the recording or has a type that its target does not take.
    """
    choices = explain_topics(types, remaps, wanted)
    return dict(remaps) | {choice.topic: choice.target for choice in choices if choice.topic is not None}


def explain_topics(
    types: Mapping[str, str], remaps: Mapping[str, str], wanted: Mapping[str, Sequence[str]]
) -> list[Choice]:
    """Returns for each wanted topic what feeds it and why; arguments and errors as ``match_topics``."""
    counts: Mapping[str, int] = getattr(types, "counts", {})
    for source, target in remaps.items():
        if source not in types:
            raise BagError(f"the recording has no topic '{source}'; it has: {', '.join(sorted(types))}")
        if target in wanted and types[source] not in wanted[target]:
            raise BagError(f"'{source}' is a {types[source]}, but '{target}' takes {' or '.join(wanted[target])}")
    taken = set(remaps)
    choices = []
    for target, accepted in wanted.items():
        named = [source for source, to in remaps.items() if to == target]
        if named:
            choices.append(Choice(target, named[0], "as asked for"))
            continue
        candidates = [Candidate(t, counts.get(t)) for t, kind in types.items() if kind in accepted and t not in taken]
        choices.append(choose(target, candidates))
        taken |= {choices[-1].topic} if choices[-1].topic else set()
    return choices
