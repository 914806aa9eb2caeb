"""Ages of /latent and /latent_next against the bare model and the bare DDS hops, in one run."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, monotonic_ns
from typing import Any

import numpy as np
import rclpy
import torch
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from benchmarks.processes import module_command
from wm_bringup.configuration import NODES, ros_arguments
from wm_core.images import prepare_image
from wm_core.se3 import quaternion_of
from wm_demo.graph import Graph, executable
from wm_interfaces.msg import LatentPrediction, LatentState
from wm_ros import float_array_msg, image_to_msg, own_domain_id, pose_to_msg, qos, stamp_ns
from world_model.runtime.artifacts import load_artifact

RATE_HZ = 20.0
SIZES = {"160x120": (120, 160), "640x480": (480, 640)}
FORMS = ("separate", "composed")
START_DEADLINE_S = 60.0


class Driver(Node):
    """Plays camera, pose and actions at 20 Hz and notes when what comes back arrives.

    Ages run from just before the camera's publication to the receipt, on the steady clock.
    """

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        super().__init__("bench_driver")
        self._images_HW3 = np.random.default_rng(seed).integers(0, 256, (32, *size, 3), np.uint8)
        self.sent: dict[int, int] = {}
        self.latents: dict[bytes, int] = {}
        self.nexts: list[int] = []
        self.stamps_of: dict[bytes, int] = {}
        self.next_stamps: list[int] = []
        self.floats_back: list[tuple[int, int]] = []
        self._images = self.create_publisher(Image, "/camera/image_raw", qos.SENSOR)
        self._poses = self.create_publisher(PoseStamped, "/pose", 10)
        self._actions = self.create_publisher(Float32MultiArray, "/actions", 10)
        self.create_subscription(Float32MultiArray, "/latent", self._on_latent, qos.STREAM)
        self.create_subscription(LatentState, "/latent/state", self._on_state, qos.STREAM)
        self.create_subscription(Float32MultiArray, "/latent_next", self._on_next, qos.STREAM)
        self.create_subscription(LatentPrediction, "/latent_next/state", self._on_next_state, qos.STREAM)

    def _on_latent(self, msg: Float32MultiArray) -> None:
        self.latents.setdefault(_key(msg.data), monotonic_ns())

    def _on_state(self, msg: LatentState) -> None:
        self.stamps_of.setdefault(_key(msg.latent), stamp_ns(msg.header.stamp))

    def _on_next(self, msg: Float32MultiArray) -> None:
        self.nexts.append(monotonic_ns())

    def _on_next_state(self, msg: LatentPrediction) -> None:
        self.next_stamps.append(stamp_ns(msg.header.stamp))

    def is_heard(self) -> bool:
        """Whether somebody listens to the camera."""
        return self._images.get_subscription_count() > 0

    def send(self, index: int) -> None:
        """Publishes one frame with its pose and action; the robot episodes a circle of 2 m radius at 1 m/s."""
        now = self.get_clock().now()
        stamp = now.to_msg()
        picture = self._images_HW3[index % len(self._images_HW3)].copy()
        # No two frames alike, so that a latent tells which frame it is of.
        picture[:64, :64] = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
        msg = image_to_msg(picture, stamp, "camera")
        angle = index / RATE_HZ / 2.0
        pose = PoseStamped()
        pose.header.stamp, pose.header.frame_id = stamp, "map"
        pose.pose = pose_to_msg((2 * np.sin(angle), 2 - 2 * np.cos(angle), 0.0), quaternion_of(angle))
        self.sent[now.nanoseconds] = monotonic_ns()
        self._images.publish(msg)
        self._poses.publish(pose)
        self._actions.publish(float_array_msg(np.array([1.0, 0.5]), "action"))

    def latent_ages_ms(self) -> list[float]:
        """Returns the age of each /latent at its receipt."""
        pairs = ((self.stamps_of.get(key), received) for key, received in self.latents.items())
        return [(received - self.sent[stamp]) * 1e-6 for stamp, received in pairs if stamp in self.sent]

    def next_ages_ms(self) -> list[float]:
        """Returns the age of each /latent_next at its receipt; it comes in the order of its states."""
        pairs = zip(self.next_stamps, self.nexts)
        return [(received - self.sent[stamp]) * 1e-6 for stamp, received in pairs if stamp in self.sent]


class Echo(Node):
    """The other end of the bare hops: notes each image's age and answers with 32 floats."""

    def __init__(self) -> None:
        super().__init__("bench_echo")
        self._floats = self.create_publisher(Float32MultiArray, "/bench/floats", qos.STREAM)
        self.create_subscription(Image, "/camera/image_raw", self._on_image, qos.SENSOR)

    def _on_image(self, msg: Image) -> None:
        received = monotonic_ns()
        values = np.zeros(32, np.float32)
        # Two steady times travel bit by bit in the floats' bytes: the image's receipt and this publication.
        values[:4] = np.frombuffer(np.array([stamp_ns(msg.header.stamp), received], np.int64).tobytes(), np.float32)
        values[4:6] = np.frombuffer(np.array([monotonic_ns()], np.int64).tobytes(), np.float32)
        answer = float_array_msg(values)
        self._floats.publish(answer)


