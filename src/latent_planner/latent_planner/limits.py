"""The bounds of commands, under the name that planners know them by."""

from wm_core.limits import Limits

__all__ = ["Limits"]
