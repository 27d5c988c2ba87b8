"""A contract that changes while its entity lives: it opens no version by itself, and what is late finds its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType, _parse_datatype_string

from varve import history
from varve.history import Policy
from varve.history_table import HistoryTable, folding, pending
from varve.history_table.snapshot_log import Snapshot
from varve.model.errors import ContractError
from varve.model.scope import Scope
from varve.storage.delta import Store

SCOPE = Scope("ES", "e1")
CommitNote = tuple[int, str, tuple[object, ...]]  # key, columns as DDL, (hour, values …)


@dataclass(frozen=True)
class Shape:
    """A contract: its columns as DDL, the key, the columns that are overwritten."""

    ddl: str
    overwritten: tuple[str, ...] = ()
    keys: tuple[str, ...] = ("k",)

    @property
    def schema(self) -> StructType:
        schema = _parse_datatype_string(self.ddl)
        assert isinstance(schema, StructType)
        return schema

    @property
    def policy(self) -> Policy:
        values = [f.name for f in self.schema if f.name not in self.keys]
        return Policy(
            keys=self.keys, attributes=tuple(c for c in values if c not in self.overwritten),
            overwritten=self.overwritten,
        )  # fmt: skip

    @property
    def values(self) -> list[str]:
        return [f.name for f in self.schema if f.name != self.keys[0]]


@dataclass(frozen=True)
class Change:
    """What one contract changes, told by one key; all of them change at once, each in columns of its own.

    before, after: the columns of the case as DDL, `~` in front of one that is overwritten; said: rows (hour, values in
    the order of the columns); shown: versions as "from:values" after the change of the contract alone; late: a row that
    comes after the change and is from before it; then: the versions with it; reason: why the versions are rebuilt.
    """

    id: str
    before: str
    after: str
    said: tuple[tuple[object, ...], ...]
    shown: str
    late: tuple[object, ...]
    then: str
    reason: str


GOES_ON = (
    Change("new column", "a string", "a string, b int", ((1, "A"), (5, "B")), "1:A,None 5:B,None",
           (3, "A", 7), "1:A,None 3:A,7 5:B,None", ""),
    Change("new column that is overwritten", "c string", "c string, ~d int", ((1, "A"), (5, "B")),
           "1:A,None 5:B,None", (3, "A", 7), "1:A,7 5:B,None", ""),
)  # fmt: skip
MADE_ANEW = (
    Change("int to bigint", "a int", "a bigint", ((1, 1), (5, 2)), "1:1 5:2", (3, 2**40), f"1:1 3:{2**40} 5:2",
           "the type of a from int to bigint"),
    Change("int to decimal", "b int", "b decimal(12,2)", ((1, 1), (5, 2)), "1:1.00 5:2.00", (3, 1), "1:1.00 5:2.00",
           "the type of b from int to decimal(12,2)"),
    Change("decimal(10,2) to decimal(19,4)", "c decimal(10,2)", "c decimal(19,4)", ((1, "1.25"), (5, "2")),
           "1:1.2500 5:2.0000", (3, "1.2501"), "1:1.2500 3:1.2501 5:2.0000",
           "the type of c from decimal(10,2) to decimal(19,4)"),
    Change("float to double", "d float", "d double", ((1, 0.1), (5, 2.5)), "1:0.1 5:2.5", (3, 0.1), "1:0.1 5:2.5",
           "the type of d from float to double"),
    Change("wider and overwritten", "e string, ~f int", "e string, ~f bigint", ((1, "A", 1), (5, "B", 2)),
           "1:A,1 5:B,2", (3, "A", 2**40), f"1:A,{2**40} 5:B,2", "the type of f from int to bigint"),
    Change("wider key", "g string", "g string", ((1, "A"), (5, "B")), "1:A 5:B", (3, "C"), "1:A 3:C 5:B",
           "the type of k from int to bigint"),
    Change("dropped column, tracked", "h string, i int", "h string", ((1, "A", 1), (3, "A", 2), (5, "B", 2)),
           "1:A 5:B", (4, "A"), "1:A 5:B", "column i is no longer tracked"),
    Change("dropped column, overwritten", "j string, ~l int", "j string", ((1, "A", 1), (3, "A", 2), (5, "B", 2)),
           "1:A 5:B", (4, "C"), "1:A 4:C 5:B", "column l is no longer overwritten"),
    Change("a column that becomes untracked", "m string, n int", "m string, ~n int",
           ((1, "A", 1), (3, "A", 2), (5, "B", 2)), "1:A,2 5:B,2", (4, "A", 9), "1:A,9 5:B,2",
           "column n is no longer tracked"),
    Change("a column that becomes tracked", "o string, ~p int", "o string, p int",
           ((1, "A", 1), (3, "A", 2), (5, "B", 2)), "1:A,1 3:A,2 5:B,2", (4, "A", 9), "1:A,1 3:A,2 4:A,9 5:B,2",
           "column p is no longer overwritten"),
    Change("a renamed column is one that goes and one that comes", "q string, r int", "s string, r int",
           ((1, "A", 1), (3, "B", 1), (5, "B", 2)), "1:None,1 5:None,2", (4, "C", 1), "1:None,1 4:C,1 5:None,2",
           "column q is no longer tracked"),
)  # fmt: skip


def together(columns: Sequence[str], key: str = "int") -> Shape:
    """One contract with the columns of several cases."""
    listed = [c for case in columns for c in re.split(r", (?=\S+ \S)", case)]
    ddl = ", ".join([f"k {key}", *(c.removeprefix("~") for c in listed)])
    return Shape(ddl, tuple(c.split()[0].removeprefix("~") for c in listed if c.startswith("~")))


def own(case: str) -> list[str]:
    """The names of a case's columns."""
    return [c.split()[0].removeprefix("~") for c in re.split(r", (?=\S+ \S)", case) if c]


