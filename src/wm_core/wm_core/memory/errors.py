"""Everything this package raises on purpose; all are ``ValueError`` so that a node can end with one line.

SpatialMemoryError
├── QueryError             a query that cannot be answered as asked
├── RecordError            a record that cannot be kept
│   ├── EncoderMismatchError   its latent, or its feature, is another network's
│   └── FrameMismatchError     its pose is in another frame
├── PlaceError             a coordinate that lies nowhere
├── ForgetError            delete criteria that make no sense
└── StoreError             the durable store
    ├── StoreLockedError   another process holds it
    ├── CorruptStoreError  torn, damaged, or not a memory at all
    │   └── LostRecordsError   less is there than was acknowledged
    └── BackendAwayError   the server of a remote backend does not answer
"""

from __future__ import annotations


class SpatialMemoryError(ValueError):
    """Base of everything this package raises on purpose."""


class QueryError(SpatialMemoryError):
    """A query that cannot be answered as asked."""


class RecordError(SpatialMemoryError):
    """A record that cannot be kept; ``reason`` is a short name to count by."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class EncoderMismatchError(RecordError):
    """A latent of another encoder than the memory's."""

    def __init__(self, text: str) -> None:
        super().__init__("other-encoder", text)


class FrameMismatchError(RecordError):
    """A pose in another frame than the memory's."""

    def __init__(self, text: str) -> None:
        super().__init__("other-frame", text)


class PlaceError(RecordError):
    """A coordinate that lies nowhere, or outside what the map can hold."""

    def __init__(self, text: str) -> None:
        super().__init__("impossible-place", text)


class ForgetError(SpatialMemoryError):
    """Delete criteria that make no sense."""


class StoreError(SpatialMemoryError):
    """The durable store cannot do what was asked."""


class StoreLockedError(StoreError):
    """Another process holds the store."""


class CorruptStoreError(StoreError):
    """A file that is torn, damaged, or not a memory at all; ``reason`` says what of it, without naming the file."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason or text


class LostRecordsError(CorruptStoreError):
    """A file that holds less than what was acknowledged: an older copy, one without its log, or none at all."""


class BackendAwayError(StoreError):
    """The server of a remote backend does not answer."""
