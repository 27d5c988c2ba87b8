"""A folder on a disk as a store: sync makes durable, link refuses to replace, a lock makes comparing and replacing one.

Several hosts may share the folder where its file system gives link and flock to all of them (`trial.py` tries both).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from varve.model.errors import StorageError
from varve.storage.files import Absent, Changed, Entry, Taken


@dataclass(frozen=True, slots=True)
class Disk:
    """The files below a folder, which is made when it is first written to."""

    folder: Path

    @property
    def root(self) -> str:
        return str(self.folder)

    def put(self, key: str, content: bytes) -> str:
        temporary = self._temporary(key)
        with disk_errors(temporary):
            temporary.write_bytes(content)
        self.put_file(key, temporary)
        return _tag(content)

    def put_file(self, key: str, path: Path) -> None:
        target = self.folder / key
        with disk_errors(target):
            make_folder(target.parent)
            if path.stat().st_dev != target.parent.stat().st_dev:
                copied = self._temporary(key)
                copy(path, copied)
                path.unlink()
                path = copied
            try:
                sync(path)
                os.link(path, target)  # unlike rename, refuses to replace
            except FileExistsError:
                raise Taken(
                    "another writer was here first", where=str(target), found="the file exists",
                    remedy="Nothing was overwritten; run again to go on from what it left.",
                ) from None  # fmt: skip
            finally:
                path.unlink(missing_ok=True)
            sync_folder(target.parent)

    def replace(self, key: str, content: bytes, *, tag: str) -> str:
        target = self.folder / key
        temporary = self._temporary(key)
        with disk_errors(target), self._locked(target):
            if not target.exists() or _tag(target.read_bytes()) != tag:
                raise Changed("another writer has replaced it meanwhile", where=str(target), found="another content")
            temporary.write_bytes(content)
            sync(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
        return _tag(content)

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        with disk_errors(self.folder / key), (self.folder / key).open("rb") as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        content = self.read(key)
        return content, _tag(content)

    def size(self, key: str) -> int | None:
        try:
            with disk_errors(self.folder / key):
                return (self.folder / key).stat().st_size
        except Absent:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        found = []
        for folder, _, names in os.walk(self.folder / prefix):
            for name in names:
                key = Path(folder, name).relative_to(self.folder).as_posix()
                # One that somebody has removed since has no size.
                if not name.startswith(".") and (size := self.size(key)) is not None:
                    found.append(Entry(key, size))
        yield from sorted(found, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        target = self.folder / key
        with suppress(Absent), disk_errors(target):
            target.unlink()
            sync_folder(target.parent)

    def clear(self, folder: str) -> None:
        with disk_errors(self.folder / folder):
            if (self.folder / folder).exists():
                shutil.rmtree(self.folder / folder)

    @contextmanager
    def workspace(self, folder: str) -> Iterator[Path]:
        place = self.folder / folder
        with disk_errors(place):
            make_folder(place)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _temporary(self, key: str) -> Path:
        """A name beside the file, that no listing shows and nobody else uses."""
        target = self.folder / key
        with disk_errors(target):
            make_folder(target.parent)
        return target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")

    @contextmanager
    def _locked(self, target: Path) -> Iterator[None]:
        handle = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What the operating system says of a path, as an error of ours: Absent, else StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        raise Absent("there is no such file", where=str(path)) from error
    except OSError as error:
        raise StorageError(
            "the disk could not be read or written", where=str(path), found=error.strerror,
            remedy="Is it full, read-only or gone? Then run again.",
        ) from error  # fmt: skip


def _tag(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, so that a power cut does not take it away again."""
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        if not path.exists():
            path.mkdir(exist_ok=True)
            sync_folder(path.parent)


def sync(path: Path) -> None:
    """Make what the file holds durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy(source: Path, target: Path) -> None:
    """Copy the bytes, nothing else."""
    with source.open("rb") as received, target.open("xb") as kept:
        while block := received.read(2**20):
            kept.write(block)
