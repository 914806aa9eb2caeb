#!/usr/bin/env python3
"""The pages of ``docs/reference`` that are written from the code: parameters, messages, command line.

``source scripts/env && python -m scripts.lint.reference`` writes them; ``test/test_reference.py`` compares.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from wm_bringup.configuration import NODES, OPTIONAL_NODES
from wm_sim_ros.params import WmSimParams
from world_model.cli import COMMANDS, MORE
from world_model.cli import main as wm

ROOT = Path(__file__).resolve().parents[2]
_WRITTEN = "Written from the code by `python -m scripts.lint.reference`, which a test repeats; change it there.\n"
_WIDTH = "100"
_CHOICE = re.compile(r"^  \{([\w,]+)\}$", re.MULTILINE)


def parameters() -> str:
    """Return the page with every node's parameters."""
    parts = [f"# Parameters\n\n{_WRITTEN}"]
    parts.append(
        "Reasons for the shipped values stand beside them in `config/NODE.yaml`. *Env*: the variable that replaces\n"
        "the default; *live*: can be set while the node runs (`ros2 param set`); all others only at start. A misspelt\n"
        "name ends the node with exit code 2 and the nearest known one.\n"
    )
    with _clean_environment():
        for node, params in {**NODES, **OPTIONAL_NODES, "wm_sim": WmSimParams}.items():
            rows = [_parameter_row(field) for field in dataclasses.fields(params)]
            head = "| parameter | default | values | env | live | what |\n|---|---|---|---|---|---|"
            parts.append(f"## {node}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def messages() -> str:
    """Return the page with the definition of every message, service and action."""
    parts = [f"# Messages, services and actions\n\n{_WRITTEN}\nWho sends what: [interfaces](interfaces.md).\n"]
    for kind in ("msg", "srv", "action"):
        for path in sorted((ROOT / "src" / "wm_interfaces" / kind).glob(f"*.{kind}")):
            parts.append(f"## wm_interfaces/{kind}/{path.stem}\n\n```\n{path.read_text().strip()}\n```\n")
    return "\n".join(parts)


def command_line() -> str:
    """Return the page with the help of ``wm`` and each of its commands."""
    parts = [f"# The command line `wm`\n\n{_WRITTEN}"]
    parts.append(
        "Exit codes: 0; 2 with one line when something asked for is wrong; `wm data` also 1: `bag` when more than a\n"
        "tenth of the frames was lost to faults, `inspect` when one does not suffice to train. Tasks, step by step:\n"
        "[from bag to model](../guides/bag_to_model.md).\n"
    )
    for words in [(), *_command_words()]:
        title = " ".join(("wm", *words))
        parts.append(f"## {title}\n\n```\n{_help(*words).strip()}\n```\n")
    return "\n".join(parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/reference/parameters.md": parameters,
    "docs/reference/messages.md": messages,
    "docs/reference/command_line.md": command_line,
}
"""{page: what writes it}."""


def _parameter_row(field: dataclasses.Field[Any]) -> str:
    known = field.metadata
    assert callable(field.default_factory), "parameters are declared by param()"
    default = field.default_factory()
    text = (
        {True: "true", False: "false", "": '""'}.get(default, default) if isinstance(default, bool | str) else default
    )
    values = ", ".join(known["choices"] or ())
    if known["low"] is not None:
        values = f"from {known['low']}" if known["high"] is None else f"{known['low']} to {known['high']}"
    cells = (f"`{field.name}`", f"`{text}`", values, known["env"] or "", "yes" if known["runtime"] else "")
    return "| " + " | ".join((*cells, known["description"])) + " |"


def _command_words() -> Iterator[tuple[str, ...]]:
    for command in [*COMMANDS, *MORE]:
        yield (command,)
        for names in _CHOICE.findall(_help(command)):
            yield from ((command, name) for name in names.split(","))


def _help(*words: str) -> str:
    heard = StringIO()
    # SystemExit is how argparse ends after its help.
    with patch.dict(os.environ, {"COLUMNS": _WIDTH}), redirect_stdout(heard), suppress(SystemExit):
        wm([*words, "--help"])
    return heard.getvalue()


@contextmanager
def _clean_environment() -> Iterator[None]:
    """Hides the variables that replace defaults."""
    kept = {name: value for name, value in os.environ.items() if name not in _environment_names()}
    with patch.dict(os.environ, kept, clear=True):
        yield


def _environment_names() -> set[str]:
    every = (*NODES.values(), *OPTIONAL_NODES.values(), WmSimParams)
    fields = [field for params in every for field in dataclasses.fields(params)]
    return {str(field.metadata["env"]) for field in fields if field.metadata["env"]}


def main() -> None:
    """Write the pages."""
    for page, write in PAGES.items():
        (ROOT / page).write_text(write())


if __name__ == "__main__":
    main()
