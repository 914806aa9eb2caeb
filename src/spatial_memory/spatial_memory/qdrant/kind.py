"""What all records of a memory share: encoder, sizes, frame, network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from spatial_memory.embedded.table import Catalogue
from wm_core.memory.errors import EncoderMismatchError
from wm_core.memory.record import MemoryRecord, Sources, check_record, kept_yaw


@dataclass(frozen=True)
class Kind:
    """What all records of a memory share.

    Attributes:
        encoder_id: Whose latents it holds; None while that is open.
        dim: Latent size D; 0 while that is open.
        action_dim: Action size A; -1 while that is open.
        sources: Frame of its places and network of its features.
        feature_dim: Feature size F; 0 while that is open.
    """

    encoder_id: str | None = None
    dim: int = 0
    action_dim: int = -1
    sources: Sources = field(default_factory=Sources)
    feature_dim: int = 0

    def accepted(self, record: MemoryRecord) -> MemoryRecord:
        """Return a record as it is kept: under the frame and network of all, its yaw within half a turn.

        Raises:
            EncoderMismatchError: It is of another encoder.
            RecordError: It cannot be kept.
        """
        if record.encoder_id != self.encoder_id:
            raise EncoderMismatchError(f"latent of encoder {record.encoder_id}, the memory holds {self.encoder_id}")
        self.sources.check(record)
        check_record(record, self.dim, self.action_dim, self.feature_dim)
        return replace(record, yaw=kept_yaw(record), frame_id=self.sources.frame_id, feature_id=self.sources.feature_id)

    def catalogue(self) -> Catalogue:
        """Return the same as the embedded memory knows it, for snapshots and projections."""
        return Catalogue(
            self.encoder_id or "", self.dim, self.action_dim, **vars(self.sources), feature_dim=self.feature_dim
        )
