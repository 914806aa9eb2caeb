"""The errors of what all packages share, all of them ``ValueError``: the text says what was expected.

* ``CoreError``: base of all
    * ``AlignmentError``: poses, actions or frames that cannot be brought to one time
    * ``FrameError``: an image the encoder cannot take
    * ``MessageError``: one message that cannot be used, counted under its ``reason``
    * ``ProjectionError``: features, or a projection of them, that cannot be used

What goes wrong with memories stands in ``wm_core.memory.errors``.
"""


class CoreError(ValueError):
    """Base of every error this package raises on purpose."""


class AlignmentError(CoreError):
    """Poses, actions or frames cannot be brought to one time."""


class FrameError(CoreError):
    """An image has a shape, type or size that the encoder cannot take."""


class MessageError(CoreError):
    """A message cannot be used; it costs that message and no other.

    Args:
        reason: Short kebab-case name, the same for all messages with this fault; counters use it.
        detail: What was found, what was expected, with units.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ProjectionError(CoreError):
    """Features, or a projection of them, have another size or type than stated, or cannot be read."""
