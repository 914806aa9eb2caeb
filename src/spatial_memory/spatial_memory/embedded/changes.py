"""What a peer may change of a memory: only with its owner's leave what loses memories, and nothing for good."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from spatial_memory.embedded.undoable import LONGEST_S, TakesBack, Undoable
from spatial_memory.store.names import SnapshotFolder
from spatial_memory.store.snapshots import check_snapshot
from wm_core.memory.errors import BackendAwayError, EncoderMismatchError, RecordError, StoreError
from wm_core.memory.protocol import Forget, Rigid
from wm_core.memory.record import LAST_FOLLOWED_ID, MemoryRecord
from wm_core.words import counted
from world_model.runtime.artifact_folder import read_manifest
from world_model.runtime.places import resolve_model_path

_LONGEST_KEY = 200
_LONGEST_S = 10.0
_FIRST_KEYED_ID = 2**62
# A server may keep single precision its own way.
_SAME = 1e-3


class Changeable(Undoable, Protocol):
    """A memory whose changes can be taken back."""

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were."""

    def transform(self, rigid: Rigid, session: str = "") -> int:
        """Move the records of a session, or all, and return how many; all or none."""

    def clear(self) -> None:
        """Forget everything, the encoder included."""


@dataclass(frozen=True)
class Allowed:
    """What its owner allows.

    Attributes:
        destructive: ``clear`` and ``delete``.
        restore: ``restore``.
        encoder_id: Whose latents may come in; empty: whosever the first one is.
        feature_id: Of which network's features those are projections, in whatever basis; empty: none.
        dim: Of how many values those are; 0: any number.
        artifact: What says so.
    """

    destructive: bool = False
    restore: bool = False
    encoder_id: str = ""
    feature_id: str = ""
    dim: int = 0
    artifact: str = ""

    def check_source(self, encoder_id: str, feature_id: str, dim: int, name: str) -> None:
        """Refuse another encoder's latents, or those of another network's features.

        Raises:
            EncoderMismatchError: Names both.
        """
        if self.encoder_id and encoder_id != self.encoder_id:
            raise EncoderMismatchError(
                f"{name} is of encoder {encoder_id or '(unnamed)'}, {self.artifact} (model_path) has {self.encoder_id}"
            )
        if self.feature_id and feature_id != self.feature_id:
            raise EncoderMismatchError(
                f"{name} is of features {feature_id or '(unnamed)'}, {self.artifact} (model_path) has {self.feature_id}"
            )
        if self.dim and dim and dim != self.dim:
            raise EncoderMismatchError(f"{name} has {dim} values, {self.artifact} (model_path) makes {self.dim}")


