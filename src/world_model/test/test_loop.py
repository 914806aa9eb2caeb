"""One optimiser step must not depend on how its batch is divided, nor on what is kept for the backward pass."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from wm_testing.episodes import circling_set
from world_model.data.episodes import EpisodeSet
from world_model.errors import ConfigError
from world_model.extras.outcomes import OutcomeSampler, outcomes_of
from world_model.models.factory import make_transition
from world_model.models.residual import ResidualBlock
from world_model.runtime.conditioning import Retrieval
from world_model.training.checkpoints import check_same_run, load_checkpoint
from world_model.training.config import ModelConfig, OptimiserConfig, StageConfig, TrainConfig
from world_model.training.crew import Crew
from world_model.training.distributed import TransitionRun, fit_transition
from world_model.training.loop import Loop, divide, one_cycle, run_stage
from world_model.training.losses import horizon_weights
from world_model.training.preparation import make_sequences
from world_model.training.recompute import recomputed
from world_model.training.report import Report
from world_model.training.stages import prepare
from world_model.training.transition_stage import Trainer, TransitionLosses, parts_of

pytestmark = pytest.mark.training

CONFIG = TrainConfig(
    horizons=(1, 20),
    path_steps=11,
    retrieval=Retrieval(anticipated_k=4, appearance_k=2),
    model=ModelConfig(latent_dim=8, hidden_dim=16, width=32, memory_width=16),
    optimiser=OptimiserConfig(steps=2, batch=4, warm_up=0, sequence=8, burn_in=2, positions=2),
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Return stages and sequences of one short episode."""
    episodes = EpisodeSet(circling_set(tmp_path_factory.mktemp("set"), names=("a",), seconds=40.0))
    torch.manual_seed(0)
    stages = prepare(CONFIG, episodes, ["a"], tmp_path_factory.mktemp("run"))
    return stages, make_sequences(CONFIG, episodes, ["a"], stages, Crew(1))


def columns_of(sequences, count, outcomes=None):
    o = CONFIG.optimiser
    sampler = OutcomeSampler(sequences, CONFIG.horizons, o.sequence, o.burn_in, o.positions, 0, outcomes or {})
    return sampler.columns(count)


def fresh(stages, context="gru"):
    torch.manual_seed(1)
    model = make_transition(replace(CONFIG.model, context=context), 2)
    statistics = {k: v for k, v in stages.transition.state_dict().items() if k.startswith(("latent_", "action_"))}
    model.load_state_dict(statistics, strict=False)
    model.path.requires_grad_(False)
    # Gates that start at zero would hide the memory branch.
    nn.init.constant_(model.memory.alpha, 0.5)
    return model


def losses_of(model, recompute=False):
    return TransitionLosses(
        model, torch.tensor(CONFIG.horizons) * 0.05, horizon_weights(2, 1.0), model.latent_std.square(), recompute
    )


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def agree(first, second, tolerance=1e-6):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.allclose(first[name], second[name], atol=tolerance, rtol=1e-4), name


def after_one_step(stages, sequences, folder, **settings):
    """Return weights and mean gradients after one step, divided as the settings say, and its losses."""
    model = fresh(stages)
    config = replace(CONFIG, optimiser=replace(CONFIG.optimiser, steps=1, **settings))
    run = TransitionRun(config, folder, 0.05, model.latent_std.square(), {}, sequences, [])
    losses = fit_transition(run, model, Report())
    optimiser = torch.load(folder / "last.pt", weights_only=True)["optimiser"]
    moments = {str(key): 10.0 * entry["exp_avg"] for key, entry in optimiser["state"].items()}
    return model.state_dict(), moments, losses


