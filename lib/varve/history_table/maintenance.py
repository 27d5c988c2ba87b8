"""Fewer and younger files: compaction and vacuum of an entity's tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from varve.history_table.folding import fold
from varve.history_table.pending import Readable
from varve.history_table.rearrangements import COMPACTED
from varve.storage.commits import Commit


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was put together; each with version None when there was nothing to do."""

    log: Commit
    versions: Commit


def compact(table: Readable) -> Compaction:
    """Put the small files of the log and of the versions together. What is not folded yet is folded first."""
    fold(table)
    note = {"kind": COMPACTED}
    log = table.store.compact(table.layer, table.log_table, note=note)
    fold(table)  # moves the mark
    return Compaction(log, table.store.compact(table.layer, table.entity, note=note))


def vacuum(table: Readable, keep: timedelta | None = None) -> None:
    """Delete files that no version younger than `keep` needs (None: 7 days). What is not folded yet is folded first,
    so that no file is missed which the watermark needs to find what is new."""
    fold(table)
    for name in (table.log_table, table.entity):
        table.store.vacuum(table.layer, name, keep=keep)
