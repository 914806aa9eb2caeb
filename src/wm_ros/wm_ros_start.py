"""Where an executable starts: beside the packages, since importing one takes seconds in which Ctrl-C may come."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from typing import NoReturn


def start(module: str) -> NoReturn:
    """Run a node's ``main`` and end the process with its exit code; 0 after a signal, also while modules are imported.

    Args:
        module: Where ``main`` is; it returns an exit code, or raises SystemExit.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    # Before NumPy is imported: a second thread of its products spins on a core that another node needs.
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    # What is imported stays: looking through it for garbage costs a tenth of a start.
    gc.disable()
    run = importlib.import_module(module).main
    gc.freeze()
    gc.enable()
    try:
        code = run()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    # All is closed and written by now; taking the imported libraries apart would only keep Ctrl-C waiting.
    os._exit(int(code or 0))
