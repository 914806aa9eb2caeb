"""An encoder is what its manifest says, or it is refused by name before the first frame."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from latent_publisher.encoder import Encoder
from wm_sim import simulate
from world_model.errors import ArtifactError
from world_model.runtime.artifacts import SHIPPED_PATH, load_artifact


@pytest.mark.parametrize("entries", [{"image_size": 32}, {"latent_mean": [1e30] * 32}])
def test_a_network_that_does_not_fit_is_refused_when_it_is_loaded(tmp_path: Path, entries: dict[str, object]) -> None:
    path = Path(shutil.copytree(SHIPPED_PATH / "tiny", tmp_path / "tiny"))
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["digest"]
    (path / "manifest.json").write_text(json.dumps({**manifest, **entries}))
    artifact = load_artifact(path)
    with pytest.raises(ArtifactError, match="the networks of artifact 'tiny' do not fit its manifest"):
        Encoder(artifact)


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return Encoder(load_artifact("artifact://tiny"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [4, 12])
def test_what_the_robot_sees_is_like_what_the_encoder_was_made_for(tiny: Encoder, seed: int) -> None:
    pictures = [step.image_HWC for step in islice(simulate(seed, 30.0), 0, None, 10)]
    assert {tiny.unlike(picture, tiny.encode(picture)) for picture in pictures} == {""}


_SQUARES_HW = np.indices((64, 64)).sum(axis=0) // 8 % 2 * 255


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8), "contrast"),
        (np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8), "contrast"),
        (np.repeat(_SQUARES_HW[..., None], 3, axis=2).astype(np.uint8), "contrast"),
        (np.full((64, 64, 3), (20, 60, 200), np.uint8), "one colour"),
        (np.zeros((480, 640, 3), np.uint8), "one colour"),
    ],
    ids=["noise", "fine noise", "squares", "blue", "black"],
)
def test_a_picture_of_which_a_latent_tells_nothing_is_told_apart(tiny: Encoder, picture: np.ndarray, why: str) -> None:
    assert why in tiny.unlike(picture, tiny.encode(picture))


def test_a_decoder_that_does_not_run_here_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise ArtifactError("nothing here runs it")

    encoder, black = Encoder(load_artifact("artifact://tiny")), np.zeros((64, 64, 3), np.uint8)
    assert encoder.unlike(black, encoder.encode(black))
    encoder = Encoder(load_artifact("artifact://tiny"))
    monkeypatch.setattr("latent_publisher.encoder.ServedDecoder", refuse)
    assert encoder.unlike(black, encoder.encode(black)) == ""
