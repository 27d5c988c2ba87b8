"""What makes a file on a disk durable and unique. An object store needs the same four acts as conditional puts."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from varve.errors import StorageError

_BLOCK: Final = 2**20


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, so that a power cut does not take it away again."""
    missing = [folder]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def write_new(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file and give it the name `path`, whole and synced, or not at all.

    Raises StorageError if the name is taken: nothing is ever replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike rename, refuses to replace
        except FileExistsError:
            raise StorageError(
                "another writer was here first", where=str(path), found="the file exists",
                remedy="Nothing was overwritten; run again to go on from what it left",
            ) from None  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """The digest of what the file holds now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(source: Path, target: Path) -> None:
    """Copy the bytes, nothing else."""
    with source.open("rb") as received, target.open("xb") as kept:
        while block := received.read(_BLOCK):
            kept.write(block)


class Claim:
    """The right to write below `folder`. A second writer is refused; the right of a dead process ends with it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".writer"
        self._handle: int | None = None

    def __enter__(self) -> Claim:
        make_folder(self._path.parent)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(handle, 64, 0).decode(errors="replace").strip()
            os.close(handle)
            raise StorageError(
                "another writer is at work here", where=str(self._path.parent), found=holder or "its lock",
                remedy="Wait until it has finished, then run again",
            ) from None  # fmt: skip
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
        self._handle = handle
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
