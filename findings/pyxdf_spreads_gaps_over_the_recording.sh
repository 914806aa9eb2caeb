#!/usr/bin/env bash
# Streams of sensors recorded together (XDF, as LSL's recorder writes) with pyxdf: stamps of a stream that paused.
#
# Guess: smoothing a regular stream's stamps moves them by its jitter; where a second and more is missing, the samples after it stay after it.
# Seen with pyxdf 1.17.5 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), load_xdf() as by default, 100 000 samples with a gap in the middle:
#   100 Hz, stamps jittering by 2 ms     moved by no more than that
#   100 Hz, half a second missing        moved by up to 0.25 s: one straight line through all
#   100 Hz, 2 s, 4.9 s missing           up to 1 s, 2.45 s
#   100 Hz, 5.1 s missing                right
#   10 Hz (a lidar), 49 s missing        up to 24.5 s
#   1 Hz (a GPS receiver), 499 s         up to 249.5 s, so that what came before and after the gap is about a second apart
#   dejitter_timestamps=False, or        right
#   jitter_break_threshold_samples=1
#
# A gap is taken for one if it is longer than 1 s and than 500 samples (so it says of the two thresholds); a slow stream, or a short pause, does not
# get there. The log is silent; only of recordings so short that the mean rate changes much it says that this differs. So: load with one of the
# last two.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (80 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'pyxdf==1.17.5' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import logging
import struct
import sys

import numpy as np
import pyxdf

COUNT, SAID = 100_000, []


class Kept(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            SAID.append(record.getMessage())


logging.getLogger().addHandler(Kept())


def chunk(tag, content):
    body = struct.pack("<H", tag) + content
    return b"\x04" + struct.pack("<I", len(body)) + body


def described(rate):
    fields = {"name": "lidar", "type": "range", "channel_count": 1, "nominal_srate": rate, "channel_format": "double64", "created_at": 0}
    return "<?xml version='1.0'?><info>" + "".join(f"<{name}>{value}</{name}>" for name, value in fields.items()) + "</info>"


def written(rate, stamps):
    """A file of one stream, each sample with its stamp, on the recorder's own clock."""
    stream = struct.pack("<I", 1)
    samples = b"".join(b"\x08" + struct.pack("<dd", stamp, i) for i, stamp in enumerate(stamps))
    parts = [
        chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>"),
        chunk(2, stream + described(rate).encode()),
        chunk(3, stream + b"\x04" + struct.pack("<I", len(stamps)) + samples),
        chunk(4, stream + struct.pack("<dd", 0.0, 0.0)),
        chunk(6, stream + b"<?xml version='1.0'?><info></info>"),
    ]
    with open("probe.xdf", "wb") as file:
        file.write(b"XDF:" + b"".join(parts))


def moved(rate, gap, jitter=0.0, **how):
    """By how many seconds a stamp is moved at most, and the rate that is found."""
    stamps = np.arange(COUNT) / rate + gap * (np.arange(COUNT) >= COUNT // 2) + jitter * np.sin(np.arange(COUNT) * 12.9898)
    written(rate, stamps)
    stream = pyxdf.load_xdf("probe.xdf", **how)[0][0]
    return round(float(np.abs(stream["time_stamps"] - stamps).max()), 2), round(float(stream["info"]["effective_srate"]))


SEEN = [
    ("100 Hz, jitter of 2 ms", moved(100, 0.0, 0.002)[0], 0.0),
    ("100 Hz, 0.5 s missing: moved by, rate", moved(100, 0.5), (0.25, 100)),
    ("100 Hz, 2 s", moved(100, 2.0)[0], 1.0),
    ("100 Hz, 4.9 s", moved(100, 4.9)[0], 2.45),
    ("100 Hz, 5.1 s", moved(100, 5.1)[0], 0.0),
    ("10 Hz, 49 s", moved(10, 49.0)[0], 24.5),
    ("1 Hz, 499 s", moved(1, 499.0)[0], 249.5),
    ("said of all these in the log", [one for one in SAID if "rate" in one], []),
    ("1 Hz, 499 s, dejitter_timestamps=False", moved(1, 499.0, dejitter_timestamps=False)[0], 0.0),
    ("1 Hz, 499 s, threshold of one sample", moved(1, 499.0, jitter_break_threshold_samples=1)[0], 0.0),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:42}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