def _key(values: Any) -> bytes:
    return hashlib.blake2b(np.asarray(values, np.float32).tobytes(), digest_size=16).digest()


@contextmanager
def ros(domain_id: int):
    """Runs rclpy in a domain of its own."""
    os.environ["ROS_DOMAIN_ID"] = str(domain_id)
    rclpy.init(args=[])
    try:
        yield
    finally:
        rclpy.try_shutdown()


def episode(driver: Driver, seconds: float, is_ready: Callable[[], bool], warm_up_s: float = 2.0) -> None:
    """Sends frames at 20 Hz for some time after the other end listens; what came while warming up is not counted."""
    executor = SingleThreadedExecutor()
    executor.add_node(driver)
    deadline = monotonic() + START_DEADLINE_S
    while not is_ready():
        if monotonic() > deadline:
            raise SystemExit("bench: the other end did not come up")
        executor.spin_once(timeout_sec=0.05)
    begin, index, counting = monotonic(), 0, False
    while (elapsed := monotonic() - begin) < warm_up_s + seconds:
        if elapsed >= index / RATE_HZ:
            if not counting and elapsed >= warm_up_s:
                driver.sent.clear()
                counting = True
            driver.send(index)
            index += 1
        executor.spin_once(timeout_sec=max(0.0, min(0.01, index / RATE_HZ - elapsed)))
    end = monotonic() + 0.5
    while monotonic() < end:
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()


def bare_hops(size: tuple[int, int], seconds: float, domain_id: int, seed: int) -> tuple[list[float], list[float]]:
    """Returns ages [ms] of the image at the other process, and of 32 floats that come back."""
    images_ms: list[float] = []
    floats_ms: list[float] = []
    with ros(domain_id):
        driver = Driver(size, seed)

        def on_floats(msg: Float32MultiArray) -> None:
            received = monotonic_ns()
            raw = np.asarray(msg.data, np.float32).tobytes()
            stamp, image_received, sent = np.frombuffer(raw[:24], np.int64).tolist()
            if stamp in driver.sent:
                images_ms.append((image_received - driver.sent[stamp]) * 1e-6)
                floats_ms.append((received - sent) * 1e-6)

        driver.create_subscription(Float32MultiArray, "/bench/floats", on_floats, qos.STREAM)
        echo = subprocess.Popen(module_command("benchmarks.graph", "--echo"), stdin=subprocess.DEVNULL)
        try:
            episode(driver, seconds, driver.is_heard)
        finally:
            echo.terminate()
            echo.wait(timeout=10)
            driver.destroy_node()
    return images_ms, floats_ms


def graph_ages(
    form: str, size: tuple[int, int], seconds: float, domain_id: int, seed: int
) -> tuple[list[float], list[float], float]:
    """Returns ages [ms] of /latent and /latent_next, and the nodes' processor time [% of one core]."""
    with TemporaryDirectory(prefix="bench_graph_") as folder, ros(domain_id):
        scratch = Path(folder)
        options = {"db_path": str(scratch / "memory.sqlite3")}
        if form == "composed":
            config = scratch / "bench.yaml"
            config.write_text(json.dumps({"spatial_memory": {"ros__parameters": options}}))
            commands = {"world_model": [*executable("wm_bringup", "world_model"), "--params-file", str(config)]}
        else:
            commands = {
                name: [
                    *executable(name, f"{name}_node"),
                    *ros_arguments(scratch, nodes=[name], options=options if name == "spatial_memory" else None),
                ]
                for name in NODES
            }
        driver = Driver(size, seed)
        graph = Graph(commands, scratch)
        try:
            episode_graph(driver, graph, seconds)
            cpu_percent = graph.cpu_percent()
        finally:
            graph.stop()
        ages = driver.latent_ages_ms(), driver.next_ages_ms()
        driver.destroy_node()
    return *ages, cpu_percent


