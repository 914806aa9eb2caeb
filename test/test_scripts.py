"""The scripts that README and CI call, where they meet shells that are not clean."""

from __future__ import annotations

import os
import subprocess
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
