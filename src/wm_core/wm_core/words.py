"""Words of what is said to users."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: ``1 memory``, ``2 memories``.

    Args:
        count: How many.
        noun: Of one of them; a regular one.
    """
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {plural}"