@contextmanager
def path_of_tables(great: bool) -> Iterator[None]:
    with (
        patch.object(pending, "REWRITE_BELOW_ROWS", 0 if great else 10**9),
        patch.object(folding, "REWRITE_ABOVE_SHARE", 2),
    ):
        yield


class Entity:
    """One entity under one contract after the other."""

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self.store = Store(lambda: spark, str(root))

    def under(self, shape: Shape) -> HistoryTable:
        return HistoryTable(self.store, "subject", shape.policy, schema=shape.schema)

    def say(self, shape: Shape, said: Sequence[CommitNote]) -> None:
        table = self.under(shape)
        table.append(self.changes(shape, said), table.batch())

    def changes(self, shape: Shape, said: Sequence[CommitNote]) -> DataFrame:
        """Rows as changes; columns that a row does not name are null."""
        texts = [
            (str(key), str(at(row[0])), *map(dict(zip(own(columns), map(str, row[1:]), strict=True)).get, shape.values))
            for key, columns, row in said
        ]
        frame = self.store.frame(texts, ", ".join(f"{name} string" for name in (*shape.keys[:1], "at", *shape.values)))
        types = {f.name: f.dataType.simpleString() for f in shape.schema}
        stated = {
            "scope_country": f"'{SCOPE.country}'", "scope_entity": f"'{SCOPE.entity}'",
            **{name: f"cast({name} as {kind})" for name, kind in types.items()},
            "op": "'upsert'", "valid_from": "cast(at as timestamp)", "sequence": "cast(null as bigint)",
            "recorded_at": "cast(at as timestamp)", "manifest": "'m'", "contract_version": "'1'",
        }  # fmt: skip
        return frame.selectExpr(*(f"{expression} as {name}" for name, expression in stated.items()))


def at(hour: object) -> datetime:
    assert isinstance(hour, int)
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


def shown(versions: DataFrame, cases: Sequence[Change]) -> dict[str, str]:
    """The versions of each case's key as `from:values`, of the case's own columns."""
    rows = sorted(versions.collect(), key=lambda row: row.valid_from)
    return {
        case.id: " ".join(
            f"{row.valid_from.hour}:{','.join(str(row[c]) for c in own(case.after))}" for row in rows if row.k == key
        )
        for key, case in enumerate(cases)
    }


@dataclass
class Told:
    """What was found in a life whose contract changed: moment -> case -> versions; why they were rebuilt."""

    found: dict[str, dict[str, str]]
    rebuilt: str
    audits: list[Row]


