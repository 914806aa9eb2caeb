"""``scripts/demo``: the whole graph on a simulated robot or a recording, watched, measured and judged."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic, monotonic_ns, sleep
from typing import Any

from rclpy.utilities import get_rmw_implementation_identifier

from bag_player.node import add_playback_options, choose_topics, parse_remaps, positive
from wm_bringup.configuration import NODES, config_directory, ros_arguments
from wm_core.bags import Bag, BagError, find_bags
from wm_demo.film import Film
from wm_demo.film_ear import FilmEar
from wm_demo.graph import Graph, executable
from wm_demo.measurements import Measurements
from wm_demo.monitor import Monitor, MonitorThread
from wm_demo.pictures import draw
from wm_demo.report import write_report
from wm_demo.source import Source
from wm_demo.strip import strip_of
from wm_demo.summary import Run, conclusion, frame_account, summarise
from wm_demo.table import Screen, state_line
from wm_ros import ConfigurationError, own_domain_id
from wm_ros.programs import ros_for_a_while
from wm_view.recorder.opening import RecordingError, check_recording

_START_S = 120.0
_LISTENERS_S = 60.0
_ACCOUNT_S = 5.0
_FRAME_S = 0.5
_STILLS = 10
SUFFIX = ("rrd", "mcap")
_DEFAULT_S = 60.0
# Its ring is short: from 32 s on the robot is where it has been.
_DEFAULT_SEED = 9506


def _parse(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Run the whole graph, watch it, judge it.")
    parser.add_argument(
        "--bag",
        type=Path,
        nargs="+",
        help="recordings (or folders of them) to play; without, a simulated robot drives",
    )
    add_playback_options(parser)
    parser.add_argument(
        "--camera-offset-s",
        default="0",
        metavar="S|arrival",
        help="of a recording whose camera has a clock of its own: what is to be added to its stamps to get that of "
        "poses and actions; arrival: what the times at which both arrive tell",
    )
    parser.add_argument("--seconds", type=positive, help="how long to run (simulated robot: 60)")
    parser.add_argument(
        "--seed", type=int, default=_DEFAULT_SEED, help=f"of the simulated robot and building (default {_DEFAULT_SEED})"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--composed", action="store_true", default=True, help="all nodes in one process (default)")
    form.add_argument("--separate", dest="composed", action="store_false", help="each node a process of its own")
    parser.add_argument("--executor", choices=("single", "multi"), default="single", help="threads, with --composed")
    parser.add_argument("--model-path", default="", help="artifact folder, artifact://NAME or an encoder.pt")
    parser.add_argument("--device", default="", help="where the models run, as torch names it")
    parser.add_argument(
        "--params-file", type=Path, action="append", default=[], help="ROS parameter file for the nodes"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="directory of the results (default out/demo)"
    )
    parser.add_argument(
        "--view",
        choices=SUFFIX,
        nargs="?",
        const="rrd",
        help="record for rerun (rrd) or Foxglove (mcap), too",
    )
    parser.add_argument("--no-table", action="store_true", help="plain lines instead of the live table")
    return parser.parse_args(args)


def _executor(options: argparse.Namespace) -> str:
    if not options.composed:
        return "SingleThreadedExecutor per node"
    return "SingleThreadedExecutor" if options.executor == "single" else "MultiThreadedExecutor"


def _isolate() -> None:
    """Keeps the demo's graph to itself: this machine, a domain of its own unless one is set, large images in memory."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(own_domain_id()))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(config_directory() / "fastdds_profiles.xml"))


def _check_bag(options: argparse.Namespace) -> None:
    """Says what would feed the graph; raises ``BagError`` where nothing sensible would."""
    for path in find_bags(options.bag):
        bag = Bag(path)
        for choice in choose_topics(bag, parse_remaps(options.topics))[1]:
            print(f"demo: {bag.path}: {choice}")  # noqa: T201
        for damage in bag.damages:
            print(f"demo: {damage}", file=sys.stderr)  # noqa: T201


