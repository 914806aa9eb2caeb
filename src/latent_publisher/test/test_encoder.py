"""An encoder is what its manifest says, or it is refused by name before the first frame."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from latent_publisher.encoder import Encoder
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
