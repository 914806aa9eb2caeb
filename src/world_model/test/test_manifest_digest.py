"""A manifest names the digest of its own text: no damage of it is read, and former ones still load."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import asdict

import pytest

from world_model.errors import ArtifactError
from world_model.runtime import manifest as module
from world_model.runtime.artifact_folder import read_manifest
from world_model.runtime.artifacts import SHIPPED_PATH, Manifest

TEXT = (SHIPPED_PATH / "tiny" / "manifest.json").read_text()


def damaged(rng: random.Random) -> str:
    """The shipped manifest with a character changed, a few left out, said twice, or two places exchanged."""
    at, long = rng.randrange(len(TEXT) - 20), rng.randint(1, 12)
    piece = TEXT[at : at + long]
    return rng.choice(
        [
            TEXT[:at] + chr(rng.choice([9, 10, 13, 32, *range(33, 127)])) + TEXT[at + 1 :],
            TEXT[:at] + TEXT[at + long :],
            TEXT[:at] + piece + TEXT[at:],
            TEXT[:at] + piece[::-1] + TEXT[at + long :],
        ]
    )


def test_what_ships_names_its_digest():
    assert json.loads(TEXT)["digest"]
    assert Manifest.from_json(TEXT).to_json() == TEXT


def test_no_damage_is_read():
    rng, count = random.Random(991), 0
    while count < 400:
        text = damaged(rng)
        if text == TEXT:
            continue
        count += 1
        with pytest.raises(ArtifactError):
            Manifest.from_json(text)


@pytest.mark.parametrize("digest", [None, "", 7, ["0" * 64], "0" * 64])
def test_a_digest_that_is_none_is_refused(digest):
    entries = json.loads(TEXT) | {"digest": digest}
    text = json.dumps(entries, indent=1)
    if digest is None:
        text = text.replace("null", "false", 1)
    with pytest.raises(ArtifactError, match="does not match its digest"):
        Manifest.from_json(text)


def test_a_damaged_one_is_refused_by_the_name_of_its_file(tmp_path):
    (tmp_path / "manifest.json").write_text(TEXT.replace('"top_k": 8', '"top_k": 9'))
    with pytest.raises(ArtifactError, match=r"manifest\.json: manifest is damaged, or was changed by hand"):
        read_manifest(tmp_path)


def test_line_endings_of_another_system_are_no_damage(tmp_path):
    (tmp_path / "manifest.json").write_bytes(TEXT.replace("\n", "\r\n").encode())
    assert read_manifest(tmp_path) == Manifest.from_json(TEXT)


def test_a_former_one_loads_and_that_it_has_no_digest_is_said_once(caplog, monkeypatch):
    monkeypatch.setattr(module, "_WITHOUT_DIGEST", set())
    expected = Manifest.from_json(TEXT)
    former = json.dumps(asdict(expected), indent=1) + "\n"
    with caplog.at_level(logging.WARNING):
        assert [Manifest.from_json(former) for _ in range(3)] == [expected] * 3
    assert [record.getMessage() for record in caplog.records if "no digest of its own" in record.getMessage()] == [
        "the manifest of artifact 'tiny' has no digest of its own, so that damage of it may go unnoticed; "
        "'wm export ARTIFACT FOLDER --renew' writes one"
    ]
