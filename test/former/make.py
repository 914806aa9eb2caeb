"""Writes the recordings, memories and artifacts of a former version into a folder, from the code beside it.

Run once, by the version whose files are to be kept: ``python test/former/make.py FOLDER``. What lies in
``test/former/messages_1`` and so on was written so and is never written again: tests only read it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

SOURCES = Path(__file__).parents[2] / "src"
START_NS = 1_700_000_000_000_000_000
STEP_NS = 50_000_000


def interface_types() -> dict[str, Any]:
    """Returns the definitions of all messages of wm_interfaces, as they stand in the sources."""
    types: dict[str, Any] = {}
    for path in sorted((SOURCES / "wm_interfaces" / "msg").glob("*.msg")):
        text = re.sub(r"^(Memory\w+|Latent\w+)(\[\])? ", r"wm_interfaces/\1\2 ", path.read_text(), flags=re.M)
        types.update(get_types_from_msg(text, f"wm_interfaces/msg/{path.stem}"))
    return types


class Filler:
    """Gives every field of a message a value that tells it from the others: numbers count up, texts are the name."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._count = 0

    def fill(self, name: str) -> Any:
        """Returns a message of a type."""
        definitions = self._store.fielddefs[name][1]
        return self._store.types[name](**{field: self._value(field, kind) for field, kind in definitions})

    def _value(self, field: str, kind: tuple) -> Any:
        node, detail = int(kind[0]), kind[1]
        if node == 2:
            return self.fill(detail)
        if node == 1:
            return self._plain(field, detail[0] if isinstance(detail, tuple) else detail)
        element, length = detail
        values = [self._value(field, element) for _ in range(length or 3)]
        if int(element[0]) == 1 and element[1][0] != "string":
            return np.array(values, dtype=element[1][0].replace("octet", "uint8"))
        return values

    def _plain(self, field: str, kind: str) -> Any:
        if kind == "string":
            return field
        if kind == "bool":
            return True
        self._count = (self._count + 1) % 120
        return self._count + 0.5 if kind.startswith("float") else self._count


def stream(store: Any) -> Iterator[tuple[str, str, int, Any]]:
    """Yields topic, type, time and message of a camera, a pose, an action and a reading of each other standard kind."""
    types = store.types
    rng = np.random.default_rng(0)
    for frame in range(40):
        time_ns = START_NS + frame * STEP_NS
        stamp = types["builtin_interfaces/msg/Time"](*divmod(time_ns, 1_000_000_000))
        header = types["std_msgs/msg/Header"](stamp, "camera")
        pixels = rng.integers(0, 255, (6, 8, 3), np.uint8)
        yield "/camera/image_raw", "sensor_msgs/msg/Image", time_ns, types["sensor_msgs/msg/Image"](
            header, 6, 8, "rgb8", 0, 24, pixels.reshape(-1))  # fmt: skip
        point = types["geometry_msgs/msg/Point"](frame * 0.05, 0.0, 0.0)
        turn = types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        pose = types["geometry_msgs/msg/Pose"](point, turn)
        map_header = types["std_msgs/msg/Header"](stamp, "map")
        yield "/pose", "geometry_msgs/msg/PoseStamped", time_ns + 1_000_000, types["geometry_msgs/msg/PoseStamped"](
            map_header, pose)  # fmt: skip
        layout = types["std_msgs/msg/MultiArrayLayout"]([], 0)
        values = np.array([1.0, 0.0], np.float32)
        yield "/actions", "std_msgs/msg/Float32MultiArray", time_ns - 1_000_000, types[
            "std_msgs/msg/Float32MultiArray"](layout, values)  # fmt: skip


OTHERS = (
    "sensor_msgs/msg/CompressedImage", "nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/Twist", "geometry_msgs/msg/TwistStamped", "std_msgs/msg/Float32",
    "visualization_msgs/msg/MarkerArray", "diagnostic_msgs/msg/DiagnosticArray", "sensor_msgs/msg/Joy",
)  # fmt: skip


