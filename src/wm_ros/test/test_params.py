"""Parameters: what is given arrives, and what cannot work is named."""

from __future__ import annotations

import dataclasses

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from wm_ros import ParameterError, declare_params, environment_overrides, follow_params, param
from wm_ros.help_text import help_text
from wm_testing.nodes import ros_context  # noqa: F401


@dataclasses.dataclass(frozen=True)
class Params:
    model_path: str = param("artifact://tiny", "Artifact.", env="WM_TEST_PATH")
    publish_rate: float = param(20.0, "Most latents per second [Hz].", low=0.1, high=200.0)
    k: int = param(8, "Neighbours.", low=1, env="WM_TEST_K")
    tiny: bool = param(True, "Tiny.", env="WM_TEST_TINY")
    backend: str = param("faiss", "Backend.", choices=("faiss", "qdrant"))
    topics: list[str] = param(("/camera/image_raw",), "Topics.")
    weights: list[float] = param((1.0,), "Weights.")
    yaw_weight_m: float = param(1.0, "Weight [m].", low=0.0, alias="heading_weight_m")

    def __post_init__(self) -> None:
        if self.k > 100 and self.tiny:
            raise ValueError(f"k = {self.k} needs tiny = false")


@pytest.fixture
def node_with(ros_context):  # noqa: F811
    nodes = []

    def make(**given):
        nodes.append(
            Node("tested", parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def test_defaults_and_given(node_with):
    assert declare_params(node_with(), Params) == Params()
    given = {"publish_rate": 5.5, "k": 3, "tiny": False, "backend": "qdrant", "topics": ["/a", "/b"], "model_path": "x"}
    given["yaw_weight_m"] = 0.5
    assert dataclasses.asdict(declare_params(node_with(**given), Params)) == {**given, "weights": [1.0]}


def test_integers_are_read_as_doubles(node_with):
    params = declare_params(node_with(publish_rate=10, weights=[1, 2]), Params)
    assert params.publish_rate == 10.0
    assert isinstance(params.publish_rate, float)
    assert params.weights == [1.0, 2.0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"publish_rat": 5.0}, "unknown parameter 'publish_rat'; did you mean 'publish_rate'"),
        ({"zzz": 5.0}, "unknown parameter 'zzz'; known: backend, k"),
        ({"publish_rate": 0.0}, r"'publish_rate' = 0.0 is out of range \[0.1, 200.0\]"),
        ({"k": 0}, r"'k' = 0 is out of range \[1, inf\]"),
        ({"k": 2.5}, "'k' = 2.5 is double, expected integer"),
        ({"publish_rate": "fast"}, "'publish_rate' = 'fast' is string, expected double"),
        ({"backend": "redis"}, "'backend' = 'redis', expected one of"),
        ({"k": 101}, "tested: k = 101 needs tiny = false"),
        ({"publish_rate": float("nan")}, "'publish_rate' = nan"),
        ({"yaw_weight_m": float("inf")}, "'yaw_weight_m' = inf, expected finite numbers"),
        ({"weights": [1.0, float("nan")]}, r"'weights' = .*nan.*, expected finite numbers"),
        ({"weights": [0.0] * 5000}, "'weights' has 5000 values"),
        ({"model_path": "x" * 5000}, "'model_path' has 5000 characters"),
        ({"topics": ["x" * 5000]}, "'topics' holds a text of 5000 characters"),
        ({"heading_weight_m": -1.0}, r"'yaw_weight_m' = -1.0 is out of range \[0.0, inf\]"),
        (
            {"heading_weight_m": 2.0, "yaw_weight_m": 3.0},
            "2.0 is the former name of 'yaw_weight_m', which is given too",
        ),
    ],
)
def test_what_cannot_work_is_named(node_with, given, text):
    with pytest.raises(ParameterError, match=text):
        declare_params(node_with(**given), Params)