def graph_commands(options: argparse.Namespace, scratch: Path) -> dict[str, list[str]]:
    """Returns the command line of each process of the graph.

    Raises:
        ConfigurationError: A parameter file is missing, or an environment variable is wrong.
    """
    common = {"model_path": options.model_path, "device": options.device}
    # The simulator's own model where it drives; a recording is of any robot.
    usual: dict[str, Any] = {} if options.bag else {"model_path": "artifact://tiny"}
    if options.view and not options.params_file:
        # What is foreseen is best seen in what is remembered; not every memory that a file may ask for keeps pictures.
        usual["store_thumbnails"] = True
    fresh = ["--ros-args", "-p", f"spatial_memory:db_path:={scratch}/memory.sqlite3"]
    fresh += ["-p", f"latent_publisher:{_clock_param(options.camera_offset_s)}"]
    commands = {}
    for name, nodes in {"world_model": tuple(NODES)}.items() if options.composed else {n: (n,) for n in NODES}.items():
        own = scratch / name
        own.mkdir()
        arguments = ros_arguments(
            own,
            nodes=nodes,
            files=options.params_file,
            options=common,
            defaults=usual,
            use_sim_time=options.bag is not None,
        )
        start = executable("wm_bringup", name) if options.composed else executable(name, f"{name}_node")
        threads = ["--executor", options.executor] if options.composed else []
        commands[name] = [*start, *threads, *arguments, *fresh]
    return commands


def _clock_param(offset: str) -> str:
    """Returns the encoder node's parameter that says by how much the camera's clock is off.

    Raises:
        ConfigurationError: It is neither a number nor ``arrival``.
    """
    if offset == "arrival":
        return "camera_offset_by_arrival:=true"
    try:
        return f"camera_offset_s:={float(offset)!r}"
    except ValueError as error:
        raise ConfigurationError(f"--camera-offset-s {offset}: expected seconds, or arrival") from error


