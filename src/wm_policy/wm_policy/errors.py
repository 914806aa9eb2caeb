"""The errors of this package, all of them ``ValueError``: the input was wrong, and the text says what was expected.

* ``PolicyError``: base of all
    * ``PolicyFileError``: an exported policy that is missing, damaged, or of another kind
    * ``InputError``: what a policy was given has the wrong name, shape or value
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


class MissingDependencyError(PolicyError):
    """A library that this part needs is not installed; the text names it."""


class RemotePolicyError(PolicyError):
    """A policy in another process answered nonsense, or not at all."""
