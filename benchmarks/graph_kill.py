"""What the predictor does when the memory is killed under it: ``scripts/bench graph --kill-memory SECONDS``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from benchmarks.against.graph_side import graph_commands, robot_command
from benchmarks.driver import START_DEADLINE_S, STREAM, StartError, ros
from benchmarks.processes import Processes
from wm_interfaces.msg import LatentPrediction

_SOURCES = {
    LatentPrediction.MEMORY_NONE: "none",
    LatentPrediction.MEMORY_WINDOW: "window",
    LatentPrediction.MEMORY_SERVICE: "service",
}


@dataclass(frozen=True)
class Heard:
    """One prediction: where its memories came from, why there were none, how old the window was [s], whose latents."""

    source: str
    degraded_reason: str
    window_age_s: float
    encoder_id: str = ""


class Listener(Node):
    """Notes every prediction."""

    def __init__(self) -> None:
        super().__init__("bench_listener")
        self.heard: list[Heard] = []
        self.create_subscription(LatentPrediction, "/latent_next/state", self._on_prediction, STREAM)

    def _on_prediction(self, msg: LatentPrediction) -> None:
        self.heard.append(Heard(_SOURCES[msg.memory_source], msg.degraded_reason, msg.window_age_s, msg.encoder_id))


def measure(kill_after_s: float, seconds: float, domain_id: int, seed: int = 0) -> dict[str, Any]:
    """Return what became of the predictions when the memory was killed.

    Args:
        kill_after_s: So long after the first prediction from a window the memory's process gets SIGKILL [s].
        seconds: How long predictions count, from the first one from a window on [s].
        domain_id: DDS domain.
        seed: Of the simulated building and drive.

    Raises:
        StartError: Something did not come up, or ended.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="bench_kill_")))
        stack.enter_context(ros(domain_id))
        listener = Listener()
        stack.callback(listener.destroy_node)
        commands = graph_commands("separate", scratch)
        memory = stack.enter_context(Processes({"spatial_memory": commands.pop("spatial_memory")}, scratch))
        others = stack.enter_context(Processes({**commands, "robot": robot_command(seed)}, scratch))
        executor = SingleThreadedExecutor()
        executor.add_node(listener)

        def spin(until: Callable[[], bool]) -> bool:
            while not until():
                executor.spin_once(timeout_sec=0.05)
                if (trouble := others.trouble()) is not None:
                    raise StartError(trouble)
            return True

        deadline = monotonic() + START_DEADLINE_S
        spin(lambda: any(each.source == "window" for each in listener.heard) or monotonic() > deadline)
        begin = monotonic()
        first = next((at for at, each in enumerate(listener.heard) if each.source == "window"), None)
        if first is None:
            raise StartError(f"no prediction from a window within {START_DEADLINE_S:.0f} s")
        spin(lambda: monotonic() >= begin + kill_after_s)
        memory.kill("spatial_memory")
        killed = len(listener.heard)
        spin(lambda: monotonic() >= begin + seconds)
        executor.shutdown()
        return summary(listener.heard[first:], killed - first, kill_after_s)


def summary(heard: list[Heard], killed: int, kill_after_s: float) -> dict[str, Any]:
    """Return the figures of predictions, of which the memory lived to see the first ``killed``."""
    ages_s = [each.window_age_s for each in heard if not math.isnan(each.window_age_s)]
    return {
        "killed_after_s": kill_after_s,
        "encoders": sorted({each.encoder_id for each in heard}),
        "predictions": len(heard),
        "predictions_after_the_kill": len(heard) - killed,
        "without_memory": sum(each.source == "none" for each in heard),
        "reasons": dict(Counter(each.degraded_reason for each in heard if each.degraded_reason)),
        "sources": dict(Counter(each.source for each in heard)),
        "window_age_s": {
            "before": round(max((each.window_age_s for each in heard[:killed]), default=math.nan), 3),
            "last": round(ages_s[-1], 3) if ages_s else None,
        },
    }


def report(found: dict[str, Any]) -> str:
    """Return the figures in words."""
    age = found["window_age_s"]
    return (
        f"memory killed {found['killed_after_s']:g} s after the first window: {found['predictions']} predictions, "
        f"{found['predictions_after_the_kill']} of them after it, {found['without_memory']} without memory "
        f"{found['reasons'] or ''}; window age at most {age['before']} s before, {age['last']} s at the end"
    )
