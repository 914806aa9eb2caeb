"""The compiled part is built for ARM and run there: it finds the same, to the last bit, as on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "src/wm_core/wm_core/memory/_kernels.c"
CROSS, EMULATOR, HERE = "aarch64-linux-gnu-gcc", shutil.which("qemu-aarch64"), shutil.which("cc")

pytestmark = pytest.mark.skipif(
    not (shutil.which(CROSS) and EMULATOR and HERE),
    reason="needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user",
)


def options() -> list[str]:
    """Returns how the package is compiled."""
    settings = (ROOT / "src/wm_core/setup.py").read_text()
    found = re.search(r"extra_compile_args=\[(.*?)\]", settings, re.S)
    version = re.search(r'"WM_VERSION", "(\d+)"', settings)
    assert found
    assert version
    return [*re.findall(r'"([^"]+)"', found[1]), f"-DWM_VERSION={version[1]}"]


def output_of(compiler: str, folder: Path, *runner: str) -> str:
    program = folder / compiler
    command = [compiler, *options(), "-std=gnu11", f'-DKERNELS="{KERNELS}"', str(ROOT / "test/arm/kernels.c")]
    subprocess.run([*command, "-o", str(program), "-lm"], check=True, timeout=120)
    return subprocess.run([*runner, str(program)], check=True, timeout=120, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_an_arm_finds_what_this_machine_finds(tmp_path):
    here = output_of("cc", tmp_path)
    assert len(here.splitlines()) > 80
    assert output_of(CROSS, tmp_path, str(EMULATOR), "-L", "/usr/aarch64-linux-gnu") == here
