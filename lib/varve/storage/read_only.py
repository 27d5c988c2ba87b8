"""A store that is only looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from varve.model.errors import StorageError
from varve.storage.files import Entry, Files


@dataclass(frozen=True, slots=True)
class ReadOnly:
    """The same objects; every act that changes one is refused with a StorageError."""

    files: Files

    @property
    def root(self) -> str:
        return self.files.root

    def put(self, key: str, content: bytes) -> str:
        self._refuse(key)

    def put_file(self, key: str, path: Path) -> None:
        self._refuse(key)

    def replace(self, key: str, content: bytes, *, tag: str) -> str:
        self._refuse(key)

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        return self.files.read(key, start=start, length=length)

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        return self.files.read_tagged(key)

    def size(self, key: str) -> int | None:
        return self.files.size(key)

    def list(self, prefix: str) -> Iterator[Entry]:
        return self.files.list(prefix)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def clear(self, folder: str) -> None:
        self._refuse(folder)

    def workspace(self, folder: str) -> AbstractContextManager[Path]:
        self._refuse(folder)

    def _refuse(self, key: str) -> Never:
        raise StorageError("this store is only looked at", where=f"{self.root}/{key}")
