"""A batch: what one commit of a table holds of the extracts of raw. The commit says it itself, and nothing else does.

Every commit that adds rows for an extract carries the transaction (table, n), n one above the last, and in its note the
extracts and scopes that it holds. The number is also the fence: of two runs that decided at once, one is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from varve.ops import tables
from varve.storage.commits import CommitNote
from varve.storage.delta import Store

LOADED: Final = "loaded"  # in the note of a commit: dataset -> [[number, manifest, scope …], …]
FOLD_BATCH: Final = "fold."  # what a fold records of contradictions is named after the log's version, and is no batch
BATCH: Final = "batch"  # in the note of a commit, and in what is recorded before it: `<n>.<attempt>`


@dataclass(frozen=True, slots=True)
class Load:
    """One extract that a commit loaded. dataset: its bronze table; number: of its manifest; manifest: its id; scopes:
    those that were loaded, () = all."""

    dataset: str
    number: int
    manifest: str
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """What one commit is to load. number: one above the table's last; run: the id of the run.

    attempt: keeps what was recorded before this commit apart from what another attempt at the number recorded."""

    number: int
    loads: tuple[Load, ...] = ()
    run: str = ""
    attempt: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def name(self) -> str:
        """As rejects and drift name it."""
        return f"{self.number}.{self.attempt}"

    def note(self) -> dict[str, Any]:
        """The note of the commit, as JSON can hold it."""
        loaded: dict[str, list[list[Any]]] = {}
        for load in self.loads:
            loaded.setdefault(load.dataset, []).append([load.number, load.manifest, *load.scopes])
        return {BATCH: self.name, "run": self.run, LOADED: loaded}


def loads_of(note: Mapping[str, Any]) -> Iterator[Load]:
    """The extracts that the note of a commit names."""
    for dataset, entries in note.get(LOADED, {}).items():
        for number, manifest, *scopes in entries:
            yield Load(dataset, number, manifest, tuple(scopes))


def transaction(layer: str, table: str) -> str:
    """The name of the transaction that every writer of a table's rows uses."""
    return f"{layer}.{table}"


def batches(store: Store, layer: str, table: str, *, since: int = -1) -> Iterator[tuple[CommitNote, Sequence[Load]]]:
    """The commits after version `since`, oldest first, with the extracts that each holds."""
    for commit in store.commits(layer, table, since=since):
        yield commit, tuple(loads_of(commit.note))


def forget(root: Path, table_name: str, batch: str) -> None:
    """Remove what was recorded before a batch that was not committed. table_name: as ops tables name it."""
    for table in (tables.REJECTS, tables.DRIFT):
        tables.remove_batch(root, table, table_name=table_name, batch=batch)


def withdraw(store: Store, layer: str, table: str, batch: Batch, *, table_name: str) -> None:
    """Remove what was recorded before a batch that failed, unless it was committed: an error may come after that."""
    if batch.name not in {commit.note.get(BATCH) for commit in store.commits(layer, table)}:
        forget(Path(store.root), table_name, batch.name)


def recorded_rows(root: Path, columns: Sequence[str], where: str) -> Iterator[dict[str, Any]]:
    """Rows of ops.rejects and ops.drift, as column -> value. where: an SQL predicate."""
    for table in (tables.REJECTS, tables.DRIFT):
        yield from tables.rows(root, table, columns=columns, where=where)


def recorded(root: Path, run_id: str) -> list[str]:
    """The tables for which a run recorded rejects or drift of a batch, sorted, as ops tables name them."""
    where = f"run_id = '{run_id}' and batch is not null"
    return sorted({row["table_name"] for row in recorded_rows(root, ["table_name"], where)})


def forget_uncommitted(store: Store, root: Path, layer: str, table: str, run_id: str) -> None:
    """Remove what a run that is dead recorded before batches of a table that it never committed.

    table: as ops tables name it. Under the table's lease. The number of such a batch is taken first: should the run
    only have slept, it finds it taken and commits nothing."""
    name, stored = f"{layer}.{table}", table if layer == "bronze" else f"{table}_changes"
    where = f"run_id = '{run_id}' and table_name = '{name}' and batch is not null"
    names = {row[BATCH] for row in recorded_rows(root, [BATCH], where) if not row[BATCH].startswith(FOLD_BATCH)}
    if not names:
        return
    committed = {commit.note.get(BATCH) for commit in store.commits(layer, stored)}
    for batch in sorted(names - committed):
        number, txn = int(batch.partition(".")[0]), transaction(layer, stored)
        reached = store.transaction(layer, stored, txn) or 0
        if number > reached and store.exists(layer, stored):
            note = {"kind": "void", "reason": f"run {run_id} died before it committed batch {batch}"}
            store.advance(layer, stored, txn=txn, version=number, is_fenced=True, note=note)
        forget(root, name, batch)
