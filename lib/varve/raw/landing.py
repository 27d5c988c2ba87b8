"""Writes one extract: files first, each synced and verified, the manifest last."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from varve.errors import StorageError
from varve.raw import disk
from varve.raw import manifest as manifest_file
from varve.raw.manifest import Manifest, RawFile

_MOST_CELLS: Final = 2_000_000  # of one row group in memory
_MOST_TEXT: Final = 32 * 2**20  # [characters] of one row group in memory


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


@contextmanager
def claim(lake: str | Path, source: str, dataset: str) -> Iterator[None]:
    """The right to land extracts of this dataset; raises StorageError while another process has it.

    What dead attempts left is removed first: it has no manifest, and whoever holds the claim is the only living writer.
    """
    folder = Path(lake, "raw", source, dataset)
    with disk.Claim(folder):
        for extract in folder.glob("country=*/entity=*/day=*/extract=*"):
            if not (extract / manifest_file.NAME).exists():
                shutil.rmtree(extract)
        yield


@dataclass(slots=True)
class Landing:
    """The landing of one extract, for use under `claim` and in a `with`: without `publish`, nothing remains.

    draft: the manifest as far as it is known before the first read.
    """

    lake: str | Path
    draft: Manifest
    folder: Path = field(init=False)
    _files: list[RawFile] = field(default_factory=list)
    _published: bool = False

    def __post_init__(self) -> None:
        draft = self.draft
        dataset = Path(self.lake, "raw", draft.source, draft.dataset)
        for path in dataset.glob(f"country=*/entity=*/day=*/extract={draft.id}/{manifest_file.NAME}"):
            raise StorageError("this extract has landed already", where=str(path.parent), found=draft.id)
        day = f"day={draft.started_at.astimezone(UTC):%Y-%m-%d}"
        scope = (f"country={draft.scope_country}", f"entity={draft.scope_entity}")
        self.folder = dataset.joinpath(*scope, day, f"extract={draft.id}")
        disk.make_folder(self.folder)

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._published:
            with suppress(OSError):
                shutil.rmtree(self.folder)

    def receive(self, source: Path, *, sha256: str) -> Path | None:
        """Keep the exact bytes of `source`; None if they are not those of the digest any more (it is being written)."""
        kept = self.folder / f"received-{source.name[-100:]}"
        disk.write_new(kept, lambda temporary: disk.copy(source, temporary))
        if disk.sha256(kept) != sha256:
            return None
        self._files.append(RawFile(name=kept.name, role="received", bytes=kept.stat().st_size, sha256=sha256))
        return kept

    def frame(self, records: Iterable[Record], names: Sequence[str]) -> tuple[int, int]:
        """Write the records; returns (rows, rejected). `names` may grow while the records are read."""
        good = _Parts(self.folder, "records", "part")
        bad = _Parts(self.folder, "rejects", "rejects")
        with good, bad:
            for record in records:
                if record.reason is None:
                    good.add(record.position, record.text, record.values, len(names))
                else:
                    bad.add(record.position, record.text, (record.reason,), 1)
            good.close(width=len(names), always=True)
            bad.close(width=1, always=False)
        self._files += [*good.files, *bad.files]
        return sum(f.rows for f in good.files), sum(f.rows for f in bad.files)

    def discard_records(self) -> None:
        """Forget what was framed: the file turned out to be unreadable further on."""
        for path in self.folder.iterdir():
            if not path.name.startswith("received-"):
                path.unlink()
        self._files = [f for f in self._files if f.role == "received"]

    def publish(self, manifest: Manifest) -> Manifest:
        """Verify every file, then publish the manifest: from here on the extract exists."""
        for file in self._files:
            _verify(self.folder / file.name, file)
        landed = msgspec.structs.replace(manifest, files=tuple(self._files), landed_at=datetime.now(UTC))
        content = manifest_file.encode(landed)
        disk.write_new(self.folder / manifest_file.NAME, lambda temporary: _put(temporary, content))
        self._published = True
        return msgspec.structs.replace(landed, folder=str(self.folder))


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _verify(path: Path, file: RawFile) -> None:
    """Read back what was written: the digest of bytes received, the row count of what we framed."""
    size = path.stat().st_size
    if size != file.bytes or disk.sha256(path) != file.sha256:
        found, expected = f"{size} bytes", f"{file.bytes} bytes, sha256 {file.sha256}"
        raise StorageError("the disk does not hold what was written", where=str(path), found=found, expected=expected)
    if file.role == "received":
        return
    if (rows := pq.read_metadata(path).num_rows) != file.rows:
        raise StorageError("the file lacks records", where=str(path), found=f"{rows} rows", expected=f"{file.rows}")


class _Parts:
    """Writes batches to numbered Parquet files; a new file begins when a record brings fields not seen before."""

    def __init__(self, folder: Path, role: Literal["records", "rejects"], prefix: str) -> None:
        self.files: list[RawFile] = []
        self._folder = folder
        self._role = role
        self._prefix = prefix
        self._positions: list[int] = []
        self._texts: list[str] = []
        self._values: list[Sequence[str | None]] = []
        self._size = 0
        self._width = -1
        self._rows = 0
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

    def close(self, *, width: int, always: bool) -> None:
        """Write what is left. always: a file without rows is written too, where there is none yet."""
        if self._texts or (always and self._writer is None and not self.files):
            self._flush(width)
        self._end_file()

    def _flush(self, width: int) -> None:
        if width != self._width:
            self._end_file()
            self._width = width
        schema = self._schema()
        if self._writer is None:
            path = self._temporary()
            path.unlink(missing_ok=True)
            self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=[])
        columns = [
            [row[index] if index < len(row) else None for row in self._values] for index in range(width)
        ]  # fmt: skip
        arrays = [pa.array(self._positions, pa.int64()), pa.array(self._texts, pa.string())]
        arrays += [pa.array(column, pa.string()) for column in columns]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        self._rows += len(self._texts)
        self._positions, self._texts, self._values, self._size = [], [], [], 0

    def _schema(self) -> pa.Schema:
        fields = [f"c{index}" for index in range(self._width)] if self._role == "records" else ["_reason"]
        texts = ["_record", *fields]
        return pa.schema([("_position", pa.int64()), *((name, pa.string()) for name in texts)])

    def _temporary(self) -> Path:
        return self._folder / f".{self._prefix}-{len(self.files):05d}.parquet.writing"

    def _end_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        written = self._temporary()
        path = self._folder / f"{self._prefix}-{len(self.files):05d}.parquet"
        disk.write_new(path, lambda temporary: _move(written, temporary))
        self.files.append(
            RawFile(
                name=path.name, role=self._role, bytes=path.stat().st_size, sha256=disk.sha256(path), rows=self._rows
            )
        )
        self._rows = 0


def _move(source: Path, target: Path) -> None:
    source.rename(target)
