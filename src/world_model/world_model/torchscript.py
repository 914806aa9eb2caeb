"""TorchScript files that hold the network and nothing of the machine that wrote them."""

from __future__ import annotations

import io
import zipfile

import torch

# Source positions with absolute paths, and an id that follows from them.
_LEFT_OUT = (".debug_pkl", "serialization_id")


def script_bytes(module: torch.jit.ScriptModule, name: str) -> bytes:
    """Return a TorchScript file without debug information, the same wherever the sources lie.

    Two processes may still write constants in different orders.

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
                target.writestr(zipfile.ZipInfo(f"{name}/{inside}"), source.read(entry), entry.compress_type)
    return kept.getvalue()
