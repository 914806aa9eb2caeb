#!/usr/bin/env bash
# When was a picture of a video file taken: what OpenCV and PyAV say of files whose pictures come at uneven times.
#
# Guess: both read through FFmpeg, so they agree on time, count and turn, and a seek to a time lands on it.
# Seen with opencv-python-headless 4.14.0.94 and av 18.1.0 (PyPI; Python 3.11, x86-64), on files that begin at 5 s:
#   time of the first picture            PyAV 5000 ms, OpenCV 0 ms: it takes off where the stream begins
#   pictures in an MKV of 4              CAP_PROP_FRAME_COUNT says 160: the file's end by its nominal rate; PyAV says 0
#   seek to 1200 ms, where one is        the picture of 2400 ms: CAP_PROP_POS_MSEC is turned into a number of pictures by
#                                        the mean rate; in a file of even times the same call is right
#   a phone's picture, shown turned      OpenCV turns it, PyAV gives it lying and says so in `frame.rotation`
#
# So: read from the beginning and take each picture's own time; count from the first; turn by `rotation`.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (200 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'opencv-python-headless==4.14.0.94' 'av==18.1.0' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import struct
import sys
from fractions import Fraction

import av
import cv2
import numpy as np

av.logging.set_level(av.logging.PANIC)


def write(name, times_ms):
    """One grey picture for each time, each 5 brighter than the one before."""
    with av.open(name, "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for row, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 + 5 * row, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return name


def first(name):
    """Time of the first picture [ms], in PyAV and in OpenCV."""
    with av.open(name) as container:
        frame = next(container.decode(video=0))
    reader = cv2.VideoCapture(name)
    reader.read()
    return round(frame.time * 1000), round(reader.get(cv2.CAP_PROP_POS_MSEC))


def counts(name):
    with av.open(name) as container:
        promised = container.streams.video[0].frames
        read = sum(1 for _ in container.decode(video=0))
    return promised, read, int(cv2.VideoCapture(name).get(cv2.CAP_PROP_FRAME_COUNT))


def found_at(name, times_ms, time_ms):
    """Time of the picture that OpenCV gives after a seek to one [ms], told by its brightness."""
    reader = cv2.VideoCapture(name)
    reader.set(cv2.CAP_PROP_POS_MSEC, time_ms)
    return times_ms[round((reader.read()[1].mean() - 20) / 5)]


def turned(name):
    """Shape in PyAV, what PyAV says of the turn, and shape in OpenCV, where the track's header asks for a quarter."""
    data = bytearray(open(name, "rb").read())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 48 * 65536, 0, 1 << 30)
    open("turned.mp4", "wb").write(data)
    with av.open("turned.mp4") as container:
        frame = next(container.decode(video=0))
    return (frame.height, frame.width), round(frame.rotation), cv2.VideoCapture("turned.mp4").read()[1].shape[:2]


LATE, UNEVEN, EVEN = [5000, 5100, 5200, 5300], [0, 100, 200, 1200, 1300, 1400, 2400, 2500], list(range(0, 2600, 100))
SEEN = [
    ("first picture of an MP4 [ms] (PyAV, OpenCV)", first(write("late.mp4", LATE)), (5000, 0)),
    ("first picture of an MKV [ms] (PyAV, OpenCV)", first(write("late.mkv", LATE)), (5000, 0)),
    ("pictures of an MKV (promised, read, OpenCV)", counts("late.mkv"), (0, 4, 160)),
    ("pictures of an MP4 (promised, read, OpenCV)", counts("late.mp4"), (4, 4, 4)),
    ("seek to 1200 ms, even times, finds [ms]", found_at(write("even.mp4", EVEN), EVEN, 1200), 1200),
    ("seek to 1200 ms, uneven times, finds [ms]", found_at(write("uneven.mp4", UNEVEN), UNEVEN, 1200), 2400),
    ("shown turned (PyAV, its rotation, OpenCV)", turned("even.mp4"), ((48, 64), -90, (64, 48))),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:46}{found!s:32}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