LIVES = {"goes on": GOES_ON, "rebuilt": MADE_ANEW}
OTHERS = 100  # keys of which nothing is said after the first load


@pytest.fixture(scope="module")
def told(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Told]:
    """The life of all cases of a kind: said and folded, then under the new contract read, folded, told what is late."""

    @cache
    def of(life: str, great: bool) -> Told:
        cases, entity = LIVES[life], Entity(shared_spark, tmp_path_factory.mktemp("changes"))
        before = together([c.before for c in cases])
        after = together([c.after for c in cases], "bigint" if cases == MADE_ANEW else "int")
        first = [(key, case.before, row) for key, case in enumerate(cases) for row in case.said[:-1]]
        others = [(OTHERS + key, case.before, case.said[0]) for key, case in enumerate(cases)]
        second = [(key, case.before, case.said[-1]) for key, case in enumerate(cases)]
        late = [(key, case.after, case.late) for key, case in enumerate(cases)]
        found: dict[str, dict[str, str]] = {}
        with path_of_tables(great):
            for said in ([*first, *others], second):
                entity.say(before, said)
                entity.under(before).fold()
            table = entity.under(after)
            found["read"] = shown(table.read(), cases)
            rebuilt = table.fold().rebuilt or ""
            assert table.fold().version is None, "the contract changed once"
            found["folded"] = shown(table.versions(), cases)
            entity.say(after, late)
            table = entity.under(after)
            found["read, late"] = shown(table.read(), cases)
            assert table.fold().rebuilt is None
            found["folded, late"] = shown(table.versions(), cases)
            found["timeline, late"] = shown(history.timeline(table.log(), table.policy), cases)
            return Told(found, rebuilt, table.audit().collect())

    return of


@pytest.mark.parametrize(
    ("life", "great", "case"),
    [
        pytest.param(life, great, case, id=f"{case.id}, {'great' if great else 'small'}")
        for life, great in (("goes on", False), ("goes on", True), ("rebuilt", True))
        for case in LIVES[life]
    ],
)
def test_contract_changes(told: Callable[[str, bool], Told], life: str, case: Change, great: bool) -> None:
    said = told(life, great)
    assert {moment: found[case.id] for moment, found in said.found.items()} == {
        "read": case.shown, "folded": case.shown,
        "read, late": case.then, "folded, late": case.then, "timeline, late": case.then,
    }  # fmt: skip
    assert case.reason in said.rebuilt
    assert bool(said.rebuilt) == bool(case.reason), "what only adds a column goes on from what was folded"
    assert said.audits == []


def test_an_unchanged_snapshot_under_a_changed_contract(shared_spark: SparkSession, tmp_path: Path) -> None:
    """A picture that says what was said: no version more, and the log takes it in the new types."""
    cases, entity = MADE_ANEW, Entity(shared_spark, tmp_path)
    before, after = together([c.before for c in cases]), together([c.after for c in cases])
    entity.say(before, [(key, c.before, row) for key, c in enumerate(cases) for row in c.said])
    entity.under(before).fold()
    table = entity.under(after)
    p = table.policy
    stood = table.read().filter("is_current").select(*p.identity, *p.payload).localCheckpoint()
    for number, version in enumerate(("1", "2")):
        table = entity.under(after)
        picture = Snapshot(f"picture-{number}", (SCOPE,), at(10 + number), at(20 + number), contract_version=version)
        comparison = table.compare(stood, picture)
        assert not comparison.differs
        table.append_snapshot(comparison, table.batch())
    table = entity.under(after)
    assert shown(table.read(), cases) == {case.id: case.shown for case in cases}
    table.fold()
    entity.say(after, [(key, case.after, case.late) for key, case in enumerate(cases)])
    table = entity.under(after)
    assert shown(table.read(), cases) == {case.id: case.then for case in cases}
    table.fold()
    assert table.audit().isEmpty()


