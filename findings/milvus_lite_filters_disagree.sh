#!/usr/bin/env bash
# Filters in Milvus Lite (Milvus inside of a program): rows without a value, and decimal numbers in a FLOAT field.
#
# Guess: `x != 1`, `not (x == 1)`, `x not in [1]` and `not (x in [1])` find the same rows, and so do `x == 0.1` and `x in [0.1]`.
# Seen with milvus-lite 3.2.2 and pymilvus 3.0.2 (PyPI; Python 3.11, x86-64), row 1 without values, the others with:
#   label != "a", not (label == "a")           rows 2 3 4: one without a label is not found
#   label not in ["a"], not (label in ["a"])   rows 1 2 3 4: it is; numbers likewise
#   FLOAT 0.1 == 0.1                           no row: the field's 0.1 is 0.10000000149 there
#   FLOAT 0.1 in [0.1]                         row 0: here the literal is brought to the field's type first
#   FLOAT > 0.1, != 0.1                        with the row that holds 0.1; FLOAT < 0.7 with the one that holds 0.7
#   FLOAT == 0.5, DOUBLE == 0.1                right
#   a dynamic field: != 5, not (== 5)          no row; not in [5] finds all that have no such field
#
# So the spelling of a condition decides whether what was not labelled is sent to a robot. Write `is not null and` in front, decimal numbers in
# DOUBLE fields, and ranges rather than ==.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (550 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'milvus-lite==3.2.2' 'pymilvus==3.0.2'

cat >"$scratch/probe.py" <<'PYTHON'
import sys

from pymilvus import DataType, MilvusClient

client = MilvusClient("probe.db")
schema = client.create_schema(enable_dynamic_field=True)
schema.add_field("row", DataType.INT64, is_primary=True)
schema.add_field("place", DataType.FLOAT_VECTOR, dim=2)
schema.add_field("range", DataType.FLOAT, nullable=True)
schema.add_field("exact", DataType.DOUBLE, nullable=True)
schema.add_field("label", DataType.VARCHAR, max_length=9, nullable=True)
schema.add_field("count", DataType.INT64, nullable=True)
index = client.prepare_index_params()
index.add_index("place", index_type="FLAT", metric_type="L2")
client.create_collection("seen", schema=schema, index_params=index)
values = [(0.1, "a", 1), (None, None, None), (0.5, "c", 2), (0.7, "d", 3), (0.3, "e", -3)]
rows = [
    {"row": i, "place": [float(i), 0.0], "range": value, "exact": value, "label": label, "count": count}
    for i, (value, label, count) in enumerate(values)
]
rows[3]["more"] = 5
client.insert("seen", rows)


def found(condition):
    return sorted(one["row"] for one in client.query("seen", filter=condition, output_fields=["row"], limit=100))


SEEN = [
    ('label != "a", not (label == "a")', [found('label != "a"'), found('not (label == "a")')], [[2, 3, 4]] * 2),
    ('label not in, not (label in)', [found('label not in ["a"]'), found('not (label in ["a"])')], [[1, 2, 3, 4]] * 2),
    ("count != 1, count not in [1]", [found("count != 1"), found("count not in [1]")], [[2, 3, 4], [1, 2, 3, 4]]),
    ("range == 0.1", found("range == 0.1"), []),
    ("range in [0.1]", found("range in [0.1]"), [0]),
    ("range > 0.1, range != 0.1", [found("range > 0.1"), found("range != 0.1")], [[0, 2, 3, 4]] * 2),
    ("range < 0.7", found("range < 0.7"), [0, 2, 3, 4]),
    ("range == 0.5, exact == 0.1", [found("range == 0.5"), found("exact == 0.1")], [[2], [0]]),
    ("more != 5, not (more == 5)", [found("more != 5"), found("not (more == 5)")], [[], []]),
    ("more not in [5]", found("more not in [5]"), [0, 1, 2, 4]),
    ("not null and not in", found('label is not null and label not in ["a"]'), [2, 3, 4]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:36}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
