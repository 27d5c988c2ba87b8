"""Commits of Delta tables: what one says of itself, how it is found again, how one that came first is recognised.

Every write carries a mark of its own in its note, by which its commit is found: another run's is never taken for it.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import deltalake
from deltalake.exceptions import CommitFailedError
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from varve.model.errors import OvertakenError

RESTORE_OPERATION: Final = "RESTORE"  # what Delta calls the commit that goes back to an older version
MARK: Final = "commit"  # in the note of a commit: what distinguishes it from every other one
# How Delta says that another commit was first.
_CONFLICT: Final = re.compile(r"(Concurrent|MetadataChanged|ProtocolChanged)\w*Exception|DELTA_CONCURRENT_\w+")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a write did. version: of the table, None when there was nothing to write; rows, files, bytes: added."""

    version: int | None = None
    rows: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class CommitNote:
    """What a commit says of itself. operation: what Delta calls it; restored: the version that it went back to, -1 when
    it named a time instead, None of any other commit."""

    version: int
    note: Mapping[str, Any]
    operation: str = ""
    restored: int | None = None


@contextmanager
def conflicts_as_overtaken(layer: str, table: str) -> Iterator[None]:
    """Turns a commit that is refused because another one was first into an OvertakenError."""
    try:
        yield
    except CommitFailedError as error:
        raise overtaken(f"{layer}.{table}", str(error).splitlines()[0], "no other commit meanwhile") from error
    except (PySparkException, Py4JJavaError) as error:
        if (found := _CONFLICT.search(str(error))) is None:
            raise
        raise overtaken(f"{layer}.{table}", found[0], "no other commit meanwhile") from error


def overtaken(where: str, found: str, expected: str) -> OvertakenError:
    """The error of a write that another run's write came before."""
    return OvertakenError(
        "another run has written the table meanwhile", where=where, found=found, expected=expected,
        remedy="Nothing of this write was kept: run again to go on from what the other run left.",
    )  # fmt: skip


def commit_note(commit: Mapping[str, Any]) -> CommitNote:
    """What a row of a table's history says of its commit."""
    operation = str(commit.get("operation", ""))
    restored = None
    if operation == RESTORE_OPERATION:
        version = str((commit.get("operationParameters") or {}).get("version"))
        restored = int(version) if version.isdigit() else -1
    return CommitNote(commit["version"], note_of(commit), operation, restored)


def note_of(commit: Mapping[str, Any]) -> dict[str, Any]:
    """What a commit says of itself; of another system's commit nothing, whatever it wrote there."""
    note = whole_note(commit)
    note.pop(MARK, None)
    return note


def whole_note(commit: Mapping[str, Any]) -> dict[str, Any]:
    """The note with its mark; empty where another system wrote something else there."""
    try:
        note = json.loads(commit.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def with_mark(note: Mapping[str, Any] | None) -> dict[str, Any]:
    """A note by which its commit can be distinguished from every other one."""
    return {**(note or {}), MARK: secrets.token_hex(8)}


def commit_of(commit: Mapping[str, Any]) -> Commit:
    """What a row of a table's history says that its commit did."""
    numbers = {k: int(v) for k, v in commit.get("operationMetrics", {}).items() if str(v).isdigit()}
    return Commit(
        version=commit["version"],
        rows=numbers.get("numOutputRows", numbers.get("num_added_rows", 0)),
        files=numbers.get("numFiles", numbers.get("numTargetFilesAdded", numbers.get("numAddedFiles", 0))),
        bytes=numbers.get("numOutputBytes", numbers.get("numTargetBytesAdded", 0)),
    )


def properties_with_txn(txn: str, version: int, note: Mapping[str, Any]) -> deltalake.CommitProperties:
    """Of a commit by delta-rs that is refused when another one was first."""
    return deltalake.CommitProperties(
        custom_metadata={"userMetadata": json.dumps(note)}, max_commit_retries=0,
        app_transactions=[deltalake.Transaction(txn, version)],
    )  # fmt: skip


def writer_options(txn: str | None, version: int, note: Mapping[str, Any]) -> dict[str, str]:
    """The options of a Delta write by Spark. txn: the transaction, None for a write that has none."""
    options = {"userMetadata": json.dumps(note)}
    if txn is not None:
        options |= {"txnAppId": txn, "txnVersion": str(version)}
    return options