@pytest.mark.parametrize(
    "given",
    [
        {"heading_weight_m": 2.0},
        {"heading_weight_m": 2},
        {"heading_weight_m": 2.0, "yaw_weight_m": 1.0},  # a file that sets every key, and the user's own
        {"heading_weight_m": 2.0, "yaw_weight_m": 2},
    ],
)
def test_a_former_name_is_understood_with_one_warning(node_with, monkeypatch, given):
    node, said = node_with(**given), []
    monkeypatch.setattr(type(node.get_logger()), "warning", lambda _, text: said.append(text))
    assert declare_params(node, Params).yaw_weight_m == 2.0
    assert said == ["parameter 'heading_weight_m' is now called 'yaw_weight_m'; the former name goes with a release"]


def test_environment_sets_defaults_only(node_with, monkeypatch):
    monkeypatch.setenv("WM_TEST_K", "5")
    monkeypatch.setenv("WM_TEST_TINY", "false")
    monkeypatch.setenv("WM_TEST_PATH", "")
    assert environment_overrides(Params) == {"k": 5, "tiny": False}
    assert declare_params(node_with(), Params).k == 5
    assert declare_params(node_with(k=2), Params).k == 2


@pytest.mark.parametrize(("name", "text"), [("WM_TEST_K", "many"), ("WM_TEST_TINY", "maybe")])
def test_a_bad_environment_is_named(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(ParameterError, match=f"{name}='{text}'"):
        environment_overrides(Params)


def test_descriptions_reach_the_user(node_with):
    node = node_with()
    declare_params(node, Params)
    descriptor = node.describe_parameter("publish_rate")
    assert descriptor.description == "Most latents per second [Hz]."
    assert descriptor.read_only
    assert descriptor.floating_point_range[0].to_value == 200.0


@dataclasses.dataclass(frozen=True)
class LiveParams:
    rate: float = param(1.0, "Rate [Hz].", low=0.0, high=20.0, runtime=True)
    mode: str = param("a", "Mode.", choices=("a", "b"), runtime=True)
    fixed: int = param(3, "Fixed.", low=1)
    share: float = param(0.5, "Share.", runtime=True)

    def __post_init__(self) -> None:
        if self.mode == "b" and self.rate > 10.0:
            raise ValueError("mode b is not for more than 10 Hz")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("rate", 21.0, "range"),
        ("rate", float("nan"), "range"),
        ("share", float("inf"), "finite"),
        ("rate", "fast", "type"),
        ("mode", "c", "expected one of"),
        ("mode", "b", "not for more than 10 hz"),
        ("fixed", 4, "read-only"),
    ],
)
def test_what_cannot_work_is_refused_while_running_too(node_with, name, value, reason):
    node, applied = node_with(rate=15.0), []
    follow_params(node, declare_params(node, LiveParams), applied.append)
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful
    assert reason in result.reason.lower()
    assert applied == []
    assert node.get_parameter("rate").value == 15.0


def test_runtime_parameters_are_followed(node_with):
    node, applied = node_with(), []
    follow_params(node, declare_params(node, LiveParams), applied.append)
    assert node.set_parameters([Parameter("rate", value=5.0)])[0].successful
    assert node.set_parameters([Parameter("mode", value="b")])[0].successful
    assert applied == [LiveParams(rate=5.0), LiveParams(rate=5.0, mode="b")]


def test_integers_state_their_limits_and_strings_their_choices(node_with):
    node = node_with()
    declare_params(node, Params)
    assert node.describe_parameter("k").integer_range[0].from_value == 1
    assert node.describe_parameter("backend").additional_constraints == "one of faiss, qdrant"


def test_help_names_every_parameter_with_default_and_range():
    class Tested:
        """Does ``this``.

        Args:
            hidden: Not for users.
        """

    text = help_text(Tested, Params)
    assert text.startswith("Does this.")
    assert "hidden" not in text
    assert "--ros-args -p NAME:=VALUE" in text
    assert "  publish_rate (default 20.0; 0.1 to 200.0)\n      Most latents per second [Hz].\n" in text
    assert "  backend (default 'faiss'; one of faiss, qdrant)" in text
    assert "  k (default 8; 1 to inf; environment variable WM_TEST_K)" in text
    assert "may be set while running" in help_text(Tested, LiveParams)