class Changes:
    """Changes a memory as its owner allows; every method waits for the disk.

    Args:
        memory: The memory.
        undo: Takes back what changed it.
        folder: Where snapshots lie.
        allowed: What its owner allows.
    """

    def __init__(self, memory: Changeable, undo: TakesBack, folder: SnapshotFolder, allowed: Allowed) -> None:
        self._memory = memory
        self._undo = undo
        self._folder = folder
        self._allowed = allowed

    def insert(self, records: Sequence[MemoryRecord], key: str = "") -> list[int]:
        """Keep records for good or not at all and return their ids.

        Args:
            records: Without ids where there is a key.
            key: Whoever asks again with the same key gets the same ids, and nothing is stored twice; empty: none.

        Raises:
            RecordError: The first one that cannot be kept, by its place in the list; ``key-reused`` where the key came
                with another record before.
            StoreError: They cannot be made durable; then none is stored.
        """
        for at, record in enumerate(records):
            self._allowed.check_source(record.encoder_id, record.feature_id, record.latent_D.size, f"record {at}")
        if not key:
            ids = self._memory.insert(records)
            return self._acknowledged(ids, ids)
        ids = keyed_ids(key, records)
        records = [replace(record, id=record_id) for record_id, record in zip(ids, records)]
        held = {record.id: record for record in self._memory.get(ids)}
        _check_same(held, records)
        records = [record for record in records if record.id not in held]
        try:
            new = self._memory.insert(records) if records else []
        except RecordError as error:
            if error.reason != "id-taken":
                raise
            new = []  # on its way since the first time
        return self._acknowledged(ids, new)

    def _acknowledged(self, ids: list[int], new: list[int]) -> list[int]:
        """Return ids once their records are durable; new ones that cannot be are taken out again."""
        try:
            self._memory.flush(_LONGEST_S)
        except BackendAwayError:
            return ids  # they are durable here and will reach the server
        except StoreError as error:
            if new:
                self._memory.delete(Forget(ids=tuple(new)))
                raise StoreError(f"none was stored: {error}") from error
            raise
        return ids

    def delete(self, what: Forget) -> int:
        """Forget what matches and return how many that were.

        Raises:
            StoreError: It is not allowed.
        """
        self._check(self._allowed.destructive, "delete", "allow_destructive")
        what.check(self._memory.stats().frame_id)
        ids = self._memory.matching_ids(what) if hasattr(self._memory, "matching_ids") else None
        return int(self._undo.kept("delete", lambda: self._delete(what), ids=ids))

    def _delete(self, what: Forget) -> int:
        if hasattr(self._memory, "delete_now"):
            return int(self._memory.delete_now(what))
        return self._durably(self._memory.delete(what))

    def clear(self) -> None:
        """Forget everything.

        Raises:
            StoreError: It is not allowed.
        """
        self._check(self._allowed.destructive, "clear", "allow_destructive")

        def change() -> int:
            self._memory.clear()
            return self._durably(0)

        self._undo.kept("clear", change)

    def transform(self, move: Rigid, session: str) -> int:
        """Move the records of a session, or all, and return how many."""
        return int(
            self._undo.kept("transform", lambda: self._memory.transform(move, session), move=move, session=session)
        )

    def snapshot(self, name: str) -> int:
        """Write everything to the snapshot of a name and return how many records it holds.

        Raises:
            StoreError: It is no name, or cannot be written.
        """
        path = self._folder.to_write(name)
        try:
            return self._memory.snapshot(path)
        except StoreError as error:
            raise StoreError(_unplaced(str(error), str(path.parent))) from error

    def restore(self, name: str) -> int:
        """Replace everything by what the snapshot of a name holds and return how many records those are.

        Raises:
            StoreError: It is not allowed, there is none, or it is damaged.
            EncoderMismatchError: It is of another encoder.
        """
        self._check(self._allowed.restore, "restore", "allow_restore")
        path = self._folder.to_read(name)
        try:
            check_snapshot(path, self._allowed.encoder_id)
            return int(self._undo.kept("restore", lambda: self._memory.restore(path), replaced_by=path))
        except (StoreError, RecordError) as error:
            error.args = (_unplaced(str(error), str(path.parent)),)
            raise

    def undo(self) -> str:
        """Take back the last clear, delete, transform or restore and return what was done.

        Raises:
            StoreError: There is nothing to take back.
            RecordError: What is held now does not go with what was.
        """
        kind, count = self._undo.undo()
        return f"took back the last {kind}: {counted(count, 'memory')}"

    def close(self) -> None:
        """Let go."""
        self._undo.close()

    def _durably(self, result: int) -> int:
        self._memory.flush(LONGEST_S)
        return result

    @staticmethod
    def _check(is_allowed: bool, what: str, parameter: str) -> None:
        if not is_allowed:
            raise StoreError(f"{what} is off: set the parameter {parameter} to true to allow it")


def artifact_source(model_path: str) -> tuple[str, str, int]:
    """Return encoder, network of features and latent size of an artifact, from its manifest alone.

    Where it makes features, each robot fits a projection of its own: then the network says whose latents come in, and
    the encoder is empty. All are where no artifact is named.

    Raises:
        ArtifactError: It is not there, or its manifest cannot be read.
    """
    if not model_path:
        return "", "", 0
    manifest = read_manifest(resolve_model_path(model_path))
    space = manifest.space
    return ("", space.feature_id, 0) if space is not None else (manifest.encoder_id, "", manifest.z_dim)


def keyed_ids(key: str, records: Sequence[MemoryRecord]) -> list[int]:
    """Return the ids that records of an insertion get by its key, the same ones whenever it is asked again.

    Raises:
        RecordError: The key is too long, or a record has an id of its own.
    """
    if len(key) > _LONGEST_KEY:
        raise RecordError(
            "impossible-key", f"an idempotence key has up to {_LONGEST_KEY} characters, this one {len(key)}"
        )
    ids = []
    for at, record in enumerate(records):
        if record.id:
            raise RecordError(
                "impossible-key", f"record {at}: with an idempotence key ids must be 0, this is {record.id}"
            )
        digest = hashlib.sha256(f"{at} {key}".encode("utf-8", "surrogatepass")).digest()
        ids.append(_FIRST_KEYED_ID + int.from_bytes(digest[:8], "little") % (LAST_FOLLOWED_ID - _FIRST_KEYED_ID))
    return ids


def _check_same(held: Mapping[int, MemoryRecord], records: Sequence[MemoryRecord]) -> None:
    """Refuse a key that came with other records before: theirs are held, and these would not be.

    Places are not compared, which a transform moves, nor are latents that are in another basis by now.

    Raises:
        RecordError: ``key-reused``.
    """
    for at, record in enumerate(records):
        former = held.get(record.id)
        if former is None:
            continue
        is_same = (former.stamp_ns, former.session) == (record.stamp_ns, record.session)
        if is_same and former.encoder_id == record.encoder_id:
            is_same = former.latent_D.shape == record.latent_D.shape and np.allclose(
                former.latent_D, record.latent_D, rtol=_SAME, atol=_SAME
            )
        if not is_same:
            raise RecordError("key-reused", f"record {at}: its idempotence key came with another record before")


def _unplaced(text: str, folder: str) -> str:
    """Return a text without where on this machine the snapshots lie."""
    return text.replace(f"{folder}/", "")
