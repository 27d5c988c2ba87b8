"""What a table has loaded of the extracts of raw, as the notes of its commits say it.

It is remembered in one small object per table, `index/<layer>/<table>`, which is brought up to date by every run before
Delta cleans its log. It is a cache: without it the notes are read again, and where the log was cleaned the rows say it
by their `_manifest`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from varve.model.errors import StorageError
from varve.model.scope import Scope
from varve.raw.batch import BATCH, FOLD_BATCH, Batch, Load, forget, loads_of, recorded_rows, transaction
from varve.storage import Absent, Files
from varve.storage.commits import CommitNote
from varve.storage.delta import Store


@dataclass(slots=True)
class Intervals:
    """A set of numbers, kept as the intervals that it consists of: [[first, last], …], ascending."""

    intervals: list[list[int]] = field(default_factory=list)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.intervals, number, key=lambda one: one[0])
        return place > 0 and number <= self.intervals[place - 1][1]

    def add(self, number: int) -> None:
        """Add a number; intervals that meet become one."""
        if number in self:
            return
        place = bisect_right(self.intervals, number, key=lambda one: one[0])
        follows = place > 0 and self.intervals[place - 1][1] == number - 1
        leads = place < len(self.intervals) and self.intervals[place][0] == number + 1
        if follows and leads:
            self.intervals[place - 1][1] = self.intervals.pop(place)[1]
        elif follows:
            self.intervals[place - 1][1] = number
        elif leads:
            self.intervals[place][0] = number
        else:
            self.intervals.insert(place, [number, number])

    def absent(self, last: int) -> Iterator[int]:
        """The numbers from 1 to `last` that it does not have, ascending."""
        number = 1
        for first, end in self.intervals:
            yield from range(number, min(first - 1, last) + 1)
            number = end + 1
        yield from range(number, last + 1)


class _Dataset(msgspec.Struct):
    """Of one dataset: the extracts that are loaded whole, as intervals of their numbers, and scopes of others."""

    whole: list[list[int]] = []
    partial: dict[str, list[str]] = {}


class _Index(msgspec.Struct):
    """The object that remembers. table: the identity of the Delta table; version: up to which its notes were read;
    number: of the last batch."""

    table: str
    version: int
    number: int
    datasets: dict[str, _Dataset]


@dataclass(slots=True)
class Loaded:
    """What a table holds. number: of its last batch, 0 before the first."""

    number: int = 0
    whole: dict[str, Intervals] = field(default_factory=dict)
    partial: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def has(self, dataset: str, number: int, scope: Scope | str | None = None) -> bool:
        """Whether an extract is loaded, or one scope of it."""
        if number in self.whole.get(dataset, Intervals()):
            return True
        return scope is not None and str(scope) in self.partial.get((dataset, number), ())

    def has_any(self, dataset: str, number: int) -> bool:
        """Whether anything of an extract is loaded."""
        return self.has(dataset, number) or (dataset, number) in self.partial

    def last(self, dataset: str) -> int:
        """The greatest number of an extract of which anything is loaded, 0 if there is none."""
        intervals = self.whole.get(dataset, Intervals()).intervals
        partial = (number for name, number in self.partial if name == dataset)
        return max(*partial, intervals[-1][1] if intervals else 0, 0)

    def open_numbers(self, dataset: str, last: int) -> Iterator[int]:
        """The numbers up to `last` of the extracts that are not loaded whole."""
        return self.whole.get(dataset, Intervals()).absent(last)

    def add(self, load: Load) -> None:
        """Remember an extract as loaded: some of its scopes, or the whole of it when none is named."""
        if load.scopes:
            self.partial.setdefault((load.dataset, load.number), set()).update(load.scopes)
        else:
            self.whole.setdefault(load.dataset, Intervals()).add(load.number)
            self.partial.pop((load.dataset, load.number), None)

    def add_batch(self, batch: Batch) -> None:
        """Remember a batch as committed."""
        self.number = batch.number
        for load in batch.loads:
            self.add(load)

    def batch(self, loads: Iterable[Load] = (), *, run: str = "") -> Batch:
        """The next batch of the table."""
        return Batch(self.number + 1, tuple(loads), run)


# Gives what the rows of a table say: (dataset, number, manifest, scope) of every extract that has a row.
FromRows = Callable[[], Iterable[Load]]


def loaded(store: Store, files: Files, layer: str, table: str, from_rows: FromRows) -> Loaded:
    """What the table holds, by its notes; the index is brought up to date.

    from_rows: asked when neither the index nor the notes say it: the log was cleaned, or the table restored to a
    moment."""
    identity = store.identity(layer, table)
    if identity is None:
        return Loaded()
    version = store.version(layer, table)
    assert version is not None
    index, tag = _read(files, layer, table)
    if index is None or index.table != identity or index.version > version:
        index = None
    if index is not None and index.version == version:
        return _value(index)
    found = _brought_up(store, layer, table, index, from_rows)
    found.number = store.transaction(layer, table, transaction(layer, table)) or 0
    _write(files, layer, table, _stored(found, identity, version), tag)
    return found


def _brought_up(store: Store, layer: str, table: str, index: _Index | None, from_rows: FromRows) -> Loaded:
    """The index with what the notes after it say, or what the rows say where the notes do not say all of it."""
    said = store.commits(layer, table, since=-1 if index is None else index.version)
    counts: Sequence[CommitNote] | None = said
    if any(one.restored is not None for one in said):
        index, said = None, store.commits(layer, table)
        counts = _after_restore(said)
    elif not said or said[0].version != (0 if index is None else index.version + 1):
        counts = None  # cleaned away
    found = Loaded() if index is None or counts is None else _value(index)
    for load in from_rows() if counts is None else (load for one in counts for load in loads_of(one.note)):
        found.add(load)
    if index is None:
        _forget_undone(store, layer, table, said, counts, found)
    return found


def _forget_undone(
    store: Store, layer: str, table: str, said: Sequence[CommitNote], counts: Sequence[CommitNote] | None, found: Loaded
) -> None:
    """Remove what was recorded before batches that the table has lost: it was restored, or deleted and made again.

    said: what its log says; counts: those whose rows it has, None where only the rows say it."""
    if counts is None:
        counts = [one for one in said if any(found.has_any(load.dataset, load.number) for load in loads_of(one.note))]
    names, kept = ({one.note.get(BATCH) for one in some} for some in (said, counts))
    extracts = {load.manifest for one in counts for load in loads_of(one.note)}
    table_name = f"{layer}.{table if layer == 'bronze' else table.removesuffix('_changes')}"
    where = f"table_name = '{table_name}' and batch is not null and batch not like '{FOLD_BATCH}%'"
    rows = recorded_rows(Path(store.root), [f"distinct {BATCH}", "manifest"], where)
    recorded = {(row[BATCH], row["manifest"]) for row in rows}
    # What another run has recorded and is about to commit holds other extracts.
    undone = {batch for batch, extract in recorded if batch not in kept and (batch in names or extract in extracts)}
    for batch in sorted(undone):
        forget(Path(store.root), table_name, batch)


def _after_restore(said: Sequence[CommitNote]) -> list[CommitNote] | None:
    """The commits whose rows a table has that was restored to older versions: those before one, and what came after.

    None when the log does not reach back to its first commit, or a moment was named and not a version."""
    by_version = {one.version: one for one in said}
    found, version = [], said[-1].version
    while version >= 0:
        one = by_version.get(version)
        if one is None or one.restored == -1:
            return None
        found.append(one)
        version = version - 1 if one.restored is None else one.restored
    return found


def _read(files: Files, layer: str, table: str) -> tuple[_Index | None, str | None]:
    """The index and its tag; None for one that is absent or cut."""
    try:
        content, tag = files.read_tagged(_key(layer, table))
    except Absent:
        return None, None
    try:
        return msgspec.json.decode(content, type=_Index), tag
    except msgspec.MsgspecError:
        return None, tag


def _write(files: Files, layer: str, table: str, index: _Index, tag: str | None) -> None:
    content = msgspec.json.encode(index)
    try:
        if tag is None:
            files.put(_key(layer, table), content)
        else:
            files.replace(_key(layer, table), content, tag=tag)
    except StorageError:  # another run has done it, or nobody can write here
        return


def _key(layer: str, table: str) -> str:
    return f"index/{layer}/{table}"


def _value(index: _Index) -> Loaded:
    found = Loaded(index.number)
    for dataset, one in index.datasets.items():
        found.whole[dataset] = Intervals([list(interval) for interval in one.whole])
        found.partial |= {(dataset, int(number)): set(scopes) for number, scopes in one.partial.items()}
    return found


def _stored(found: Loaded, identity: str, version: int) -> _Index:
    datasets = {dataset: _Dataset(numbers.intervals, {}) for dataset, numbers in found.whole.items()}
    for (dataset, number), scopes in found.partial.items():
        datasets.setdefault(dataset, _Dataset([], {})).partial[str(number)] = sorted(scopes)
    return _Index(identity, version, found.number, datasets)
