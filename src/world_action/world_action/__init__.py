"""The slow branch as a node: what was seen over the last seconds, and what it foresees."""

from world_action.branch import Look, SlowBranch
from world_action.tick import FrameGate, Tick, ViewMatcher
from world_action.worker import LatestWorker

__all__ = ["FrameGate", "LatestWorker", "Look", "SlowBranch", "Tick", "ViewMatcher"]
