"""The slow branch: embeddings of what was seen at 1 Hz, and of what will be seen.

Importing this package loads numpy only; models, training and evaluation live in its modules.
"""

from world_model.world_action.history import HistoryBreak, VisualHistory

__all__ = ["HistoryBreak", "VisualHistory"]
