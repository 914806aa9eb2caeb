"""The graph as processes of their own, over DDS, in a domain of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from wm_bringup import composed
from wm_demo import demo
from wm_demo.graph import executable
from wm_interfaces.msg import LatentState
from wm_ros import qos, stamp_msg
from wm_testing.system import listening, make_bag, wait_until

pytestmark = pytest.mark.slow

RECORDING = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "donkeycar_laps" / "bag"
PICTURES = ("trajectory.png", "prediction_error.png", "rates.png", "ages.png")
START_S = 120.0


def run_demo(out: Path, artifact: Path, *arguments: object) -> tuple[subprocess.CompletedProcess, dict]:
    """Runs the demo and returns how it ended and its summary."""
    command = [sys.executable, "-c", "from wm_demo.demo import main; raise SystemExit(main())"]
    command += ["--out", str(out), "--model-path", str(artifact), "--no-table", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=250)
    path = out / "summary.json"
    return ended, json.loads(path.read_text()) if path.is_file() else {}


def check_account(summary: dict, sent: int) -> None:
    """Asserts that every frame is accounted for."""
    encoded, skipped, lost = summary["frames_encoded"], summary["frames_skipped"], summary["lost_in_transport"]
    assert summary["frames_sent"] == sent
    assert sent == encoded + sum(skipped.values()) + lost, (encoded, skipped, lost)


@pytest.mark.parametrize(
    ("form", "storage", "jpeg", "loops"), [("--separate", "sqlite3", False, 1), ("--composed", "mcap", True, 2)]
)
def test_the_demo_accounts_for_every_frame_of_a_recording(
    tmp_path: Path, artifact: Path, form: str, storage: str, jpeg: bool, loops: int
):
    bag = make_bag(tmp_path / "bag", 120 // loops, storage=storage, jpeg=jpeg)

    ended, summary = run_demo(tmp_path / "out", artifact, "--bag", bag, "--loop", loops, form)

    assert ended.returncode == 0, ended.stderr
    check_account(summary, 120)
    assert summary["loops"] == loops
    assert summary["memory_count"] > 0
    assert summary["prediction_error"]["1.0"]["first"]["n"] > 0
    assert set(summary["exit_codes"].values()) == {0}
    assert all((tmp_path / "out" / name).stat().st_size > 1000 for name in PICTURES)


def test_the_demo_on_the_simulated_robot(tmp_path: Path, artifact: Path):
    recorded = all(find_spec(name) for name in ("mcap", "mcap_protobuf", "foxglove_schemas_protobuf"))
    ended, summary = run_demo(tmp_path / "out", artifact, "--seconds", 4, *(["--view", "mcap"] if recorded else []))

    assert ended.returncode == 0, ended.stderr
    check_account(summary, 80)
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("data:image/png;base64,") >= len(PICTURES)
    if not recorded:
        return
    assert summary["exit_codes"] == {"world_model": 0, "view_recorder": 0}
    from mcap.reader import make_reader

    with (tmp_path / "out" / "view.mcap").open("rb") as file:
        found = make_reader(file).get_summary()
    counts = {channel.topic: found.statistics.channel_message_counts[key] for key, channel in found.channels.items()}
    assert {"/camera", "/memory", "/scene/expected", "/scene/memory", "/scene/robot", "/tf"} <= set(counts)
    assert counts["/camera"] >= 3
    assert (tmp_path / "out" / "view.layout.json").is_file()


@pytest.mark.skipif(
    not RECORDING.is_dir(), reason="the recording of the RC car is not here: ../shared/data/donkeycar_laps"
)
def test_the_demo_on_a_real_recording(tmp_path: Path, artifact: Path):
    ended, summary = run_demo(tmp_path / "out", artifact, "--bag", RECORDING, "--seconds", 6)

    assert ended.returncode == 0, ended.stderr
    check_account(summary, summary["frames_sent"])
    assert summary["frames_sent"] >= 100


def test_the_demo_says_why_the_graph_did_not_start(tmp_path: Path, artifact: Path):
    misspelt = tmp_path / "mine.yaml"
    misspelt.write_text("latent_publisher:\n  ros__parameters:\n    publish_rat: 10.0\n")

    ended, summary = run_demo(tmp_path / "out", artifact, "--seconds", 5, "--params-file", misspelt)

    assert ended.returncode == 1
    assert "publish_rat" in ended.stderr
    assert summary["exit_codes"] == {"world_model": 2}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--bag", "nowhere"], "no recording at 'nowhere'"),
        (["--params-file", "nowhere.yaml"], "no parameter file 'nowhere.yaml'"),
    ],
)
def test_wrong_options_of_the_demo_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
):
    assert demo.main(["--out", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err.strip() == f"demo: {reason}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
        (["--config-dir", "/nowhere"], "/nowhere/latent_publisher"),
    ],
)
def test_a_missing_parameter_file_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], named: str):
    assert composed.main(arguments) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--ros-args", "-p", "latent_publisher:publish_rat:=10.0"], "publish_rat"),
        (["--model-path", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_what_cannot_be_configured_ends_the_process_with_one_line(artifact: Path, arguments: list[str], named: str):
    model = [] if "--model-path" in arguments else ["--model-path", str(artifact)]

    ended = subprocess.run(
        [*executable("wm_bringup", "world_model"), *model, *arguments], capture_output=True, text=True, timeout=START_S
    )

    assert ended.returncode == 2
    assert named in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


@pytest.fixture
def world_model(artifact: Path) -> Iterator[subprocess.Popen]:
    """The four nodes in one process."""
    process = subprocess.Popen([*executable("wm_bringup", "world_model"), "--model-path", str(artifact)])
    yield process
    if process.poll() is None:
        process.kill()
        process.wait()


class Camera:
    """Publishes good and bad frames, and reads the encoder's counters."""

    def __init__(self, node: Node) -> None:
        self._publisher = node.create_publisher(Image, "/camera/image_raw", qos.STREAM)
        self.dropped: dict[str, int] = {}
        self.stamp_ns = 1_000_000_000_000
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    @property
    def is_heard(self) -> bool:
        return self._publisher.get_subscription_count() >= 2

    def send(self, **changes: object) -> None:
        """Publishes a grey frame 50 ms after the last, with some fields changed."""
        self.stamp_ns += 50_000_000
        msg = Image(width=64, height=48, step=192, encoding="rgb8", data=bytes([128]) * 192 * 48)
        msg.header.stamp, msg.header.frame_id = stamp_msg(self.stamp_ns), "camera"
        for name, value in changes.items():
            setattr(msg, name, value)
        self._publisher.publish(msg)

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name == "latent_publisher":
                self.dropped = {v.key[8:]: int(v.value) for v in status.values if v.key.startswith("dropped/")}


