#!/usr/bin/env bash
# Event cameras' files (Prophesee's RAW) written with expelliarmus, the library under tonic.
#
# Guess: events that are written have their times when they are read, by itself and by others, or what a format does not hold is refused.
# Seen with expelliarmus 1.1.12, faery 0.7.1 as a second reader, numpy 2.4.6 (PyPI; Python 3.11, x86-64), times in us:
#   EVT3, one event every 3 ms for 57 ms           as written; faery sees none after 5 ms
#   words with the time's upper half in that file  one: a reader of such a file has to guess when the lower half wrapped round
#   EVT3, 10, 20, 9000                             10, 20, 808: what of a pause goes beyond 4.1 ms is gone
#   EVT3, 10, 20, 20 000 000, 20 000 001           10, 20, 3328, 3329
#   an EVT3 file that has its upper halves         right
#   EVT2, the same                                 as written; faery as well
#   EVT2, 10, 2**32 + 5 (72 minutes)               10, 5: time runs backwards, though EVT2 holds 4.7 hours
#   DAT, 10, 2**32 + 5                             right in itself
#
# No word of it. So: write EVT2 or DAT with it, no more than 71 minutes to a file.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (120 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'expelliarmus==1.1.12' 'faery==0.7.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import faery
import numpy as np
from expelliarmus import Wizard

HEADER = b"% evt 3.0\n% format EVT3;height=720;width=1280\n% geometry 1280x720\n% end\n"


def written(encoding, times):
    events = np.zeros(len(times), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
    events["t"] = times
    name = "probe.dat" if encoding == "dat" else "probe.raw"
    Wizard(encoding=encoding).save(fpath=name, arr=events)
    return Wizard(encoding=encoding).read(name)["t"].tolist()


def by_faery():
    return [int(time) for events in faery.events_stream_from_file("probe.raw") for time in events["t"]]


def upper_halves():
    with open("probe.raw", "rb") as file:
        content = file.read()
    while content.startswith(b"%"):
        content = content.partition(b"\n")[2]
    return int(np.sum(np.frombuffer(content, "<u2") >> 12 == 8))


def as_a_camera_writes(times):
    """Of each event upper and lower half of its time, row and column; in between, each step of the upper half."""
    words, upper = [], 0
    for time in times:
        while upper < time >> 12:
            upper += 1
            words.append(0x8000 | upper & 0xFFF)
        words += [0x6000 | time & 0xFFF, 0x0000, 0x2000]
    with open("probe.raw", "wb") as file:
        file.write(HEADER + np.array([0x8000, *words], "<u2").tobytes())
    return Wizard(encoding="evt3").read("probe.raw")["t"].tolist()


STEADY, PAUSE, LATE = [3_000 * i for i in range(20)], [10, 20, 20_000_000, 20_000_001], [10, 2**32 + 5]
SEEN = [
    ("EVT3, every 3 ms", written("evt3", STEADY) == STEADY, True),
    ("the same by faery, the latest", max(by_faery()) < 5_000, True),
    ("upper halves in that file", upper_halves(), 1),
    ("EVT3, 10, 20, 9000", written("evt3", [10, 20, 9_000]), [10, 20, 808]),
    ("EVT3, a pause of 20 s", written("evt3", PAUSE), [10, 20, 3_328, 3_329]),
    ("with upper halves", as_a_camera_writes(PAUSE), PAUSE),
    ("the same by faery", by_faery(), PAUSE),
    ("EVT2, a pause of 20 s", written("evt2", PAUSE), PAUSE),
    ("the same by faery", by_faery(), PAUSE),
    ("EVT2, after 72 minutes", written("evt2", LATE), [10, 5]),
    ("DAT, after 72 minutes", written("dat", LATE), LATE),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
