"""What the larger models are trained on, and how the minutes of a run are shared out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from world_model.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TimeShares:
    """Which share of a run's minutes each part may take, in their order; what is left is for starting.

    Attributes:
        data: Simulating the worlds.
        pictures: Encoder and decoder.
        path: Path foresight.
        preparing: Encoding, and what the memory would have answered.
        memory: The transition.
        without_memory: The same without memory.
        judging: Export and evaluation.
    """

    data: float = 0.12
    pictures: float = 0.38
    path: float = 0.03
    preparing: float = 0.11
    memory: float = 0.10
    without_memory: float = 0.06
    judging: float = 0.16

    def __post_init__(self) -> None:
        """Refuse shares that are nothing, or that leave no time for what has no share."""
        shares = asdict(self)
        for name, share in shares.items():
            if not share > 0.0:
                raise ConfigError(f"time.{name} is {share}, expected more than 0")
        if sum(shares.values()) >= 1.0:
            raise ConfigError(f"the shares of time add up to {sum(shares.values()):.2f}, expected less than 1")

    def of_the_rest(self, part: str) -> float:
        """Return a part's share of all that comes from it on."""
        shares = asdict(self)
        names = list(shares)
        return float(shares[part] / sum(shares[name] for name in names[names.index(part) :]))


@dataclass(frozen=True, kw_only=True)
class FamilyConfig:
    """What a larger model learns from and is judged on: simulated worlds.

    Attributes:
        image_size: Side of the pictures [px].
        drives: Buildings to learn from, one drive in each; fewer where their share of the time is over.
        sights: Further buildings of which pictures a second apart are learned, and no films: what is new to a decoder
            is another building.
        held_out: Buildings that are only for judging.
        forecast: So many of them, with a forecast at every frame; of the others pictures alone are judged.
        seconds: Length of a drive [s].
        seed: Of the first building; the held-out ones come first.
        needs_gpu: Without a GPU it is not run, unless the processor is asked for by name.
    """

    image_size: int = 128
    drives: int = 48
    sights: int = 0
    held_out: int = 8
    forecast: int = 4
    seconds: float = 70.0
    seed: int = 20000
    needs_gpu: bool = False

    def __post_init__(self) -> None:
        """Refuse counts that are not positive, and more forecasts than there are buildings."""
        for name in ("drives", "held_out", "forecast"):
            if getattr(self, name) < 1:
                raise ConfigError(f"family.{name} is {getattr(self, name)}, expected 1 or more")
        if self.forecast > self.held_out:
            raise ConfigError(f"family.forecast is {self.forecast}, but only {self.held_out} buildings are held out")
