"""The node with a robot that obeys it: goals reached, refused, cancelled, preempted, and all that can be lost."""

from __future__ import annotations

import math
from pathlib import Path as FilePath

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point32, PolygonStamped
from latent_planner.judging import SurpriseJudge
from latent_planner.params import LatentPlannerParams
from nav_msgs.msg import OccupancyGrid, Path
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from wm_core.se3 import quaternion_of
from wm_interfaces.action import Plan
from wm_interfaces.msg import MemoryMatches, MemoryRecord, RecognisedPlace
from wm_interfaces.srv import EncodeImage, QueryMemoryBatch, RecognisePlace
from wm_ros import floats, pose_to_msg, qos
from wm_testing.goals import pose_goal
from wm_testing.nodes import assert_file_sets_every_parameter

CONFIG = FilePath(__file__).parents[3] / "config" / "latent_planner.yaml"
Result = Plan.Result
pytestmark = pytest.mark.slow


def stopped(world):
    world.until(lambda: not any(world.commands[-1]) and len(world.plans[-1].data) == 2)
    return True


def test_the_robot_drives_to_a_pose_and_stops(make_world):
    world = make_world(drive=True)
    fields, routes = world.hear(OccupancyGrid, "/latent_planner/field"), world.hear(Path, "/latent_planner/route")
    paths, markers = (
        world.hear(Path, "/planned_path", qos.STREAM),
        world.hear(MarkerArray, "/latent_planner/markers", qos.DRAWN),
    )
    answer = world.run(pose=pose_goal(2.0, 0.0, 0.5))
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_SUCCEEDED, "REACHED"), answer.result
    assert math.dist((world.x, world.y), (2.0, 0.0)) < 0.5
    assert abs(world.yaw - 0.5) < math.radians(30)
    assert stopped(world)
    world.until(lambda: fields and routes and paths)
    drawn = {(marker.ns, marker.id) for msg in markers for marker in msg.markers if marker.action == marker.ADD}
    assert drawn == {("goal", 0), ("goal", 1), ("candidates", 0)}
    assert {marker.action for marker in markers[-1].markers} == {Marker.DELETE}
    grid = np.array(fields[0].data).reshape(fields[0].info.height, fields[0].info.width)
    row, column = (int((value - origin) / 0.05) for value, origin in zip(
        (0.0, 2.0), (fields[0].info.origin.position.y, fields[0].info.origin.position.x)))  # fmt: skip
    assert 0 <= grid[row, column] <= 2
    assert set(np.unique(grid[0])) == {-1}
    assert fields[0].header.frame_id == routes[0].header.frame_id == "map"
    assert routes[0].poses[-1].pose.position.x == 2.0
    assert {each.state for each in world.feedback} >= {Plan.Feedback.DRIVING}
    assert world.feedback[-1].distance_left < 1.0
    assert 0.0 <= world.feedback[-1].input_age_s < 1.0
    assert max(speed for speed, _ in world.commands) <= LatentPlannerParams().max_speed_m_s + 1e-6


def test_without_leave_to_drive_plans_are_shown_and_nothing_is_sent_to_the_robot(make_world):
    world = make_world()
    handle, result = world.start(pose=pose_goal(3.0))
    world.until(lambda: any(len(plan.data) > 2 for plan in world.plans))
    assert not world.commands
    assert not world.peer.count_publishers("/actions")
    plan = next(plan for plan in world.plans if len(plan.data) > 2)
    assert [(dim.label, dim.size) for dim in plan.layout.dim] == [("step", 56), ("action", 2)]
    world.wait(handle.cancel_goal_async())
    assert world.wait(result).result.outcome == Result.CANCELLED


