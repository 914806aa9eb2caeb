"""The errors of this package, all of them ``ValueError``: the input was wrong, and the text says what was expected.

* ``PolicyError``: base of all
    * ``PolicyFileError``: an exported policy that is missing, damaged, or of another kind
    * ``InputError``: what a policy was given has the wrong name, shape or value
    * ``UnknownNameError``: a registry has no such name; a ``KeyError`` as well, as of any mapping
    * ``MissingDependencyError``: a library that this part needs is not installed
    * ``RemotePolicyError``: a policy in another process answered nonsense, or not at all
"""

from wm_core.errors import CoreError


class PolicyError(CoreError):
    """Base of every error this package raises on purpose."""


class PolicyFileError(PolicyError):
    """An exported policy is missing, damaged, or of another kind."""


class InputError(PolicyError):
    """What a policy was given has the wrong name, shape or value."""


class UnknownNameError(PolicyError, KeyError):
    """A registry has no such name; the text lists those there are."""

    def __str__(self) -> str:
        """Return the text; a ``KeyError`` would put it in quotes."""
        return str(self.args[0])


class MissingDependencyError(PolicyError):
    """A library that this part needs is not installed; the text names it."""


class RemotePolicyError(PolicyError):
    """A policy in another process answered nonsense, or not at all."""
