"""Parameters: what is given arrives, and what cannot work is named."""

from __future__ import annotations

import dataclasses

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter

from wm_ros import ParameterError, declare_params, environment_overrides, param
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