def episode_graph(driver: Driver, graph: Graph, seconds: float) -> None:
    """Episodes the graph once it listens, and measures its processor time meanwhile."""

    def is_ready() -> bool:
        if (trouble := graph.trouble()) is not None:
            raise SystemExit(f"bench: {trouble}")
        heard = (
            driver.is_heard() and driver.count_publishers("/latent_next") and driver.count_publishers("/visual_history")
        )
        if heard:
            graph.start_measuring()
        return bool(heard)

    episode(driver, seconds, is_ready)


def forward_ms(size: tuple[int, int], repeats: int = 100) -> list[float]:
    """Returns the time of the bare encoder on a picture that has its size already [ms].

    At 20 Hz, as in use: back to back the same pass takes a quarter of the time, with caches that no robot keeps warm.
    """
    torch.set_num_threads(1)
    artifact = load_artifact(os.environ.get("WM_CHECKPOINT_PATH") or "artifact://tiny")
    encoder = artifact.encoder()
    image_HW3 = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    batch = torch.from_numpy(prepare_image(image_HW3, artifact.manifest.image_size))[None]
    times = []
    with torch.inference_mode():
        for index in range(repeats + 20):
            time.sleep(1.0 / RATE_HZ)
            begin = time.perf_counter()
            encoder(batch, None, None)
            if index >= 20:
                times.append((time.perf_counter() - begin) * 1e3)
    return times


def summary(values_ms: Sequence[float]) -> dict[str, float]:
    """Returns median, p99 and count."""
    if not values_ms:
        raise SystemExit("bench: nothing came back; is the graph up?")
    p50, p99 = np.percentile(np.asarray(values_ms), [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "n": len(values_ms)}


def measure(name: str, seconds: float, rounds: int, domain_id: int) -> dict[str, Any]:
    """Returns all figures for one image size; the parts take turns, so a change of the machine hits them all."""
    size = SIZES[name]
    found: dict[str, list[float]] = {key: [] for key in ("forward", "image", "floats")}
    ages = {form: ([], [], []) for form in FORMS}
    for turn in range(rounds):
        found["forward"] += forward_ms(size)
        images, floats = bare_hops(size, seconds / 2, domain_id, turn)
        found["image"] += images
        found["floats"] += floats
        for form in FORMS:
            for kept, new in zip(ages[form], graph_ages(form, size, seconds, domain_id, turn)):
                kept.extend(new if isinstance(new, list) else [new])
        print(f"{name}: round {turn + 1} of {rounds} done", file=sys.stderr)
    result: dict[str, Any] = {
        f"{key}_ms" if key == "forward" else f"{key}_hop_ms": summary(found[key]) for key in found
    }
    bound = sum(result[key]["p50"] for key in ("forward_ms", "image_hop_ms", "floats_hop_ms"))
    result["bound_ms"] = round(bound, 3)
    for index, key in enumerate(("latent", "latent_next")):
        result[f"{key}_age_ms"] = {form: summary(ages[form][index]) for form in FORMS}
        result[f"ratio_{key}"] = {form: round(result[f"{key}_age_ms"][form]["p50"] / bound, 3) for form in FORMS}
    result["cpu_percent"] = {form: [round(value, 1) for value in ages[form][2]] for form in FORMS}
    return result


def report(results: dict[str, Any]) -> str:
    """Returns the figures as a table."""
    lines = [f"{'':10}{'forward':>9}{'image':>9}{'floats':>9}{'bound':>9}   medians [ms]; ratio: age over bound"]
    for name, result in results.items():
        bare = [result[key]["p50"] for key in ("forward_ms", "image_hop_ms", "floats_hop_ms")]
        lines.append(f"{name:10}" + "".join(f"{value:9.2f}" for value in [*bare, result["bound_ms"]]))
        for form in FORMS:
            for key in ("latent", "latent_next"):
                age = result[f"{key}_age_ms"][form]
                ratio = result[f"ratio_{key}"][form]
                lines.append(f"    {form:9} /{key:12} p50 {age['p50']:7.2f}  p99 {age['p99']:7.2f}  ratio {ratio:5.2f}")
            lines.append(f"    {form:9} nodes' processor time {result['cpu_percent'][form]} % of one core")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of one measurement [s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured")
    parser.add_argument("--sizes", default=",".join(SIZES), help="image sizes, comma-separated")
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        rclpy.init(args=[])
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(Echo())
        return
    domain_id = int(os.environ.get("ROS_DOMAIN_ID", own_domain_id()))
    results = {name: measure(name, options.seconds, options.rounds, domain_id) for name in options.sizes.split(",")}
    print(report(results))
    if options.json:
        machine = {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        everything = {**results, "machine": machine, "ros_distro": os.environ.get("ROS_DISTRO", "")}
        options.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