def view_commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Returns the command line of what records for a viewer; none where that is not wanted."""
    if options.view is None:
        return {}
    path = ["-p", f"path:={_view_path(options)}"]
    clock = ["-p", "use_sim_time:=true"] if options.bag else []
    return {"view_recorder": [*executable("wm_view", "view_recorder_node"), "--ros-args", *path, *clock]}


def view_files(options: argparse.Namespace) -> list[Path]:
    """Returns the files that are for viewers."""
    if options.view is None:
        return []
    path = _view_path(options)
    return [each for each in (path, path.with_suffix(".layout.json")) if each.is_file()]


def _view_path(options: argparse.Namespace) -> Path:
    path: Path = options.out / f"view.{options.view}"
    return path


def source_command(options: argparse.Namespace) -> list[str]:
    """Returns the command line of what sends frames."""
    # The slow branch, the encoder and the film all read the camera, and so does who records.
    listeners = 3 + (options.view is not None)
    waiting = ["--subscribers", str(listeners), "--wait", str(_LISTENERS_S)]
    endless = options.bag is None or not options.loop
    seconds = options.seconds or (_DEFAULT_S if endless else None)
    if options.bag is None:
        seed = ["--seed", str(options.seed)]
        return [*executable("wm_demo", "simulated_source"), "--seconds", str(seconds), *seed, *waiting]
    command = [*executable("bag_player", "bag_player_node"), *map(str, options.bag), *waiting]
    command += ["--rate", str(options.rate), "--loop", str(options.loop)]
    command += ["--seconds", str(seconds)] if seconds else []
    return [*command, "--topics", *options.topics] if options.topics else command


class Demo:
    """One run: graph, source and monitor, from start to summary.

    Args:
        options: Of the command line.
        scratch: Directory for what need not stay.
    """

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self._options = options
        self._scratch = scratch
        self._stopped = Event()
        self._found, self._film = Measurements(), Film()
        self._run = Run(
            source=", ".join(map(str, options.bag)) if options.bag else "simulated robot",
            form="composed" if options.composed else "separate",
            executor=_executor(options),
            distribution=os.environ.get("ROS_DISTRO", "unknown"),
            rmw=get_rmw_implementation_identifier(),
        )

    def run(self) -> dict[str, Any]:
        """Runs to the end and returns the summary; whatever goes wrong is in its ``failures``."""
        graph = Graph(graph_commands(self._options, self._scratch), self._options.out)
        viewer = Graph(view_commands(self._options), self._options.out)
        monitor = MonitorThread(Monitor(self._found), FilmEar(self._film, self._found.lock))
        try:
            trouble = monitor.wait_for_graph(_START_S, lambda: self._why_not(graph) or viewer.trouble())
            if trouble:
                self._run.troubles.append(trouble)
            else:
                self._watch(graph)
        finally:
            self._run.exits = graph.stop() | viewer.stop()
            monitor.stop()
        with self._found.lock:
            return summarise(self._found, self._run)

    def _why_not(self, graph: Graph) -> str | None:
        return "stopped before it began" if self._stopped.is_set() else graph.trouble()

    def stop(self) -> None:
        """Ends the run early; what was measured until then is judged."""
        self._stopped.set()

    def _watch(self, graph: Graph) -> None:
        source = Source(source_command(self._options), self._found, self._options.out / "source.log")
        begin, code = None, 0
        try:
            with Screen(self._run.source, self._options.no_table) as screen:
                while source.running() and not self._run.troubles:
                    if begin is None and source.frames_sent:
                        begin = monotonic()
                        graph.start_measuring()
                    self._show(screen, graph, source)
                    if trouble := graph.trouble():
                        self._run.troubles.append(trouble)
                    if self._stopped.wait(_FRAME_S):
                        break
                self._run.duration_s = monotonic() - begin if begin else 0.0
                self._run.cpu_percent, self._run.rss_mb = graph.cpu_percent(), graph.rss_mb()
                code = source.stop()
                self._await_account(source, graph)
                self._show(screen, graph, source)
        finally:
            source.stop()
        if code and not self._run.troubles:
            self._run.troubles.append(f"the source ended with exit code {code}: {source.last_line()}")
        self._run.frames_sent, self._run.sent = source.frames_sent, source.sent
        self._run.sent_hz, self._run.loops = source.sent_hz, source.loops

    def _await_account(self, source: Source, graph: Graph) -> None:
        """Waits for the encoder's report on the last frame."""
        ended_ns, deadline = monotonic_ns() + int(0.2e9), monotonic() + _ACCOUNT_S
        while monotonic() < deadline and not graph.trouble():
            with self._found.lock:
                account = frame_account(self._found, source.frames_sent)
                reported_ns = min(self._found.diagnostics_ns.get(node, 0) for node in NODES)
            if reported_ns > ended_ns and not account["frames_unaccounted"]:
                return
            sleep(0.05)

    def _show(self, screen: Screen, graph: Graph, source: Source) -> None:
        with self._found.lock:
            account = frame_account(self._found, source.frames_sent)
            line = state_line(self._found, account, graph.cpu_percent(), graph.rss_mb())
            screen.show(self._found, source.progress or 0.0, line)

    def report(self, summary: dict[str, Any]) -> list[Path]:
        """Writes the report, its pictures and what else there is to see, and returns their paths."""
        out, pictures = self._options.out, self._pictures()
        begin_ns = self._film.moments[0].stamp_ns if self._film.moments else 0
        model_path = self._options.model_path or ("artifact://generic" if self._options.bag else "artifact://tiny")
        strip = strip_of(self._film.chosen(_STILLS), model_path, begin_ns)
        return [write_report(out / "report.html", summary, pictures, strip), *pictures, *view_files(self._options)]

    def _pictures(self) -> list[Path]:
        receipts = {
            topic: self._found.rates[topic].times_ns for topic in ("/latent", "/latent_next", "/visual_history")
        }
        return draw(self._found, receipts, self._options.out)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the demo; returns 0 when the graph did its job, 1 with the reasons when not, 2 for wrong options."""
    options = _parse(args)
    _isolate()
    try:
        if options.view is not None:
            check_recording(_view_path(options))
        if options.bag is not None:
            _check_bag(options)
        with TemporaryDirectory(prefix="wm_demo_") as scratch:
            options.out.mkdir(parents=True, exist_ok=True)
            return _run(options, Path(scratch))
    except (BagError, ConfigurationError, RecordingError) as error:
        print(f"demo: {error}", file=sys.stderr)  # noqa: T201
        return 2


def _run(options: argparse.Namespace, scratch: Path) -> int:
    with ros_for_a_while([]):
        demo = Demo(options, scratch)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: demo.stop())
        summary = demo.run()
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    written = [options.out / "summary.json", *demo.report(summary)]
    job = "the graph did NOT do its job" if summary["failures"] else "the graph did its job"
    for line in (f"wrote {', '.join(map(str, written))}", job, *conclusion(summary)):
        print(f"demo: {line}")  # noqa: T201
    for reason in summary["failures"]:
        print(f"demo: FAILED: {reason}", file=sys.stderr)  # noqa: T201
    return 1 if summary["failures"] else 0
