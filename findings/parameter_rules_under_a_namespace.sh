#!/usr/bin/env bash
# Which rules on a command line reach a node that stands in a namespace, by the node's name alone?
#
# Guess: what reaches `node` without a namespace reaches `/robot1/node`, as remapping rules do.
# Seen with ros-rclpy 9.1.2 (Kilted, from PyPI; Python 3.11):
#   -r NODE:FROM:=TO                     reaches it in any namespace
#   -p NODE:NAME:=VALUE                  reaches it only without a namespace; otherwise silently nobody
#   a parameter file's key  NODE:        the same; so does /NODE:
#   a parameter file's key  /**/NODE:    reaches it in any namespace, without one too
#   -p /**/NODE:NAME:=VALUE              is a parse error, and so is -p /robot1/NODE:NAME:=VALUE
#
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (160 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'ros-rclpy[fastrtps]==9.1.2' numpy==2.4.6 PyYAML==6.0.3

cat >"$scratch/probe.py" <<'PYTHON'
import sys
from pathlib import Path

import rclpy
from rclpy.node import Node

SCRATCH = Path(sys.argv[1])


def file_with(key):
    path = SCRATCH / f"{key.replace('/', '_').replace('*', 'x')}.yaml"
    path.write_text(f"{key}:\n  ros__parameters: {{p: 7}}\n")
    return ["--params-file", str(path)]


def reached(rule, namespace):
    """yes, no, or refused: whether the node `node` has the parameter or the remapping of the rule."""
    try:
        rclpy.init(args=["probe", "--ros-args", *(["-r", f"__ns:={namespace}"] if namespace else []), *rule], domain_id=71)
    except Exception:  # noqa: BLE001 - whatever the parser raises
        return "refused"
    node = Node("node", automatically_declare_parameters_from_overrides=True)
    seen = node.has_parameter("p") or node.resolve_topic_name("from").endswith("/to")
    node.destroy_node()
    rclpy.shutdown()
    return "yes" if seen else "no"


EXPECTED = [  # rule, its name, without a namespace, in /robot1
    (["-r", "node:from:=to"], "-r node:from:=to", "yes", "yes"),
    (["-p", "node:p:=7"], "-p node:p:=7", "yes", "no"),
    (["-p", "/**/node:p:=7"], "-p /**/node:p:=7", "refused", "refused"),
    (["-p", "/robot1/node:p:=7"], "-p /robot1/node:p:=7", "refused", "refused"),
    (file_with("node"), "file, key node", "yes", "no"),
    (file_with("/node"), "file, key /node", "yes", "no"),
    (file_with("/robot1/node"), "file, key /robot1/node", "no", "yes"),
    (file_with("/**/node"), "file, key /**/node", "yes", "yes"),
]
changed = 0
print(f"{'rule':26}{'no namespace':>14}{'/robot1':>10}")
for rule, name, *expected in EXPECTED:
    found = [reached(rule, ""), reached(rule, "/robot1")]
    note = "" if found == expected else f"   CHANGED, was {expected}"
    changed += found != expected
    print(f"{name:26}{found[0]:>14}{found[1]:>10}{note}")
sys.exit(changed > 0)
PYTHON
"$scratch/venv/bin/python" "$scratch/probe.py" "$scratch" 2>"$scratch/stderr" || { grep -v '\[rcl\]' "$scratch/stderr" >&2; exit 1; }
