"""The two sides of a comparison: where each lies, how it is built, and how something is run in its environment."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.figures import machine
from benchmarks.processes import ROOT, module_command

LONGEST_S = 3600.0
# Set by one side's scripts/env and kept by the other's: each side starts without them.
_OF_AN_ENVIRONMENT = (
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)


class SideError(RuntimeError):
    """A side could not be fetched, built or run; says which and why."""


class Runner(Protocol):
    """A side, or what stands for one in a test."""

    def run(self, module: str, *arguments: object, **environment: str) -> dict[str, Any]:
        """Run a module on this side and return the JSON it prints."""


@dataclass(frozen=True)
class Side:
    """One revision with its environment.

    Attributes:
        name: For messages.
        root: Its checkout.
        environment: What its processes see.
    """

    name: str
    root: Path
    environment: Mapping[str, str]

    def run(self, module: str, *arguments: object, **environment: str) -> dict[str, Any]:
        """Run one of our modules by this side's interpreter, in its environment, and return the JSON it prints last.

        Args:
            module: Full name, such as ``benchmarks.against.memory_side``; it needs only what both sides have.
            arguments: For the module.
            environment: Variables to set besides.

        Raises:
            SideError: It failed, took too long, or printed no JSON.
        """
        command = module_command(module, *arguments, python=self.root / ".venv" / "bin" / "python")
        given = {**self.environment, **environment}
        try:
            done = subprocess.run(
                command, env=given, cwd=self.root, capture_output=True, text=True, check=False, timeout=LONGEST_S
            )
        except subprocess.TimeoutExpired as error:
            raise SideError(f"{self.name}: {module} has not ended after {LONGEST_S:.0f} s") from error
        except OSError as error:
            raise SideError(f"{self.name}: {error}") from error
        if done.returncode != 0:
            raise SideError(f"{self.name}: {module} ended with exit code {done.returncode}\n{_tail(done.stderr)}")
        return _parsed(f"{self.name}: {module}", done.stdout)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])


def _parsed(what: str, output: str) -> dict[str, Any]:
    try:
        found = json.loads(output.splitlines()[-1])
    except (IndexError, json.JSONDecodeError) as error:
        raise SideError(f"{what} printed no JSON last: {_tail(output)!r}") from error
    if not isinstance(found, dict):
        raise SideError(f"{what} printed {found!r}, expected an object")
    return found


def default_cache() -> Path:
    """Return where other revisions are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "world_model" / "against"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every comparison has."""
    parser.add_argument("--against", metavar="REV", help="compare with this revision instead: ours over theirs")
    parser.add_argument("--pairs", type=int, default=5, help="runs of both, taking turns, with --against")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where REV is kept and built")


def opened(options: argparse.Namespace) -> dict[str, Side]:
    """Return the sides that the command line asks for: ours, and another revision's with ``--against``.

    Raises:
        SideError: One cannot be had.
    """
    return both(options.against, options.cache) if options.against else ours()


def write(options: argparse.Namespace, found: Mapping[str, Any]) -> None:
    """Write figures where ``--json`` says, with the revision and the machine."""
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        head = {"rev": short(options.against)} if options.against else {}
        options.json.write_text(json.dumps({**found, **head, "machine": machine()}, indent=1) + "\n")


def both(revision: str, cache: Path) -> dict[str, Side]:
    """Return both sides, built: ``ours``, as it lies here, and ``theirs``.

    Raises:
        SideError: The revision is unknown, or cannot be fetched or built.
    """
    root = checkout(revision, cache)
    return {"ours": _built("ours", ROOT), "theirs": _built(f"theirs ({root.name})", root)}


def ours() -> dict[str, Side]:
    """Return our side alone, built, as it lies here.

    Raises:
        SideError: It cannot be built.
    """
    return {"ours": _built("ours", ROOT)}


def require_own(path: str | Path) -> None:
    """Refuse to measure what does not lie in the folder of the side that this process runs for.

    Raises:
        SideError: The environment is another side's.
    """
    if not Path(path).resolve().is_relative_to(Path.cwd().resolve()):
        raise SideError(f"{path} is not of {Path.cwd()}: the environment is another side's")


def short(revision: str, repository: Path = ROOT) -> str:
    """Return a revision's short name.

    Raises:
        SideError: There is none of that name.
    """
    return _git(repository, "rev-parse", "--short", "--verify", f"{revision}^{{commit}}")


def checkout(revision: str, cache: Path, repository: Path = ROOT) -> Path:
    """Return a folder outside the repository that holds a revision as it was committed.

    Args:
        revision: As git takes it.
        cache: Where such folders are kept.
        repository: Whose revision.

    Raises:
        SideError: The revision is unknown, the cache lies in the repository, or what is there was changed.
    """
    cache = cache.expanduser().resolve()
    if cache.is_relative_to(repository):
        raise SideError(f"--cache {cache} lies in the repository {repository}, expected a folder outside of it")
    name = short(revision, repository)
    folder = cache / name
    if not (folder / ".git").exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Twice: a folder that somebody removed is still known by its name.
        _git(repository, "worktree", "add", "--force", "--force", "--detach", str(folder), name)
    held, wanted = _git(folder, "rev-parse", "HEAD"), _git(repository, "rev-parse", f"{name}^{{commit}}")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if held != wanted or changed:
        raise SideError(f"{folder} holds {held[:12]}{' with changes' if changed else ''}, expected {wanted[:12]}")
    return folder


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SideError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _built(name: str, root: Path) -> Side:
    """Make everything ready by the revision's own scripts; quick when nothing has changed."""
    clean = clean_environment(os.environ, ROOT)
    command = [str(root / "scripts" / "setup")]
    done = subprocess.run(command, cwd=root, env=clean, check=False, stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SideError(f"{name}: scripts/setup in {root} failed (see above)")
    return Side(name, root, environment_of(root, clean))


def clean_environment(environment: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return an environment as it was before a checkout's ``scripts/env`` was sourced.

    Args:
        environment: As it is.
        root: The checkout.
    """
    # .venv may be a link to somewhere else.
    ours = (root, (root / ".venv").resolve())
    kept = {name: value for name, value in environment.items() if name not in _OF_AN_ENVIRONMENT}
    path = kept.get("PATH", os.defpath).split(os.pathsep)
    kept["PATH"] = os.pathsep.join(entry for entry in path if not _lies_in(entry, ours))
    if _lies_in(kept.get("FASTDDS_DEFAULT_PROFILES_FILE", ""), ours):
        del kept["FASTDDS_DEFAULT_PROFILES_FILE"]
    return kept


def _lies_in(entry: str, folders: tuple[Path, ...]) -> bool:
    return any(Path(entry).is_relative_to(folder) for folder in folders) if entry else False


def environment_of(root: Path, clean: Mapping[str, str]) -> dict[str, str]:
    """Return what a shell sees that has sourced a checkout's ``scripts/env``.

    Raises:
        SideError: It cannot be sourced.
    """
    script = 'source "$1/scripts/env" >&2 && env -0'
    done = subprocess.run(["bash", "-c", script, "env", str(root)], env=dict(clean), capture_output=True, check=False)
    if done.returncode != 0:
        raise SideError(f"{root}/scripts/env: {_tail(done.stderr.decode(errors='replace'))}")
    entries = done.stdout.decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