def test_a_cancel_stops_the_robot_within_one_period(make_world):
    world = make_world(drive=True)
    handle, _ = world.drive(pose=pose_goal(9.0))

    def cancel():
        world.node._on_cancel(world.node._run.handle)
        return len(world.commands)

    before = world.on_executor(cancel)
    world.until(lambda: len(world.commands) > before and not any(world.commands[-1]))
    # Of those that were under way none follows the stop.
    first = next(at for at, command in enumerate(world.commands[before:]) if not any(command))
    assert first <= 2
    assert not any(any(command) for command in world.commands[before + first :])
    assert world.wait(handle.cancel_goal_async()) is not None


def test_a_cancel_is_answered_as_such(make_world):
    world = make_world(drive=True)
    handle, result = world.drive(pose=pose_goal(9.0))
    assert world.wait(handle.cancel_goal_async()).goals_canceling
    answer = world.wait(result)
    assert (answer.status, answer.result.name) == (GoalStatus.STATUS_CANCELED, "CANCELLED")
    assert stopped(world)


def test_a_new_goal_takes_the_place_of_the_former(make_world):
    world = make_world(drive=True)
    _, first = world.drive(pose=pose_goal(9.0))
    second = world.run(pose=pose_goal(world.x + 1.0))
    assert world.wait(first).result.name == "PREEMPTED"
    assert second.result.name == "REACHED"


def test_goals_by_memory_latent_and_region(make_world):
    world = make_world(drive=True)
    seen = world.memory.records[4].latent_D
    by_latent = world.run(latent=floats(seen + 0.01), encoder_id=world.memory.encoder_id)
    assert (by_latent.result.name, by_latent.result.memory_id) == ("REACHED", 5), by_latent.result.message
    assert abs(world.x - 1.0) < 0.5
    by_id = world.run(memory_id=7)
    assert (by_id.result.name, by_id.result.pose.pose.position.x) == ("REACHED", 1.5)
    corners = [Point32(x=x, y=y) for x, y in ((1.9, -1.0), (6.0, -1.0), (6.0, 1.0), (1.9, 1.0))]
    region = PolygonStamped()
    region.polygon.points = corners
    by_region = world.run(region=region)
    assert (by_region.result.name, by_region.result.pose.pose.position.x) == ("REACHED", 2.0)


MALFORMED = [
    {},
    {"memory_id": 3, "latent": floats(np.zeros(32))},
    {"kind": 77, "memory_id": 3},
    {"kind": Plan.Goal.REGION, "memory_id": 3},
    {"latent": floats(np.zeros(5))},
    {"latent": floats(np.full(32, np.nan))},
    {"latent": floats(np.zeros(32)), "encoder_id": "other"},
    {"pose": pose_goal(math.nan)},
    {"pose": pose_goal(3.0, frame="odom")},
    {"pose": pose_goal(3.0), "time_limit_s": -1.0},
    {"pose": pose_goal(3.0), "least_confidence": math.nan},
    {"image": Image(height=2, width=2, encoding="rgb8", step=6, data=bytes(7))},
    {"image": Image(encoding="rgb8", data=bytes(7))},
]


def test_a_goal_that_is_none_leaves_the_one_under_way_alone(make_world):
    world = make_world(drive=True)
    handle, result = world.drive(pose=pose_goal(9.0))
    for goal in MALFORMED:
        before = len(world.commands)
        answer = world.run(**goal)
        assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, "REFUSED"), (goal, answer.result)
        assert answer.result.message
        world.until(lambda before=before: len(world.commands) > before)
        assert all(speed > 0.1 for speed, _ in world.commands[before:]), goal
    assert not result.done()
    world.wait(handle.cancel_goal_async())
    assert world.wait(result).result.name == "CANCELLED"


class Waiting:
    """A goal's handle as the action server has it before the goal's turn comes."""

    def __init__(self, *, is_cancel_requested):
        self.request, self.is_cancel_requested, self.ends = Plan.Goal(memory_id=3), is_cancel_requested, []

    def succeed(self):
        self.ends.append("succeeded")

    def canceled(self):
        self.ends.append("canceled")

    def abort(self):
        self.ends.append("aborted")


