"""The acts that every store must be able to do, whatever it is. Keys are relative to its root, `/` between parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from varve.model.errors import StorageError


class Absent(StorageError):  # noqa: N818
    """There is no object of that key."""


class Taken(StorageError):  # noqa: N818
    """The key has an object already: somebody else was first. Nothing was overwritten."""


class Changed(StorageError):  # noqa: N818
    """The object is not the one that was read: somebody else has replaced it meanwhile. Nothing was overwritten."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing. bytes: its size."""

    key: str
    bytes: int


class Files(Protocol):
    """The objects below one root. Every act is durable when it returns; a reader sees an object whole or not at all.

    A tag stands for the content of an object as it was read: the same tag, the same content. What is put or replaced
    under one key should never have the same bytes twice (a uuid in it will do): a writer that was delayed on its way to
    the store would otherwise find the content that it knows again, although others have written in between.
    The last part of a key does not begin with a dot: such names are the stores' own, and no listing shows them.
    A StorageError that is none of the three above leaves open whether an act was done.
    """

    @property
    def root(self) -> str:
        """Where the objects lie, as Spark and people name it: a folder, or a URL such as s3a://bucket/lake."""

    def put(self, key: str, content: bytes) -> str:
        """Create an object and return its tag. Raises Taken if the key has one already."""

    def put_file(self, key: str, path: Path) -> None:
        """Create an object from a local file, which may be gone afterwards. Raises Taken if the key has one already."""

    def replace(self, key: str, content: bytes, *, tag: str) -> str:
        """Replace the object that has this tag and return the new one. Raises Changed if it has another, or is gone."""

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object, or `length` of them from `start` on. Raises Absent."""

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        """The bytes of an object and the tag that `replace` wants. Raises Absent."""

    def size(self, key: str) -> int | None:
        """The size of an object [bytes], None if there is none."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """The objects whose keys begin with the folder `prefix` (without / at its end), at any depth, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    def clear(self, folder: str) -> None:
        """Remove everything below a folder, what listings do not show included; an absent one is no error."""

    def workspace(self, folder: str) -> AbstractContextManager[Path]:
        """A local folder for files in the making, gone at the end; on a disk it is `folder`, so that nothing need be
        copied to be put, and what a killed process leaves there is removed by `clear`."""
