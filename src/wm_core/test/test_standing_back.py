"""Standing back reaches beyond the session that a process leads, and not what it does not lead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import os, subprocess, sys
from wm_core.standing_back import stand_back
stand_back(7)
print(os.nice(0), open("/proc/self/autogroup").read().split()[-1])
"""


def asked(command: str, **options: object) -> list[int]:
    found = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True, **options)
    return [int(word) for word in found.stdout.split()]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no scheduling by sessions here")
def test_who_leads_a_session_stands_back_with_all_of_it():
    before = os.nice(0)
    assert asked(ASK, start_new_session=True) == [before + 7, before + 7]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no scheduling by sessions here")
def test_who_shares_a_session_leaves_it_as_it_is():
    before = os.nice(0)
    within = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASK!r}])"
    assert asked(within, start_new_session=True) == [before + 7, 0]


def test_without_sessions_in_the_scheduler_it_is_the_niceness_alone(tmp_path):
    command = f"""
import os
from pathlib import Path
from wm_core import standing_back
standing_back._AUTOGROUP = Path({str(tmp_path / "none" / "autogroup")!r})
standing_back.stand_back(3)
print(os.nice(0))
"""
    assert asked(command, start_new_session=True) == [os.nice(0) + 3]


KEEP = """
import os, threading
from wm_core.standing_back import keep_to
go = threading.Event()
threads = [threading.Thread(target=go.wait) for _ in range(3)]
[thread.start() for thread in threads]
kept = keep_to({count})
later = threading.Thread(target=go.wait)
later.start()
print(len(kept), *(len(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")))
print(max(os.sched_getaffinity(0)))
go.set()
"""


@pytest.mark.parametrize("count", [1, 2])
def test_all_threads_keep_to_the_last_processors_that_are_theirs(count):
    allowed = os.sched_getaffinity(0)
    kept, *of_threads, last = asked(KEEP.format(count=count))
    assert kept == min(count, len(allowed))
    assert of_threads == [kept] * 5
    assert last == max(allowed)


@pytest.mark.parametrize("count", [0, 1000])
def test_without_a_bound_it_runs_wherever_it_may(count):
    kept, *of_threads, _ = asked(KEEP.format(count=count))
    assert [kept, *of_threads] == [len(os.sched_getaffinity(0))] * 6