@pytest.mark.parametrize(
    ("before", "after", "reason", "said", "then"),
    [
        pytest.param({}, {"tie_break": ("n",)}, "tie_break is ['n'] and was []",
                     ((5, "A", 1), (5, "B", 2)), [(5, "B")], id="a tie-break column is named"),
        pytest.param({"tie_break": ("n",)}, {}, "tie_break is [] and was ['n']",
                     ((5, "A", 1), (5, "B", 2)), [], id="a tie-break column is named no more"),
        pytest.param({}, {"domain": "sequence"}, "domain is sequence and was time",
                     ((5, "A", 1), (7, "B", 1)), [(5, "A")], id="another domain"),
    ],
)  # fmt: skip
def test_another_order_of_changes_makes_the_versions_anew(
    shared_spark: SparkSession, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], reason: str,
    said: tuple[tuple[object, ...], ...], then: list[tuple[int, str]],
) -> None:  # fmt: skip
    entity, shape = Entity(shared_spark, tmp_path), together(["name string, ~n int"])

    def table(order: dict[str, Any]) -> HistoryTable:
        return HistoryTable(entity.store, "subject", replace(shape.policy, **order), schema=shape.schema)

    rows = entity.changes(shape, [(0, "name string, n int", row) for row in said])
    rows = rows.withColumn("sequence", F.expr("-hour(valid_from)").cast("bigint"))  # the later one has the lower number
    table(before).append(rows, table(before).batch())
    table(before).fold()
    assert [(row.valid_from.hour, row.name) for row in table(after).read().collect()] == then
    assert table(after).fold().rebuilt == f"the contract changed: {reason}"
    assert [(row.valid_from.hour, row.name) for row in table(after).versions().collect()] == then
    assert table(after).is_folded()
    assert table(after).audit().isEmpty()


OLD = together(["name string, x int"])


def test_a_column_that_comes_back_brings_what_was_said_of_it(shared_spark: SparkSession, tmp_path: Path) -> None:
    entity, without = Entity(shared_spark, tmp_path), together(["name string"])
    entity.say(OLD, [(0, "name string, x int", row) for row in ((1, "A", 1), (3, "A", 2))])
    entity.under(OLD).fold()
    entity.say(without, [(0, "name string", (5, "A"))])
    entity.under(without).fold()
    assert [row.name for row in entity.under(without).versions().collect()] == ["A"]
    rebuilt = entity.under(OLD).fold().rebuilt
    assert "column x is back" in str(rebuilt)
    again = entity.under(OLD)
    assert [(r.valid_from.hour, r.x) for r in again.versions().orderBy("valid_from").collect()] == [
        (1, 1), (3, 2), (5, None),
    ]  # fmt: skip
    assert again.audit().isEmpty()


@pytest.mark.parametrize(
    ("after", "message"),
    [
        pytest.param(Shape("k int, name string, x int", keys=("k", "name")), "key .*cannot change", id="a key more"),
        pytest.param(Shape("id int, name string, x int", keys=("id",)), "key .*cannot change", id="a renamed key"),
        pytest.param(Shape("k int, name string, x smallint"), "x cannot become smallint", id="a narrower type"),
        pytest.param(Shape("k int, name date, x int"), "name cannot become date", id="another type"),
        pytest.param(Shape("k string, name string, x int"), "k cannot become string", id="another type of the key"),
    ],
)
def test_what_no_log_can_follow_is_refused(
    shared_spark: SparkSession, tmp_path: Path, after: Shape, message: str
) -> None:
    """Before anything is written: appended, folded or read."""
    entity = Entity(shared_spark, tmp_path)
    entity.say(OLD, [(0, "name string, x int", (1, "A", 1))])
    said = entity.changes(after, [(0, "", (5,))])
    picture = Snapshot("picture", (SCOPE,), at(9), at(9))
    before = entity.store.version("silver", "subject_changes")
    attempts: dict[str, Callable[[HistoryTable], object]] = {
        "append": lambda table: table.append(said, table.batch()),
        "snapshot": lambda table: table.append_snapshot(table.compare(said, picture), table.batch()),
        "read": lambda table: table.read(),
        "fold": lambda table: table.fold(),
    }
    for attempt in attempts.values():
        with pytest.raises(ContractError, match=message):
            attempt(entity.under(after))
    assert entity.store.version("silver", "subject_changes") == before
    assert not entity.store.exists("silver", "subject")