@pytest.mark.parametrize(
    ("is_cancelled", "name", "end"), [(True, "CANCELLED", "canceled"), (False, "STOPPED", "aborted")]
)
def test_a_goal_that_is_not_wanted_any_more_when_its_turn_comes_is_answered(make_world, is_cancelled, name, end):
    world = make_world(drive=True)
    handle, result = world.drive(pose=pose_goal(9.0))
    if not is_cancelled:
        world.on_executor(world.node.trigger_deactivate)
    waiting = Waiting(is_cancel_requested=is_cancelled)
    answer = world.wait(world.node.executor.create_task(world.node._execute, waiting))
    assert (answer.name, waiting.ends) == (name, [end])
    assert result.done() is not is_cancelled
    if is_cancelled:
        world.wait(handle.cancel_goal_async())
    assert world.wait(result).result.name == name


IMPOSSIBLE = [
    ({}, "REFUSED", "nothing given"),
    ({"memory_id": 3, "latent": floats(np.zeros(32))}, "REFUSED", "latent and memory_id given"),
    ({"latent": floats(np.zeros(5))}, "REFUSED", "expected|memories"),
    ({"latent": floats(np.full(32, np.nan))}, "REFUSED", "finite"),
    ({"latent": floats(np.zeros(32)), "encoder_id": "other"}, "REFUSED", "encoder"),
    ({"latent": floats(np.full(32, 50.0))}, "NOT_RECOGNISED", "nothing remembered"),
    ({"pose": pose_goal(3.0, frame="odom")}, "REFUSED", "odom"),
    ({"pose": pose_goal(3.0, 7.0)}, "UNREACHABLE", "7.0 m away"),
    ({"memory_id": 4711}, "REFUSED", "4711"),
    ({"pose": pose_goal(3.0), "time_limit_s": -1.0}, "REFUSED", "time_limit_s"),
    ({"pose": pose_goal(9.0), "time_limit_s": 0.2}, "TIMED_OUT", "0.2 s"),
]


def test_what_cannot_be_is_named(make_world):
    world = make_world(drive=True)
    for goal, name, why in IMPOSSIBLE:
        answer = world.run(**goal)
        assert (answer.status, answer.result.name) == (GoalStatus.STATUS_ABORTED, name), (goal, answer.result.message)
        assert any(part in answer.result.message for part in why.split("|")), answer.result.message
        assert stopped(world)


def test_places_that_look_alike_are_named(make_world):
    world = make_world()
    for record in world.memory.records[20:]:
        record.latent_D[:] = world.memory.records[record.id - 21].latent_D
    answer = world.run(latent=floats(world.memory.records[3].latent_D))
    assert answer.result.name == "AMBIGUOUS", answer.result.message


def record_msg(record, feature):
    """A record with its feature, as the memory sends it."""
    msg = MemoryRecord(id=record.id, feature=feature)
    pose = pose_to_msg((record.x, record.y, 0.0), quaternion_of(record.yaw))
    msg.position, msg.orientation = pose.position, pose.orientation
    return msg


def recognising(world, feature=(1, 2, 3), query=lambda _, empty: empty, confidence=0.4, unlike="", **said):
    """A peer that encodes any picture and says where it was seen."""

    def encode(_request, response):
        response.success, response.feature, response.feature_id = True, list(feature), "any"
        response.latent, response.unlike = world.memory.records[4].latent_D.tolist(), unlike
        return response

    def recognise(_request, response):
        record = world.memory.records[4]
        pose = pose_to_msg((record.x, record.y, 0.0), quaternion_of(record.yaw))
        response.success, response.places = (
            True,
            [RecognisedPlace(id=record.id, pose=pose, confidence=confidence, distance=0.1)],
        )
        for name, value in said.items():
            setattr(response, name, value)
        return response

    served = [
        (EncodeImage, "/latent_publisher/encode", encode),
        (RecognisePlace, "/spatial_memory/recognise", recognise),
        (QueryMemoryBatch, "/spatial_memory/query_batch", query),
    ]
    world.on_executor(lambda: [world.peer.create_service(*each) for each in served])


