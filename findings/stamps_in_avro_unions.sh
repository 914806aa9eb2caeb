#!/usr/bin/env bash
# A whole number (a stamp, a count) in an Avro field that may be a float as well, written with fastavro and with Apache's avro.
#
# Guess: a whole number is written as the whole number that the union offers; what a field cannot hold is refused.
# Seen with fastavro 1.13.1 and avro 1.12.2 (PyPI; Python 3.11, x86-64), 1700000000123456789:
#   ["null", "float", "long"]                   fastavro 7.6 s later; avro right
#   ["null", "double", "long"]                  fastavro 21 ns off; avro right
#   ["null", "long", "double"]                  avro 21 ns off; fastavro right
#   ["float", "long"], 16777217                 fastavro 16777216; avro right
#   "int" of 5.7, array of "int" of 1.9, -1.9   fastavro 5, 1, -1; avro raises
#   "boolean" of 0.2                            fastavro True; avro raises
#   "int" of 2^31                               fastavro writes it, beyond the 32 bits that other readers expect; avro raises
#   "float" of 1e39                             fastavro infinity; avro raises
#   fastavro.validate before                    False for all but the unions and 1e39
# One takes the first branch that a number fits, the other the last. So: no two kinds of numbers in a union, and `validate` before the writer.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (20 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'fastavro==1.13.1' 'avro==1.12.2'

cat >"$scratch/probe.py" <<'PYTHON'
import io
import json
import sys

import avro.io
import avro.schema
import fastavro

STAMP = 1700000000123456789


def by_fastavro(schema, value):
    parsed, file = fastavro.parse_schema(schema), io.BytesIO()
    fastavro.schemaless_writer(file, parsed, value)
    file.seek(0)
    return fastavro.schemaless_reader(file, parsed)


def by_avro(schema, value):
    parsed, file = avro.schema.parse(json.dumps(schema)), io.BytesIO()
    avro.io.DatumWriter(parsed).write(value, avro.io.BinaryEncoder(file))
    file.seek(0)
    return avro.io.DatumReader(parsed).read(avro.io.BinaryDecoder(file))


def both(schema, value):
    """What is read back from fastavro and from avro, and whether fastavro's check finds the value to fit."""
    try:
        other = by_avro(schema, value)
    except (avro.errors.AvroTypeException, OverflowError):
        other = "refused"
    return by_fastavro(schema, value), other, fastavro.validate(value, fastavro.parse_schema(schema), raise_errors=False)


def late(schema):
    """By how many nanoseconds each of them is off."""
    return [abs(int(one) - STAMP) for one in both(schema, STAMP)[:2]]


SEEN = [
    ("null, float, long", late(["null", "float", "long"]), [7557755627, 0]),
    ("null, double, long", late(["null", "double", "long"]), [21, 0]),
    ("null, long, double", late(["null", "long", "double"]), [0, 21]),
    ("null, long", late(["null", "long"]), [0, 0]),
    ("float, long, 16777217", both(["float", "long"], 16777217), (16777216.0, 16777217, True)),
    ("int, 5.7", both("int", 5.7), (5, "refused", False)),
    ("array of int", both({"type": "array", "items": "int"}, [1.9, -1.9]), ([1, -1], "refused", False)),
    ("boolean, 0.2", both("boolean", 0.2), (True, "refused", False)),
    ("int, 2^31", both("int", 2**31), (2**31, "refused", False)),
    ("float, 1e39", both("float", 1e39), (float("inf"), "refused", True)),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:44}{found!s:44}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
