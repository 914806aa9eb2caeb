"""A process that is told to end and hangs, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import threading
from functools import partial
from rclpy.node import Node
import wm_ros.runner
from wm_ros.ending import ending_in_time

class Hanging(Node):
    def __init__(self):
        super().__init__("hanging")
        self.told = self.create_timer(0.01, self.tell)

    def tell(self):
        self.told.cancel()
        print("up", flush=True)

    def destroy_node(self):
        self.wait_for_what_never_comes()

    def wait_for_what_never_comes(self):
        threading.Lock().acquire() and threading.Event().wait()

wm_ros.runner.ending_in_time = partial(ending_in_time, 3.0)
raise SystemExit(wm_ros.runner.run_node(Hanging))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_hangs_after_a_signal_is_ended_and_says_where_it_stands(number: signal.Signals) -> None:
    words = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "wait_for_what_never_comes" in errors


WAITING = """
import sys
from threading import Thread
from time import sleep
import rclpy
from functools import partial
from rclpy.node import Node
from rclpy.signals import uninstall_signal_handlers
import wm_ros.runner
from wm_ros.ending import ending_in_time

def end_context():
    sleep(1.0)
    rclpy.get_default_context().handle.shutdown()  # as rclpy's thread of signals does it: nobody is woken

class Waiting(Node):
    def __init__(self):
        super().__init__("waiting")
        self.told = self.create_timer(0.01, self.tell)

    def tell(self):
        self.destroy_timer(self.told)
        uninstall_signal_handlers()
        Thread(target=end_context, daemon=True).start()
        print("up", flush=True)

wm_ros.runner.ending_in_time = partial(ending_in_time, 20.0)
raise SystemExit(wm_ros.runner.run_node(Waiting))
"""


@pytest.mark.slow
def test_who_waits_for_nothing_hears_of_an_end_that_comes_after_the_waking() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


QUICK = """
import os, signal, sys, time
from wm_ros.ending import ending_in_time
signal.signal(signal.SIGTERM, lambda *_: None)
with ending_in_time(3.0):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
with ending_in_time(3.0):
    pass
time.sleep(3.5)
print("goes on")
"""


def test_who_ends_in_time_goes_on_as_if_nobody_had_watched() -> None:
    done = subprocess.run([sys.executable, "-c", QUICK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")


RESTING = """
import sys
import rclpy
from rclpy.node import Node
from wm_ros import run_node

class Commanding(Node):
    commands_robot = True

    def __init__(self):
        super().__init__("commanding")
        self.timer = self.create_timer(0.01, self.begin)

    def begin(self):
        self.destroy_timer(self.timer)
        print("up", flush=True)

    def come_to_rest(self):
        if "fails" in sys.argv:
            raise RuntimeError("cannot")
        print("says something:", rclpy.ok(), flush=True)

raise SystemExit(run_node(Commanding, []))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("how", "said"), [("", "says something: True\n"), ("fails", "")])
def test_who_commands_a_robot_can_say_something_before_it_ends(number: signal.Signals, how: str, said: str) -> None:
    words = [sys.executable, "-c", RESTING, how]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, said), errors
