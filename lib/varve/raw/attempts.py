"""Attempts to land an extract: what one announces before it writes, and how a dead one is removed.

An attempt puts a note, `attempts/<token>.<n>.json`, before it writes a file into a folder; the names of its files bear
its token. Once another one has taken its number it is dead, and its files are removed that no manifest lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from varve.raw.catalog import RawDataset
from varve.raw.manifest import RawFile
from varve.storage import Absent


class Attempt(msgspec.Struct, frozen=True):
    """What is being written: an extract that is to take this number, into this folder (a key)."""

    number: int
    folder: str


def attempts_folder(dataset: RawDataset) -> str:
    """The key below which attempts have their notes and their workspaces."""
    return f"{dataset.folder}/attempts"


def announce(dataset: RawDataset, token: str, attempt: Attempt, *, place: int) -> str:
    """Put the note of an attempt, and return its key. place: 0 for its first folder, 1 for the next. StorageError."""
    note = f"{attempts_folder(dataset)}/{token}.{place}.json"
    dataset.files.put(note, msgspec.json.encode(attempt))
    return note


def clear_dead(dataset: RawDataset, last: int) -> None:
    """Remove what attempts left that can never be published. last: the number up to which all are taken. StorageError.

    A note that was not finished shows in no listing: it goes with the folder, once nothing is being written there."""
    folder = attempts_folder(dataset)
    for entry in list(dataset.files.list(folder)):
        if not entry.key.endswith(".json"):
            continue
        try:
            attempt = msgspec.json.decode(dataset.files.read(entry.key), type=Attempt)
        except (Absent, msgspec.MsgspecError):
            continue
        if attempt.number <= last:
            remove_attempt(dataset, attempt, entry.key)
    if next(iter(dataset.files.list(folder)), None) is None:
        dataset.files.clear(folder)


def remove_attempt(dataset: RawDataset, attempt: Attempt, note: str) -> None:
    """Remove the files of an attempt that were not published, its workspace and, last, its note (a key)."""
    token = note.rpartition("/")[2].partition(".")[0]
    listed = {f"{attempt.folder}/{file.name}" for file in _listed(dataset, attempt, token)}
    for entry in list(dataset.files.list(attempt.folder)):
        if f"-{token}-" in entry.key and entry.key not in listed:
            dataset.files.delete(entry.key)
    dataset.files.clear(f"{attempts_folder(dataset)}/{token}")
    dataset.files.delete(note)


def _listed(dataset: RawDataset, attempt: Attempt, token: str) -> Sequence[RawFile]:
    """The files of an attempt that its manifest lists, if it was published before it died."""
    with suppress(Absent):
        manifest = dataset.manifest(attempt.number)
        return [file for file in manifest.files if f"-{token}-" in file.name]
    return ()
