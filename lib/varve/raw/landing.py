"""Writes one extract: files first, synced and verified; the manifest last, under the next number of its dataset."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
import pyarrow.parquet as pq

from varve.framing import FramedRecord, TypedRecords
from varve.model.errors import OvertakenError, StorageError
from varve.raw.attempts import Attempt, announce, attempts_folder, clear_dead, remove_attempt
from varve.raw.catalog import Catalog, RawDataset
from varve.raw.manifest import Manifest, RawFile, encode
from varve.raw.part_writer import PartWriter, Role
from varve.raw.reading import stored_digest
from varve.storage import Taken

_BLOCK: Final = 2**22  # [bytes] that are read at once


@dataclass(slots=True)
class Publisher:
    """Lands extracts of one dataset, each under the next number.

    known: the extracts published before it began; last: the last number. Two publishers at once are safe: whoever is
    second finds the number taken, discards its work and raises OvertakenError.
    """

    dataset: RawDataset
    known: Catalog
    last: int = field(init=False)
    _ids: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.known.last
        self._ids = {one.id for one in self.known}

    def landing(self, draft: Manifest) -> Landing:
        """The landing of one extract. draft: the manifest as far as it is known before the first read.

        Raises StorageError when an extract of this id was published before."""
        self.refuse_known(draft)
        return Landing(self, draft)

    def refuse_known(self, draft: Manifest) -> None:
        """Raise StorageError when an extract of this id was published before."""
        if draft.id in self._ids:
            raise StorageError("this extract has landed already", where=f"raw.{draft.table}", found=draft.id)

    def must_be_next(self, manifest: Manifest) -> None:
        """Raise OvertakenError when the next number is taken already."""
        number = self.last + 1
        if self.dataset.files.size(self.dataset.numbers.key(number)) is not None:
            raise _overtaken(manifest, number)

    def take_number(self, manifest: Manifest) -> Manifest:
        """Publish a manifest and return it with its number: from here on the extract exists. Raises OvertakenError."""
        number = self.last + 1
        try:
            self.dataset.numbers.put(number, encode(manifest))
        except Taken as error:
            raise _overtaken(manifest, number) from error
        self.last = number
        self._ids.add(manifest.id)
        return msgspec.structs.replace(manifest, number=number)


def _overtaken(manifest: Manifest, number: int) -> OvertakenError:
    return OvertakenError(
        "another run has published an extract meanwhile", where=f"raw.{manifest.table}",
        found=f"number {number} is taken", remedy="Nothing of this one was kept: run again.",
    )  # fmt: skip


@contextmanager
def publishing(dataset: RawDataset) -> Iterator[Publisher]:
    """A publisher of a dataset, to be used under its lease. What dead attempts left is removed. Raises StorageError."""
    publisher = Publisher(dataset, dataset.catalog())
    clear_dead(dataset, publisher.last)
    yield publisher
    if publisher.last > publisher.known.last:
        clear_dead(dataset, publisher.last)


class Landing:
    """The landing of one extract, for use in a `with`: without `publish`, nothing remains.

    In order: `receive` and `keep` (where there is a file), `frame`, `publish`. A store that fails raises StorageError;
    OvertakenError when another run took the number meanwhile. draft: the manifest as far as it is known.
    """

    def __init__(self, publisher: Publisher, draft: Manifest) -> None:
        self.draft = draft
        self._publisher, self._dataset, self._store = publisher, publisher.dataset, publisher.dataset.files
        self._token = secrets.token_hex(4)
        self._number = publisher.last + 1
        self._notes: dict[str, Attempt] = {}
        self._files: list[RawFile] = []
        self._types: tuple[str, ...] = ()
        self._open = ExitStack()
        self._work = Path()

    def __enter__(self) -> Landing:
        self._announce()
        self._work = self._open.enter_context(self._store.workspace(f"{attempts_folder(self._dataset)}/{self._token}"))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._open.close()
        with suppress(StorageError):  # a later run clears it up
            for note, attempt in self._notes.items():
                remove_attempt(self._dataset, attempt, note)
        if isinstance(error, OSError | StorageError) and not isinstance(error, OvertakenError):
            self._publisher.must_be_next(self.draft)  # whoever was first may have cleared away what this one misses

    def _announce(self) -> None:
        """Note in which folder files are going to be, before there are any."""
        attempt = Attempt(self._number, self.draft.folder)
        note = announce(self._dataset, self._token, attempt, place=len(self._notes))
        self._notes[note] = attempt

    def receive(self, source: Path) -> str:
        """Copy the exact bytes of a file into the workspace, reading it once; return their sha256 (hexadecimal)."""
        copy, digest = self._received(source.name), hashlib.sha256()
        with source.open("rb") as received, copy.open("xb") as kept:
            while block := received.read(_BLOCK):
                digest.update(block)
                kept.write(block)
        return digest.hexdigest()

    def keep(self, draft: Manifest) -> Path:
        """Put the received bytes into the store, as a file of the extract, whose id is known now.

        draft: with that id. Returns a local file with these bytes, which is gone when the landing ends."""
        self._publisher.refuse_known(draft)
        self.draft = draft
        self._announce()
        copy = self._received(draft.origin.path)
        self._put(copy, "received", keep=True)
        return copy

    def _received(self, path: str) -> Path:
        return self._work / f"received-{self._token}-{path.rpartition('/')[2][-100:]}"

    def frame(self, records: Iterable[FramedRecord | TypedRecords], names: Sequence[str]) -> tuple[int, int]:
        """Write the records, good ones and rejects apart; returns how many there were of each: (rows, rejected).

        records: either texts one by one or typed in batches, beside rejects; names: of the fields, may grow while the
        records are read."""
        good, bad = self._part_writer("records"), self._part_writer("rejects")
        with good, bad:
            for record in records:
                if isinstance(record, TypedRecords):
                    good.add_batch(record)
                elif record.reason is None:
                    good.add(record.position, record.text, record.values, len(names))
                else:
                    bad.add(record.position, record.text, (record.reason,), 1)
            good.close(width=len(names), always=True)
            bad.close(width=1, always=False)
        self._types = good.types
        return good.rows, bad.rows

    def add_overlap(self, digests: bytes, rows: int) -> None:
        """Add a file with the digests [16 bytes each] of rows that the next window will read again. rows: how many."""
        path = self._work / f"overlap-{self._token}"
        path.write_bytes(digests)
        self._put(path, "overlap", rows=rows)

    def discard_records(self) -> None:
        """Remove what was framed, because a later part of the file could not be; the received bytes stay."""
        for file in self._files:
            if file.role != "received":
                self._store.delete(f"{self.draft.folder}/{file.name}")
        self._files = [file for file in self._files if file.role == "received"]
        self._types = ()

    def publish(self, manifest: Manifest) -> Manifest:
        """Verify every file, then publish the manifest, which is returned: from here on the extract exists."""
        self._publisher.must_be_next(manifest)  # who is overtaken may find its files cleared away
        for file in self._files:
            self._verify(file)
        return self._publisher.take_number(
            msgspec.structs.replace(manifest, types=self._types, files=tuple(self._files), landed_at=datetime.now(UTC))
        )

    def _part_writer(self, role: Role) -> PartWriter:
        return PartWriter(role, self._next_part, self._put_part)

    def _next_part(self, role: Role) -> Path:
        """Where the next file of a role is written, before the store gets it."""
        prefix = "part" if role == "records" else role
        number = sum(file.role == role for file in self._files)
        return self._work / f"{prefix}-{self._token}-{number:05d}.parquet"

    def _put_part(self, path: Path, role: Role, rows: int) -> None:
        """Give a finished file to the store. Raises StorageError when it does not hold these rows."""
        if (found := pq.read_metadata(path).num_rows) != rows:
            raise StorageError("the file lacks records", where=str(path), found=f"{found} rows", expected=f"{rows}")
        self._put(path, role, rows=rows)

    def _put(
        self,
        path: Path,
        role: Role | Literal["received", "overlap"],
        *,
        rows: int = 0,
        keep: bool = False,
    ) -> None:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        self._files.append(RawFile(name=path.name, role=role, bytes=path.stat().st_size, sha256=digest, rows=rows))
        given = path
        if keep:
            given = path.with_name(f"{path.name}.given")
            given.hardlink_to(path)
        self._store.put_file(f"{self.draft.folder}/{path.name}", given)

    def _verify(self, file: RawFile) -> None:
        """Read back what was written."""
        key = f"{self.draft.folder}/{file.name}"
        size, sha256 = stored_digest(self._store, key)
        if size != file.bytes or sha256 != file.sha256:
            raise StorageError(
                "the store does not hold what was written", where=f"{self._store.root}/{key}",
                found=f"{size} bytes", expected=f"{file.bytes} bytes, sha256 {file.sha256}", remedy="Run again.",
            )  # fmt: skip
