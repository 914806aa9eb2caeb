#!/usr/bin/env bash
# A recording's stamps in an HDF5 table of PyTables, in its column type for times (Time64Col).
#
# Guess: `append` reads the array it is given; a missing time (NaN) is read as NaN, or refused.
# Seen with tables 3.11.1 and numpy 2.4.6 (PyPI; Python 3.11, x86-64), 1700000000.0, 1700000000.1 and NaN:
#   append(array), array of the table's type    the table is right; the array that was handed in now holds 1.3e180, 1.3e180, 0 as its times
#   a second append of the same array           the table gets these: rows with the wrong time, of which nothing is said
#   append of a recarray, create_table(obj=)    likewise
#   modify_rows, modify_column; EArray of       the array stays
#   Time64Atom
#   NaN, infinity in any of these               0.0: a time in 1970, and `t > 0` leaves it out
#   half a microsecond                          0.0: to the microsecond, as times are kept as seconds and microseconds
#   Float64Col                                  all of it as it was
# So: Float64Col for seconds, Int64Col for nanoseconds, or append(array.copy()).
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (190 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check --only-binary :all: \
    'tables==3.11.1' 'numpy==2.4.6'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

import numpy as np
import tables

STAMPS = [1700000000.0, 1700000000.1, np.nan]


class Times(tables.IsDescription):
    stamp = tables.Time64Col(pos=0)
    speed = tables.Float64Col(pos=1)


class Floats(tables.IsDescription):
    stamp = tables.Float64Col(pos=0)
    speed = tables.Float64Col(pos=1)


file = tables.open_file("probe.h5", "w")


def rows(stamps=STAMPS):
    array = np.zeros(len(stamps), [("stamp", "f8"), ("speed", "f8")])
    array["stamp"] = stamps
    return array


def shown(stamps):
    return [f"{one:.12g}" if abs(one) < 1e10 or one != one else f"{one:.1e}" for one in stamps]


def appended(description, array, times=1):
    """The array after it was appended, and what the table holds."""
    table = file.create_table("/", f"t{len(file.root._v_children)}", description)
    for _ in range(times):
        table.append(array)
    table.flush()
    return shown(array["stamp"]), shown(table.read(field="stamp"))


def created():
    array = rows()
    file.create_table("/", "created", Times, obj=array)
    return shown(array["stamp"])


def modified():
    table = file.create_table("/", "modified", Times)
    table.append(rows().tolist())
    array, column = rows(), rows()["stamp"].copy()
    table.modify_rows(0, 3, 1, array)
    table.modify_column(0, 3, 1, column, "stamp")
    return shown(array["stamp"]), shown(column)


def earray(numbers):
    array = np.array(numbers)
    store = file.create_earray("/", f"e{len(file.root._v_children)}", tables.Time64Atom(), (0,))
    store.append(array)
    return shown(array), shown(store[:])


RIGHT, READ, GARBLED = ["1700000000", "1700000000.1", "nan"], ["1700000000", "1700000000.1", "0"], ["1.3e+180", "1.3e+180", "0"]
SEEN = [
    ("append: array, table", appended(Times, rows()), (GARBLED, READ)),
    ("append twice: table is right", appended(Times, rows(), 2)[1][3:] == READ, False),
    ("create_table(obj=): array", created(), GARBLED),
    ("append of a recarray: array", appended(Times, np.rec.array(rows()))[0], GARBLED),
    ("modify_rows, modify_column", modified(), (RIGHT, RIGHT)),
    ("EArray: array, store", earray(STAMPS), (RIGHT, READ)),
    ("infinity, 0.4 us, -1.25", earray([np.inf, 4e-7, -1.25])[1], ["0", "0", "-1.25"]),
    ("Float64Col", appended(Floats, rows()), (RIGHT, RIGHT)),
]
file.close()
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:30}{found!s:80}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
