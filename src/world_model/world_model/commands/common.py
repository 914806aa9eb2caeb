"""What the commands share: how a run is shown, how a configuration is found, and what wrong input ends with."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from wm_core.errors import CoreError
from world_model.data.bag_options import check_pose_delay
from world_model.errors import ConfigError
from world_model.training.report import Report

CONFIGS = Path(__file__).parents[1] / "configs"
WRONG_INPUT = 2


def guarded(prog: str, work: Callable[[], int | None]) -> int:
    """Do some work and return its exit code (None: 0), or 2 with one line when what was asked for is wrong or absent.

    Raises:
        OSError: One that is of no file: no fault of what was asked for.
    """
    try:
        return work() or 0
    except CoreError as error:
        why = str(error)
    except OSError as error:
        if error.filename is None:
            raise
        why = f"{error.filename}: {error.strerror}"
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"{prog}: {why}", markup=False)
    return WRONG_INPUT


def check_output(*paths: Path | None) -> None:
    """Refuse a file that cannot be written before the work whose result it is to hold; its folder is made.

    Raises:
        OSError: Says which and why.
    """
    for path in paths:
        if path is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        is_there = path.exists()
        with path.open("ab"):
            pass
        if not is_there:
            path.unlink()


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made, or in which nothing can be, before the work whose result it is to hold.

    Raises:
        OSError: Says which and why.
    """
    path = path.absolute()
    there = next(each for each in (path, *path.parents) if each.exists())
    try:
        with TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def check_data_options(options: argparse.Namespace) -> None:
    """Refuse options that would do nothing: of simulated episodes for what was recorded, and the other way round.

    Args:
        options: With ``data``, ``still``, ``seconds`` (``None`` where not given), the topics and ``camera_offset_s``.

    Raises:
        ConfigError: Names the first.
    """
    of_recordings = {f"--{topic}-topic": getattr(options, f"{topic}_topic") for topic in ("image", "pose", "action")}
    of_recordings["--camera-offset-s"] = None if options.camera_offset_s == 0.0 else "given"
    of_simulated = {"--still": options.still or None, "--seconds": options.seconds}
    is_simulated = options.data.startswith("sim:")
    is_recorded = not is_simulated and not (Path(options.data) / "manifest.json").is_file()
    for given, fits, whose in (
        (of_simulated, is_simulated, "simulated episodes (sim:SEEDS)"),
        (of_recordings, is_recorded, "recordings"),
    ):
        for name, value in given.items():
            if value is not None and not fits:
                raise ConfigError(f"{name} is of {whose}, and {options.data} is none")


def described(doc: str | None) -> str:
    """Return what a module's docstring says of its command, without the command's name and markup."""
    text = (doc or "").split("``: ", 1)[-1].replace("``", "").strip()
    return text[:1].upper() + text[1:]


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add ``--set KEY=VALUE``, which may come several times; read it with ``typed_config.parse_overrides``."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any entry, VALUE as YAML: optimiser.steps=100"
    )


def add_workers(parser: argparse.ArgumentParser, default: int, text: str = "processes (default: %(default)s)") -> None:
    """Add ``--workers``, at least 1."""
    parser.add_argument("--workers", type=_count, default=default, help=text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of processes, expected 1 or more")
    return int(text)


def add_pose_delay(parser: argparse.ArgumentParser) -> None:
    """Add ``--pose-delay-ms``, which says when poses arrived; read it with ``pose_delay_s``."""
    parser.add_argument(
        "--pose-delay-ms",
        type=float,
        metavar="MS",
        help="each pose arrives so long after its stamp (default: when it was recorded, or as late as simulated)",
    )


def add_camera_offset(parser: argparse.ArgumentParser) -> None:
    """Add ``--camera-offset-s``, for a camera on a clock of its own; it becomes a number, or ``None`` for arrival."""
    parser.add_argument(
        "--camera-offset-s",
        type=_offset_s,
        default=0.0,
        metavar="S|arrival",
        help="what is to be added to the camera's stamps to get the clock of poses and actions (default 0: one clock); "
        "arrival: what the times at which both were recorded tell",
    )


def _offset_s(text: str) -> float | None:
    try:
        return None if text == "arrival" else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number of seconds nor 'arrival'") from error


def pose_delay_s(options: argparse.Namespace) -> float | None:
    """Return how late poses are to arrive [s]; ``None``: as they did.

    Raises:
        DataError: It is negative or not finite.
    """
    delay_s = None if options.pose_delay_ms is None else options.pose_delay_ms * 1e-3
    check_pose_delay(delay_s)
    return delay_s


def config_path(name: str) -> Path:
    """Return where a configuration lies: a file, or the name of one that ships.

    Raises:
        ConfigError: It is neither.
    """
    path = Path(name) if Path(name).suffix else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"configuration '{name}' is neither a file nor one that ships ({shipped})")
    return path


@contextmanager
def reporting() -> Iterator[Report]:
    """Give a report that shows a bar per stage on the standard error and prints lines above them."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar, tasks = Progress(*columns, console=Console(stderr=True, highlight=False)), dict[str, TaskID]()

    def advance(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            bar.start()
            tasks[stage] = bar.add_task(stage, total=total)
        bar.update(tasks[stage], completed=done, total=total)

    try:
        yield Report(lambda text: bar.console.print(text, markup=False), advance)
    finally:
        if tasks:  # without any it would print an empty line
            bar.stop()
