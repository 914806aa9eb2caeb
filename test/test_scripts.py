"""The scripts that README and CI call, where they meet shells that are not clean."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VENV = ROOT / ".venv"


@pytest.mark.skipif(not (VENV / "fingerprint").is_file(), reason="scripts/setup has not made an environment here")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_setup_looks_for_python_outside_its_environment_however_often_that_was_sourced(times):
    """Else it would take its own python for another one, and tear the environment down that it is running in."""
    lines = (ROOT / "scripts" / "setup").read_text().splitlines()
    first = next(row for row, line in enumerate(lines) if line.startswith("PATH="))
    last = max(row for row, line in enumerate(lines) if line.startswith("PATH="))
    script = "\n".join(['venv="$1"', *lines[first : last + 1], 'echo "$PATH"'])
    path = ":".join([f"{VENV}/bin"] * times + ["/usr/local/bin", f"{VENV}/bin", "/usr/bin", "/bin"])
    found = subprocess.run(
        ["/bin/bash", "-c", script, "setup", str(VENV)], env={"PATH": path}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "/usr/local/bin:/usr/bin:/bin"


@pytest.mark.parametrize("is_made", [True, False])
def test_setup_keeps_the_python_that_the_environment_was_made_with(tmp_path, is_made):
    """Else a shell with another python3 first, as of pyenv or conda, would remove the environment and make all anew."""
    made_with, shells = Path(sys.base_prefix, "bin", "python3").resolve(), tmp_path / "bin" / "python3"
    shells.parent.mkdir()
    shells.symlink_to(made_with)
    if is_made:
        (tmp_path / "venv" / "bin").mkdir(parents=True)
        (tmp_path / "venv" / "bin" / "python").symlink_to(made_with)
        (tmp_path / "venv" / "made_for").write_text(f"{made_with} kilted\n")
    text = (ROOT / "scripts" / "setup").read_text()
    function = text[text.index("find_python() {") : text.index("\n}\n", text.index("find_python() {")) + 3]
    script = "\n".join(["set -euo pipefail", 'venv="$1"', 'die() { echo "$*"; exit 1; }', function, 'find_python ""'])
    found = subprocess.run(
        ["/bin/bash", "-c", script, "setup", str(tmp_path / "venv")],
        env={"PATH": f"{shells.parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(made_with if is_made else shells)


@pytest.mark.skipif(not (VENV / "fingerprint").is_file(), reason="scripts/setup has not made an environment here")
def test_env_puts_the_environment_first_once():
    script = 'source "$1/scripts/env"; source "$1/scripts/env"; echo "$PATH"'
    found = subprocess.run(
        ["/bin/bash", "-c", script, "env", str(ROOT)],
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    entries = found.stdout.strip().split(":")
    assert entries[0] == f"{VENV}/bin"
    assert entries.count(f"{VENV}/bin") == 1
