"""The manifest of one extract: what was taken, from where, when, how much, and in which files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from varve.model.contract import bronze_table
from varve.model.errors import StorageError
from varve.model.scope import MIXED, Scope


class RawFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the extract. name: below its folder; bytes, sha256: of what it must hold; rows: records or rejects."""

    name: str
    role: Literal["received", "records", "rejects", "overlap"]
    bytes: int
    sha256: str
    rows: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What was read. Of a file also what `stat` said: the same again means the same bytes."""

    path: str
    sha256: str = ""
    bytes: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0


class Published(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the catalog keeps of every extract of a dataset, so that its manifest need not be opened.

    number: the extract is the n-th of its dataset; mode: snapshot asserts absences too; as_of: the moment the picture
    was taken or is declared for (UTC); complete: proved to hold every row of its scopes.
    """

    id: str
    source: str
    dataset: str
    scope_country: str
    scope_entity: str
    mode: Literal["snapshot", "changes"]
    as_of: datetime
    complete: bool = False
    status: Literal["landed", "parked"] = "landed"
    reason: str | None = None
    rows: int = 0
    rejected: int = 0
    origin: Origin
    bounds: Mapping[str, str | int | float | None] | None = None
    declared: str | None = None
    started_at: datetime
    landed_at: datetime
    number: int = 0  # 0: not published

    @property
    def table(self) -> str:
        """The bronze table it is for."""
        return bronze_table(self.source, self.dataset)

    @property
    def scope(self) -> Scope:
        """The folder's scope; `_mixed` where a column of the records holds it."""
        return Scope(self.scope_country, self.scope_entity)

    @property
    def mixed(self) -> bool:
        """Whether a column of the records says the scope."""
        return MIXED in (self.scope_country, self.scope_entity)

    @property
    def order(self) -> tuple[datetime, int]:
        """Extracts of one dataset are loaded in this order."""
        return (self.as_of, self.number)

    @property
    def folder(self) -> str:
        """Where its files lie, below the root of the store."""
        day = f"day={self.started_at.astimezone(UTC):%Y-%m-%d}"
        scope = f"country={self.scope_country}/entity={self.scope_entity}"
        return f"raw/{self.source}/{self.dataset}/{scope}/{day}/extract={self.id}"

    @property
    def file(self) -> str:
        """What provenance names: the extract, and the file as its source calls it."""
        return f"extract={self.id}/{self.origin.path.rpartition('/')[2]}"


class Manifest(Published, frozen=True, kw_only=True):
    """scopes: every expected scope with its rows, zero included; columns: names as received, of c0 … cN; types: theirs
    as Spark names them, none when all are text."""

    contract: str
    picture: Literal["point_in_time", "chunked"] = "point_in_time"
    scopes: Mapping[str, int] = {}
    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    files: tuple[RawFile, ...] = ()
    query: str | None = None

    @property
    def bytes(self) -> int:
        """The size of its files of records [bytes]."""
        return sum(file.bytes for file in self.files if file.role == "records")

    def keys(self, role: str) -> list[str]:
        """Its files of that role, as keys of the store."""
        return [f"{self.folder}/{file.name}" for file in self.files if file.role == role]

    def published(self) -> Published:
        """The part of it that the catalog keeps."""
        return Published(**{name: getattr(self, name) for name in Published.__struct_fields__})


def encode(manifest: Manifest) -> bytes:
    """The manifest as the text of its file; the number is the file's name."""
    unnumbered = msgspec.structs.replace(manifest, number=0)
    return msgspec.json.format(msgspec.json.encode(unnumbered), indent=2)


def decode(content: bytes, *, number: int, where: str) -> Manifest:
    """The manifest that was published under a number. Raises StorageError when it is none."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise StorageError(
            "this is no manifest", where=where, found=str(error),
            remedy="A manifest is never edited: restore the file from a backup.",
        ) from error  # fmt: skip
    return msgspec.structs.replace(manifest, number=number)
