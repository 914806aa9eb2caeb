"""The forecast of many candidates at once gives what the transition itself gives."""

import pytest
import torch

from world_model.errors import ArtifactError
from world_model.runtime import fused
from world_model.runtime.artifacts import load_artifact
from world_model.runtime.fused import FusedForecast
from world_model.runtime.tensors import Observed, Retrieved


@pytest.fixture(scope="module")
def artifact():
    return load_artifact("artifact://tiny")


def inputs(transition, plans, steps, *, seed=0, memories=0.8, followed=0.6):
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    def some(share, *shape):
        return torch.rand(*shape, generator=rng) < share

    known = (torch.rand(plans, steps, 1, generator=rng) < 0.9).float()
    motion = torch.cat([0.5 * normal(plans, steps, 3), known, 0.05 * normal(plans, steps, 3).abs()], 2)
    observed = Observed(
        0.5 * normal(plans, transition.initial(1).shape[1]), normal(plans, 32), normal(plans, 2), motion,
        torch.linspace(0.2, 2.0, steps).expand(plans, -1), torch.zeros(plans, 896),
        torch.zeros(plans, dtype=torch.int64),
    )  # fmt: skip
    retrieved = Retrieved(
        normal(plans, steps, 8, 32), 0.3 * normal(plans, steps, 8, 6), some(memories, plans, steps, 8),
        normal(plans, 4, 32), 0.3 * normal(plans, 4, 7), some(0.7, plans, 4),
        normal(plans, steps, 4, 32), some(followed, plans, steps, 4),
    )  # fmt: skip
    return observed, retrieved


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("memories", "followed"), [(0.8, 0.6), (0.8, 0.0), (0.1, 0.0), (0.0, 0.0), (0.0, 0.5)])
def test_it_forecasts_what_the_transition_does(artifact, memories, followed, threads):
    transition = artifact.transition()
    given = inputs(transition, 37, 10, memories=memories, followed=followed)
    with torch.inference_mode():
        expected = transition.forecast(*given)
    for ours, theirs in zip(FusedForecast(artifact.weights("transition"), threads).forecast(*given), expected):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_chunks_forecast_what_all_at_once_does(artifact, monkeypatch):
    given = inputs(artifact.transition(), 37, 10)
    whole = FusedForecast(artifact.weights("transition")).forecast(*given)
    monkeypatch.setattr(fused, "_CHUNK_ROWS", 80)
    for ours, theirs in zip(FusedForecast(artifact.weights("transition"), 2).forecast(*given), whole):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_one_candidate_and_one_horizon_are_a_batch_too(artifact):
    transition = artifact.transition()
    given = inputs(transition, 1, 1, seed=3)
    with torch.inference_mode():
        expected = transition.forecast(*given)
    ours = FusedForecast(artifact.weights("transition")).forecast(*given)
    torch.testing.assert_close(ours[0], expected[0], atol=2e-5, rtol=2e-5)


def test_an_action_that_is_not_known_counts_as_the_usual_one(artifact):
    observed, retrieved = inputs(artifact.transition(), 3, 4)
    unknown = observed._replace(action=torch.full((3, 2), torch.nan))
    usual = observed._replace(action=artifact.weights("transition")["action_mean"].expand(3, -1))
    fused = FusedForecast(artifact.weights("transition"))
    torch.testing.assert_close(fused.forecast(unknown, retrieved)[0], fused.forecast(usual, retrieved)[0])


def test_another_kind_of_transition_is_refused_by_name(artifact):
    weights = {name: v for name, v in artifact.weights("transition").items() if not name.startswith("memory.warp")}
    with pytest.raises(ArtifactError, match=r"memory\.warp"):
        FusedForecast(weights)
    two_layers = artifact.weights("transition") | {"context.cells.1.weight_ih": torch.zeros(288, 96)}
    with pytest.raises(ArtifactError, match="one layer"):
        FusedForecast(two_layers)


@pytest.mark.parametrize("lacks", ["all of it", "one kernel"])
def test_without_onednn_it_forecasts_the_same(artifact, monkeypatch, lacks):
    """As on a processor for which torch was built without it, or with another set of kernels."""
    if lacks == "all of it":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    else:

        def lacking(*_: object) -> None:
            raise NotImplementedError("could not run 'mkldnn::_linear_pointwise'")

        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lacking)
    transition = artifact.transition()
    given = inputs(transition, 20, 5, seed=4)
    with torch.inference_mode():
        expected = transition.forecast(*given)
    for ours, theirs in zip(FusedForecast(artifact.weights("transition")).forecast(*given), expected):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)
