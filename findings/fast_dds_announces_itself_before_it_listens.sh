#!/usr/bin/env bash
# A process that joins a running ROS 2 graph on one machine: how soon does it know the others?
#
# Guess: at once. It announces itself, everybody who hears of a participant for the first time answers with an announcement
# of its own, and it makes some more announcements 100 ms apart in case one gets lost.
# Seen with Fast DDS 3.2.2 (ros-rclpy 9.1.2, Kilted, from PyPI; Python 3.11), 8 idle peers, discovery on this machine alone:
#   leaseAnnouncement 1 s    known within 0.2 to 1.5 s
#   leaseAnnouncement 12 s   of 10 joins some take 0.2 to 0.5 s and some 7 to 11 s
# The answers to the first announcement come within a millisecond, and are thrown away: reception begins only after it was sent. Its later
# announcements are answered by nobody, who knows it already. So it waits for the next periodic announcement of each peer: up to
# 3 s by default, whatever `initialAnnouncements` says. It is a race, which a peer wins more often where it is busy.
# So: where nodes are started again while others run, set `leaseAnnouncement` as short as its packets are worth.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV FASTDDS_DEFAULT_PROFILES_FILE
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ros-rclpy[fastrtps]==9.1.2' 'ros-std-msgs==5.5.1' numpy==2.4.6 PyYAML==6.0.3

cat >"$scratch/probe.py" <<'PYTHON'
import os
import subprocess
import sys
import time

PEERS, JOINS = 8, 10
PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com"><profiles><participant profile_name="p" is_default_profile="true"><rtps><builtin>
<discovery_config><leaseAnnouncement><sec>{}</sec></leaseAnnouncement></discovery_config>
</builtin></rtps></participant></profiles></dds>
"""


def peer(name):
    import rclpy
    from rclpy.node import Node
    from std_msgs.msg import String

    rclpy.init()
    node = Node(name)
    publisher = node.create_publisher(String, name, 1)  # noqa: F841: who joins looks for it
    print("up", flush=True)
    sys.stdin.read()
    os._exit(0)


def join():
    import rclpy
    from rclpy.node import Node

    rclpy.init()
    begin_s = time.monotonic()
    node = Node("joiner")
    while not all(node.count_publishers(f"peer{at}") for at in range(PEERS)) and time.monotonic() - begin_s < 40.0:
        time.sleep(0.01)
    print(time.monotonic() - begin_s, flush=True)
    node.destroy_node()
    rclpy.shutdown()


def joins(period_s, folder):
    """Seconds until all peers were known, of each join."""
    path = os.path.join(folder, f"{period_s}.xml")
    with open(path, "w") as file:
        file.write(PROFILE.format(period_s))
    environment = {**os.environ, "FASTDDS_DEFAULT_PROFILES_FILE": path, "ROS_DOMAIN_ID": "73"}
    environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    mine = [sys.executable, __file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment, "text": True}
    peers = [subprocess.Popen([*mine, "peer", f"peer{at}"], **pipes) for at in range(PEERS)]
    for each in peers:
        assert each.stdout.readline() == "up\n"
    time.sleep(5.0)  # until the peers' own first announcements are over
    run = [subprocess.run([*mine, "join"], env=environment, capture_output=True, text=True) for _ in range(JOINS)]
    for each in peers:
        each.communicate()
    return sorted(float(each.stdout) for each in run)


if sys.argv[1] == "peer":
    peer(sys.argv[2])
elif sys.argv[1] == "join":
    join()
else:
    often, seldom = joins(1, sys.argv[2]), joins(12, sys.argv[2])
    for name, found in (("announced each 1 s", often), ("announced each 12 s", seldom)):
        print(f"{name:22}", *(f"{seconds:6.2f}" for seconds in found), "s until all are known")
    is_so = seldom[-1] > 4.0 and often[-1] < 4.0
    if not is_so:
        print("CHANGED: no join of ten waited for the next announcement of a peer")
    sys.exit(not is_so)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py" all "$scratch" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
