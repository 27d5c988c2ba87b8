"""What a store cannot do of what Varve asks of it, found by trying: mounted volumes often lack an act, silently."""

from __future__ import annotations

import fcntl
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from varve.model.errors import StorageError
from varve.storage.disk import sync, sync_folder
from varve.storage.files import Changed, Files, Taken


@dataclass(frozen=True, slots=True)
class Lack:
    """An act that a store does not do. found: what happened instead; loses: what does not work there without it."""

    act: str
    found: str
    loses: str


def folder_lacks(folder: Path) -> Iterator[Lack]:
    """Try each act in a folder of its own below `folder` and remove it. Raises StorageError if it cannot be made."""
    try:
        with tempfile.TemporaryDirectory(prefix=".trial-", dir=folder) as place:
            for act, (attempt, loses) in _ACTS.items():
                problem = _problem(attempt, Path(place))
                if problem:
                    yield Lack(act, problem, loses)
    except OSError as error:
        raise StorageError("nothing can be written there", where=str(folder), found=error.strerror) from error


def store_lacks(files: Files) -> Iterator[Lack]:
    """Try the acts on an object store, with one object that is removed. Raises StorageError if it refuses them all."""
    key = f"trial/{uuid.uuid4().hex}"
    try:
        old = files.put(key, b"first")
        with suppress(Taken):
            files.put(key, b"second")
            yield Lack("put if absent", "an object was overwritten", "two writers overwrite each other's numbers")
        tag = files.read_tagged(key)[1]
        tag = files.replace(key, b"third", tag=tag)
        with suppress(Changed):
            files.replace(key, b"fourth", tag=old)
            yield Lack("replace if unchanged", "a changed object was replaced", "leases have two holders")
        if key not in [entry.key for entry in files.list("trial")]:
            yield Lack("list", "an object that was put is not listed", "a rebuilt index misses what is new")
    finally:
        files.delete(key)


def _problem(attempt: Callable[[Path], str | None], place: Path) -> str | None:
    try:
        return attempt(place)
    except OSError as error:
        return error.strerror or str(error)


def _exclusive_create(place: Path) -> str | None:
    with (place / "exclusive").open("xb"):
        pass
    with suppress(FileExistsError), (place / "exclusive").open("xb"):
        return "a file was created twice"
    return None


def _hard_link(place: Path) -> str | None:
    for name in ("first", "second"):
        (place / name).write_bytes(name.encode())
    os.link(place / "first", place / "linked")
    with suppress(FileExistsError):
        os.link(place / "second", place / "linked")
        return "a link replaced a file"
    return None


def _lock(place: Path) -> str | None:
    with (place / "lock").open("wb") as first, (place / "lock").open("wb") as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        with suppress(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return "a lock was given to two"
    return None


def _replace(place: Path) -> str | None:
    for name in ("old", "new"):
        (place / name).write_bytes(name.encode())
    (place / "new").replace(place / "old")
    return None if (place / "old").read_bytes() == b"new" else "the old content is still there"


def _sync(place: Path) -> str | None:
    (place / "synced").write_bytes(b"synced")
    sync(place / "synced")
    sync_folder(place)
    return None


_ACTS: Final[dict[str, tuple[Callable[[Path], str | None], str]]] = {
    "exclusive create": (_exclusive_create, "Delta's commits may overwrite each other"),
    "hard links": (_hard_link, "extracts, decisions and runs cannot be published"),
    "locks (flock)": (_lock, "leases cannot be renewed, so no job can run"),
    "replacing a file": (_replace, "leases cannot be renewed, so no job can run"),
    "sync": (_sync, "a power cut can take away what was published"),
}
