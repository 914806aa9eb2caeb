"""Benchmarks as a package: found, listed, and no other folder of the repository found with them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_listed_are_those_that_run():
    """Workers and shared modules have nothing to say to who looks for a measurement."""
    shown = subprocess.run([ROOT / "scripts" / "bench"], capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    listed = {line.split()[0] for line in shown.stderr.splitlines()[1:]}
    assert {"graph", "memory", "models", "slow_branch"} <= listed
    assert "memory_world" not in listed
    assert all(len(line.split()) > 1 for line in shown.stderr.splitlines()[1:]), "each says what it measures"


@pytest.mark.parametrize("how", ["as a module", "as a child"])
def test_the_repository_launch_folder_passes_for_no_installed_package(tmp_path, how):
    """ROS has a package ``launch`` and the repository a folder of that name, whose parent the benchmarks lie in."""
    installed = tmp_path / "launch"
    installed.mkdir()
    (installed / "__init__.py").write_text("REAL = True\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    code = "import benchmarks, launch; assert launch.REAL"
    if how == "as a module":
        command, folder = [sys.executable, "-c", code], ROOT
    else:
        from benchmarks.processes import module_command

        (tmp_path / "probe.py").write_text(code)
        command, folder = module_command("probe"), tmp_path
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
