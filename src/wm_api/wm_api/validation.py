"""From what a validator says to one line that names the field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant

from wm_api.errors import ApiError, InvalidError

_PLACES = ("body", "query", "header", "path")
_MOST_NAMED = 8
_TYPE = re.compile(r"(list|literal)\[.*\]|bool|constrained-float")
_A_NEWER_ONE = "n"
"""What a browser adds to a picture's address so that it fetches the newer one."""


def field_of(location: Sequence[Any]) -> str:
    """Return a field's name with dots, as ``actions.3.1``; ``body`` where it is the whole."""
    parts = [str(part) for part in location]
    inner = parts[1:] if parts and parts[0] in _PLACES else parts
    name = ".".join(inner) or "body"
    # What a client calls its fields comes back printable and short.
    return name.encode("ascii", "backslashreplace").decode()[:200]


def known_query(request: Request) -> None:
    """Refuse what a request asks for behind ``?`` and its path does not know: a misspelt option would pass unnoticed.

    Raises:
        InvalidError: A name that is not known.
    """
    known = {_A_NEWER_ONE, *_names(request.scope["route"].dependant)}
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        expected = ", ".join(sorted(known - {_A_NEWER_ONE})) or "none"
        raise InvalidError(field_of(("query", unknown)), f"unknown field, expected of: {expected}")


def _names(dependant: Dependant) -> set[str]:
    """Returns the names that a path takes behind ``?``, those of what it depends on included."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*map(_names, dependant.dependencies))


def invalid_of(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """Return the refusal of a request with some errors, in the form of pydantic's."""
    if any(error["type"] == "json_invalid" for error in errors):
        return ApiError(400, "the body is not JSON", "body")
    names = [field_of(_location(error)) for error in errors[:_MOST_NAMED]]
    text = "; ".join(f"{name}: {error['msg']}" for name, error in zip(names, errors))
    return InvalidError(names[0], text.encode("ascii", "backslashreplace").decode())


def _location(error: Mapping[str, Any]) -> list[Any]:
    """Returns where an error is, without which of several types the value was taken for: that is no field."""
    found = list(error["loc"])
    # What a client calls a field that is not known may look like a type.
    end = len(found) - (error["type"] == "extra_forbidden")
    return [part for part in found[:end] if not _TYPE.fullmatch(str(part))] + found[end:]
