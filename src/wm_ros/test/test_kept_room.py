"""What a frame takes is kept: faults of pages, counted by the kernel, in a process of its own."""

import subprocess
import sys

import pytest

_FRAMES = """
import resource
import sys

import numpy as np

from wm_ros.kept_room import keep_room

if sys.argv[1] == "kept" and not keep_room():
    sys.exit("refused")
PICTURE = bytes(640 * 480 * 3)


def frame():
    return np.frombuffer(bytearray(PICTURE), np.uint8).copy().sum()


for _ in range(5):
    frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    frame()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""


_LONG_WORK = """
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wm_ros.kept_room import give_back_room, keep_room

if not keep_room():
    sys.exit("refused")
KEPT = []


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work():
    # Small blocks of which every hundredth stays: its neighbours are free, and the heap ends behind them.
    blocks = [bytes(4096) for _ in range(20_000)]
    KEPT.extend(blocks[::100])


with ThreadPoolExecutor(1) as pool:
    pool.submit(work).result()
    before = resident()
    pool.submit(give_back_room).result()
print((before - resident()) / 1e6)
"""


def test_what_long_work_took_is_given_back():
    run = subprocess.run([sys.executable, "-c", _LONG_WORK], capture_output=True, text=True, check=False)
    if "refused" in run.stderr:
        pytest.skip("the C library has no mallopt")
    assert run.returncode == 0, run.stderr
    # Of 82 MB, 0.8 are kept, and a page or two around each block of them.
    assert float(run.stdout) > 60.0


def faults_a_frame(room: str) -> float:
    run = subprocess.run([sys.executable, "-c", _FRAMES, room], capture_output=True, text=True, check=False)
    if "refused" in run.stderr:
        pytest.skip("the C library has no mallopt")
    assert run.returncode == 0, run.stderr
    return float(run.stdout)


def test_pages_of_a_frame_are_not_faulted_in_anew():
    # A page is 4 to 64 kB: of two blocks of 921 600 bytes at least 28 are gone where nothing is kept.
    assert faults_a_frame("kept") < 2 < 14 < faults_a_frame("given back")
