"""TorchScript files that hold the network and nothing of the machine that wrote them."""

from __future__ import annotations

import io
import re
import zipfile

import torch

# Source positions with absolute paths, and an id that follows from them.
_LEFT_OUT = (".debug_pkl", "serialization_id")


# Constants of a class, a line each, in the order of a set of names: another one in every process.
_CONSTANTS = re.compile(rb"(?:^ +\w+ : Final\[[^\n]*\n)+", re.MULTILINE)


def script_bytes(module: torch.jit.ScriptModule, name: str) -> bytes:
    """Return a TorchScript file without debug information: the same weights give the same bytes in every process.

    Args:
        module: Scripted module.
        name: Of the folder inside the file; torch names it after the file.
    """
    saved = io.BytesIO()
    torch.jit.save(module, saved)
    kept = io.BytesIO()
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(kept, "w") as target:
        for entry in source.infolist():
            if not entry.filename.endswith(_LEFT_OUT):
                inside = entry.filename.split("/", 1)[1]
                # A fresh entry carries no time of writing.
                content = source.read(entry)
                if inside.endswith(".py"):
                    content = _CONSTANTS.sub(_sorted_lines, content)
                target.writestr(zipfile.ZipInfo(f"{name}/{inside}"), content, entry.compress_type)
    return kept.getvalue()


def _sorted_lines(found: re.Match[bytes]) -> bytes:
    return b"".join(sorted(found.group().splitlines(keepends=True)))
