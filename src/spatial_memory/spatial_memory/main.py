"""Where the executable starts: nothing heavy is imported before Ctrl-C is taken care of."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the node; exit code 0 after a signal, also one that comes during the seconds of importing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    from spatial_memory.node import main as run

    run()
