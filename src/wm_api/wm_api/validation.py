"""From what a validator says to one line that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wm_api.errors import ApiError, InvalidError

_PLACES = ("body", "query", "header", "path")
_MOST_NAMED = 8


def field_of(location: Sequence[Any]) -> str:
    """Return a field's name with dots, as ``actions.3.1``; ``body`` where it is the whole."""
    parts = [str(part) for part in location]
    inner = parts[1:] if parts and parts[0] in _PLACES else parts
    name = ".".join(inner) or "body"
    # What a client calls its fields comes back printable and short.
    return name.encode("ascii", "backslashreplace").decode()[:200]


def invalid_of(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Return the refusal of a request with some errors, in the form of pydantic's."""
    if any(error["type"] == "json_invalid" for error in errors):
        return ApiError(400, "the body is not JSON", "body")
    first = errors[0]
    text = "; ".join(f"{field_of(error['loc'])}: {error['msg']}" for error in errors[:_MOST_NAMED])
    return InvalidError(field_of(first["loc"]), text.encode("ascii", "backslashreplace").decode())
