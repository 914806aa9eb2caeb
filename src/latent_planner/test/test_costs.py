"""Costs by name, beside plain loops."""

import math

import numpy as np
import pytest
from latent_planner.costs import COSTS, CostError, Imagined, TotalCost, make_cost
from latent_planner.ground import Ground
from latent_planner.ground_settings import GroundSettings

PLANS, STEPS, SIZE = 3, 4, 5
RNG = np.random.default_rng(0)
IMAGINED = Imagined(
    plan_BSA=RNG.normal(size=(PLANS, STEPS, 2)),
    pose_BS3=RNG.normal(size=(PLANS, STEPS, 3)) * [1.0, 0.1, 2.0],
    latent_BSD=RNG.normal(size=(PLANS, STEPS, SIZE)),
    surprise_BS=RNG.uniform(size=(PLANS, STEPS)),
    reward_BS=RNG.normal(size=(PLANS, STEPS)),
)
GOAL_D, VARIANCE_D, GOAL_3 = RNG.normal(size=SIZE), RNG.uniform(0.5, 2.0, SIZE), np.array([1.0, -2.0, 3.0])
BEFORE_A, RANGE_A = np.array([0.2, -0.3]), np.array([1.0, 4.0])
TRACK = np.column_stack([np.arange(-3.0, 3.0, 0.2), np.zeros(30), np.zeros(30)])
FIELD = Ground(TRACK, np.zeros(30, int), GroundSettings()).field(np.array([2.0, 0.0]))
SETTINGS = {
    "goal_latent": {"latent_D": GOAL_D, "variance_D": VARIANCE_D},
    "goal_pose": {"pose_3": GOAL_3, "yaw_weight_m": 0.5},
    "known_ground": {"field": FIELD},
    "smoothness": {"before_A": BEFORE_A, "range_A": RANGE_A},
}


def plainly(name, plan, step):
    """One step of one plan, written out."""
    pose_3 = IMAGINED.pose_BS3[plan, step]
    if name == "goal_latent":
        terms = zip(IMAGINED.latent_BSD[plan, step], GOAL_D, VARIANCE_D)
        return sum((seen - wanted) ** 2 / variance for seen, wanted, variance in terms) / SIZE
    if name == "goal_pose":
        turn = math.remainder(pose_3[2] - GOAL_3[2], 2 * math.pi)
        return math.dist(pose_3[:2], GOAL_3[:2]) + 0.5 * abs(turn)
    if name == "smoothness":
        before = IMAGINED.plan_BSA[plan, step - 1] if step else BEFORE_A
        return sum(((IMAGINED.plan_BSA[plan, step] - before) / RANGE_A) ** 2)
    if name == "known_ground":
        return FIELD.at(pose_3[None, None, :2])[0, 0]
    return {"reward": -IMAGINED.reward_BS, "surprise": IMAGINED.surprise_BS}[name][plan, step]


@pytest.mark.parametrize("name", sorted(COSTS))
def test_costs_are_those_of_a_plain_loop(name):
    cost_BS = make_cost(name, has_reward=True, **SETTINGS.get(name, {}))(IMAGINED)
    expected = [[plainly(name, plan, step) for step in range(STEPS)] for plan in range(PLANS)]
    assert cost_BS == pytest.approx(np.array(expected), rel=1e-5, abs=1e-5)


def test_a_total_is_weighed_summed_and_discounted():
    weights = {"goal_pose": 2.0, "surprise": 0.5}
    total_B = TotalCost.named(weights, SETTINGS, discount=0.9)(IMAGINED)
    expected = [
        sum(0.9**step * sum(w * plainly(name, plan, step) for name, w in weights.items()) for step in range(STEPS))
        for plan in range(PLANS)
    ]
    assert total_B == pytest.approx(expected)


def test_a_reward_without_a_trained_head_is_refused_by_name():
    with pytest.raises(CostError, match="'reward' needs a trained reward head"):
        TotalCost.named({"reward": 1.0}, {})


@pytest.mark.parametrize("name", ["goal_latent", "surprise", "reward"])
def test_what_was_not_imagined_is_named(name):
    cost = make_cost(name, has_reward=True, **SETTINGS.get(name, {}))
    with pytest.raises(CostError, match=name):
        cost(Imagined(IMAGINED.plan_BSA, IMAGINED.pose_BS3))


def test_costs_that_do_not_exist_or_lack_something_are_refused():
    with pytest.raises(CostError, match="expected one of goal_latent"):
        make_cost("beauty")
    with pytest.raises(CostError, match="goal_pose"):
        make_cost("goal_pose")
    with pytest.raises(CostError, match="at least one"):
        TotalCost([])
    with pytest.raises(CostError, match="discount"):
        TotalCost([(1.0, make_cost("surprise"))], discount=1.5)
