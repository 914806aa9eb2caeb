#!/usr/bin/env bash
# What does a null do in a payload of qdrant-client's local mode?
#
# Guess: set_payload with a null sets the key to null, as upsert and overwrite_payload do.
# Seen with qdrant-client 1.20.0 in local mode (":memory:"), Python 3.11:
#   upsert             keeps a null
#   overwrite_payload  keeps a null
#   set_payload        removes the key, also one that had a value: a reader that takes it for granted fails
#
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment.
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check qdrant-client==1.20.0
"$scratch/venv/bin/python" - <<'PYTHON'
import sys

from qdrant_client import QdrantClient, models

client = QdrantClient(":memory:")
client.create_collection("c", vectors_config=models.VectorParams(size=2, distance=models.Distance.EUCLID))


def payload():
    return client.retrieve("c", [1])[0].payload


client.upsert("c", [models.PointStruct(id=1, vector=[0, 0], payload={"a": None, "b": 1})])
found = {"upsert": payload()}
client.set_payload("c", {"b": None, "d": 2}, points=[1])
found["set_payload"] = payload()
client.overwrite_payload("c", {"b": None, "d": 2}, points=[1])
found["overwrite_payload"] = payload()
expected = {
    "upsert": {"a": None, "b": 1},
    "set_payload": {"a": None, "d": 2},
    "overwrite_payload": {"b": None, "d": 2},
}
for name, value in found.items():
    print(f"{name}: {value}")
sys.exit(found != expected)
PYTHON
