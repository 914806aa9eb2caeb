"""Where the executable starts; beside the package, since importing that takes seconds in which Ctrl-C may come."""

from __future__ import annotations

import gc
import os
import signal
import sys


def main() -> None:
    """Run the node; exit code 0 after a signal, also one that comes while modules are imported."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    # Before NumPy is imported: a second thread of its products spins on a core that another node needs.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # What is imported stays: looking through it for garbage costs a tenth of a start. The node begins with that again.
    gc.disable()
    from policy_runner.node import main as run

    try:
        run()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        # The node is down; taking the imported libraries apart would only keep Ctrl-C waiting.
        os._exit(int(end.code or 0))