def test_two_halves_give_the_gradients_of_the_whole(prepared, tmp_path):
    stages, sequences = prepared
    columns = columns_of(sequences, 8)
    found = []
    for accumulate in (1, 2):
        settings = replace(CONFIG.optimiser, accumulate=accumulate, batch=8 // accumulate)
        model = fresh(stages)
        loop = Loop(replace(CONFIG, optimiser=settings), settings, model, losses_of(model), tmp_path / str(accumulate))
        seen = {}
        loop._optimiser.step = lambda m=model, s=seen: s.update(gradients(m))
        terms = loop.take_step(parts_of(columns, accumulate))
        found.append((seen, terms))
    agree(found[0][0], found[1][0])
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


@pytest.mark.timeout(120)
def test_two_processes_take_the_step_of_one_with_twice_the_batch(prepared, tmp_path):
    stages, sequences = prepared
    weights, moments, losses = after_one_step(stages, sequences, tmp_path / "alone", batch=8)
    shared_weights, shared_moments, _ = after_one_step(stages, sequences, tmp_path / "shared", batch=4, devices=2)
    agree(moments, shared_moments)
    assert max(float(moment.abs().max()) for moment in moments.values()) > 1e-3
    # The first step of AdamW has one length whatever the gradient's: more than one step would show.
    moved = [weights["blind.net.4.bias"] - fresh(stages).blind.net[4].bias, shared_weights["blind.net.4.bias"]]
    moved[1] = moved[1] - fresh(stages).blind.net[4].bias
    assert torch.allclose(*moved, atol=1e-4)
    # The first process logs, and only its own half.
    assert (tmp_path / "shared" / "log.csv").read_text().count("prediction_memory") == 1
    assert losses["prediction_memory"] != losses["prediction"]


def test_half_precision_stays_near(prepared, tmp_path):
    stages, sequences = prepared
    exact, _, exact_losses = after_one_step(stages, sequences, tmp_path / "exact", batch=8)
    rough, _, rough_losses = after_one_step(stages, sequences, tmp_path / "rough", batch=8, precision="bf16-mixed")
    assert rough_losses == pytest.approx(exact_losses, rel=0.05)
    assert rough_losses != exact_losses
    assert all(value.dtype == exact[name].dtype for name, value in rough.items())


@pytest.mark.parametrize("context", ["gru", "rssm"])
def test_computing_activations_again_changes_no_gradient(prepared, context):
    stages, sequences = prepared
    columns, found = columns_of(sequences, 4), []
    for recompute in (False, True):
        model = fresh(stages, context)
        torch.manual_seed(2)
        sum(losses_of(model, recompute)(*columns).values()).backward()
        found.append(gradients(model))
    agree(*found, 0.0)


def test_layers_that_compute_again_count_a_batch_once():
    torch.manual_seed(0)
    found = []
    for again in (False, True):
        torch.manual_seed(0)
        block, value = ResidualBlock(3, 4, 2), torch.randn(2, 3, 8, 8)
        with recomputed([block] if again else []):
            block(value).square().sum().backward()
        found.append({**gradients(block), **{name: b.float() for name, b in block.named_buffers()}})
    agree(*found, 0.0)
    assert "forward" not in vars(block)


def test_rssm_losses_by_name_and_outcomes_where_known(prepared):
    stages, sequences = prepared
    model = fresh(stages, "rssm")
    terms = losses_of(model)(*columns_of(sequences, 4))
    assert set(terms) == {"prediction", "prediction_memory", "kl"}
    assert terms["kl"].item() >= 1.0 - 1e-6  # free nats
    terms["kl"].backward()
    assert model.context.prior_net.weight.grad is not None
    outcome_T2 = np.full((len(sequences[0].stamp_T), 2), np.nan, np.float32)
    nothing = losses_of(model)(*columns_of(sequences, 4, {"a": outcome_T2}))
    assert nothing["reward"].item() == nothing["goes_on"].item() == 0.0
    model.zero_grad()
    sum(nothing.values()).backward()
    assert not model.context.reward.weight.grad.any()
    outcome_T2[:, 0], outcome_T2[::2, 1] = 2.0, 1.0
    terms = losses_of(model)(*columns_of(sequences, 4, {"a": outcome_T2}))
    (terms["reward"] + terms["goes_on"]).backward()
    assert model.context.reward.bias.grad.item() < 0
    assert model.context.carries_on.bias.grad.item() < 0


def test_drives_may_carry_outcomes(tmp_path):
    episodes = EpisodeSet(circling_set(tmp_path, names=("a",), seconds=8.0))
    assert outcomes_of(episodes, ["a"]) == {}
    np.save(tmp_path / "episodes" / "a" / "reward.npy", np.arange(160, dtype=np.float32))
    outcome_T2 = outcomes_of(episodes, ["a"])["a"]
    assert outcome_T2[3, 0] == 3.0
    assert np.isnan(outcome_T2[:, 1]).all()
    assert episodes.episode("a").cut(1.0, 2.0).reward_T.tolist() == list(range(20, 40))


def test_validation_changes_nothing(prepared, tmp_path):
    stages, sequences = prepared
    trainer = Trainer(CONFIG, model := fresh(stages), tmp_path, 0.05)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert set(trainer.validate(sequences)) == {"prediction", "prediction_memory"}
    agree(before, model.state_dict(), 0.0)


def test_a_checkpoint_older_than_a_setting_counts_as_having_its_default():
    old = asdict(CONFIG)
    del old["losses"], old["optimiser"]["devices"]
    check_same_run(old, CONFIG)
    with pytest.raises(ConfigError, match=r"optimiser\.accumulate 1, not 2"):
        check_same_run(old, replace(CONFIG, optimiser=replace(CONFIG.optimiser, accumulate=2)))
    with pytest.raises(ConfigError, match="unknown key flavour"):
        check_same_run({**old, "flavour": 1}, CONFIG)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="3 rows cannot be divided into 2"):
        divide([torch.zeros(3)], 2)


