#!/usr/bin/env bash
# A vehicle's CAN bus recorded with python-can's `Logger` and read with its `LogReader`: what each kind of file keeps of a message.
#
# Guess: a message is read back as it was written, or its file is refused (as MF4 is without asammdf), or a warning says what is left out.
# Seen with python-can 4.6.1 (PyPI; Python 3.11, x86-64), a sent message on channel 1, a CAN FD one with bit rate switch, a remote frame:
#   BLF      as written
#   ASC      times count from the first message (0.0 and on); the rest as written
#   CSV, DB  no channel (two buses become one), what was sent is read as received, CAN FD as classical CAN: 12 bytes in a message of which
#            eight is the most (`Message(check=True)` of the same refuses it), so playing it back sends something else, or nothing
#   log      a remote frame of length 4 has length 0 (candump's R4 holds it)
#   TRC      channel 1 becomes 2; CAN FD and remote frames are left out, which it does say in its log
# Nothing is said but by TRC. Record as BLF.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (20 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'python-can==4.6.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import can

SENT = can.Message(timestamp=1700000000.125, arbitration_id=0x12, is_extended_id=False, data=b"ab", channel=1, is_rx=False)
LONG = can.Message(
    timestamp=1700000000.25, arbitration_id=0x13, is_extended_id=False, is_fd=True, bitrate_switch=True, data=range(12), channel=0
)
REMOTE = can.Message(timestamp=1700000000.5, arbitration_id=0x14, is_extended_id=False, is_remote_frame=True, dlc=4, channel=0)


def of(message):
    kind = "remote" if message.is_remote_frame else "FD" if message.is_fd else "classical"
    way = "received" if message.is_rx else "sent"
    return round(message.timestamp, 3), message.channel, way, kind, message.dlc


def read_back(kind):
    with can.Logger(f"drive.{kind}") as log:
        for message in (SENT, LONG, REMOTE):
            log.on_message_received(message)
    with can.LogReader(f"drive.{kind}") as log:
        return [of(message) for message in log]


def refused():
    try:
        can.Message(arbitration_id=0x13, is_extended_id=False, data=range(12), check=True)
    except ValueError:
        return True
    return False


START = 1700000000
WRITTEN = [of(message) for message in (SENT, LONG, REMOTE)]
FORGOTTEN = [
    (START + 0.125, None, "received", "classical", 2),
    (START + 0.25, None, "received", "classical", 12),
    (START + 0.5, None, "received", "remote", 4),
]
SEEN = [
    ("BLF", read_back("blf"), WRITTEN),
    ("ASC", read_back("asc"), [(round(m[0] - START - 0.125, 3), *m[1:]) for m in WRITTEN]),
    ("CSV", read_back("csv"), FORGOTTEN),
    ("DB", read_back("db"), FORGOTTEN),
    ("12 bytes refused", refused(), True),
    ("log, remote", read_back("log")[2], (START + 0.5, "can0", "received", "remote", 0)),
    ("TRC", read_back("trc"), [(START + 0.125, 2, "sent", "classical", 2)]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:18}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
