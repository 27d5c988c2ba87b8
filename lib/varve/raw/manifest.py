"""The manifest of one extract: what was taken, from where, when, how much, and in which files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from varve.errors import StorageError
from varve.scope import MIXED, Scope

NAME: Final = "_manifest.json"


class RawFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the extract, with what it must hold."""

    name: str
    role: Literal["received", "records", "rejects"]
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


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """mode: snapshot asserts absences too; as_of: the moment the picture was taken or is declared for (UTC);
    complete: proved to hold every row of its scopes; scopes: every expected scope with its rows, zero included."""

    id: str
    source: str
    dataset: str
    contract: str
    scope_country: str
    scope_entity: str
    mode: Literal["snapshot", "changes"]
    as_of: datetime
    picture: Literal["point_in_time", "chunked"] = "point_in_time"
    complete: bool = False
    status: Literal["landed", "parked"] = "landed"
    reason: str | None = None
    rows: int = 0
    rejected: int = 0
    scopes: Mapping[str, int] = {}
    columns: tuple[str, ...] = ()
    files: tuple[RawFile, ...] = ()
    origin: Origin
    bounds: Mapping[str, str | int | float | None] | None = None
    query: str | None = None
    declared: str | None = None
    started_at: datetime
    landed_at: datetime
    folder: str = ""  # where it was found; not part of the file

    @property
    def table(self) -> str:
        """The bronze table it is for."""
        return f"{self.source}_{self.dataset}"

    @property
    def scope(self) -> Scope:
        """The folder's scope; `_mixed` where a column of the records holds it."""
        return Scope(self.scope_country, self.scope_entity)

    @property
    def mixed(self) -> bool:
        """Whether a column of the records says the scope."""
        return MIXED in (self.scope_country, self.scope_entity)

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Manifests of one dataset are loaded in this order."""
        return (self.as_of, self.landed_at, self.id)

    def paths(self, role: str) -> list[str]:
        """The files of that role."""
        return [f"{self.folder}/{file.name}" for file in self.files if file.role == role]

    @property
    def file(self) -> str:
        """What provenance names: the file received, else the file of records, below the dataset's folder."""
        names = [f.name for role in ("received", "records") for f in self.files if f.role == role]
        return f"extract={self.id}/{names[0]}" if names else f"extract={self.id}"


def encode(manifest: Manifest) -> bytes:
    """The manifest as the text of its file."""
    value = msgspec.to_builtins(manifest)
    del value["folder"]
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def decode(path: Path) -> Manifest:
    """The manifest in the file at `path`."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise StorageError(
            "this is no manifest", where=str(path), found=str(error),
            remedy="A manifest is never edited; restore the file, or move its extract folder out of the lake",
        ) from error  # fmt: skip
    return msgspec.structs.replace(manifest, folder=str(path.parent))