BAD_FRAMES: dict[str, dict[str, object]] = {
    "image-encoding": {"encoding": "infrared9"},
    "image-truncated": {"data": b"\1\2\3"},
    "image-empty": {"width": 0, "height": 0, "data": b""},
}


def test_bad_frames_are_named_and_the_graph_goes_on(world_model: subprocess.Popen):
    with listening({"/latent/state": LatentState}) as (node, heard):
        camera = Camera(node)

        def until_latents(count: int) -> None:
            def enough() -> bool:
                camera.send()
                return heard["/latent/state"] >= count

            wait_until(enough, START_S)

        wait_until(lambda: camera.is_heard, START_S)
        until_latents(1)
        for reason, changes in BAD_FRAMES.items():

            def is_named(reason: str = reason, changes: dict[str, object] = changes) -> bool:
                camera.send(**changes)
                return reason in camera.dropped

            wait_until(is_named)
        until_latents(heard["/latent/state"] + 5)
        camera.stamp_ns -= 500_000_000_000  # a recording that starts again
        until_latents(heard["/latent/state"] + 5)
    assert world_model.poll() is None
    world_model.send_signal(signal.SIGINT)
    assert world_model.wait(timeout=20) == 0


def test_a_signal_during_start_is_a_clean_end(artifact: Path):
    process = subprocess.Popen(
        [*executable("wm_bringup", "world_model"), "--model-path", str(artifact)], stdout=subprocess.PIPE
    )
    wait_until(lambda: os.path.exists(f"/proc/{process.pid}/maps") and _is_importing(process.pid))
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=20) == 0
    process.communicate()


def _is_importing(pid: int) -> bool:
    return "_rclpy_pybind11" in Path(f"/proc/{pid}/maps").read_text()


def test_rclpy_is_not_left_initialised():
    assert not rclpy.ok()
