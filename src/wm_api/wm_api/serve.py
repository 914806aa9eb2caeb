"""The command that serves an artifact, a memory file and a recording, without ROS."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from wm_api.app import create_app
from wm_api.errors import SettingsError
from wm_api.listening import add_listening, listening
from wm_api.models import Models
from wm_api.server import Server
from wm_api.settings import DEFAULT_PORT, TOKEN_VARIABLE, ApiSettings
from wm_api.sources import Recorded, open_world
from wm_core.errors import CoreError
from wm_core.memory.errors import SpatialMemoryError
from world_model.commands.common import add_camera_offset

EXIT_CONFIGURATION = 2
TOPICS = ("image", "pose", "action")


def parser() -> argparse.ArgumentParser:
    """Return the command's options."""
    options = argparse.ArgumentParser(
        prog="scripts/serve",
        description=f"Serve a world model over HTTP. A token, where one is needed, is in {TOKEN_VARIABLE} or a file.",
    )
    add = options.add_argument
    add(
        "--artifact", default="", help="folder or artifact://NAME; default: WM_CHECKPOINT_PATH, else artifact://generic"
    )
    add(
        "--memory",
        type=Path,
        help="memory file to answer from; nothing is written to it without --allow-writes",
    )
    add("--bag", type=Path, help="recording that plays as if it were live; without --memory it fills one in RAM")
    for topic in TOPICS:
        add(f"--{topic}-topic", help="of the recording; by default chosen by what it holds")
    add_camera_offset(options)
    add("--simulate", type=int, metavar="SEED", help="a simulated robot drives in the recording's place")
    add("--once", action="store_true", help="play the recording once instead of over and over")
    add("--speed", type=float, default=1.0, help="of playing; 1 is as recorded")
    add("--allow-writes", action="store_true", help="let who knows the token change the memory")
    add("--snapshots", type=Path, help="folder of snapshots; default: snapshots, beside the memory file")
    add_listening(options, DEFAULT_PORT, "the service")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM and return the exit code: 0, or 2 where it cannot be configured."""
    given = parser().parse_args(arguments)
    try:
        settings = ApiSettings(allow_writes=given.allow_writes, **listening(given))
        torch.set_num_threads(1)
        recorded = _recorded(given)
        world, source = open_world(given.artifact, given.memory, recorded, given.snapshots)
    except (CoreError, SpatialMemoryError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return EXIT_CONFIGURATION
    server = Server(create_app(world, settings), settings, lambda port: _say(settings, port, world.models))
    if source is not None:
        source.start()
    try:
        server.run()
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        if source is not None:
            source.stop()
    return 0 if server.started else 1


def _recorded(given: argparse.Namespace) -> Recorded | None:
    """Returns what is to play.

    Raises:
        SettingsError: A recording and the simulator, or topics of none.
    """
    if given.bag is not None and given.simulate is not None:
        raise SettingsError("--bag and --simulate: only one can play")
    asked = {name: value for topic in TOPICS if (value := getattr(given, name := f"{topic}_topic")) is not None}
    if given.camera_offset_s != 0.0 and given.bag is None:
        raise SettingsError("--camera-offset-s is of a recording's camera, expected --bag, too")
    if asked and given.bag is None:
        raise SettingsError(
            f"--{next(iter(asked)).replace('_', '-')} names a topic of a recording, expected --bag, too"
        )
    if given.bag is None and given.simulate is None:
        return None
    if given.bag is not None and not given.bag.exists():
        raise SettingsError(f"no recording at '{given.bag}'")
    how = {"is_repeated": not given.once, "seed": given.simulate or 0, "camera_offset_s": given.camera_offset_s}
    return Recorded(given.bag, given.speed, topics=asked, **how)


def _say(settings: ApiSettings, port: int, models: Models) -> None:
    scheme = "https" if settings.tls_certificate else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"serving {models.manifest.name} ({models.manifest.encoder_id}) at {scheme}://{host}:{port}", flush=True)  # noqa: T201


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("wm_api").setLevel(logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    raise SystemExit(main())
