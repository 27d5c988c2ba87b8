"""The changes of one entity's log that its versions lack: which they are, and the versions with them applied.

A key whose changes all come after its open row goes on from that row (`history.course`); any other key is late, and
is rebuilt: from its versions where these say all that its log says, else from its log. Which is which is known from the
statistics of the log's files where these suffice. Stored rows are looked for among the touched keys by name when these
are few, and else in their range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import cached_property, reduce
from typing import Any, Final

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from varve import history
from varve.history_table import rearrangements
from varve.history_table.positions import STATISTICS_STEP
from varve.history_table.tables import Tables
from varve.model.scope import SCOPE_COLUMNS, in_scopes

REWRITE_BELOW_ROWS: Final = 500_000  # in all touched scopes: then touched keys are rebuilt, whether late or not
MOST_TOUCHED: Final = 4_000_000  # changes whose keys go to every task; of more the whole scopes are rebuilt
MOST_SCOPES: Final = 64  # that a predicate names one by one
MOST_KEYS: Final = 1000  # that it names, as Parquet leaves pages out by a list no longer than this (see `session`)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The changes that are in the log and not in the versions, as the log's files list them; no job was needed.

    folded: the version of the versions that is spoken of; head: of the log; scopes: (country, entity); by: what tells
    identities apart in them, the keys alone when all are of one scope; rows: as many changes; lowest, highest: bounds
    of the first key, None when it does not help to name them; is_later: every one of them is later than all that is
    folded, so no key can be late.
    """

    files: tuple[Mapping[str, Any], ...]
    folded: int
    head: int
    scopes: tuple[tuple[str, str], ...]
    by: tuple[str, ...]
    rows: int
    lowest: Any = None
    highest: Any = None
    is_later: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The touched keys, by how they are folded.

    late: the identities that are rebuilt and whether their versions hold all that was said of them (`is_complete`),
    None when there are none; course: how the others go on, see `history.course`; seen: filled with the course;
    held: persisted frames; named: values of the first key of late identities, () when they are many; in_log: the same
    of those whose log must be read, None when there are none of these.
    """

    late: DataFrame | None
    course: DataFrame
    seen: Observation = field(default_factory=Observation)
    held: tuple[DataFrame, ...] = ()
    named: tuple[Any, ...] = ()
    in_log: tuple[Any, ...] | None = None


class Pending:
    """What an entity's versions lack. Remembers its last answers: planning a read again costs as much as reading."""

    def __init__(self, table: Tables) -> None:
        self._table = table
        # Of which versions and log, and what.
        self._last_read: tuple[tuple[int, int], DataFrame] | None = None
        self._last_split: tuple[tuple[int, int], Split] | None = None
        self._last_named: tuple[Backlog, tuple[Any, ...]] | None = None

    def backlog(self, folded: int) -> Backlog | None:
        """What the versions lack as they were at version `folded`, None when nothing; no job."""
        table = self._table
        head, mark = table.head(), table.watermark(version=folded)
        if head is None or mark is None or head <= mark:
            return None
        files = tuple(rearrangements.new_files(table, mark, head))
        if not files:
            return None
        known = table.store.files(table.layer, table.log_table, version=mark)
        scopes = tuple(sorted({_scope_of(file) for file in files}))
        before = [file for file in known if file["partition.record"] == "change" and _scope_of(file) in scopes]
        backlog = Backlog(
            files=files, folded=folded, head=head, scopes=scopes, rows=sum(file["num_records"] for file in files),
            by=table.policy.keys if len(scopes) == 1 else table.policy.identity,
            is_later=table.policy.domain == "time" and _is_later(files, before),
        )  # fmt: skip
        key = table.policy.keys[0]
        lows: list[Any] = [f.get(f"min.{key}") for f in files]
        highs: list[Any] = [f.get(f"max.{key}") for f in files]
        is_bounded = not any(value is None or isinstance(value, datetime) for value in (*lows, *highs))
        if is_bounded and self._is_worth_naming(backlog, min(lows), max(highs)):
            return replace(backlog, lowest=min(lows), highest=max(highs))
        return backlog

    def read(self, backlog: Backlog, *, is_narrow: bool) -> DataFrame:
        """The versions with these changes applied. No row is read, but where a key may be late.

        is_narrow: a few keys are wanted: where none is late nothing is kept that is not there, so a filter on keys
        passes to the files."""
        state = (backlog.folded, backlog.head)
        if self._last_read is None or self._last_read[0] != state:
            versions = self._table.versions(version=backlog.folded)
            can_split = backlog.is_later or self._table.is_marked(version=backlog.folded)
            if self.is_much(backlog) or self.is_small(backlog) or not can_split:
                self._last_read = state, self._anew(versions, backlog)
                return self._last_read[1]
            opened = self.near(versions, backlog).filter("is_open")
            if is_narrow and backlog.is_later:
                course = history.course(opened, self.changes(backlog), self._table.policy, by=backlog.by)
                return self.applied(versions, backlog, Split(None, course))
            self._last_read = state, self.applied(versions, backlog, self.split(opened, backlog))
        return self._last_read[1]

    def forget(self) -> None:
        """Give back what the last split holds in memory; a read that was handed out computes it again."""
        for frame in self._last_split[1].held if self._last_split else ():
            frame.unpersist()
        self._last_read = self._last_split = None

    def is_small(self, backlog: Backlog) -> bool:
        """Whether the touched scopes are so small that nothing is gained by telling late keys from others."""
        return self.stored_rows(backlog) < REWRITE_BELOW_ROWS

    def stored_rows(self, backlog: Backlog) -> int:
        """Versions in the touched scopes, by the statistics of the files."""
        return sum(file["num_records"] for file in self._stored_files(backlog) if _scope_of(file) in backlog.scopes)

    def is_much(self, backlog: Backlog) -> bool:
        """Whether so many keys may be touched that the whole scopes are better rebuilt."""
        return backlog.rows > MOST_TOUCHED

    def changes(self, backlog: Backlog) -> DataFrame:
        """The changes themselves."""
        table = self._table
        return table.shaped(table.store.read_files(table.layer, table.log_table, backlog.files)).drop("record")

    # --- applying ---------------------------------------------------------------------------------------------

    def _anew(self, versions: DataFrame, backlog: Backlog) -> DataFrame:
        """The versions, every touched key anew from its whole log, or all of its scope. No job is run."""
        p = self._table.policy
        log = self._table.log(version=backlog.head).filter(in_scopes(backlog.scopes))
        if self.is_much(backlog):
            return versions.filter(f"not ({in_scopes(backlog.scopes)})").unionByName(history.timeline(log, p))
        touched = self.changes(backlog).select(*p.identity)
        kept = history.of_identities(versions, touched, p.identity, keep=False)
        return kept.unionByName(history.timeline(history.of_identities(log, touched, p.identity), p))

    def applied(self, versions: DataFrame, backlog: Backlog, split: Split) -> DataFrame:
        """The versions: open rows go on in one scan of what is stored, late keys are rebuilt."""
        parts = [self.amended(versions.filter(in_scopes(backlog.scopes)), backlog, split).drop(history.OLD_KEY)]
        if any(_scope_of(file) not in backlog.scopes for file in self._stored_files(backlog)):
            parts.append(versions.filter(f"not ({in_scopes(backlog.scopes)})"))
        if split.late is not None:
            parts.append(self.of_late(self.near(versions, backlog, split.named), backlog, split))
        return reduce(DataFrame.unionByName, parts)

    def amended(self, rows: DataFrame, backlog: Backlog, split: Split) -> DataFrame:
        """What becomes of stored rows, those of late keys left out, and the versions that follow them; with OLD_KEY."""
        if split.late is not None:
            rows = history.of_identities(rows, split.late, backlog.by, keep=False)
        return history.amended(rows, split.course, self._table.policy, by=backlog.by)

    def of_late(
        self, versions: DataFrame, backlog: Backlog, split: Split, *, seen: Observation | None = None
    ) -> DataFrame:
        """The versions of the late keys, as all that is said of them gives them.

        versions: stored rows, all those of late keys among them; seen: see `history.timeline`."""
        assert split.late is not None
        p, whole = self._table.policy, split.late.filter("is_complete")
        said = history.said_by(history.of_identities(versions, whole, backlog.by), p)
        said = said.unionByName(history.of_identities(self.changes(backlog), whole, backlog.by).select(said.columns))
        if split.in_log is not None:
            near = self.near(self._table.log(version=backlog.head), backlog, split.in_log)
            logged = history.of_identities(near, split.late.filter("not is_complete"), backlog.by)
            said = said.unionByName(logged.select(said.columns))
        return history.timeline(said, p, seen=seen)

    # --- telling late keys from others ------------------------------------------------------------------------

    def split(self, opened: DataFrame, backlog: Backlog) -> Split:
        """Which keys go on from their open row and which are late; the same until something is appended or folded.

        opened: open rows, all touched ones among them."""
        state = (backlog.folded, backlog.head)
        if self._last_split is None or self._last_split[0] != state:
            self.forget()
            self._last_split = state, self._new_split(opened, backlog)
        return self._last_split[1]

    def _new_split(self, opened: DataFrame, backlog: Backlog) -> Split:
        """No row is read when the statistics of the log show that no key is late.

        The course is computed when it is first wanted, and kept: whatever is read next costs a scan."""
        table, p, pending, seen = self._table, self._table.policy, self.changes(backlog), Observation()
        any_waits = bool(table.store.rows(table.layer, table.log_table, record="waiting"))
        if backlog.is_later:  # whether a key is new is not asked, where one may wait
            none_waits = not any_waits and table.is_marked(version=backlog.folded)
            course = history.course(opened, pending, p, by=backlog.by, seen=seen, is_new=none_waits).persist()
            return Split(None, course, seen, (course,))
        pending = pending.persist()
        last = history.of_identities(opened.select(*p.identity, "last_position"), pending, backlog.by)
        kinds = history.touched(pending, p).join(last.withColumn("_is_known", F.lit(True)), list(p.identity), "left")
        is_waiting = F.lit(False)
        if any_waits:
            marks = table.store.read(table.layer, table.log_table).filter("record = 'waiting'")
            marks = marks.select(*p.identity).distinct().withColumn("_is_waiting", F.lit(True))
            kinds = kinds.join(marks, list(p.identity), "left")
            is_waiting = F.col("_is_waiting").isNotNull()
        is_new = F.col("_is_known").isNull() & F.col("is_plain") & ~is_waiting
        is_late = ~(is_new | F.coalesce(history.continues(p), F.lit(False)))
        is_complete = F.coalesce(F.col("is_plain") & F.col("last_position.is_whole"), F.lit(False)).alias("is_complete")
        late = kinds.filter(is_late).select(*p.identity, is_complete).persist()
        found = self._first_keys(late)
        is_any = bool(found)
        in_log = self._first_keys(late.filter("not is_complete")) if is_any else []
        on_time = history.of_identities(pending, late, backlog.by, keep=False) if is_any else pending
        course = history.course(opened, on_time, p, by=backlog.by, seen=seen).persist()
        return Split(
            late if is_any else None, course, seen, (pending, late, course),
            named=_nameable(found), in_log=_nameable(in_log) if in_log else None,
        )  # fmt: skip

    # --- predicates of literals -------------------------------------------------------------------------------

    def near(self, rows: DataFrame, backlog: Backlog, named: tuple[Any, ...] = ()) -> DataFrame:
        """The rows of the log or of the versions among which all those of touched keys are.

        named: the values of the first key that are wanted of them, () for all."""
        return rows.filter(in_scopes(backlog.scopes)).filter(self.pruned(backlog, named=named))

    def pruned(self, backlog: Backlog, prefix: str = "", named: tuple[Any, ...] = ()) -> Column:
        """A predicate of literals that holds for every touched row, so that files and pages can be left out."""
        pruned, key = F.lit(True), F.col(f"{prefix}{self._table.policy.keys[0]}")
        if named := named or self._named(backlog):
            pruned = key.isin(*named)
        elif backlog.lowest is not None:
            pruned = key.between(F.lit(backlog.lowest), F.lit(backlog.highest))
        if len(backlog.scopes) <= MOST_SCOPES:
            for index, column in enumerate(SCOPE_COLUMNS):
                pruned &= F.col(f"{prefix}{column}").isin(sorted({scope[index] for scope in backlog.scopes}))
        return pruned

    def _named(self, backlog: Backlog) -> tuple[Any, ...]:
        """The touched values of the first key when they are few, else none. A small job, once for the same changes."""
        if backlog.rows > MOST_KEYS:
            return ()
        if self._last_named is None or self._last_named[0] != backlog:
            self._last_named = backlog, _nameable(self._first_keys(self.changes(backlog)))
        return self._last_named[1]

    def _first_keys(self, rows: DataFrame) -> list[Any]:
        """The first key of each of these rows, of as many as could be named and one more."""
        return [row[0] for row in rows.select(self._table.policy.keys[0]).take(MOST_KEYS + 1)]

    def _is_worth_naming(self, backlog: Backlog, lowest: Any, highest: Any) -> bool:
        """Whether it helps to name this range of the keys that are touched.

        Numbers that span more than half of what is there leave little out, and as a number is written into the code
        that Spark generates, another range the next day is another code to compile."""
        if isinstance(lowest, str):
            return True
        key = self._table.policy.keys[0]
        spans = [(file[f"min.{key}"], file[f"max.{key}"]) for file in self._stored_files(backlog)]
        if not spans or any(None in span for span in spans):
            return True
        return bool(2 * (highest - lowest) < max(high for _, high in spans) - min(low for low, _ in spans))

    def _stored_files(self, backlog: Backlog) -> list[dict[str, Any]]:
        return self._table.store.files(self._table.layer, self._table.entity, version=backlog.folded)


