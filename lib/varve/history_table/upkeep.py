"""Rearranging an entity's tables: the same rows in other files, and fewer of them.

What the versions lack is told by the log's files, so a commit that moves rows to other files says in its note that it
is a rearrangement. It happens when the log is wholly folded, and the watermark is then moved to it by a commit of its
own. A run that dies between the two commits leaves a log whose newest commits are rearrangements: the next fold moves
the mark, and folds nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from varve.storage.delta import Commit

if TYPE_CHECKING:
    from datetime import timedelta

    from varve.history_table.table import HistoryTable

COMPACTED: Final = "compacted"
WIDENED: Final = "widened"
ANCHORED: Final = "anchored"  # by the horizon
REARRANGED: Final = frozenset((COMPACTED, WIDENED, ANCHORED))  # kinds of commits of the log that say nothing new

File = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was put together; each with version None when there was nothing to do."""

    log: Commit
    versions: Commit


def rearrangements(table: HistoryTable, mark: int) -> list[int]:
    """The versions of the log behind the watermark that are rearrangements, in their order."""
    notes = table.store.notes(table.layer, table.log_table, since=mark)
    return sorted(version for version, note in notes.items() if note.get("kind") in REARRANGED)


def new_files(table: HistoryTable, mark: int, head: int) -> list[File]:
    """The files of the log at `head` that hold the changes after `mark`; what a rearrangement wrote is not new.

    A rearrangement that took in files that were new is not trusted: all that it wrote counts as new. Folding a row a
    second time costs time, leaving one out would be wrong.
    """

    def files(version: int) -> dict[str, File]:
        found = table.store.files(table.layer, table.log_table, version=version)
        return {file["path"]: file for file in found if file["partition.record"] == "change"}

    known, new = files(mark), set[str]()
    since = mark
    for version in rearrangements(table, mark):
        before = known if version - 1 == since else files(version - 1)
        after = files(version)
        new |= before.keys() - known.keys()
        if new - after.keys():
            new |= after.keys() - before.keys()
        known, since = after, version
    last = known if since == head else files(head)
    new |= last.keys() - known.keys()
    return [file for path, file in last.items() if path in new]


def compact(table: HistoryTable) -> Compaction:
    """Put the small files of the log and of the versions together. What is not folded yet is folded first."""
    table.fold()
    note = {"kind": COMPACTED}
    log = table.store.compact(table.layer, table.log_table, note=note)
    table.fold()  # moves the mark
    return Compaction(log, table.store.compact(table.layer, table.entity, note=note))


def vacuum(table: HistoryTable, keep: timedelta | None = None) -> None:
    """Delete files that no version younger than `keep` needs (None: 7 days). What is not folded yet is folded first,
    so that no file is missed which the watermark needs to tell what is new."""
    table.fold()
    for name in (table.log_table, table.entity):
        table.store.vacuum(table.layer, name, keep=keep)
