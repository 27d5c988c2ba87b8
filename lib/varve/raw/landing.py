"""Writes one extract: files first, synced and verified; the manifest last, under the next number of its dataset."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from varve.framing import TypedRecords, type_name
from varve.model.errors import OvertakenError, StorageError
from varve.raw.catalog import Catalog, RawDataset
from varve.raw.manifest import Manifest, RawFile, encode
from varve.storage import Absent, Taken

_MOST_CELLS: Final = 2_000_000  # of one row group in memory
_MOST_TEXT: Final = 32 * 2**20  # [characters] of one row group in memory
_BLOCK: Final = 2**22  # [bytes] that are read at once


class Record(Protocol):
    """A framed record: rejected when it has a reason."""

    @property
    def position(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def values(self) -> Sequence[str | None]: ...
    @property
    def reason(self) -> str | None: ...


@dataclass(slots=True)
class Publisher:
    """Lands extracts of one dataset, each under the next number. known: what was published before it began.

    Two of them at once are safe: whoever publishes second finds the number taken, discards its work and raises
    StorageError.
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
        """Publish a manifest: from here on the extract exists."""
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
    """Land extracts of a dataset, under its lease. What dead attempts left is removed."""
    publisher = Publisher(dataset, dataset.catalog())
    _clear_dead(dataset, publisher.last)
    yield publisher
    if publisher.last > publisher.known.last:
        _clear_dead(dataset, publisher.last)


class _Attempt(msgspec.Struct, frozen=True):
    """What is being written: an extract that is to take this number. Once the number is taken, it is dead."""

    number: int
    folder: str


def _clear_dead(dataset: RawDataset, last: int) -> None:
    """Remove what attempts left that can never be published: the number that they were to take is taken.

    A note that was not finished shows in no listing: it goes with the folder, once nothing is being written there."""
    attempts = f"{dataset.folder}/attempts"
    for entry in list(dataset.files.list(attempts)):
        if not entry.key.endswith(".json"):
            continue
        try:
            attempt = msgspec.json.decode(dataset.files.read(entry.key), type=_Attempt)
        except (Absent, msgspec.MsgspecError):
            continue
        if attempt.number <= last:
            _remove(dataset, attempt, entry.key)
    if next(iter(dataset.files.list(attempts)), None) is None:
        dataset.files.clear(attempts)


def _remove(dataset: RawDataset, attempt: _Attempt, note: str) -> None:
    """Remove the files of an attempt that were not published, its workspace and, last, the note of it."""
    token = note.rpartition("/")[2].partition(".")[0]
    listed = {f"{attempt.folder}/{file.name}" for file in _listed(dataset, attempt, token)}
    for entry in list(dataset.files.list(attempt.folder)):
        if f"-{token}-" in entry.key and entry.key not in listed:
            dataset.files.delete(entry.key)
    dataset.files.clear(f"{dataset.folder}/attempts/{token}")
    dataset.files.delete(note)


def _listed(dataset: RawDataset, attempt: _Attempt, token: str) -> Sequence[RawFile]:
    """The files of an attempt that its manifest lists, if it was published before it died."""
    with suppress(Absent):
        manifest = dataset.manifest(attempt.number)
        return [file for file in manifest.files if f"-{token}-" in file.name]
    return ()


