"""Names of what can be plugged together, and the classes behind them, loaded when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

from wm_policy.errors import MissingDependencyError, PolicyError, UnknownNameError


class Registry(MutableMapping[str, type[Any]]):
    """Names and classes; those that ship are imported only when they are asked for.

    Args:
        what: What the names stand for, as an error says it.
        homes: Name -> ``module:Class`` of this package.
    """

    def __init__(self, what: str, homes: Mapping[str, str]) -> None:
        self._what = what
        self._entries: dict[str, str | type[Any]] = dict(homes)

    def __getitem__(self, name: str) -> type[Any]:
        """Return the class of a name.

        Raises:
            UnknownNameError: No such name; the text lists those there are.
            MissingDependencyError: It needs a library that is not installed.
        """
        entry = self._entries[self._known(name)]
        if isinstance(entry, str):
            entry = self._entries[name] = _loaded(entry, f"{self._what} '{name}'")
        return entry

    def __setitem__(self, name: str, entry: type[Any]) -> None:
        """Add a class, or put it in the place of another.

        Raises:
            PolicyError: It is no class.
        """
        if not isinstance(entry, type):
            raise PolicyError(f"{self._what} '{name}' is {entry!r}, expected a class")
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        """Forget a name.

        Raises:
            UnknownNameError: No such name; the text lists those there are.
        """
        del self._entries[self._known(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        # The mapping's own would load the class to find out.
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def _known(self, name: str) -> str:
        if name not in self._entries:
            raise UnknownNameError(f"no {self._what} '{name}', expected one of {', '.join(sorted(self._entries))}")
        return name


def _loaded(home: str, what: str) -> type[Any]:
    module, _, name = home.partition(":")
    try:
        found: type[Any] = getattr(import_module(f"wm_policy.{module}"), name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{what} needs {error.name}, which is not installed: pip install -r requirements/policy.txt"
        ) from error
    return found


ENCODER_REGISTRY = Registry(
    "encoder",
    {
        "siglip-base": "encoders.towers:SiglipBase",
        "siglip-large": "encoders.towers:SiglipLarge",
        "clip-base": "encoders.towers:ClipBase",
        "clip-large": "encoders.towers:ClipLarge",
        "dinov2-base": "encoders.towers:DinoV2Base",
        "dinov2-large": "encoders.towers:DinoV2Large",
        "latent": "encoders.latent:LatentEncoder",
    },
)
"""Image -> patch tokens [B, N, D]; ``latent``: the robot's own latent as one token."""

ACTION_HEAD_REGISTRY = Registry(
    "action head",
    {
        "mlp": "heads.regression:MlpHead",
        "gaussian": "heads.regression:GaussianHead",
        "diffusion": "heads.diffusion:DiffusionHead",
        "flow": "heads.flow:FlowHead",
        "transformer": "heads.transformer:TransformerHead",
        "trajectory": "heads.trajectory:TrajectoryHead",
    },
)
"""Condition [B, C] -> chunk of actions [B, K, A]."""

PROJECTOR_REGISTRY = Registry(
    "projector",
    {
        "mlp": "projectors:MlpProjector",
        "attention": "projectors:AttentionPooling",
        "perceiver": "projectors:Perceiver",
    },
)
"""Tokens [B, N, D] -> tokens [B, Q, O]."""

SENSOR_REGISTRY = Registry(
    "sensor",
    {
        "lidar": "sensors.lidar:LidarEncoder",
        "radar": "sensors.radar:RadarEncoder",
        "imu": "sensors.imu:ImuEncoder",
    },
)
"""What one sensor gave -> tokens [B, N, D]."""
