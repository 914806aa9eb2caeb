"""What goes out: commands to the robot where it may be driven, plan, path, way and cost to whoever looks."""

from __future__ import annotations

from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid, Path
from std_msgs.msg import Float32MultiArray, Header

from latent_planner.goals import GoalPose
from latent_planner.locate import Located
from latent_planner.messages import COMMANDS, actions_msg, command_msg, field_msg, path_msg, route_msg, shapes_of
from latent_planner.params import LatentPlannerParams
from latent_planner.planner import Decision
from latent_planner.pursuit import ACTIONS
from wm_ros import ManagedNode, qos
from wm_ros.markers import MarkerSheet

# A command to stop is repeated: whoever reads it may miss one.
_STOPS = 5


class PlannerOutput:
    """Publishes ``planned_actions``, ``planned_path``, ``~/field``, ``~/route``, ``~/markers`` and maybe ``actions``.

    Args:
        node: Who publishes.
        params: Whether and how the robot is commanded.

    Attributes:
        frame_id: Frame of the robot's poses; empty: not known yet.
        z_m: Height at which it drives there [m].
    """

    def __init__(self, node: ManagedNode[LatentPlannerParams], params: LatentPlannerParams) -> None:
        self._clock, self._params = node.get_clock(), params
        self._plan = node.create_publisher(Float32MultiArray, "planned_actions", qos.STREAM)
        self._path = node.create_publisher(Path, "planned_path", qos.STREAM)
        self._field = node.create_publisher(OccupancyGrid, "~/field", qos.LATCHED)
        self._route = node.create_publisher(Path, "~/route", qos.LATCHED)
        self._command_publisher: Any = None
        if params.drive:
            self._command_publisher = node.create_publisher(COMMANDS[params.output], "actions", qos.STREAM)
        self._sheet = MarkerSheet(node, "~/markers")
        self._stops_left = 0
        self.frame_id, self.z_m = "", 0.0

    def header(self) -> Header:
        """Return the header of what is placed on the map now."""
        return Header(stamp=self._clock.now().to_msg(), frame_id=self.frame_id or "map")

    def show_way(self, located: Located) -> None:
        """Show the way to a goal and what each place costs; from then on no stop is repeated."""
        header = self.header()
        self._field.publish(field_msg(header, located.field, self.z_m))
        self._route.publish(route_msg(header, located.way.point_R2, self.z_m))
        self._stops_left = 0

    def send(self, decision: Decision, pose_3: np.ndarray, goal: GoalPose | None) -> None:
        """Command what was decided and show what follows it.

        Args:
            decision: What to do.
            pose_3: Where the robot is: x, y [m], yaw [rad].
            goal: Where it is to go, as far as that is recognised.
        """
        header = self.header()
        self._command(decision.command_A)
        plan_SA = np.concatenate([decision.command_A[None], decision.plan_SA[:-1]])
        self._plan.publish(actions_msg(plan_SA))
        self._path.publish(path_msg(header, np.concatenate([pose_3[None], decision.path_S3]), self.z_m))
        if goal is not None and len(decision.sample_BS3) and self._sheet.is_watched:
            self._sheet.show(shapes_of(goal.pose_3, decision.sample_BS3, self.z_m), header.frame_id)

    def stop(self) -> None:
        """Tell the robot to stand, now and with some of the next ticks; show no path any more."""
        self._stops_left = _STOPS
        self._send_stop()
        self._path.publish(Path(header=self.header()))
        self._sheet.show([], self.frame_id or "map")

    def repeat_stop(self) -> None:
        """Tell the robot to stand once more, if it was told just now."""
        if self._stops_left:
            self._send_stop()

    def _send_stop(self) -> None:
        self._stops_left -= 1
        self._command(np.zeros(ACTIONS))
        self._plan.publish(actions_msg(np.zeros((1, ACTIONS), np.float32)))

    def _command(self, command_A: np.ndarray) -> None:
        if self._command_publisher is not None:
            header = Header(stamp=self._clock.now().to_msg(), frame_id=self._params.output_frame)
            self._command_publisher.publish(command_msg(self._params.output, header, command_A))