class Landing:
    """The landing of one extract, for use in a `with`: without `publish`, nothing remains."""

    def __init__(self, publisher: Publisher, draft: Manifest) -> None:
        self.draft = draft
        self._publisher, self._dataset, self._store = publisher, publisher.dataset, publisher.dataset.files
        self._token = secrets.token_hex(4)
        self._number = publisher.last + 1
        self._notes: dict[str, _Attempt] = {}
        self._files: list[RawFile] = []
        self._types: tuple[str, ...] = ()
        self._open = ExitStack()
        self._work = Path()

    def __enter__(self) -> Landing:
        self._announce()
        self._work = self._open.enter_context(self._store.workspace(f"{self._dataset.folder}/attempts/{self._token}"))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._open.close()
        with suppress(StorageError):  # a later run clears it up
            for note, attempt in self._notes.items():
                _remove(self._dataset, attempt, note)
        if isinstance(error, OSError | StorageError) and not isinstance(error, OvertakenError):
            self._publisher.must_be_next(self.draft)  # whoever was first may have cleared away what this one misses

    def _announce(self) -> None:
        """Tell where files are going to be, before there are any."""
        attempt = _Attempt(self._number, self.draft.folder)
        note = f"{self._dataset.folder}/attempts/{self._token}.{len(self._notes)}.json"
        self._store.put(note, msgspec.json.encode(attempt))
        self._notes[note] = attempt

    def receive(self, source: Path) -> str:
        """Copy the exact bytes of `source` beside the lake, read once, and return their sha256."""
        copy, digest = self._received(source.name), hashlib.sha256()
        with source.open("rb") as received, copy.open("xb") as kept:
            while block := received.read(_BLOCK):
                digest.update(block)
                kept.write(block)
        return digest.hexdigest()

    def keep(self, draft: Manifest) -> Path:
        """Make what was received a file of the extract, whose id is known now.

        Returns a local file with these bytes, there until the landing ends."""
        self._publisher.refuse_known(draft)
        self.draft = draft
        self._announce()
        copy = self._received(draft.origin.path)
        self._put(copy, "received", keep=True)
        return copy

    def _received(self, path: str) -> Path:
        return self._work / f"received-{self._token}-{path.rpartition('/')[2][-100:]}"

    def frame(self, records: Iterable[Record | TypedRecords], names: Sequence[str]) -> tuple[int, int]:
        """Write the records; returns (rows, rejected). `names` may grow while the records are read.

        Good records are either all text or all in batches; of batches the manifest tells the types."""
        good, bad = _Parts(self, "records"), _Parts(self, "rejects")
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
        """Keep the digests of rows that the next window will read again."""
        path = self._work / f"overlap-{self._token}"
        path.write_bytes(digests)
        self._put(path, "overlap", rows=rows)

    def discard_records(self) -> None:
        """Forget what was framed: the file turned out to be unreadable further on."""
        for file in self._files:
            if file.role != "received":
                self._store.delete(f"{self.draft.folder}/{file.name}")
        self._files = [file for file in self._files if file.role == "received"]
        self._types = ()

    def publish(self, manifest: Manifest) -> Manifest:
        """Verify every file, then publish the manifest: from here on the extract exists."""
        self._publisher.must_be_next(manifest)  # who is overtaken may find its files cleared away
        for file in self._files:
            self._verify(file)
        return self._publisher.take_number(
            msgspec.structs.replace(manifest, types=self._types, files=tuple(self._files), landed_at=datetime.now(UTC))
        )

    def file(self, role: Literal["records", "rejects"]) -> Path:
        """Where the next file of a role is written, before `put` gives it to the store."""
        prefix = "part" if role == "records" else role
        number = sum(file.role == role for file in self._files)
        return self._work / f"{prefix}-{self._token}-{number:05d}.parquet"

    def put(self, path: Path, role: Literal["records", "rejects"], rows: int) -> None:
        """Give a finished file to the store."""
        if (found := pq.read_metadata(path).num_rows) != rows:
            raise StorageError("the file lacks records", where=str(path), found=f"{found} rows", expected=f"{rows}")
        self._put(path, role, rows=rows)

    def _put(
        self,
        path: Path,
        role: Literal["received", "records", "rejects", "overlap"],
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
        size, digest = self._store.size(key), hashlib.sha256()
        for start in range(0, size or 0, _BLOCK):
            digest.update(self._store.read(key, start=start, length=_BLOCK))
        if size != file.bytes or digest.hexdigest() != file.sha256:
            raise StorageError(
                "the store does not hold what was written", where=f"{self._store.root}/{key}",
                found=f"{size} bytes", expected=f"{file.bytes} bytes, sha256 {file.sha256}", remedy="Run again.",
            )  # fmt: skip


class _Parts:
    """Writes batches to numbered Parquet files; a new file begins when a record brings fields not seen before.

    types: those of the fields as Spark names them, none when all are text."""

    def __init__(self, landing: Landing, role: Literal["records", "rejects"]) -> None:
        self.rows = 0
        self._landing = landing
        self._role = role
        self._path = Path()
        self._positions: list[int] = []
        self._texts: list[str] = []
        self._values: list[Sequence[str | None]] = []
        self.types: tuple[str, ...] = ()
        self._size = 0
        self._schema: pa.Schema | None = None
        self._rows_of_file = 0
        self._is_any = False
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, position: int, text: str, values: Sequence[str | None], width: int) -> None:
        self._positions.append(position)
        self._texts.append(text)
        self._values.append(values)
        self._size += len(text)
        if self._size > _MOST_TEXT or len(self._texts) * (width + 2) > _MOST_CELLS:
            self._flush(width)

    def add_batch(self, batch: TypedRecords) -> None:
        names = ["_position", *(f"c{index}" for index in range(len(batch.fields)))]
        self.types = tuple(type_name(field.type) for field in batch.fields)
        self._write(pa.Table.from_arrays([batch.positions, *batch.fields], names=names))

    def close(self, *, width: int, always: bool) -> None:
        """Write what is left. always: a file without rows is written too, where there is none yet."""
        if self._texts or (always and not self._is_any):
            self._flush(width)
        self._end_file()

    def _flush(self, width: int) -> None:
        texts = [[row[index] if index < len(row) else None for row in self._values] for index in range(width)]
        names = [f"c{index}" for index in range(width)] if self._role == "records" else ["_reason"]
        arrays = [pa.array(column, pa.string()) for column in (self._texts, *texts)]
        positions = pa.array(self._positions, pa.int64())
        self._write(pa.Table.from_arrays([positions, *arrays], names=["_position", "_record", *names]))
        self._positions, self._texts, self._values, self._size = [], [], [], 0

    def _write(self, table: pa.Table) -> None:
        if table.schema != self._schema:
            self._end_file()
            self._schema = table.schema
        if self._writer is None:
            self._path, self._is_any = self._landing.file(self._role), True
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd", use_dictionary=[])
        self._writer.write_table(table)
        self._rows_of_file += table.num_rows

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        self._landing.put(self._path, self._role, self._rows_of_file)
        self.rows += self._rows_of_file
        self._rows_of_file = 0