def test_one_cycle_is_that_of_torch():
    settings = StageConfig(steps=40, learning_rate=3e-3)
    mine, theirs = (torch.optim.AdamW(nn.Linear(2, 2).parameters()) for _ in range(2))
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 3e-3, total_steps=40, pct_start=0.1)
    for step in range(40):
        one_cycle(mine, step, settings)
        for name in ("lr", "betas"):
            assert mine.param_groups[0][name] == pytest.approx(theirs.param_groups[0][name], rel=1e-12)
        if step < 39:
            theirs.step()
            schedule.step()


def test_a_small_stage_goes_on_from_its_checkpoint(tmp_path):
    config, settings = replace(CONFIG, validate_every=4), StageConfig(steps=9, batch=2, warm_up=0)

    class Squares(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, value_BD):
            return {"square": self.model(value_BD).square().mean()}

    def run(stop_at, steps):
        def advance(stage, done, total):
            steps.append(done)
            if done == stop_at:
                raise InterruptedError

        model = nn.Linear(3, 1)
        loop = Loop(config, settings, model, Squares(model), tmp_path)
        run_stage(loop, lambda seed: lambda: [torch.full((2, 3), float(seed + 1))], 0, "toy", Report(advance=advance))
        return model

    first, second = [], []
    with pytest.raises(InterruptedError):
        run(6, first)
    run(None, second)
    assert (first, second) == ([1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9])


class Falling(Loop):
    """A loop whose only weight is the number of steps taken, and whose validation is a function of it."""

    def __init__(self, folder, steps=10):
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        config = TrainConfig(validate_every=1)
        super().__init__(config, StageConfig(steps=steps, warm_up=0), model, nn.Sequential(model), folder)
        self.model = model

    def take(self):
        with torch.no_grad():
            self.model.weight += 1.0
        return {"prediction": 0.0}


@pytest.mark.parametrize(
    ("errors", "patience", "kept", "taken"),
    [
        ([5, 4, 3, 2, 3, 4, 1, 0, 0, 0, 0], 2, 3, 5),  # what would come after the stop is never seen
        ([5, 4, 3, 2, 3, 4, 1, 2, 2, 2, 2], 4, 6, 10),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9], 3, 0, 3),  # nothing was better than the start
        ([5, 4, 3, 2, 3, 4, 5, 6, 7, 8, 9], 0, 10, 10),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0], 3, 10, 10),
        ([5, math.nan, math.nan, 4, math.nan, math.nan, 9, 9, 9, 9, 9], 3, 3, 6),
    ],
)
def test_a_run_with_patience_ends_with_its_best_weights(errors, patience, kept, taken, tmp_path):
    loop = Falling(tmp_path)
    terms = loop.run(loop.take, lambda: {"prediction": float(errors[int(loop.model.weight)])}, patience=patience)
    assert (int(loop.model.weight), loop.step) == (kept, taken)
    assert terms["prediction"] == errors[kept]
    assert float(load_checkpoint(tmp_path / "last.pt")["model"]["weight"]) == kept


def test_patience_without_held_out_sequences_trains_to_the_end(tmp_path):
    loop = Falling(tmp_path)
    loop.run(loop.take, patience=1)
    assert loop.step == int(loop.model.weight) == 10