@pytest.mark.parametrize(
    ("agreement", "second_ratio", "name"),
    [(1.0, 0.9, "REACHED"), (0.4, 0.9, "AMBIGUOUS"), (1.0, 0.97, "AMBIGUOUS")],
)
def test_five_memories_that_agree_outweigh_a_place_that_looks_nearly_alike(make_world, agreement, second_ratio, name):
    world = make_world(drive=True)
    recognising(world, ambiguous=True, ambiguity="why", agreement=agreement, second_ratio=second_ratio)
    answer = world.run(image=Image(height=1, width=1, encoding="mono8", step=1, data=b"\x00"))
    assert answer.result.name == name, answer.result.message
    assert answer.result.memory_id == 5


def test_a_picture_that_the_encoder_was_not_made_for_is_refused_however_near_its_latent_lies(make_world):
    world = make_world(drive=True)
    recognising(world, feature=(), unlike="its latent tells 0% of its contrast")
    answer = world.run(image=Image(height=1, width=1, encoding="mono8", step=1, data=b"\x00"))
    assert answer.result.name == "NOT_RECOGNISED", answer.result
    assert "tells 0% of its contrast" in answer.result.message
    assert not any(map(any, world.commands))


def test_a_picture_between_two_memories_is_driven_to_where_it_was_seen(make_world):
    """Features change along the lane; the picture was taken 0.1 m beyond the memory that looks most like it."""
    world = make_world(drive=True, reached_m=0.15)

    def code(x):
        return [round(100 * math.cos(0.3 * x)), round(100 * math.sin(0.3 * x)), 0]

    def place(request, response):
        near = sorted(world.memory.records, key=lambda record: abs(record.x - 1.1))[:3]
        response.success = True
        for query in request.queries:
            is_place = len(query.feature) > 0
            found = near if is_place else world.memory.records[:1]
            response.matches.append(MemoryMatches(records=[record_msg(record, code(record.x)) for record in found]))
        return response

    recognising(world, feature=code(1.1), query=place, confidence=0.9)
    answer = world.run(image=Image(height=1, width=1, encoding="mono8", step=1, data=b"\x00"))
    assert answer.result.name == "REACHED", answer.result.message
    assert answer.result.pose.pose.position.x == pytest.approx(1.1, abs=0.03)


def test_a_place_that_is_not_sure_is_no_goal(make_world):
    world = make_world()
    recognising(world)
    answer = world.run(image=Image(height=1, width=1, encoding="mono8", step=1, data=b"\x00"))
    assert answer.result.name == "NOT_RECOGNISED", answer.result.message


def test_a_goal_moves_with_its_memory_and_is_given_up_where_that_is_gone(make_world):
    world = make_world(drive=True, window_period_s=0.1)
    _, result = world.drive(memory_id=20)

    def move():
        for record in world.memory.records:
            object.__setattr__(record, "x", record.x - 2.75)
        world.memory.epoch += 1

    world.on_executor(move)
    answer = world.wait(result)
    assert (answer.result.name, answer.result.pose.pose.position.x) == ("REACHED", 2.0), answer.result.message
    _, result = world.drive(memory_id=30)

    def forget():
        world.memory.records = world.memory.records[:25]
        world.memory.epoch += 1

    world.on_executor(forget)
    assert "30" in world.wait(result).result.message
    assert stopped(world)


def turned(world, of_robot=True):
    """Have all memories, and the robot's poses, turned by a quarter and moved by (5, -3)."""
    for record in world.memory.records:
        x, y = 5.0 - record.y, record.x - 3.0
        for name, value in (("x", x), ("y", y), ("yaw", record.yaw + math.pi / 2)):
            object.__setattr__(record, name, value)
    world.memory.epoch += 1
    if of_robot:
        turn_robot(world)


def turn_robot(world):
    world.x, world.y, world.yaw = 5.0 - world.y, world.x - 3.0, world.yaw + math.pi / 2


