"""Recordings: one reader for player, demo and conversion.

rosbags is imported when a message is decoded, or a ROS 1 recording opened.
"""

from wm_core.bags.bag import Bag, BagMessage, RecordedTypes, header_stamp_ns
from wm_core.bags.errors import BagError, Damage
from wm_core.bags.metadata import find_bags
from wm_core.bags.topics import IMAGE_TYPES, Candidate, Choice, choose, explain_topics, match_topics

__all__ = [
    "IMAGE_TYPES",
    "Bag",
    "BagError",
    "BagMessage",
    "Candidate",
    "Choice",
    "Damage",
    "RecordedTypes",
    "choose",
    "explain_topics",
    "find_bags",
    "header_stamp_ns",
    "match_topics",
]
