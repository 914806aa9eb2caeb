#!/usr/bin/env bash
# A test stand's measurements (TDMS, as LabVIEW writes) with npTDMS: stamps, and recordings that were appended to a file.
#
# Guess: a stamp in whole microseconds is read back as it was written; samples of a second recording have their own times; a table by time puts
# channels beside each other that were measured together.
# Seen with npTDMS 1.13.0, numpy 2.4.6, pandas 3.1.1 (PyPI; Python 3.11, x86-64):
#   1000 different microseconds of a second            ten of them come back one microsecond early, 0.000001 as 0.0 (truncated twice)
#   a stamp that is a property, 0.000003               0.000002
#   0 to 0.4 s at 10 Hz, and 5 samples at 5 Hz         all ten at 5 Hz from 00:01:40 on: the earlier ones are 100 s late, the file's last
#     appended from 00:01:40 on, time_track()          properties hold for all; no word of the pause
#   as_dataframe(time_index=True), two channels        both begin at 0.0, so that samples 50 ms apart share a row;
#     that begin 50 ms apart                           with absolute_time=True they do not
#
# So: a channel (or a file) for each recording, absolute times, and stamps compared to a microsecond.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'npTDMS==1.13.0' 'numpy==2.4.6' 'pandas==3.1.1'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
from nptdms import ChannelObject, TdmsFile, TdmsWriter

START = np.datetime64("2026-01-01T00:00:00", "us")


def ms(count):
    return np.timedelta64(count, "ms")


def channel(name, values, start, step):
    properties = {"wf_start_time": start, "wf_increment": step, "wf_start_offset": 0.0, "wf_samples": len(values)}
    return ChannelObject("drive", name, np.array(values, float), properties=properties)


def written(*segments):
    for place, objects in enumerate(segments):
        with TdmsWriter("probe.tdms", mode="a" if place else "w") as writer:
            writer.write_segment(objects)
    return TdmsFile.read("probe.tdms")


stamps = START + (np.arange(1000) * 997).astype("timedelta64[us]")
early = written([ChannelObject("drive", "stamp", stamps)])["drive"]["stamp"][:] - stamps
third = np.timedelta64(3, "us")
at = written([ChannelObject("drive", "x", np.zeros(1), properties={"at": START + third})])["drive"]["x"].properties["at"]

later = START + np.timedelta64(100, "s")
twice = written([channel("range", range(5), START, 0.1)], [channel("range", range(100, 105), later, 0.2)])["drive"]["range"]
seconds = (twice.time_track(absolute_time=True) - START) / np.timedelta64(1, "s")

two = written([channel("speed", range(6), START, 0.1), channel("range", range(3), START + ms(50), 0.2)])
together = two.as_dataframe(time_index=True).dropna()
apart = two.as_dataframe(time_index=True, absolute_time=True).dropna()
SEEN = [
    ("stamps one microsecond early, of 1000", int(np.sum(early == np.timedelta64(-1, "us"))), 10),
    ("stamps off by more", int(np.sum((early != np.timedelta64(-1, "us")) & (early != ms(0)))), 0),
    ("a property of 3 us", int((at - START) / np.timedelta64(1, "us")), 2),
    ("samples of both recordings", twice[:].tolist(), [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]),
    ("their times in s", seconds.round(3).tolist(), [100.0, 100.2, 100.4, 100.6, 100.8, 101.0, 101.2, 101.4, 101.6, 101.8]),
    ("rows with both channels, relative", len(together), 3),
    ("rows with both channels, absolute", len(apart), 0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
