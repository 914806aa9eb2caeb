"""The mixture against its bound: whatever comes, however late, it is hardly worse than the best expert in hindsight."""

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world_model.runtime.guard import CLIP, FLOOR, DelayedMixture

DIM, EXPERTS = 3, 4
PRIOR = np.array([0.9, 0.05, 0.03, 0.02])
# Steps between a forecast and its outcome: those of every horizon that evaluation knows.
DELAYS = (1, 5, 10, 20, 40)


def play(experts_TED, latent_TD, delay, lost_T=None):
    """Return the mixture, and the errors counted of it [T] and of each expert [T, E], outcomes ``delay`` late."""
    guard, waiting, ours, theirs = DelayedMixture(PRIOR, np.ones(DIM)), deque(), [], []
    for t in range(len(latent_TD) + delay):
        if len(waiting) == delay or (waiting and t >= len(latent_TD)):
            made, ticket = waiting.popleft()
            if lost_T is not None and lost_T[made]:
                guard.release(ticket)
            else:
                error_E = np.mean((experts_TED[made] - latent_TD[made]) ** 2, axis=1)
                scale = min(1.0, CLIP / max(error_E.max(), 1e-300))
                mixed_D = ticket.weight_E @ experts_TED[made]
                ours.append(scale * np.mean((mixed_D - latent_TD[made]) ** 2))
                theirs.append(scale * error_E)
                guard.learn(ticket, experts_TED[made], latent_TD[made])
        if t < len(latent_TD):
            waiting.append((t, guard.take()))
    return guard, np.array(ours), np.array(theirs).reshape(-1, EXPERTS)


def assert_bounded(guard, ours_T, theirs_TE):
    for expert in range(EXPERTS):
        assert ours_T.sum() - theirs_TE[:, expert].sum() <= guard.bound(expert) + 1e-9


@pytest.mark.parametrize("delay", DELAYS)
@given(seed=st.integers(0, 2**32 - 1), rounds=st.integers(1, 250), scale=st.sampled_from([1e-3, 0.3, 3.0, 40.0]))
@settings(max_examples=15, deadline=None)
def test_random_walks_of_any_size_stay_under_the_bound(delay, seed, rounds, scale):
    rng = np.random.default_rng(seed)
    latent_TD = np.cumsum(rng.normal(size=(rounds, DIM)), axis=0) * scale * 0.1
    experts_TED = (
        latent_TD[:, None] + rng.normal(size=(rounds, EXPERTS, DIM)) * scale * rng.exponential(size=EXPERTS)[:, None]
    )
    lost_T = rng.random(rounds) < 0.1
    assert_bounded(*play(experts_TED, latent_TD, delay, lost_T))


