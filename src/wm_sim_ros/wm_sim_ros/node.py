"""The node ``wm_sim``: the simulated robot's camera, poses and actions on ROS topics, in real time or its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMsg
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from wm_core.se3 import quaternion_of
from wm_ros import (
    Health,
    MessageError,
    ParameterError,
    declare_params,
    float_array_msg,
    image_to_msg,
    pose_to_msg,
    qos,
    run_node,
    stamp_msg,
    vector_from_msg,
)
from wm_ros.one_stream import OneStream
from wm_sim.building import make_building
from wm_sim.settings import Driving
from wm_sim.simulation import ACTIONS as DRIVEN
from wm_sim.simulation import PATH, Simulation
from wm_sim.tasks import Task, make_task
from wm_sim.timeline import Event, FrameEvent, PoseEvent, Timeline
from wm_sim_ros.pace import Pace
from wm_sim_ros.params import WmSimParams
from wm_sim_ros.steering import Steering

CAMERA, DEPTH, POSE, ACTIONS = "camera/image_raw", "camera/depth/image_raw", "pose", "actions"
PROPRIOCEPTION, REWARD, GOAL, CLOCK = "proprioception", "reward", "goal/image", "/clock"
_SUPERVISE_PERIOD_S = 0.2
_MOST_BEHIND_S = 0.5
_SETTLE_S = 1.0
OnSent = Callable[[str, int, int], None]
OnTick = Callable[[int], None]


class SimulatedRobot(Node):
    """Drive a simulated robot and publish what it senses, each message when it is due on the steady clock.

    Publishes ``/camera/image_raw`` (sensor_msgs/Image, rgb8), ``/pose`` (geometry_msgs/PoseStamped; the stamp is the
    true time of the measurement, publication comes later by the latency), ``/actions`` (std_msgs/Float32MultiArray:
    forward speed [m/s], yaw rate [rad/s]) and, on request, ``/camera/depth/image_raw`` and ``/proprioception``. Driven
    by actions it subscribes ``/actions`` instead. With a task it publishes ``/goal/image`` (sensor_msgs/Image, latched:
    what the camera sees at the goal) and after each frame ``/reward`` (std_msgs/Float32MultiArray: reward of the step
    that led there, and 1 where the task goes on, else 0).

    A thread of its own renders and publishes, so a busy executor does not disturb the rates. A machine too slow for
    the rate loses whole frames, which are counted. With ``time_scale`` it publishes ``/clock`` (rosgraph_msgs/Clock)
    for all nodes under ``use_sim_time``, and such a machine makes time slower instead.

    Args:
        on_sent: Called just before each message with its topic, stamp [ns] and the steady clock's time [ns], from the
            publishing thread.
        on_finished: Called from the executor after ``duration_s``.
        on_tick: Called with each time [ns] before it is told on ``/clock``, from the publishing thread: who holds it
            holds the time of all.
        node_options: As for ``rclpy.node.Node``.

    Raises:
        ParameterError: A parameter is unknown, of the wrong type or out of range.
    """

    def __init__(
        self,
        on_sent: OnSent | None = None,
        on_finished: Callable[[], None] | None = None,
        on_tick: OnTick | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__("wm_sim", **node_options)
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="wm_sim")
        self._params = declare_params(self, WmSimParams)
        self._on_sent = on_sent or (lambda topic, stamp_ns, steady_ns: None)
        self._on_finished = on_finished or (lambda: None)
        self._on_tick = on_tick or (lambda time_ns: None)
        self._health = Health(self)
        task = _task(self._params)
        simulation = _simulation(self._params, task)
        self._timeline = Timeline(simulation, self._params.rate_hz, self._params.pose_rate_hz)
        self._counts = dict.fromkeys(("frames_sent", "poses_sent", "actions_sent", "frames_skipped"), 0)
        self._reported = dict(self._counts)
        self._start_ns = 0
        if self._params.time_scale:
            self._clock_publisher = self.create_publisher(ClockMsg, CLOCK, 10)
        self._pace = Pace(self._params.time_scale, self._tell_time, self._stop)
        self._camera_publisher = self.create_publisher(Image, CAMERA, qos.STREAM)
        self._pose_publisher = self.create_publisher(PoseStamped, POSE, qos.STREAM)
        self._steering: Steering | None = None
        if self._params.driven_by == PATH:
            self._action_publisher = self.create_publisher(Float32MultiArray, ACTIONS, qos.STREAM)
        else:
            self._steering = Steering(simulation, lambda: self._pace.now_s)
            take = OneStream(self, ACTIONS, self._health, hears_all=True).of(self._take_command)
            self._commands = self.create_subscription(Float32MultiArray, ACTIONS, take, qos.INPUT)
        if task:
            self._reward_publisher = self.create_publisher(Float32MultiArray, REWARD, qos.STREAM)
            self._goal_publisher = self.create_publisher(Image, GOAL, qos.LATCHED)
            image, stamp = simulation.view(task.goal)[0], self.get_clock().now().to_msg()
            self._goal_publisher.publish(image_to_msg(image, stamp, self._params.camera_frame))
        if self._params.depth:
            self._depth_publisher = self.create_publisher(Image, DEPTH, qos.STREAM)
        if self._params.proprioception:
            self._proprioception_publisher = self.create_publisher(Float32MultiArray, PROPRIOCEPTION, qos.STREAM)
        self._was_finished = False
        self._driving = self._thread.submit(self._drive)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._supervisor = self.create_timer(_SUPERVISE_PERIOD_S, self._supervise, clock=steady)

    @property
    def frames_sent(self) -> int:
        """How many camera frames were published so far."""
        return self._counts["frames_sent"]

    @property
    def finished(self) -> bool:
        """Whether ``duration_s`` is over and the last message is out."""
        return self._driving.done()

    def destroy_node(self) -> None:
        """Stop driving, then destroy the node."""
        self._stop.set()
        self._thread.shutdown(wait=True)
        super().destroy_node()

    def _is_heard(self) -> bool:
        """Wait for a subscriber of the camera, and a moment more; return whether the node goes on."""
        while not self._camera_publisher.get_subscription_count():
            if self._stop.wait(0.02):
                return False
        # A reader may learn of the writer later than the writer of it, and others are just about to be matched.
        return not self._stop.wait(_SETTLE_S)

    def _drive(self) -> None:
        """Publish every event when it is due, until the duration is over or the node is destroyed."""
        if self._params.wait_for_camera_subscriber and not self._is_heard():
            return
        # Where the time is its own, whatever this node itself may follow is not asked.
        self._start_ns = time.time_ns() if self._params.time_scale else self.get_clock().now().nanoseconds
        self._pace.begin()
        while not self._stop.is_set():
            if self._steering:
                # What happens next depends on what is commanded until then.
                due_s = self._timeline.due_s
                if not self._pace.wait(due_s):
                    return
                self._steering.steer(due_s)
            event = self._timeline.next()
            if self._params.duration_s and event.stamp_s >= self._params.duration_s:
                return
            behind_s = self._pace.now_s - event.due_s
            if not self._pace.wait(event.due_s) or not self.context.ok():
                return
            self._publish(event, self._start_ns + round(event.stamp_s * 1e9))
            if behind_s > _MOST_BEHIND_S:
                self._counts["frames_skipped"] += self._timeline.skip_frames(event.due_s + behind_s)

    def _tell_time(self, now_s: float) -> None:
        if not self._start_ns:
            return
        time_ns = self._start_ns + round(now_s * 1e9)
        self._on_tick(time_ns)
        if self.context.ok():
            self._clock_publisher.publish(ClockMsg(clock=stamp_msg(time_ns)))

    def _publish(self, event: Event, stamp_ns: int) -> None:
        if isinstance(event, FrameEvent):
            self._publish_frame(event, stamp_ns)
        elif isinstance(event, PoseEvent):
            x, y, yaw = event.pose
            msg = PoseStamped(pose=pose_to_msg((x, y, 0.0), quaternion_of(yaw)))
            msg.header.stamp, msg.header.frame_id = stamp_msg(stamp_ns), self._params.map_frame
            self._send(self._pose_publisher, POSE, msg, stamp_ns)
            self._counts["poses_sent"] += 1
        elif self._steering is None:
            action_A = np.array(event.action_2, np.float32)
            self._send(self._action_publisher, ACTIONS, float_array_msg(action_A, "action"), stamp_ns)
            self._counts["actions_sent"] += 1

    def _publish_frame(self, event: FrameEvent, stamp_ns: int) -> None:
        # What belongs to a frame goes first: a reader that has the frame has it all.
        if self._params.proprioception:
            msg = float_array_msg(np.array(event.motion_2, np.float32), "motion")
            self._send(self._proprioception_publisher, PROPRIOCEPTION, msg, stamp_ns)
        stamp, frame = stamp_msg(stamp_ns), self._params.camera_frame
        if event.depth_HW is not None:
            msg = image_to_msg(event.depth_HW, stamp, frame, "32FC1")
            self._send(self._depth_publisher, DEPTH, msg, stamp_ns)
        self._send(self._camera_publisher, CAMERA, image_to_msg(event.image_HWC, stamp, frame), stamp_ns)
        self._counts["frames_sent"] += 1
        if self._steering and (outcome := self._steering.judge(event.stamp_s)):
            reward_2 = np.array([outcome.reward, outcome.goes_on], np.float32)
            self._send(self._reward_publisher, REWARD, float_array_msg(reward_2, "reward"), stamp_ns)

    def _send(self, publisher: Any, topic: str, msg: Any, stamp_ns: int) -> None:
        self._on_sent(topic, stamp_ns, time.monotonic_ns())
        publisher.publish(msg)

    def _take_command(self, message: Float32MultiArray) -> None:
        try:
            action_A = vector_from_msg(message.data, 2, "action")
        except MessageError as error:
            self._health.drop(error.reason, error.detail)
            return
        if self._steering:
            self._steering.take(action_A)

    def _supervise(self) -> None:
        """Pass on counts, and what went wrong in the thread: here, because health belongs to the executor's thread."""
        if self._steering:
            for name, value in self._steering.state.items():
                self._health.gauge(name, value)
        for name, count in self._counts.items():
            self._health.count(name, count - self._reported[name])
            if name == "frames_skipped":
                is_behind = count > self._reported[name]
                self._health.degrade("rate", f"cannot render {self._params.rate_hz} Hz" if is_behind else None)
            self._reported[name] = count
        if self._driving.done() and not self._was_finished:
            self._was_finished = True
            self._driving.result()
            self.get_logger().info(f"drove to the end: {self._counts}")
            self._on_finished()


def _task(params: WmSimParams) -> Task | None:
    if not params.task:
        return None
    if params.driven_by == PATH:
        raise ParameterError(f"task is '{params.task}' and driven_by '{PATH}': a task needs driven_by '{DRIVEN}'")
    return make_task(params.task, make_building(_building_seed(params)), params.seed)


def _building_seed(params: WmSimParams) -> int:
    return params.seed if params.building_seed < 0 else params.building_seed


def _simulation(params: WmSimParams, task: Task | None) -> Simulation:
    return Simulation(
        params.seed,
        building_seed=_building_seed(params),
        rate_hz=params.rate_hz,
        image_size=(params.height, params.width),
        changes=params.changes,
        pose_noise=params.pose_noise,
        depth=params.depth,
        driving=Driving(speed_m_s=params.speed_m_s, detour_probability=params.detour_probability),
        driven_by=params.driven_by,
        task=task,
    )


def main(args: list[str] | None = None) -> None:
    """Run the node until its duration is over or a signal comes."""
    described = SimulatedRobot, WmSimParams
    raise SystemExit(run_node(lambda: SimulatedRobot(on_finished=rclpy.try_shutdown), args, describe=described))
