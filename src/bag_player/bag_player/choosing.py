"""Which recorded topic is played as which topic of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bag_player.senders import ACTIONS, CAMERA, POSE, TAKES, installed
from wm_core.bags import Bag, BagError, Choice
from wm_core.bags.survey import TF, TF_STATIC, Wishes, choose_sources


def parse_remaps(pairs: Sequence[str]) -> dict[str, str]:
    """Returns {recorded topic: topic of the graph} from ``FROM:=TO`` words.

    Raises:
        BagError: A word is not of that form.
    """
    remaps = {}
    for pair in pairs:
        source, separator, target = pair.partition(":=")
        if not separator or not source.startswith("/") or not target.startswith("/"):
            raise BagError(f"'{pair}': expected /RECORDED/TOPIC:=/GRAPH/TOPIC")
        remaps[source] = target
    return remaps


def choose_topics(bag: Bag, remaps: Mapping[str, str]) -> tuple[dict[str, str], list[Choice]]:
    """Returns {recorded topic: topic of the graph}, and for each topic of the graph what feeds it and why.

    Raises:
        BagError: There is no camera, a renamed topic is not there or of the wrong type, or two are equally good.
    """
    asked = {target: source for source, target in remaps.items()}
    for source in remaps:
        if source not in bag.types:
            raise BagError(f"the recording has no topic '{source}'; it has: {', '.join(sorted(bag.types))}")
    wishes = Wishes(asked.get(CAMERA), asked.get(POSE), asked.get(ACTIONS))
    hints = {target: f"name one with --topics FROM:={target}" for target in TAKES}
    choices = choose_sources(bag, wishes, TAKES, hints)
    if choices[CAMERA].topic is None:
        raise BagError(f"no camera topic in '{bag.path}'; it has: {describe(bag)}; {hints[CAMERA]}")
    topics = dict(remaps) | {c.topic: target for target, c in choices.items() if c.topic}
    if TF in topics and TF_STATIC in bag.types:
        topics[TF_STATIC] = topics[TF]
    return topics, list(choices.values())


def with_all_others(bag: Bag, topics: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Returns also the topics that the graph does not take, under their own names, and those whose type is missing."""
    others = {topic: kind for topic, kind in bag.types.items() if topic not in topics and topic != "/clock"}
    missing = [f"{topic} ({kind})" for topic, kind in sorted(others.items()) if installed(kind) is None]
    return {topic: topic for topic, kind in others.items() if installed(kind) is not None} | dict(topics), missing


def describe(bag: Bag) -> str:
    """Returns the topics of a recording with types and counts, in words."""
    return ", ".join(f"{topic} ({kind}, {bag.counts.get(topic, 0)})" for topic, kind in sorted(bag.types.items()))