@pytest.mark.parametrize("delay", DELAYS)
@given(seed=st.integers(0, 2**32 - 1), block=st.integers(1, 60), rounds=st.integers(20, 300))
@settings(max_examples=10, deadline=None)
def test_experts_that_take_turns_in_being_right_stay_under_the_bound(delay, seed, block, rounds):
    rng = np.random.default_rng(seed)
    experts_TED = rng.normal(size=(rounds, EXPERTS, DIM))
    right_T = rng.integers(EXPERTS, size=rounds // block + 1)[np.arange(rounds) // block]
    latent_TD = experts_TED[np.arange(rounds), right_T]
    assert_bounded(*play(experts_TED, latent_TD, delay))


def test_no_learner_gives_up_an_expert_for_good_while_the_first_one_is_exact():
    """A robot stands, and persistence is exact; then fewer forecasts wait than before, and it moves a little."""
    guard, still = DelayedMixture(np.array([0.9, 0.1]), np.ones(1)), np.array([[0.0], [5.0]])
    for ticket in [guard.take() for _ in range(20)]:
        guard.learn(ticket, still, np.zeros(1))
    guard.learn(guard.take(), np.array([[0.01], [5.0]]), np.zeros(1))
    for _ in range(10):
        tickets = [guard.take() for _ in range(20)]
        assert all(ticket.weight_E.min() > 0.5 * FLOOR * 0.1 for ticket in tickets)
        for ticket in tickets:
            guard.learn(ticket, still, np.array([5.0]))
    assert guard.weights()[1] > 0.9


@pytest.mark.parametrize("delay", DELAYS)
@given(seed=st.integers(0, 2**32 - 1), rounds=st.integers(20, 300))
@settings(max_examples=15, deadline=None)
def test_outcomes_that_come_now_sooner_now_later_stay_under_the_bound(delay, seed, rounds):
    """The first expert is exact at first, as persistence is of who stands; then what comes is who is trusted least."""
    rng = np.random.default_rng(seed)
    guard, waiting, ours, theirs = DelayedMixture(PRIOR, np.ones(DIM)), [], 0.0, np.zeros(EXPERTS)
    size_T = 10.0 ** rng.uniform(-4.0, 0.5, rounds)
    for t in range(rounds):
        ticket, said_ED = guard.take(), rng.normal(size=(EXPERTS, DIM)) * size_T[t]
        right = 0 if t < rounds // 2 else np.argmin(ticket.weight_E)
        waiting.append((t + int(rng.integers(1, delay + 1)), ticket, said_ED, said_ED[right]))
        for due, then, known_ED, latent_D in waiting:
            if due <= t:
                ours += np.mean((then.weight_E @ known_ED - latent_D) ** 2)
                theirs += np.mean((known_ED - latent_D) ** 2, axis=1)
                guard.learn(then, known_ED, latent_D)
        waiting = [each for each in waiting if each[0] > t]
    assert all(ours - theirs[expert] <= guard.bound(expert) + 1e-9 for expert in range(EXPERTS))


@pytest.mark.parametrize("delay", DELAYS)
def test_an_adversary_that_sees_the_weights_stays_under_the_bound(delay):
    """What comes is always the expert that is trusted least: nothing can be learned, and still little is lost."""
    rng = np.random.default_rng(delay)
    guard, waiting, ours, theirs = DelayedMixture(PRIOR, np.ones(DIM)), deque(), 0.0, np.zeros(EXPERTS)
    for _ in range(400):
        if len(waiting) == delay:
            ticket, said_ED, latent_D = waiting.popleft()
            ours += np.mean((ticket.weight_E @ said_ED - latent_D) ** 2)
            theirs += np.mean((said_ED - latent_D) ** 2, axis=1)
            guard.learn(ticket, said_ED, latent_D)
        ticket, said_ED = guard.take(), rng.normal(size=(EXPERTS, DIM))
        waiting.append((ticket, said_ED, said_ED[np.argmin(ticket.weight_E)]))
    assert all(ours - theirs[expert] <= guard.bound(expert) for expert in range(EXPERTS))


@pytest.mark.parametrize("delay", DELAYS)
def test_the_bound_does_not_grow_with_time(delay):
    """Per round it goes to nothing: after 10 000 rounds less than 1 % of the largest error at any horizon."""
    guard = DelayedMixture(PRIOR, np.ones(DIM))
    for _ in range(delay):
        guard.take()
    guard.largest, guard.judged = 1.0, 10_000
    assert guard.learner_count == delay
    long = guard.bound(0)
    guard.judged = 0
    assert long - guard.bound(0) < 0.1
    assert guard.bound(0) == pytest.approx(delay * (6.0 - 3.5 * math.log(0.9)))


def test_before_anything_is_known_the_first_expert_speaks_alone():
    assert DelayedMixture(PRIOR, np.ones(DIM)).take().weight_E.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_one_round_by_hand():
    """Errors 1 and 0 with priors 0.9 and 0.1: the mean so far is 1, so the rate is 2 / (2 * 1) = 1."""
    guard = DelayedMixture(np.array([0.9, 0.1]), np.ones(1))
    guard.learn(guard.take(), np.array([[1.0], [0.0]]), np.array([0.0]))
    weight = 0.9 * math.exp(-1.0)
    assert guard.take().weight_E == pytest.approx([weight / (weight + 0.1), 0.1 / (weight + 0.1)])


def test_a_broken_frame_does_not_undo_what_was_learned():
    guard = DelayedMixture(np.array([0.5, 0.5]), np.ones(1))
    for _ in range(50):
        guard.learn(guard.take(), np.array([[0.0], [1.0]]), np.array([0.0]))
    guard.learn(guard.take(), np.array([[1e6], [0.0]]), np.array([0.0]))
    assert guard.largest == CLIP
    for _ in range(100):
        guard.learn(guard.take(), np.array([[0.0], [1.0]]), np.array([0.0]))
    assert guard.take().weight_E[0] > 0.99


def test_learners_are_used_again():
    guard = DelayedMixture(PRIOR, np.ones(DIM))
    for _ in range(3):
        guard.release(guard.take())
    assert guard.learner_count == 1
    first, second = guard.take(), guard.take()
    assert (first.learner, second.learner, guard.learner_count) == (0, 1, 2)