REGION = PolygonStamped()
REGION.polygon.points = [Point32(x=x, y=y) for x, y in ((6.1, -1.0), (8.0, -1.0), (8.0, 1.0), (6.1, 1.0))]


@pytest.mark.parametrize("goal", [{"pose": pose_goal(6.25, 0.1)}, {"region": REGION}])
def test_a_place_moves_with_the_memories_around_it(make_world, goal):
    world = make_world(drive=True, window_period_s=0.1)
    _, result = world.drive(**goal)
    world.on_executor(lambda: turned(world))
    answer = world.wait(result).result
    assert answer.name == "REACHED", answer.message
    assert math.dist((world.x, world.y), (5.0, 3.25)) < 0.6
    assert math.dist((answer.pose.pose.position.x, answer.pose.pose.position.y), (5.0, 3.25)) < 0.2


def test_a_robot_whose_poses_follow_its_memories_later_waits_for_them(make_world):
    world = make_world(drive=True, window_period_s=0.1, lookup_timeout_s=20.0)
    _, result = world.drive(pose=pose_goal(6.25))
    world.on_executor(lambda: turned(world, of_robot=False))
    world.until(lambda: world.node._run.lost)
    assert stopped(world)
    world.on_executor(lambda: turn_robot(world))
    answer = world.wait(result).result
    assert answer.name == "REACHED", answer.message
    assert math.dist((world.x, world.y), (5.0, 3.25)) < 0.6


def test_a_robot_whose_poses_never_follow_its_memories_is_told_so(make_world):
    world = make_world(drive=True, window_period_s=0.1, lookup_timeout_s=2.0)
    _, result = world.drive(pose=pose_goal(6.25))
    world.on_executor(lambda: turned(world, of_robot=False))
    answer = world.wait(result).result
    assert answer.name == "UNREACHABLE"
    assert "the robot is" in answer.message
    assert "moved" in answer.message
    assert stopped(world)


def test_it_says_when_it_plans_with_a_part_of_the_memory(make_world):
    world = make_world()
    world.memory.is_everything = False
    handle, result = world.start(pose=pose_goal(3.0))
    world.until(lambda: any(len(plan.data) > 2 for plan in world.plans))
    assert "window_max_count" in world.on_executor(world.node._health.status).message
    world.wait(handle.cancel_goal_async())
    world.wait(result)


def test_an_empty_memory_is_named(make_world):
    assert make_world(poses=[], drive=True).run(pose=pose_goal(3.0)).result.name == "EMPTY_MEMORY"


def test_a_memory_that_is_emptied_on_the_way_stops_the_robot(make_world):
    world = make_world(drive=True)
    _, result = world.drive(pose=pose_goal(9.0))
    world.on_executor(world.memory.clear)
    assert world.wait(result).result.name == "EMPTY_MEMORY"
    assert stopped(world)


def test_a_goal_counts_on_all_that_the_memory_held_when_it_came(make_world):
    world = make_world(drive=True, window_period_s=60.0)
    assert world.run(pose=pose_goal(14.0)).result.name == "UNREACHABLE"
    world.on_executor(lambda: world.memory.remember([(0.25 * at, 0.0, 0.0) for at in range(60)]))
    handle, result = world.drive(pose=pose_goal(14.0))
    world.wait(handle.cancel_goal_async())
    assert world.wait(result).result.name == "CANCELLED"


def test_a_robot_that_is_held_gives_its_goal_up(make_world):
    world = make_world(drive=True, blocked_timeout_s=1.5)
    _, result = world.drive(pose=pose_goal(9.0))
    world.on_executor(lambda: setattr(world, "advance", lambda: None))
    answer = world.wait(result)
    assert answer.result.name == "UNREACHABLE"
    assert "in its way" in answer.result.message
    assert stopped(world)


def test_stale_inputs_stop_the_robot(make_world):
    world = make_world(drive=True, input_timeout_s=0.5)
    _, result = world.drive(pose=pose_goal(9.0))
    world.is_sending = False
    answer = world.wait(result)
    assert answer.result.name == "STALE_INPUTS"
    assert stopped(world)


