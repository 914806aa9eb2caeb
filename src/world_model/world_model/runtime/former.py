"""Transitions of artifact format 2, which take fifteen tensors by position, called as today's are."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from world_model.runtime.tensors import Observed, Retrieved

_PRESENT = 5  # The former order: the present, what was retrieved, the visual history.


class FormerTransition:
    """A transition of format 2 behind today's methods.

    Args:
        module: As it was loaded.
    """

    def __init__(self, module: torch.jit.ScriptModule) -> None:
        self._module: Any = module

    @property
    def history(self) -> nn.Module:
        """Where the visual history enters."""
        history: nn.Module = self._module.history
        return history

    def initial(self, batch: int) -> Tensor:
        """Return the state before anything was seen, [B, C]."""
        state_BC: Tensor = self._module.initial(batch)
        return state_BC

    def observe(self, latent_BD: Tensor, action_BA: Tensor, state_BC: Tensor) -> Tensor:
        """Return the state after one more latent and the action taken there (NaN: unknown)."""
        next_BC: Tensor = self._module.observe(latent_BD, action_BA, state_BC)
        return next_BC

    def foresee_path(self, observed: Observed) -> Tensor:
        """Return what to add to the expected displacement and its standard error then, [B, H, 6]."""
        path_BH6: Tensor = self._module.foresee_path(*observed[:_PRESENT])
        return path_BH6

    def forecast(self, observed: Observed, retrieved: Retrieved) -> tuple[Tensor, Tensor, Tensor]:
        """Return the forecast [B, H, D], the one without memories [B, H, D] and the gate [B, H]."""
        by_position = (*observed[:_PRESENT], *retrieved, *observed[_PRESENT:])
        forecast: tuple[Tensor, Tensor, Tensor] = self._module.forecast(*by_position)
        return forecast

    def rollout(
        self, latent_BD: Tensor, action_BSA: Tensor, motion_BSM: Tensor, state_BC: Tensor, step_s: float
    ) -> Tensor:
        """Return the latents imagined step by step, [B, S, D]."""
        latent_BSD: Tensor = self._module.rollout(latent_BD, action_BSA, motion_BSM, state_BC, step_s)
        return latent_BSD

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that freezing has left, with their names of then."""
        yield from self._module.named_parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights under their names of then; a module of today takes them all the same."""
        weights: dict[str, Tensor] = self._module.state_dict()
        return weights


def is_former(module: torch.jit.ScriptModule) -> bool:
    """Return whether a transition takes its tensors by position: one that takes none at all is no former one."""
    forecast = getattr(module, "forecast", None)
    # ``self``, what is observed, what was retrieved.
    return forecast is not None and len(forecast.schema.arguments) > 3
