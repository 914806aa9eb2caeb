"""``wm adapt``: what is better on the held-out part is kept, nothing else, and artifacts stay as they were."""

import hashlib
import json
import math
import shutil
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from wm_core.projection import FeatureSpace, Projection
from wm_testing.artifacts import make_random_artifact
from wm_testing.features import make_feature_artifact
from wm_testing.robots import Drive, drive, unicycle
from world_model.cli import main
from world_model.commands import adapt, adapting, live
from world_model.data.episodes import DatasetManifest, Episode, EpisodeSet, EpisodeWriter
from world_model.errors import ArtifactError, ProfileError
from world_model.evaluation import report
from world_model.evaluation.adaptation import Verdict, is_shipped, judge_projection, learned_projection
from world_model.evaluation.known_robot import known_robot
from world_model.runtime.adapted import VERSION, adapted_artifact, keep_adapted
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.calibration import STATE_VERSION, MotionCalibration
from world_model.runtime.handed_on import VERSION as EXPERTS_VERSION
from world_model.runtime.handed_on import keep_experts, known_experts
from world_model.runtime.motion_model import MotionModel
from world_model.runtime.profile import EXPERTS, MOTION, TRANSITION, Profile
from world_model.training.config import load_config

pytestmark = pytest.mark.training


def converted(path, seen: Drive, spare: int = 0):
    """A set of one episode whose pictures change slowly at random, with so many actions more that say nothing."""
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (len(seen.stamp_T) // 20 + 2, 64, 64, 3)).astype(np.float32)
    at_T = np.arange(len(seen.stamp_T)) / 20
    whole_T, part_T = at_T.astype(int), (at_T % 1.0)[:, None, None, None]
    images = ((1 - part_T) * few[whole_T] + part_T * few[whole_T + 1]).astype(np.uint8)
    writer = EpisodeWriter(path, DatasetManifest(image_size=64, step_s=0.05, action_dim=2 + spare))
    action_TA = np.column_stack([seen.action_TA, *[np.ones(len(at_T))] * spare]).astype(np.float32)
    writer.write(Episode("drive", "here", images, seen.stamp_T, seen.pose_T4, action_TA), "train")
    return path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("artifact")
    make_random_artifact(path)
    return path


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    seen = drive(unicycle(0.5, -2.0), 2, seed=1, seconds=60, delay_s=0.2, noise_m=0.01)
    return converted(tmp_path_factory.mktemp("sets") / "foreign", seen)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_motion_of_another_robot_is_kept_once(artifact, foreign, tmp_path, capsys):
    profile, before = tmp_path / "robot", digests(artifact)
    asked = ["adapt", str(foreign), "--artifact", str(artifact), "--profile", str(profile), "--motion-only"]
    assert main([*asked, "--json", str(tmp_path / "said.json")]) == 0
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["kept"] == {"motion": str(profile)}
    for verdict in said["verdicts"]["motion"]:
        assert verdict["better"]
        assert verdict["low"] <= verdict["ratio"] <= verdict["high"] < 0.8
        assert verdict["count"] > 100
    assert Profile(profile).read(MOTION, STATE_VERSION).entries["names"]["known"] == "fitted"
    assert digests(artifact) == before
    assert main(asked) == adapt.NOTHING_BETTER
    assert Profile(profile).read(MOTION, STATE_VERSION).revision == 1
    assert "nothing was better" in capsys.readouterr().out


def test_an_artifact_for_any_robot_learns_from_as_many_actions_as_it_has(artifact, tmp_path, capsys):
    make_feature_artifact(tmp_path / "open")
    seen = drive(unicycle(0.5, -2.0), 2, seed=1, seconds=60, delay_s=0.2, noise_m=0.01)
    of_four, profile = converted(tmp_path / "set", seen, spare=2), tmp_path / "robot"
    # The graph that ran meanwhile counted on two, as long as nobody told it otherwise.
    of_two = MotionCalibration(MotionModel(), 0.05, 2, 1.0, ())
    Profile(profile).write(MOTION, STATE_VERSION, of_two.state())
    asked = ["adapt", str(of_four), "--profile", str(profile), "--motion-only", "--artifact"]
    assert main([*asked, str(tmp_path / "open")]) == 0
    kept = Profile(profile).read(MOTION, STATE_VERSION).entries
    assert (kept["action_dim"], kept["names"]["known"]) == (4, "fitted")
    said = " ".join(capsys.readouterr().out.split())
    assert "motion was learned with {'action_dim': 2}" in said
    assert "ACTION_DIM=4" in said
    assert main([*asked, str(artifact)]) == 2
    assert "4 actions" in capsys.readouterr().err
    evaluated = ["evaluate", str(tmp_path / "open"), str(of_four), "--profile", str(profile), "--only-ours"]
    assert main([*evaluated, "--horizons", "1", "--start-s", "55"]) == 0


def test_evaluation_uses_what_was_adapted(artifact, foreign, tmp_path, capsys, monkeypatch):
    profile, common = tmp_path / "robot", [str(artifact), str(foreign), "--only-ours", "--horizons", "20"]
    robot = ["--profile", str(profile)]
    assert main(["evaluate", *common, *robot]) == 2
    assert "wm adapt" in capsys.readouterr().err
    assert main(["adapt", str(foreign), "--artifact", str(artifact), *robot, "--motion-only"]) == 0
    capsys.readouterr()
    used, plain = [], report.forecast_episode
    monkeypatch.setattr(report, "forecast_episode", lambda *a, **k: used.append(k["motion_state"]) or plain(*a, **k))
    assert main(["evaluate", *common, *robot, "--json", str(tmp_path / "said.json")]) == 0
    assert "motion: fitted where actions are known" in " ".join(capsys.readouterr().out.split())
    kept = Profile(profile).read(MOTION, STATE_VERSION).entries
    assert used == [kept, kept]  # with both kinds of future
    assert json.loads((tmp_path / "said.json").read_text())["about"]["options"]["profile"] == str(profile)


def test_evaluation_takes_the_artifact_that_the_profile_names(artifact, tmp_path):
    source, profile = load_artifact(artifact), Profile(tmp_path / "robot")
    assert known_robot(source, None).artifact is source
    shutil.copytree(artifact, tmp_path / "mine")
    keep_adapted(profile, tmp_path / "mine", source)
    found = known_robot(source, profile.folder)
    assert found.artifact.path == tmp_path / "mine"
    assert (found.motion_state, found.projection) == (None, None)
    assert found.says() == [f"network of {tmp_path / 'mine'}"]
    profile.write(TRANSITION, VERSION, {"artifact": str(tmp_path / "mine"), "encoder_id": "another"})
    assert known_robot(source, profile.folder).says() == []


def test_nothing_is_written_for_the_robot_that_the_artifact_knows(artifact, tmp_path):
    seen = drive(unicycle(), 2, seed=2, seconds=40, delay_s=0.0, lag_s=0.0)
    data = converted(tmp_path / "set", seen)
    asked = ["adapt", str(data), "--artifact", str(artifact), "--profile", str(tmp_path / "robot"), "--motion-only"]
    assert main(asked) == adapt.NOTHING_BETTER
    assert Profile(tmp_path / "robot").names() == []


def test_what_cannot_be_judged_is_refused(artifact, tmp_path, capsys):
    short = converted(tmp_path / "set", drive(unicycle(), 2, seed=2, seconds=10))
    asked = ["adapt", str(short), "--artifact", str(artifact), "--profile", str(tmp_path / "robot")]
    assert main(asked) == 2
    assert "20 s" in capsys.readouterr().err
    assert main([*asked, "--held-out", "0.99"]) == 2


def test_it_starts_from_the_artifact_for_any_robot(foreign, monkeypatch, tmp_path):
    def refuse(name):
        raise ArtifactError(f"asked for {name}")

    monkeypatch.setattr(adapt, "load_artifact", refuse)
    with pytest.raises(ArtifactError, match=r"asked for artifact://generic$"):
        adapt._adapt(adapt.parse([str(foreign), "--profile", str(tmp_path / "robot")]))


def test_the_last_fifth_of_what_is_learned_says_when_to_stop(artifact, tmp_path):
    config = load_config(adapting.config_path("finetune"))
    drives = list(EpisodeSet(converted(tmp_path / "long", drive(unicycle(), 2, seed=2, seconds=30))).episodes())
    adapting.write_set(tmp_path / "set", drives, load_artifact(artifact), config)
    written = EpisodeSet(tmp_path / "set")
    (train,), (valid,) = written.episodes("train"), written.episodes("valid")
    assert train.stamp_T[-1] < valid.stamp_T[0]
    assert len(train) + len(valid) == len(drives[0])
    assert len(valid) / len(drives[0]) == pytest.approx(0.2, abs=0.01)
    short = [drives[0].cut(0.0, 15.0)]  # a fifth holds no sequence with its targets
    adapting.write_set(tmp_path / "short", short, load_artifact(artifact), config)
    assert EpisodeSet(tmp_path / "short").names("valid") == []
    adapting.write_set(tmp_path / "all", drives, load_artifact(artifact), replace(config, patience=0))
    assert EpisodeSet(tmp_path / "all").names("valid") == []


@pytest.mark.slow
def test_a_transition_that_is_not_better_is_thrown_away(artifact, foreign, tmp_path, monkeypatch):
    sets = []

    def no_training(_config, data, out, **_):
        sets.append(np.load(data / "episodes" / "part-000" / "stamp.npy"))
        shutil.copytree(artifact, out / "artifact")

    monkeypatch.setattr(adapting, "run_training", no_training)
    monkeypatch.setattr(adapting, "adapt_experts", lambda *_: None)
    asked = ["adapt", str(foreign), "--artifact", str(artifact), "--profile", str(tmp_path / "robot"), "--no-slow"]
    assert main([*asked, "--json", str(tmp_path / "said.json")]) == 0  # the motion was better
    said = json.loads((tmp_path / "said.json").read_text())
    assert "transition" not in said["kept"]
    assert said["verdicts"]["transition"][0]["ratio"] == 1.0
    assert Profile(tmp_path / "robot").names() == [MOTION]
    assert not list((tmp_path / "robot").glob("artifact-*"))
    assert not list((tmp_path / "robot").glob(".adapting-*"))
    assert sets[0][-1] < 36_000_000_000  # of 60 s, the last 15 were held out, and 9 said when to stop


@pytest.mark.slow
def test_a_transition_that_is_better_gets_a_folder_of_its_own(artifact, foreign, tmp_path, monkeypatch):
    better = Verdict("far", 1.0, 0.5, 0.5, 0.4, 0.6, 100)
    monkeypatch.setattr(adapting, "run_training", lambda _c, _d, out, **_: shutil.copytree(artifact, out / "artifact"))
    monkeypatch.setattr(adapting, "judge_forecasts", lambda *_: [better])
    monkeypatch.setattr(adapting, "adapt_experts", lambda *_: None)
    (tmp_path / "robot" / "artifact-1").mkdir(parents=True)
    asked = ["adapt", str(foreign), "--artifact", str(artifact), "--profile", str(tmp_path / "robot"), "--no-slow"]
    assert main(asked) == 0
    found = adapted_artifact(Profile(tmp_path / "robot"), load_artifact(artifact))
    assert found.path == tmp_path / "robot" / "artifact-2"
    assert digests(tmp_path / "robot" / "artifact-2") == digests(artifact)

    def stopped(*_):
        raise KeyboardInterrupt

    # Runtimes are tried for half a minute: who stops it there finds what was there before.
    monkeypatch.setattr(adapting, "try_runtimes", stopped)
    assert main(asked) == 130
    assert sorted(path.name for path in (tmp_path / "robot").glob("*artifact*")) == ["artifact-1", "artifact-2"]
    assert not list((tmp_path / "robot").glob(".adapting-*"))
    assert adapted_artifact(Profile(tmp_path / "robot"), load_artifact(artifact)).path == found.path


@pytest.mark.slow
def test_experts_are_kept_where_the_next_start_is_better_for_them(artifact, tmp_path, monkeypatch):
    data = converted(tmp_path / "set", drive(unicycle(), 2, seed=2, seconds=30, delay_s=0.0, lag_s=0.0))
    profile, source = Profile(tmp_path / "robot"), load_artifact(artifact)
    episodes, outcome = list(EpisodeSet(data).episodes()), adapting.Outcome({}, {})
    options = adapt.parse([str(data), "--artifact", str(artifact), "--profile", str(tmp_path / "robot")])
    state = adapting.adapt_motion(options, source, episodes, profile, outcome, [].append)
    adapting.adapt_experts(options, source, episodes, profile, state, outcome, lambda _: None)
    verdict, *_ = outcome.verdicts["experts"]
    assert ("experts" in outcome.kept) == is_shipped(outcome.verdicts["experts"]) == (EXPERTS in profile.names())
    assert verdict.count > 50
    assert verdict.is_better  # the random network was believed at first
    assert known_experts(profile).entries["encoder_id"] == source.manifest.encoder_id
    found = known_robot(source, profile.folder)
    assert found.experts is not None
    judged = []
    worse = [replace(verdict, ratio=1.5)]
    monkeypatch.setattr(adapting, "judge_experts", lambda *given: judged.append(given[4]) or worse)
    adapting.adapt_experts(options, source, episodes, profile, state, outcome, lambda _: None)
    assert judged[0].entries == found.experts.entries  # what was there is what it is judged against
    assert profile.read(EXPERTS, EXPERTS_VERSION).revision == 1
    said = list[str]()
    keep_experts(profile, replace(found.experts, entries={**found.experts.entries, "action_dim": 3}))
    adapting.adapt_experts(options, source, episodes, profile, state, outcome, said.append)
    assert judged[1] is None  # of three actions nothing can begin here
    assert ["experts were learned with {'action_dim': 3}" in line for line in said] == [True]


def test_a_motion_of_another_step_is_left_alone(artifact, foreign, tmp_path, capsys):
    profile = Profile(tmp_path / "robot")
    profile.write(MOTION, STATE_VERSION, MotionCalibration(MotionModel(), 0.1, 2, 1.0, ()).state())
    asked = ["adapt", str(foreign), "--artifact", str(artifact), "--profile", str(profile.folder), "--motion-only"]
    assert main(asked) == 2
    assert "{'step_s': 0.1}" in capsys.readouterr().err
    assert profile.read(MOTION, STATE_VERSION).revision == 1


@pytest.mark.parametrize(
    ("aimed", "other", "kept"),
    [
        ((0.8, 0.7, 0.9), (1.0, 0.9, 1.1), True),
        ((0.99, 0.95, 1.03), (1.0, 0.9, 1.1), False),  # may be chance
        ((1.01, 0.95, 1.02), (0.5, 0.4, 0.6), False),
        ((0.8, 0.7, 0.9), (1.03, 0.9, 1.1), False),  # worse elsewhere
    ],
)
def test_what_is_shipped(aimed, other, kept):
    nothing = Verdict("first visits", math.nan, math.nan, math.nan, math.nan, math.nan, 0)
    verdicts = [Verdict("far", 1.0, aimed[0], *aimed, 50), nothing, Verdict("near", 1.0, other[0], *other, 50)]
    assert is_shipped(verdicts) is kept
    assert not is_shipped([nothing])


def test_the_last_line_says_of_every_part_whether_it_was_kept():
    said = adapting._kept_line(adapting.Outcome({"motion": [], "transition": []}, {"motion": "here"}))
    assert said == "motion kept in here, transition no better and not kept"
    assert adapting._kept_line(adapting.Outcome({"motion": []}, {})).startswith("nothing was better")


def test_an_adapted_artifact_is_found_where_it_is_for_this_encoder(artifact, tmp_path):
    source, profile = load_artifact(artifact), Profile(tmp_path / "robot")
    assert adapted_artifact(profile, source) is None
    shutil.copytree(artifact, tmp_path / "mine")
    keep_adapted(profile, tmp_path / "mine", source)
    assert adapted_artifact(profile, source).path == tmp_path / "mine"
    make_random_artifact(tmp_path / "other", seed=1)
    other = load_artifact(tmp_path / "other")
    assert adapted_artifact(profile, other) is None
    profile.write(TRANSITION, VERSION, {"artifact": str(other.path), "encoder_id": source.manifest.encoder_id})
    with pytest.raises(ProfileError, match="encoder"):
        adapted_artifact(profile, source)
    profile.write(TRANSITION, VERSION, {"artifact": 3})
    with pytest.raises(ProfileError, match="names no artifact"):
        adapted_artifact(profile, source)
    keep_adapted(profile, tmp_path / "gone", source)
    with pytest.raises(ArtifactError, match="gone"):
        adapted_artifact(profile, source)


def test_the_share_of_variance_that_a_projection_leaves_out():
    space = FeatureSpace("0123456789abcdef", 4, 1, 1.0, 0)
    rng = np.random.default_rng(0)
    code_NF = (rng.normal(size=(200, 4)) * [20, 10, 1, 1]).round().clip(-127, 127).astype(np.int8)
    fixed = Projection(space, np.zeros(4, np.float32), np.eye(4, dtype=np.float32)[2:])
    own = learned_projection(code_NF, np.arange(200) * 50_000_000, space, 2)
    verdict = judge_projection(code_NF, np.arange(200) * 50_000_000, fixed, own)
    variance_F = code_NF.astype(float).var(axis=0)
    assert verdict.before == pytest.approx(variance_F[:2].sum() / variance_F.sum(), abs=1e-3)
    assert verdict.after == pytest.approx(variance_F[2:].sum() / variance_F.sum(), abs=2e-3)
    assert verdict.is_better


def test_a_projection_is_as_sure_of_a_slow_camera_as_of_a_fast_one():
    """The same pictures at 5 Hz, or each of them four times at 20 Hz, are the same evidence."""
    space = FeatureSpace("0123456789abcdef", 4, 1, 1.0, 0)
    rng = np.random.default_rng(0)
    code_NF = (rng.normal(size=(300, 4)) * [20, 15, 12, 10]).round().clip(-127, 127).astype(np.int8)
    fixed, own = (Projection(space, np.zeros(4, np.float32), np.eye(4, dtype=np.float32)[k : k + 1]) for k in (3, 0))
    slow = judge_projection(code_NF, np.arange(300) * 200_000_000, fixed, own)
    fast = judge_projection(np.repeat(code_NF, 4, axis=0), np.arange(1200) * 50_000_000, fixed, own)
    assert (slow.ratio, slow.low, slow.high) == pytest.approx((fast.ratio, fast.low, fast.high), abs=2e-4)


class Recorders:
    """What a package above offers as a recorder: it copies a recording to the new folder, or fails."""

    name = "live"

    def __init__(self, code: str) -> None:
        self.code, self.asked = code, []

    def load(self):
        def command(folder, seconds, namespace, topics):
            self.asked.append((folder, seconds, namespace, topics))
            return [sys.executable, "-c", self.code, str(folder)]

        return command


def offering(monkeypatch, *recorders):
    monkeypatch.setattr(live, "entry_points", lambda group: recorders if group == "wm.recorders" else [])
    monkeypatch.setattr(live, "stand_back", lambda by: by)
    monkeypatch.setattr(adapting.torch, "set_num_threads", lambda count: None)


def test_a_live_graph_is_recorded_and_learned_from_as_a_recording(artifact, foreign, tmp_path, monkeypatch, capfd):
    copies = Recorders(f"import shutil, sys; shutil.copytree({str(foreign)!r}, sys.argv[1]); print('recorded')")
    offering(monkeypatch, copies)
    profile = tmp_path / "robot"
    asked = ["adapt", "--live", "--seconds", "60", "--namespace", "r1", "--pose-topic", "odom", "--motion-only"]
    assert main([*asked, "--artifact", str(artifact), "--profile", str(profile)]) == 0
    ((folder, *rest),) = copies.asked
    assert rest == [60.0, "r1", {"pose": "odom"}]
    assert not folder.exists()  # nobody asked to keep it
    assert Profile(profile).names() == [MOTION]
    assert not list(profile.glob(".recording-*"))
    assert (
        main(["adapt", str(foreign), "--artifact", str(artifact), "--profile", str(tmp_path / "b"), *asked[-1:]]) == 0
    )
    live_entries, entries = (Profile(p).read(MOTION, STATE_VERSION).entries for p in (profile, tmp_path / "b"))
    assert live_entries == entries
    kept = tmp_path / "kept"
    again = [*asked, "--artifact", str(artifact), "--profile", str(profile), "--keep", str(kept)]
    assert main(again) == adapt.NOTHING_BETTER
    assert kept.is_dir()
    assert main(again) == 2  # it is there now
    assert "never overwritten" in capfd.readouterr().err


def test_a_live_graph_that_cannot_be_recorded_is_refused_by_name(artifact, tmp_path, monkeypatch, capfd):
    asked = ["adapt", "--live", "--artifact", str(artifact), "--profile", str(tmp_path / "robot")]
    offering(monkeypatch)
    assert main(asked) == 2
    assert "rclpy" in capfd.readouterr().err
    offering(monkeypatch, Recorders("raise SystemExit(2)"))
    assert main(asked) == 2
    assert "exit code 2" in capfd.readouterr().err
    for seconds in ("-1", "nan", "inf"):
        assert main([*asked, "--seconds", seconds]) == 2
        assert f"--seconds is {float(seconds)}, expected more than 0, and finite" in capfd.readouterr().err
    for wrong in (["adapt", "bag", *asked[1:]], ["adapt"]):
        with pytest.raises(SystemExit):
            main(wrong)


def test_ctrl_c_ends_the_recording_and_not_what_follows(monkeypatch, tmp_path):
    code = """
import os, pathlib, signal, sys, time
def stop(*_):
    pathlib.Path(sys.argv[1]).write_text("complete")
    sys.exit(0)
signal.signal(signal.SIGINT, stop)
os.kill(os.getppid(), signal.SIGINT)
while True:
    time.sleep(1)
"""
    # Where tests run in the background, the shell has Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    said = []
    try:
        live._record([sys.executable, "-c", code, str(tmp_path / "bag")], None, said.append)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "bag").read_text() == "complete"
    assert "Ctrl-C" in said[0]
