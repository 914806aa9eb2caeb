"""JSON files that name the digest of their own text, so that damage of any byte of them is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

DIGEST = "digest"
"""Entry that holds the SHA-256 (hex) of the text in which it is empty."""


def json_with_digest(entries: Mapping[str, Any]) -> str:
    """Return entries as indented JSON with a digest of the text before them."""
    text = json.dumps({DIGEST: "", **entries}, indent=1) + "\n"
    return text.replace(_entry(""), _entry(_sha256(text)), 1)


def is_whole(text: str, digest: object) -> bool:
    """Return whether a text is the one that was written.

    Args:
        text: Of ``json_with_digest``.
        digest: What it says in ``DIGEST``.
    """
    return isinstance(digest, str) and _sha256(text.replace(_entry(digest), _entry(""), 1)) == digest


def _entry(digest: str) -> str:
    return f'"{DIGEST}": "{digest}"'


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
