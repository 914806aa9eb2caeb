import pytest

pytest.importorskip("lightning_fabric", reason="the training extra, requirements/train.txt, is not installed")

from world_model.commands.train import CONFIGS, every_stage, parse_override
from world_model.errors import ConfigError
from world_model.runtime.conditioning import Retrieval
from world_model.training.checkpoints import check_same_run
from world_model.training.config import TrainConfig, config_from, load_config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path):
    assert load_config(path).name


def test_overrides_reach_nested_keys():
    config = load_config(CONFIGS / "tiny.yaml", dict([parse_override("optimiser.steps=700")]))
    assert config.optimiser.steps == 700


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"optimizer": {}}, "unknown key optimizer"),
        ({"optimiser": {"step": 1}}, "unknown key step"),
        ({"optimiser": {"steps": "many"}}, "steps is 'many', expected int"),
        ({"optimiser": {"steps": 10, "warm_up": 20}}, "warm_up 20 must be less"),
        ({"optimiser": {"positions": 30}}, "positions 30 exceeds"),
        ({"horizons": [5, 1]}, "ascending"),
        ({"path_steps": 5}, "path_steps is 5"),
        ({"optimiser": {"devices": 0}}, r"optimiser\.devices is 0"),
        ({"pictures": {"warm_up": 30000}}, r"pictures\.warm_up 30000 must be less than steps 20000"),
        ({"pictures": {"burn_in": 0}}, r"pictures\.burn_in is 0"),
        ({"losses": {"perceptual": 1.0}}, "names no weights"),
        ({"model": {"width": 0}}, "width is 0"),
        ({"model": 3}, "expected keys and values"),
    ],
)
def test_what_does_not_fit_is_named(entries, named):
    with pytest.raises(ConfigError, match=named):
        config_from(TrainConfig, entries, "test")


def test_an_override_needs_a_value():
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        parse_override("optimiser.steps")


def test_steps_on_the_command_line_reach_every_stage():
    config = load_config(CONFIGS / "base.yaml", every_stage(3))
    assert (config.encoder_steps, config.pictures.steps, config.optimiser.steps, config.path_steps) == (3, 3, 3, 11)
    assert (config.pictures.warm_up, config.optimiser.warm_up) == (0, 0)


def test_names_of_an_earlier_release_are_read():
    former = {"spot_k": 3, "twin_k": 2, "heading_weight_m": 0.5, "heading_tolerance_rad": 0.4}
    config = config_from(TrainConfig, {"retrieval": former}, "here")
    assert config.retrieval == Retrieval(anticipated_k=3, appearance_k=2, yaw_weight_m=0.5, yaw_tolerance_rad=0.4)


def test_a_checkpoint_may_have_options_that_are_gone_where_they_did_nothing():
    gone = {"practice_gap_s": 0.0, "practice_copies": 1, "practice_noise_m": 0.0, "practice_noise_rad": 0.0}
    check_same_run({**TrainConfig().to_json(), **gone}, TrainConfig())
    with pytest.raises(ConfigError, match="unknown key practice_gap_s"):
        check_same_run({**TrainConfig().to_json(), **gone, "practice_gap_s": 5.0}, TrainConfig())