def _nameable(keys: Sequence[Any]) -> tuple[Any, ...]:
    """Keys in their order, none when they are too many or of a type that is not written as it is compared."""
    if len(keys) > MOST_KEYS or not all(isinstance(key, int | str | Decimal) for key in keys):
        return ()
    return tuple(sorted(set(keys)))


def _scope_of(file: Mapping[str, Any]) -> tuple[str, str]:
    return file["partition.scope_country"], file["partition.scope_entity"]


def _is_later(files: Sequence[Mapping[str, Any]], than: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every change of some files is later than all of others, by their statistics."""
    earliest: list[Any] = [f.get("min.valid_from") for f in files]
    latest: list[Any] = [f.get("max.valid_from") for f in than]
    if None in earliest or None in latest:
        return False
    return all(first > last + STATISTICS_STEP for last in latest for first in earliest)


class Readable(Tables):
    """The tables of an entity, and how they are read with what is pending applied."""

    @cached_property
    def pending(self) -> Pending:
        """What the versions lack, with the answers that it remembers."""
        return Pending(self)

    def read(self, *, is_narrow: bool = False) -> DataFrame:
        """The versions with every change applied, folded or not: never stale.

        The folded rows are scanned once and not shuffled; only the keys touched since the last fold are recomputed,
        and what becomes of them is kept for the next read. is_narrow: for a look-up of a few keys; where none of the
        touched keys is late, what the caller's filter leaves out is then not computed, and nothing is kept.
        """
        folded = self.store.version(self.layer, self.entity)  # the versions are pinned first, then the log
        if folded is None:
            return history.timeline(self.log(), self.policy)
        if self.reason_to_rebuild(version=folded):
            return history.timeline(self.log(), self.policy)
        backlog = self.pending.backlog(folded)
        if backlog is None:
            return self.versions(version=folded)
        return self.pending.read(backlog, is_narrow=is_narrow)
