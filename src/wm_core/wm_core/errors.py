"""The errors of what all packages share, all of them ``ValueError``: the text says what was expected.

* ``CoreError``: base of all
    * ``AlignmentError``: poses, actions or frames that cannot be brought to one time
    * ``FrameError``: an image the encoder cannot take

What goes wrong with memories stands in ``wm_core.memory.errors``.
"""


class CoreError(ValueError):
    """Base of every error this package raises on purpose."""


class AlignmentError(CoreError):
    """Poses, actions or frames cannot be brought to one time."""


class FrameError(CoreError):
    """An image has a shape, type or size that the encoder cannot take."""
