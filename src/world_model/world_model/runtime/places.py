"""Where artifacts lie: those that ship, those made on this machine, and folders of the user."""

from __future__ import annotations

import os
from pathlib import Path

from world_model.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
SHIPPED_PATH = Path(__file__).parents[1] / "shipped"
# Artifacts that are made on the machine that uses them; the variable names another folder for them.
MADE_VARIABLE, MADE_PATH = "WM_ARTIFACTS", "~/.ros/world_model/artifacts"
MADE_BY = {"generic": "wm export generic"}
_SCHEME = "artifact://"


def made_path(name: str) -> Path:
    """Return the folder of an artifact that is made on the machine that uses it; it need not be there."""
    return Path(os.environ.get(MADE_VARIABLE) or MADE_PATH).expanduser() / name


def resolve_model_path(model_path: str | Path) -> Path:
    """Return the folder that ``model_path`` means.

    Args:
        model_path: ``artifact://NAME`` for one that ships or was made here, an artifact folder, or any file inside one.

    Raises:
        ArtifactError: Nothing there, no manifest beside it, or an artifact that is still to be made: the text names the
            command that makes it.
    """
    text = str(model_path)
    if text.startswith(_SCHEME):
        return _named(text.removeprefix(_SCHEME))
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise ArtifactError(f"model path '{text}' does not exist")
    folder = path.parent if path.is_file() else path
    if not (folder / MANIFEST_NAME).is_file():
        raise ArtifactError(f"model path '{text}' has no {MANIFEST_NAME} beside it")
    return folder


def _named(name: str) -> Path:
    """Return the folder of an artifact that ships, or was made here."""
    for path in (SHIPPED_PATH / name, made_path(name)):
        if name and (path / MANIFEST_NAME).is_file():
            return path
    if name in MADE_BY:
        raise ArtifactError(
            f"artifact '{_SCHEME}{name}' is not made yet: run '{MADE_BY[name]}', which writes {made_path(name)}"
        )
    names = ", ".join(sorted(p.parent.name for p in SHIPPED_PATH.glob(f"*/{MANIFEST_NAME}"))) or "none"
    made = ", ".join(MADE_BY)
    raise ArtifactError(
        f"no artifact '{_SCHEME}{name}' ships with this package; shipped: {names}; made on this machine: {made}"
    )
