"""Each way to end, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from wm_ros import own_domain_id

PROGRAM = """
import sys
from rclpy.node import Node
from std_msgs.msg import Float32, String
from wm_ros import ConfigurationError, run_node

class Tested(Node):
    def __init__(self):
        super().__init__("tested")
        if "refuse" in sys.argv:
            raise ConfigurationError("this cannot\\nwork")
        if "bug" in sys.argv:
            raise KeyError("a bug")
        if "topics" in sys.argv:
            self.create_publisher(Float32, "one", 10)
            self.create_publisher(String, "another", 10)
        if "resolve" in sys.argv:
            self.resolve_topic_name("a b")
        print("up", flush=True)

raise SystemExit(run_node(Tested, threads=2 if "pool" in sys.argv else 1))
"""


def start(*words: str) -> subprocess.Popen:
    environment = {"ROS_DOMAIN_ID": str(own_domain_id()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("pool",)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly_however_often(words, number):
    with start(*words) as process:
        assert process.stdout.readline() == "up\n"
        for _ in range(3):  # a terminal's Ctrl-C reaches the node, and launch passes it on
            process.send_signal(number)
            time.sleep(0.02)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")


CROSSED = ("-r", "one:=/both", "-r", "another:=/both")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "words", "says"),
    [
        ("topics", ("-r", f"__ns:=/{'n' * 225}"), "Invalid service name"),
        ("topics", ("-r", f"__ns:=/{'n' * 250}"), "node name"),
        ("topics", CROSSED, "for existing topic name rt/both with incompatible type"),
        ("resolve", (), "failed to resolve name: topic name must not contain"),
    ],
)
def test_a_name_that_ros_does_not_take_is_one_line_and_code_2(word, words, says):
    with start(word, "--ros-args", *words) as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    assert says in errors.splitlines()[-1]
    assert "Traceback" not in errors


COLLECTED = """
import gc
from rclpy.node import Node
from wm_ros import run_node

class Tested(Node):
    def __init__(self):
        super().__init__("tested")
        print(gc.isenabled())
        self.create_timer(0.01, self.tell)

    def tell(self):
        print(gc.isenabled(), gc.get_freeze_count() > 10_000)
        self.context.try_shutdown()

code = run_node(Tested)
print(gc.isenabled())
raise SystemExit(code)
"""


@pytest.mark.slow
def test_garbage_is_looked_for_once_the_nodes_are_made():
    environment = {"ROS_DOMAIN_ID": str(own_domain_id()), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = [sys.executable, "-c", COLLECTED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    assert done.stdout.splitlines() == ["False", "True True", "True"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("refuse",), "this cannot work"),
        (("--ros-args", "-p", "foo"), "failed to initialize rcl: Couldn't parse parameter override rule: '-p foo'"),
    ],
)
def test_what_cannot_be_configured_is_one_line_and_code_2(words, line):
    with start(*words) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1].startswith(line)
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_bug_is_not_hidden():
    with start("bug") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "KeyError: 'a bug'" in errors
