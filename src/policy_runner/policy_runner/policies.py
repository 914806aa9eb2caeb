"""What the runner asks for actions: one small protocol, and the policy that changes nothing.

Shape suffixes: N = memories, D = latent size, A = action size, P = actions already decided, 3 = x, y [m], yaw [rad].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from policy_runner.chunks import Chunk

INSTRUCTION, PICTURE, MEMORIES = "instruction", "picture", "memories"


class PolicyError(Exception):
    """A policy has nothing to say about an observation; the text says why."""


@dataclass(frozen=True, eq=False)
class Memories:
    """What is remembered around the robot, side by side.

    Attributes:
        stamp_N: When each was seen [ns].
        session_N: Number of the drive that each belongs to.
        pose_N3: Where.
        action_NA: What was commanded there; NaN where it is not known.
        latent_ND: What was seen there; None: not told.
    """

    stamp_N: np.ndarray
    session_N: np.ndarray
    pose_N3: np.ndarray
    action_NA: np.ndarray
    latent_ND: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.stamp_N)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame on the way.

    Attributes:
        stamp_ns: When the robot saw it [ns].
        latent_D: What it saw.
        encoder_id: Whose latent that is.
        pose_3: Where it was; None: not known.
        action_A: The command in force; None: not known.
    """

    stamp_ns: int
    latent_D: np.ndarray
    encoder_id: str = ""
    pose_3: np.ndarray | None = None
    action_A: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Observation:
    """All that a policy may go by.

    Attributes:
        stamp_ns: When the robot saw it [ns]; the first action of the chunk is for this time.
        latent_D: What it saw.
        pose_3: Where it was; None: not known.
        speed_m_s: How fast it was moving, the mean over the last 0.4 s; NaN: not known.
        action_A: The command in force; None: not known.
        decided_PA: What is commanded from ``stamp_ns`` on, whatever the policy says, at its own step.
        memories: What is remembered around it; None: nothing can be told.
        instruction: In words; empty: none.
        goal_latent_D: What it is to see at the goal; None: anything.
        frames: All frames since the last observation that the policy was asked with, this one last.
        begun_ns: When what it is asked for began [ns]: with another one it begins anew wherever the robot is.
    """

    stamp_ns: int
    latent_D: np.ndarray
    pose_3: np.ndarray | None = None
    speed_m_s: float = float("nan")
    action_A: np.ndarray | None = None
    decided_PA: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    memories: Memories | None = None
    instruction: str = ""
    goal_latent_D: np.ndarray | None = None
    frames: tuple[Frame, ...] = ()
    begun_ns: int = 0


class Policy(Protocol):
    """Makes a chunk of actions of an observation; called from a thread of its own, one call at a time.

    Attributes:
        action_dim: Action size A.
        step_s: Time between its actions [s].
        takes: Of ``INSTRUCTION``, ``PICTURE`` and ``MEMORIES`` what it goes by; a goal that it does not is refused.
    """

    action_dim: int
    step_s: float
    takes: frozenset[str]

    def act(self, observation: Observation) -> Chunk:
        """Return the actions from an observation on.

        Raises:
            PolicyError: It has nothing to say.
            ChunkError: What it made is no chunk.
        """


class HoldLastAction:
    """Goes on with the command that is in force: what every other policy has to beat.

    Args:
        action_dim: Action size A.
        steps: Actions of a chunk.
        step_s: Time between them [s].
    """

    takes: frozenset[str] = frozenset()

    def __init__(self, action_dim: int, steps: int, step_s: float) -> None:
        self.action_dim, self.step_s, self._steps = action_dim, step_s, steps

    def act(self, observation: Observation) -> Chunk:
        """Return the action in force, again and again.

        Raises:
            PolicyError: It is not known.
        """
        if observation.action_A is None:
            raise PolicyError("the command in force is not known")
        return Chunk(observation.stamp_ns, self.step_s, np.tile(observation.action_A, (self._steps, 1)))
