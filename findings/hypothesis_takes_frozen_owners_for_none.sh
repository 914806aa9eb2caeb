#!/usr/bin/env bash
# Hypothesis beside trio in a program that has called `gc.freeze`, as long-running nodes do to spare themselves searches for garbage.
#
# Guess: it only changes which objects the collector walks through; what is alive has its owners as before.
# Seen with hypothesis 6.170.15 and trio 0.35.0 (PyPI; Python 3.11, x86-64):
#   trio, then hypothesis                    no warning
#   trio, gc.freeze(), then hypothesis       HypothesisWarning: "an object that could be garbage collected immediately"; the
#                                            object is trio's own generator, which trio holds for good and registers itself
#   the same with warnings as errors         the import fails with that warning
#   register_random(a module's own)          no warning before gc.freeze(), the warning after it
#   why                                      gc.get_referrers does not see frozen owners: 1 before, 0 after, 1 after gc.unfreeze()
#   is it managed all the same               yes: each example sees the same numbers
#
# So: import hypothesis before freezing, or unfreeze while it is imported; and never conclude from gc.get_referrers that nobody holds an object.
# Exit code 0: still so. 1: it has changed. Installs what it needs into a temporary environment (40 MB).
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
unset PYTHONPATH LD_LIBRARY_PATH VIRTUAL_ENV
"${PYTHON:-python3}" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install -qq --disable-pip-version-check \
    'hypothesis==6.170.15' 'trio==0.35.0'

cat >"$scratch/probe.py" <<'PYTHON'
import subprocess
import sys

START = """
import gc, random, sys, warnings
warnings.simplefilter("always")
{before}
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter({filter!r})
    try:
        {watched}
    except Warning as error:
        print("raised", type(error).__name__)
        raise SystemExit
print(*sorted({{each.category.__name__ for each in said}}) or ["nothing"])
{after}
"""
OWN = "import hypothesis; own = random.Random(3); gc.collect(); "
DRAWS = """
from hypothesis import given, settings, strategies as st, Phase
drawn = set()
@settings(max_examples=5, database=None)
@given(st.integers())
def test(_): drawn.add(own.random())
test()
print(len(drawn))
"""


def said(before, watched="import hypothesis", after="", filter="always"):
    code = START.format(before=before, watched=watched, after=after, filter=filter)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def owners():
    code = """
import gc
class Owner: pass
owner, owned = Owner(), Owner()
owner.__dict__["it"] = [owned]
count = lambda: sum(type(each) is list for each in gc.get_referrers(owned))
gc.collect()
print(count()); gc.freeze(); print(count()); gc.unfreeze(); print(count())
"""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


REGISTER = "hypothesis.register_random(own)"
SEEN = [
    ("trio, hypothesis", said("import trio"), ["nothing"]),
    ("trio, gc.freeze(), hypothesis", said("import trio; gc.freeze()"), ["HypothesisWarning"]),
    ("the same, warnings as errors", said("import trio; gc.freeze()", filter="error"), ["raised", "HypothesisWarning"]),
    ("gc.freeze(), hypothesis, no trio", said("gc.freeze()"), ["nothing"]),
    ("register_random: warning, numbers of 5 examples", said(OWN, REGISTER, DRAWS), ["nothing", "1"]),
    ("the same after gc.freeze()", said(OWN + "gc.freeze()", REGISTER, DRAWS), ["HypothesisWarning", "1"]),
    ("owners seen: before, frozen, unfrozen", owners(), ["1", "0", "1"]),
]
changed = 0
for what, found, expected in SEEN:
    changed += found != expected
    print(f"{what:52}{found!s:40}{'' if found == expected else f'CHANGED, was {expected}'}")
sys.exit(changed > 0)
PYTHON
cd "$scratch"
"$scratch/venv/bin/python" "$scratch/probe.py" 2>"$scratch/stderr" || { tail -5 "$scratch/stderr" >&2; exit 1; }
