"""The node's own process keeps to the processors that it is given, with all of its threads."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

RUN = "from wm_api.node import main; main()"


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor")
@pytest.mark.parametrize(("given", "kept"), [([], 1), (["-p", "processors:=0"], None)])
def test_a_service_of_its_own_keeps_to_as_many_processors_as_it_is_told(artifact, tmp_path, given, kept):
    values = ["-p", "port:=0", "-p", f"model_path:={artifact.path}", "-p", "use_tiny_models:=false", *given]
    command = [sys.executable, "-c", RUN, "--ros-args", *values]
    allowed = os.sched_getaffinity(0)
    wanted = frozenset(sorted(allowed)[-kept:]) if kept else frozenset(allowed)
    log = tmp_path / "log"
    with log.open("wb") as written, subprocess.Popen(command, stderr=written, stdout=written) as process:
        try:
            # It says that it serves before it is told where to run.
            end_s = time.monotonic() + 60.0
            while not ("serving" in log.read_text() and found(process.pid) == {wanted}):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end_s, log.read_text()
                time.sleep(0.05)
        finally:
            process.terminate()


def found(pid: int) -> set[frozenset[int]]:
    """Return where the threads of a process may run."""
    places = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            places.add(frozenset(os.sched_getaffinity(int(task.name))))
    return places
