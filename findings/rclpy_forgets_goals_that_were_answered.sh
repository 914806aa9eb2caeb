#!/usr/bin/env bash
# Goals and requests sent with rclpy: is each of them answered, from whatever thread it is sent and however many are sent at once?
#
# Guess: what a server has answered is told to who asked, once the node of that one is spun.
# Seen with ros-rclpy 9.1.2 (Kilted, from PyPI; Python 3.11), Fast DDS, one machine:
#   a goal answered while `ActionClient.send_goal_async` is still at it on another thread   never told: it makes two futures, tells the first, returns the second
#   60 requests of one client, default depth, spun once all are answered                    10 told
#   1 request each of 60 clients, default depth, spun likewise                              10 told: each client hears the answers to all
#   60 requests of one client, depth 512                                                    60 told
# The services of an action are services: with rclpy's default depth, goals and results are lost likewise.
# So: send goals on the thread that spins, and give servers and clients a depth beyond what all clients together send at once.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ros-rclpy[fastrtps]==9.1.2' 'ros-std-srvs==5.5.1' numpy==2.4.6 PyYAML==6.0.3

cat >"$scratch/probe.py" <<'PYTHON'
import os
import threading
import time
from types import SimpleNamespace

import rclpy
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.waitable import Waitable
from std_srvs.srv import Trigger
from unique_identifier_msgs.msg import UUID

DEEP = QoSProfile(depth=512)
rclpy.init(domain_id=72)


def spin(*nodes):
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()


asked = []


def answer(request, response):
    asked.append(1)
    return response


server = Node("server")
server.create_service(Trigger, "ask", answer, qos_profile=DEEP)
spin(server)


def wait(condition, longest_s):
    end_s = time.monotonic() + longest_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return condition()


def told(client_count, requests_each, **qos):
    """How many requests are told to be answered where nobody takes an answer before all are there."""
    asked.clear()
    nodes = [Node(f"client{at}_{time.monotonic_ns()}") for at in range(client_count)]
    clients = [node.create_client(Trigger, "ask", **qos) for node in nodes]
    assert wait(lambda: all(client.service_is_ready() for client in clients), 60.0)
    time.sleep(1.0)
    sent = [client.call_async(Trigger.Request()) for client in clients for _ in range(requests_each)]
    assert wait(lambda: len(asked) == len(sent), 60.0)
    time.sleep(1.0)
    spin(*nodes)
    wait(lambda: all(each.done() for each in sent), 5.0)
    return sum(each.done() for each in sent)


def told_while_sending():
    """The answer is taken as soon as the request is out and the client lets go of its lock, as on another thread."""
    client = ActionClient.__new__(ActionClient)
    Waitable.__init__(client, ReentrantCallbackGroup())

    class Lock:
        def __enter__(self):
            pass

        def __exit__(self, *error):
            try:
                client.execute({"goal": (1, SimpleNamespace(accepted=True, stamp=None))}).send(None)
            except StopIteration:
                pass

    request = SimpleNamespace(goal_id=None, goal=None)
    asking = SimpleNamespace(Request=lambda: request)
    client._action_type = SimpleNamespace(Goal=object, Impl=SimpleNamespace(SendGoalService=asking))
    client._client_handle = SimpleNamespace(send_goal_request=lambda _: 1)
    client._lock = Lock()
    client._goal_handles, client._pending_goal_requests, client._goal_sequence_number_to_goal_id = {}, {}, {}
    client._feedback_callbacks = {}
    return int(client.send_goal_async(object(), goal_uuid=UUID()).done())


EXPECTED = [  # what, found, told
    ("a goal answered while it is being sent", told_while_sending, 0),
    ("60 requests of one client, default depth", lambda: told(1, 60), 10),
    ("1 request each of 60 clients, default depth", lambda: told(60, 1), 10),
    ("60 requests of one client, depth 512", lambda: told(1, 60, qos_profile=DEEP), 60),
]
changed = 0
for name, find, expected in EXPECTED:
    found = find()
    note = "" if found == expected else f"   CHANGED, was {expected}"
    changed += found != expected
    print(f"{name:44}{found:>4} told{note}", flush=True)
os._exit(changed > 0)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
