"""A larger model from its training command to the running graph; its widths are shrunk so that it takes seconds."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from std_msgs.msg import Float32MultiArray

from bag_player.sent_log import SentLog
from wm_demo.graph import executable
from wm_testing.episodes import circling_set
from wm_testing.system import listening, make_bag, play, wait_until
from world_model.commands.train import main as train
from world_model.runtime.artifacts import load_artifact

pytestmark = pytest.mark.slow

Z_DIM, SIZE = 24, 64
SHRUNK = {
    "model.latent_dim": Z_DIM,
    "model.encoder_widths": "[8, 16, 16, 32]",
    "model.decoder_width": 32,
    "model.hidden_dim": 32,
    "model.layer_count": 2,
    "model.width": 32,
    "model.memory_width": 16,
    "pictures.batch": 1,
    "pictures.accelerator": "cpu",
    "optimiser.accelerator": "cpu",
    "optimiser.batch": 2,
}


def test_a_shrunken_base_goes_from_the_training_command_into_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = circling_set(tmp_path / "set", ("a",), seconds=8.0, size=SIZE)
    settings = [argument for key, value in SHRUNK.items() for argument in ("--set", f"{key}={value}")]
    own = ["--config", "base", "--steps", "1", "--workers", "1", "--slow-branch", "artifact://tiny", *settings]
    assert train([str(data), str(tmp_path / "run"), *own]) == 0
    manifest = load_artifact(tmp_path / "run" / "artifact").manifest
    assert (manifest.name, manifest.z_dim, manifest.image_size) == ("base", Z_DIM, SIZE)

    monkeypatch.setenv("Z_DIM", str(Z_DIM))
    monkeypatch.setenv("IMAGE_SIZE", str(SIZE))
    bag = make_bag(tmp_path / "bag", 40)
    with listening({}) as (node, _):
        sizes: dict[str, set[tuple[int, int]]] = {"/latent": set(), "/latent_next": set()}

        def on_latent(topic: str, msg: Float32MultiArray) -> None:
            sizes[topic].add((msg.layout.dim[0].size, len(msg.data)))

        for topic in sizes:
            node.create_subscription(Float32MultiArray, topic, partial(on_latent, topic), 10)
        command = [*executable("wm_bringup", "world_model"), "--model-path", str(tmp_path / "run" / "artifact")]
        process = subprocess.Popen(command)
        try:
            play(bag, SentLog(None), camera_count=2)
            wait_until(lambda: all(sizes.values()))
            assert process.poll() is None
        finally:
            process.terminate()
            code = process.wait(timeout=20)
    assert code == 0
    assert sizes == {"/latent": {(Z_DIM, Z_DIM)}, "/latent_next": {(Z_DIM, Z_DIM)}}
