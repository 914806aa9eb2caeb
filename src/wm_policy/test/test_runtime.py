"""What a policy is told, against cases worked out by hand; and files that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wm_core.se2 import Pose2
from wm_policy.errors import InputError, PolicyFileError
from wm_policy.runtime import (
    ActionRange,
    Observation,
    Observer,
    ObserverSettings,
    PolicyManifest,
    Statistics,
    Trail,
    load_policy,
)
from wm_policy.runtime.observer import EGO_NUMBERS, FORECAST_NUMBERS
from wm_policy.runtime.trail import TrailBuffer, VisitLimits, followed, visits
from wm_testing.policies import FORWARD, export_made_up_policy

STEP_NS = 50_000_000


def straight(count: int, *, speed: float = 2.0, start_ns: int = 0) -> list[Observation]:
    """Returns a drive along x."""
    return [
        Observation(
            start_ns + row * STEP_NS, np.full(3, row, np.float32), Pose2(speed * row * 0.05, 0.0, 0.0, 0.0),
            np.array([speed, 0.0]),
        )
        for row in range(count)
    ]  # fmt: skip


def observer_of(observations: list[Observation], **settings: object) -> Observer:
    observer = Observer(ObserverSettings(**settings), FORWARD, 3, 2)
    for observation in observations:
        observer.observe(observation)
    return observer


def ring_trail(laps: int = 3, lap_s: float = 40.0) -> Trail:
    """Returns a robot that goes round a circle of radius 5 m, ten memories a second."""
    time_N = np.arange(0, laps * lap_s, 0.1)
    angle_N = 2 * np.pi * time_N / lap_s
    pose_N3 = np.column_stack([5 * np.sin(angle_N), 5 - 5 * np.cos(angle_N), angle_N])
    count = len(time_N)
    stamp_N = np.round(time_N * 1e9).astype(np.int64)
    return Trail(stamp_N, np.zeros(count, int), pose_N3, np.zeros((count, 2)), np.zeros((count, 3), np.float32))


def test_lengths_are_in_units_of_what_the_robot_comes_in_a_second():
    inputs = observer_of(straight(200)).inputs()
    oldest = inputs["ego"][0]
    # 1.4 s ago, at one unit a second.
    assert np.allclose(oldest[:4], [-1.4, 0.0, 0.0, 1.0], atol=1e-3)
    assert np.allclose(oldest[4:7], [1.0, 0.0, 0.0], atol=1e-3)
    assert oldest[7] == oldest[8] == 1.0
    assert np.allclose(inputs["forecast"][:3], [0.5, 0.0, 0.0], atol=1e-3)
    assert np.allclose(inputs["view"][:, 0], [175, 183, 191, 199])
    assert inputs["ego"].shape == (8, EGO_NUMBERS)
    assert inputs["forecast"].shape == (FORECAST_NUMBERS,)


def test_two_robots_of_other_size_are_told_the_same():
    small, large = (observer_of(straight(200, speed=speed)).inputs() for speed in (0.3, 3.0))
    for name in ("ego", "forecast", "speed"):
        assert np.allclose(small[name], large[name], atol=1e-3), name


def test_what_is_not_known_is_told_so():
    observer = observer_of([Observation(0, np.zeros(3, np.float32))])
    inputs = observer.inputs()
    assert inputs["view_known"].tolist() == [False, False, False, True]
    assert np.isnan(inputs["ego"][:, :7]).all()
    assert (inputs["ego"][:, 7:] == 0).all()
    assert inputs["forecast"][-1] == 0.0
    assert not inputs["memory_valid"].any()
    with pytest.raises(InputError, match="nothing was observed"):
        observer_of([]).inputs()
    with pytest.raises(InputError, match=r"latent has shape \(4,\), expected \(3,\)"):
        observer.observe(Observation(1, np.zeros(4, np.float32)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_view_that_is_not_finite_is_not_known(value):
    drive = straight(200)
    broken = Observation(
        200 * STEP_NS, np.array([1.0, value, 3.0], np.float32), Pose2(20.0, 0.0, 0.0, 0.0), drive[-1].action_A
    )
    inputs = observer_of([*drive, broken]).inputs()
    assert inputs["view_known"].tolist() == [True, True, True, False]


def test_a_stamp_that_goes_backwards_starts_anew_and_keeps_memories():
    observer = observer_of(straight(100, start_ns=10**12))
    remembered = len(observer.trail())
    observer.observe(straight(1)[0])
    assert observer.inputs()["view_known"].tolist() == [False, False, False, True]
    assert len(observer.trail()) == remembered + 1
    assert observer.trail().session_N[0] == 1  # ascending by stamp: the newest drive is the earliest


def test_one_memory_of_each_visit():
    trail = ring_trail()
    rows = visits(trail, 100_000_000_000, np.array([0.0, 0.0, 0.0]), VisitLimits())
    assert sorted(round(trail.stamp_N[row] * 1e-9) for row in rows) == [0, 40, 80]


def test_recent_memories_and_those_that_face_elsewhere_are_no_visits():
    trail = ring_trail()
    here_3 = np.array([0.0, 0.0, np.pi])
    assert not len(visits(trail, 100_000_000_000, here_3, VisitLimits()))
    assert len(visits(trail, 50_000_000_000, np.zeros(3), VisitLimits())) == 1


def test_what_followed_is_where_the_robot_was_then():
    trail = ring_trail()
    then_KH3 = followed(trail, np.array([0, 400]), np.array([1.0, 10.0, 1000.0]))
    angle = 2 * np.pi / 4
    assert np.allclose(then_KH3[0, 1], [5 * np.sin(angle), 5 - 5 * np.cos(angle), angle], atol=1e-3)
    assert np.allclose(then_KH3[1, :2, :2], then_KH3[0, :2, :2], atol=1e-3)
    assert np.isnan(then_KH3[:, 2]).all()


def test_what_followed_never_leads_over_a_gap_or_into_another_drive():
    trail = ring_trail()
    keep_N = (trail.stamp_N < 5e9) | (trail.stamp_N > 20e9)
    cut = Trail(*(getattr(trail, name)[keep_N] for name in trail.__dataclass_fields__))
    assert np.isnan(followed(cut, np.array([40]), np.array([5.0]))).all()
    other = Trail(trail.stamp_N, (trail.stamp_N > 5e9).astype(int), trail.pose_N3, trail.action_NA, trail.latent_ND)
    assert np.isnan(followed(other, np.array([40]), np.array([5.0]))).all()


def test_a_trail_grows_and_what_it_was_stays():
    buffer = TrailBuffer(1, 2)
    for row in range(3000):
        buffer.append(row, row // 1000, np.full(3, row), np.full(1, -row), np.full(2, row))
        if row == 900:
            before = buffer.trail()
    trail = buffer.trail()
    assert len(buffer) == len(trail) == 3000
    assert np.array_equal(trail.stamp_N, np.arange(3000))
    assert np.array_equal(trail.action_NA[:, 0], -np.arange(3000))
    assert np.array_equal(trail.latent_ND[:, 1], np.arange(3000))
    assert np.array_equal(before.pose_N3, trail.pose_N3[:901])
    buffer.append(5, 3, np.zeros(3), np.zeros(1), np.zeros(2))
    assert np.array_equal(buffer.trail().stamp_N, np.sort([*range(3000), 5]))


def test_statistics_and_ranges_come_back():
    value_NX = np.random.default_rng(0).normal(size=(50, 4)) * 3 + 1
    statistics = Statistics.of(value_NX)
    again = Statistics.from_json(json.loads(json.dumps(statistics.to_json())))
    assert np.array_equal(statistics.apply(value_NX), again.apply(value_NX))
    assert np.allclose(again.apply(value_NX).std(axis=0), 1, atol=1e-5)
    actions = ActionRange.of(value_NX)
    assert np.allclose(actions.restore(actions.normalise(value_NX)), value_NX, atol=1e-5)
    assert np.allclose(actions.restore(np.full(4, 7.0)), value_NX.max(axis=0))
    with pytest.raises(PolicyFileError, match="deviation"):
        Statistics.from_json({"mean": [0.0], "std": [0.0]})


def test_what_was_never_known_is_left_as_it_is():
    """As of memories, where no drive came by twice."""
    statistics = Statistics.of(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert statistics.apply(np.array([[2.0, 0.5], [3.0, np.nan]])).tolist() == [[0.0, 0.5], [1.0, 0.0]]
    assert Statistics.from_json(statistics.to_json()).std_X.tolist() == [1.0, 1.0]


class _Doubled(torch.nn.Module):
    def forward(self, forecast: torch.Tensor) -> torch.Tensor:
        return forecast[:, :2].unsqueeze(1).repeat(1, 4, 1)


def exported(folder, **changes):
    return export_made_up_policy(folder, _Doubled(), **changes)


def test_a_policy_is_fed_and_asked(tmp_path):
    policy = load_policy(exported(tmp_path))
    for observation in straight(200):
        policy.observe(observation)
    proposal = policy.propose()
    assert proposal.stamp_ns == 199 * STEP_NS
    # Half a unit ahead in half a second, no way aside: the middle of the second half of 0..2, and of -1..1.
    assert np.allclose(proposal.action_KA, [[1.5, 0.0]] * 4, atol=1e-3)
    assert proposal.path_K2 is None


def test_a_damaged_description_is_refused_and_a_former_one_without_digest_is_read(tmp_path):
    exported(tmp_path)
    path = tmp_path / "policy.json"
    text, whole = path.read_text(), PolicyManifest.read(tmp_path)
    path.write_text(text.replace('"step_s": 0', '"step_s": 1', 1))
    assert path.read_text() != text
    with pytest.raises(PolicyFileError, match="does not match its digest"):
        PolicyManifest.read(tmp_path)
    path.write_text(json.dumps({name: value for name, value in json.loads(text).items() if name != "digest"}))
    assert PolicyManifest.read(tmp_path) == whole


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sha256": "0"}, "another hash"),
        ({"format": "world-model-policy-9"}, "format world-model-policy-9"),
        ({"file": "../policy.pt"}, "expected a name"),
        ({"output": "words"}, "gives 'words'"),
        ({"action_least": []}, "no range"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, text):
    exported(tmp_path)
    path = tmp_path / "policy.json"
    entries = json.loads(path.read_text()) | changes
    entries.pop("digest")  # changed on purpose
    path.write_text(json.dumps(entries))
    with pytest.raises(PolicyFileError, match=text):
        load_policy(tmp_path)


def test_a_folder_without_a_policy_is_refused(tmp_path):
    with pytest.raises(PolicyFileError, match=r"no policy\.json"):
        load_policy(tmp_path)
