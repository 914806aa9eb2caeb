"""Commands keep the order of time, however far behind the one that drives is."""

import numpy as np
import pytest

from wm_sim import EXACT, STILL, Simulation
from wm_sim_ros.steering import Steering


def test_command_from_the_future_of_one_that_is_behind_waits_for_its_time():
    simulation = Simulation(0, changes=STILL, pose_noise=EXACT, image_size=(16, 16), driven_by="actions")
    now_s = [0.0]
    steering = Steering(simulation, lambda: now_s[0])
    begin = np.array(simulation.measure_pose(0.0)[0][:2])
    for now_s[0] in (0.1, 0.4, 9.0):
        steering.take(np.array([0.5, 0.0]))
    steering.steer(0.5)
    assert simulation.robot.time_s <= 0.5
    way_m = np.hypot(*(np.array(simulation.measure_pose(0.5)[0][:2]) - begin))
    assert 0.0 < way_m <= 0.5 * 0.4
    steering.steer(9.0)
    assert simulation.robot.time_s == pytest.approx(9.0)