@pytest.mark.parametrize("what", ["has_pose", "header"])
def test_inputs_without_pose_or_with_the_same_stamp_are_stale(make_world, what):
    world = make_world(drive=True, input_timeout_s=0.5)
    _, result = world.drive(pose=pose_goal(9.0))
    world.changes = {what: False if what == "has_pose" else Header(stamp=world.peer.get_clock().now().to_msg())}
    assert world.wait(result).result.name == "STALE_INPUTS"


def test_poses_of_another_frame_stop_the_robot(make_world):
    world = make_world(drive=True)
    _, result = world.drive(pose=pose_goal(9.0))
    world.changes = {"pose_frame_id": "odom"}
    answer = world.wait(result)
    assert (answer.result.name, "'odom' now" in answer.result.message) == ("REFUSED", True)
    assert stopped(world)


def test_an_error_that_nobody_expected_stops_the_robot(make_world, monkeypatch):
    world = make_world(drive=True)
    _, result = world.drive(pose=pose_goal(9.0))

    def fail(lag_s):
        raise KeyError("a bug")

    monkeypatch.setattr(world.node._pursuit, "step", fail)
    assert world.wait(result).result.name == "FAILED"
    assert stopped(world)
    monkeypatch.undo()
    assert world.run(pose=pose_goal(world.x + 0.5)).result.name == "REACHED"


def test_a_memory_that_is_gone_stops_the_robot_and_is_named(make_world):
    world = make_world(drive=True, memory_timeout_s=1.0, window_period_s=0.1)
    _, result = world.drive(pose=pose_goal(9.0))
    world.on_executor(lambda: world.peer.destroy_service(world.memory.service))
    assert world.wait(result).result.name == "MEMORY_LOST"
    assert stopped(world)


def test_who_is_not_heard_or_served_is_named(make_world):
    world = make_world(drive=True, lookup_timeout_s=1.0, input_timeout_s=0.5)
    world.is_sending = False
    assert world.run(pose=pose_goal(3.0)).result.name == "STALE_INPUTS"
    world.is_sending = True
    answer = world.run(image=Image(height=2, width=2, encoding="rgb8", step=6, data=bytes(12)))
    assert answer.result.name == "NOT_ENCODED", answer.result.message
    assert "latent_publisher/encode" in answer.result.message


def test_deactivated_the_robot_stands_and_the_goal_is_answered(make_world):
    world = make_world(drive=True)
    _, result = world.drive(pose=pose_goal(9.0))
    world.on_executor(world.node.trigger_deactivate)
    assert world.wait(result).result.name == "STOPPED"
    assert stopped(world)
    sent = world.client.send_goal_async(Plan.Goal(memory_id=3))
    world.until(sent.done)
    assert not sent.result().accepted
    world.on_executor(world.node.trigger_activate)
    assert world.run(pose=pose_goal(world.x + 1.0)).result.name == "REACHED"


@pytest.mark.parametrize("output", ["twist", "twist_stamped"])
def test_a_base_that_takes_twists_is_given_them(make_world, output):
    world = make_world(drive=True, output=output)
    assert world.run(pose=pose_goal(0.8)).result.name == "REACHED"
    assert output == "twist" or world.told.header.frame_id == "base_link"


def test_the_best_plans_are_imagined(make_world, monkeypatch):
    asked = []
    real = SurpriseJudge.__call__
    monkeypatch.setattr(SurpriseJudge, "__call__", lambda *given: asked.append(given[2].shape) or real(*given))
    world = make_world(drive=True)
    world.changes = {"encoder_id": world.memory.encoder_id}
    assert world.run(pose=pose_goal(0.8)).result.name == "REACHED"
    assert set(asked) == {(16, 56, 2)}
    assert world.node._imagining._is_begun


def test_the_parameter_file_sets_every_parameter():
    assert_file_sets_every_parameter(CONFIG, "latent_planner", LatentPlannerParams)
