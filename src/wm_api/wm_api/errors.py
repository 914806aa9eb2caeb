"""The errors of this package.

* ``SettingsError``: the service was told what does not go together, or is unsafe
* ``ApiError``: one request that cannot be answered, with its HTTP status
    * ``InvalidError``: a field of it is wrong (422)
    * ``NotThereError``: what it asks for is not there (404)
    * ``UnavailableError``: what it needs is away, or everything is busy (503)
"""

from __future__ import annotations

from wm_core.errors import CoreError
from wm_core.memory.errors import (
    BackendAwayError,
    CorruptStoreError,
    QueryError,
    RecordError,
    SpatialMemoryError,
)


class SettingsError(CoreError):
    """Settings that do not go together, or are unsafe."""


class ApiError(Exception):
    """One request that cannot be answered.

    Args:
        status: HTTP status.
        detail: What was found and what was expected.
        field: The field of the request that is at fault; empty where none is.
        retry_after_s: When to try again [s]; 0 says nothing of it.
    """

    def __init__(self, status: int, detail: str, field: str = "", retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


class InvalidError(ApiError):
    """A field of a request is wrong."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(422, detail, field)


class NotThereError(ApiError):
    """What is asked for is not there."""

    def __init__(self, detail: str, field: str = "") -> None:
        super().__init__(404, detail, field)


class UnavailableError(ApiError):
    """What is needed is away, or everything is busy."""

    def __init__(self, detail: str, retry_after_s: int = 1) -> None:
        super().__init__(503, detail, retry_after_s=retry_after_s)


def refusal_of_memory(error: SpatialMemoryError, field: str = "memory") -> ApiError:
    """Return what a request is told where the memory refuses, is away (503) or is damaged (410).

    Args:
        error: The memory's.
        field: What of the request is at fault.
    """
    if isinstance(error, BackendAwayError):
        return UnavailableError(str(error))
    if isinstance(error, QueryError):
        return InvalidError(field, str(error))
    if isinstance(error, RecordError):
        return ApiError(409 if error.reason.startswith("other-") else 422, str(error), field)
    return ApiError(410 if isinstance(error, CorruptStoreError) else 409, str(error), field)
