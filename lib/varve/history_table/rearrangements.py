"""Rearranging an entity's tables: the same rows in other files, and fewer of them.

What the versions lack is known from the log's files, so a commit that moves rows to other files says in its note that
it is a rearrangement. It happens when the log is wholly folded, and the watermark is then moved to it by a commit of
its own. A run that dies between the two commits leaves a log whose newest commits are rearrangements: the next fold
moves the mark, and folds nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from varve.history_table.tables import Tables

COMPACTED: Final = "compacted"
WIDENED: Final = "widened"
ANCHORED: Final = "anchored"  # by the horizon
REARRANGED: Final = frozenset((COMPACTED, WIDENED, ANCHORED))  # kinds of commits of the log that say nothing new

File = Mapping[str, Any]


def rearrangements(table: Tables, mark: int) -> list[int]:
    """The versions of the log after the watermark that are rearrangements, in their order."""
    notes = table.store.notes(table.layer, table.log_table, since=mark)
    return sorted(version for version, note in notes.items() if note.get("kind") in REARRANGED)


def new_files(table: Tables, mark: int, head: int) -> list[File]:
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