def write_bag(path: Path) -> None:
    """Writes one message of every kind, and two seconds of camera, poses and actions, into one recording."""
    store = get_typestore(Stores.ROS2_JAZZY)
    ours = interface_types()
    store.register(ours)
    filler = Filler(store)
    single = [(name, filler.fill(name)) for name in (*sorted(ours), *OTHERS)]
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for topic, kind, time_ns, msg in sorted(stream(store), key=lambda item: item[2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time_ns, store.serialize_cdr(msg, kind))
        for at, (kind, msg) in enumerate(single):
            connection = writer.add_connection(f"/one/{kind.rsplit('/', 1)[1]}", kind, typestore=store)
            writer.write(connection, START_NS + 3_000_000_000 + at, store.serialize_cdr(msg, kind))


def records() -> Iterator[dict[str, Any]]:
    """Yields the fields of some hundred records of three sessions, most with successors: (horizon, dt, latent)."""
    rng = np.random.default_rng(1)
    for at in range(300):
        latents = rng.normal(size=(3, 8)).astype(np.float32)
        successors = ((0.05, 0.051, latents[1]), (1.0, 1.002, latents[2]))
        yield {
            "stamp_ns": START_NS + at * 500_000_000,
            "latent_D": latents[0],
            "x": float(rng.uniform(-9, 9)),
            "y": float(rng.uniform(-9, 9)),
            "z": float(rng.integers(0, 2)) * 3.0,
            "yaw": float(np.float32(rng.uniform(-3.1, 3.1))),
            "session": f"robot/{1 + at // 100}",
            "encoder_id": "0123456789abcdef",
            "previous_action_A": rng.normal(size=2).astype(np.float32) if at % 100 else np.empty(0, np.float32),
            "action_A": rng.normal(size=2).astype(np.float32),
            "surprise": float(np.float32(rng.random())) if at % 3 else float("nan"),
            "successors": successors[: (0, 1, 2, 2)[at % 4]],
        }


FORGOTTEN = (7, 8, 9)


def write_memory(path: Path) -> None:
    """Writes a memory of all ``records`` but a few that were forgotten; ids begin at 1."""
    from spatial_memory.factory import make_grid, open_cell_memory
    from wm_core.memory.protocol import Forget
    from wm_core.memory.record import MemoryRecord, Successor

    memory = open_cell_memory(str(path), make_grid("local", 4.53, 137.977, 2.0, -1), 10_000, 1.0, 0.2)
    every = [{**each, "successors": tuple(Successor(*item) for item in each["successors"])} for each in records()]
    memory.insert([MemoryRecord(**each) for each in every])
    memory.delete(Forget(ids=FORGOTTEN))
    snapshot = path.with_name("snapshot.sqlite3")
    memory.snapshot(snapshot)
    memory.close()
    for rest in ("", ".lock", "-wal", "-shm"):
        Path(f"{path}{rest}").unlink(missing_ok=True)
    snapshot.replace(path)


def _remembered(number: int, pose: Any, action_A: np.ndarray, rng: np.random.Generator) -> Any:
    """Returns a made-up memory near a pose, with both successors."""
    from wm_core.se2 import Pose2
    from world_model.runtime.retrieved import Memory

    latents = rng.normal(size=(3, 8)).astype(np.float32)
    place = Pose2(pose.x + 0.1 * number, pose.y, 0.0, pose.yaw)
    successors = ((0.05, 0.05, latents[1]), (1.0, 1.0, latents[2]))
    return Memory(number, START_NS - 60_000_000_000, latents[0], place, action_A, successors)


def predictions(folder: Path) -> dict[str, np.ndarray]:
    """Returns what an artifact makes of a made-up picture, and forecasts with and without memories along a line."""
    import torch

    from wm_core.se2 import Pose2
    from world_model.runtime.artifacts import load_artifact
    from world_model.runtime.predictor import Observation, Predictor

    artifact = load_artifact(folder)
    rng = np.random.default_rng(2)
    picture_BHWC = torch.from_numpy(rng.integers(0, 255, (1, 16, 16, 3), np.uint8))
    with torch.inference_mode():
        encoded_D = artifact.encoder()(picture_BHWC, None, None)[0].numpy()
    predictor = Predictor(artifact)
    forecasts = []
    for step in range(20):
        latent_D = rng.normal(size=8).astype(np.float32)
        pose = Pose2(0.05 * step, 0.0, 0.0, 0.02 * step)
        action_A = np.array([1.0, 0.4], np.float32)
        requests = predictor.observe(Observation(START_NS + step * STEP_NS, latent_D, pose, action_A))
        found = [_remembered(number, request.pose, action_A, rng) for number, request in enumerate(requests)]
        answers = [found[at : at + 1] for at in range(len(requests))] if step % 2 else None
        forecasts.append([forecast.network_D for forecast in predictor.predict(answers).forecasts])
    return {"encoded_D": encoded_D, "forecast_THD": np.array(forecasts, np.float32)}


def write_artifact(folder: Path) -> None:
    """Writes a small artifact of random weights as ``artifact.zip``, and what it predicts as ``predictions.npz``."""
    import torch

    from wm_testing import artifacts
    from world_model.models import GruContext, Transition

    unpacked = folder / "artifact"
    full = artifacts.make_random_artifact(unpacked, z_dim=8, image_size=16, seed=3, name="former")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        transition = Transition(8, 2, GruContext(10, 4), width=8, memory_width=8)
        for parameter in transition.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)  # branches that start closed are to have a say
            parameter.data = parameter.data.bfloat16().float()  # half of the bits are 0, and pack well
    (unpacked / "world_action.pt").unlink()
    entries = {**vars(full), "world_action": None}
    artifacts.write_artifact(unpacked, entries, {"transition": torch.jit.script(transition.eval())})
    np.savez_compressed(folder / "predictions.npz", **predictions(unpacked))
    shutil.make_archive(str(folder / "artifact"), "zip", unpacked)
    shutil.rmtree(unpacked)


def main(folder: Path) -> None:
    """Writes everything."""
    folder.mkdir(parents=True)
    write_bag(folder / "bag")
    write_memory(folder / "memory.sqlite3")
    write_artifact(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
