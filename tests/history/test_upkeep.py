"""The log may be rearranged: nothing of it is folded again, and nothing is left out, wherever a run dies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import types as T

from varve.history import Policy
from varve.history_table import HistoryTable, maintenance, rearrangements
from varve.storage.delta import Store

from .cases import statements_in
from .engine import ENTITY, Engine
from .frames import batch_of, changes_frame, held_by
from .test_store_history import jobs_of, table_versions
from .worlds import TIME_LAW, Batch, Step, World, scope_of

LOG = f"{ENTITY}_changes"
LOADS = ("A@1 a.b:A@1 x.y:A@1", "A@3 a.b:B@3 x.y:-@3", "C@2 a.b:C@5", "D@9 n.n:A@4")


class KilledError(Exception):
    """Where a process might have died."""


@pytest.fixture
def engine(shared_spark: SparkSession, lake_dir: Path) -> Engine:
    scope = scope_of(0)
    manifests = {f"changes-{n}": Batch(f"changes-{n}", tuple(statements_in(s, scope))) for n, s in enumerate(LOADS)}
    world = World(TIME_LAW, (scope,), dict(manifests), tuple(Step("arrive", name) for name in manifests))
    return Engine(shared_spark, str(lake_dir), world)


def heard(engine: Engine, *loads: int) -> None:
    for load in loads:
        engine.hear(f"changes-{load}")


def killed_before_the_mark(what: Callable[[], object]) -> None:
    with patch.object(Store, "advance", side_effect=KilledError), pytest.raises(KilledError):
        what()


def new_rows(engine: Engine) -> int:
    """Rows of the log that are not folded, as the log's files tell."""
    mark, head = engine.store.transaction("silver", ENTITY, "fold"), engine.store.version("silver", LOG)
    assert mark is not None
    assert head is not None
    return sum(file["num_records"] for file in rearrangements.new_files(engine.table, mark, head))


def test_a_compaction_is_not_folded_again(shared_spark: SparkSession, engine: Engine) -> None:
    heard(engine, 0, 1, 2)
    told = engine.table.compact()
    assert told.log.version is not None
    assert len(engine.store.files("silver", LOG)) == 1
    assert engine.store.transaction("silver", ENTITY, "fold") == engine.store.version("silver", LOG)
    committed = table_versions(engine)
    assert jobs_of(shared_spark, engine.table.fold) == 0
    told = engine.table.compact()
    assert (told.log.version, told.versions.version) == (None, None), "the second time is a no-op"
    assert table_versions(engine) == committed
    heard(engine, 3)
    assert new_rows(engine) == 2
    with engine.great():
        engine.check(engine.table.read(), "read")
        engine.table.fold()
    engine.check(engine.table.versions(), "the versions")
    engine.check_log()


def test_a_crash_before_the_mark_is_mended_without_a_job(shared_spark: SparkSession, engine: Engine) -> None:
    heard(engine, 0, 1, 2)
    engine.fold()
    folded = engine.store.version("silver", ENTITY)
    killed_before_the_mark(engine.table.compact)
    assert engine.store.transaction("silver", ENTITY, "fold") != engine.store.version("silver", LOG)
    assert new_rows(engine) == 0
    engine.check(engine.table.versions(), "the versions")  # Delta reads a table's log at the first use of a version
    assert jobs_of(shared_spark, lambda: engine.check(engine.table.read(), "read")) == jobs_of(
        shared_spark, lambda: engine.check(engine.table.versions(), "the versions")
    )
    assert jobs_of(shared_spark, engine.table.fold) == 0
    assert engine.store.transaction("silver", ENTITY, "fold") == engine.store.version("silver", LOG)
    assert engine.store.version("silver", ENTITY) == (folded or 0) + 1, "one commit: the mark"
    assert engine.table.reason_to_rebuild() is None
    assert engine.store.last_note("silver", ENTITY, "fold")["tracked"], "what the last fold said of itself is kept"


def test_changes_on_both_sides_of_a_rearrangement(engine: Engine) -> None:
    heard(engine, 0, 1)
    engine.fold()
    killed_before_the_mark(engine.table.compact)
    heard(engine, 2)
    assert new_rows(engine) == 2, "the compacted rows are not new, those after them are"
    with engine.great():
        engine.check(engine.table.read(), "read")
    killed_before_the_mark(engine.table.compact)  # folds what is new, and dies again
    heard(engine, 3)
    assert new_rows(engine) == 2
    engine.fold()
    engine.check(engine.table.versions(), "the versions")
    engine.check_log()


@pytest.mark.parametrize("note", [pytest.param({"kind": "compacted"}, id="noted"), pytest.param({}, id="foreign")])
def test_a_rearrangement_that_takes_in_what_is_not_folded(engine: Engine, note: dict[str, str]) -> None:
    """Nobody of ours does so; whoever does costs time and no row."""
    heard(engine, 0, 1)
    engine.fold()
    heard(engine, 2)
    engine.store.compact("silver", LOG, note=note)
    heard(engine, 3)
    assert new_rows(engine) >= 4
    with engine.great():
        engine.check(engine.table.read(), "read")
        engine.table.fold()
    engine.check(engine.table.versions(), "the versions")
    engine.check_log()


def test_a_vacuum_leaves_what_the_log_needs(shared_spark: SparkSession, engine: Engine) -> None:
    heard(engine, 0, 1)
    killed_before_the_mark(engine.table.compact)
    heard(engine, 2)
    maintenance.vacuum(engine.table, timedelta(0))
    committed = table_versions(engine)
    maintenance.vacuum(engine.table, timedelta(0))
    assert table_versions(engine) == committed, "a vacuum makes no commit"
    on_disk = {p.name for p in Path(engine.store.path("silver", LOG)).rglob("*.parquet") if "_delta_log" not in p.parts}
    assert on_disk == {Path(file["path"]).name for file in engine.store.files("silver", LOG)}
    heard(engine, 3)
    engine.fold()
    engine.check_log()


@pytest.mark.parametrize("killed", [False, True], ids=["to the end", "killed before the mark"])
def test_a_widened_type_is_folded_before(shared_spark: SparkSession, lake_dir: Path, killed: bool) -> None:
    store, policy = Store(lambda: shared_spark, str(lake_dir)), Policy(keys=("k1", "k2"), attributes=("line",))
    texts = [("k1", T.StringType()), ("k2", T.StringType())]

    def table(kind: T.DataType) -> HistoryTable:
        schema = T.StructType([T.StructField(name, of) for name, of in (*texts, ("line", kind))])
        return HistoryTable(store, ENTITY, policy, schema=schema)

    def append(kind: T.DataType, txn: str, line: int, at: int) -> None:
        said = statements_in(f"A@{at}", scope_of(0))
        rows = changes_frame(shared_spark, said, TIME_LAW).selectExpr("*", f"{line} as line")
        table(kind).append(rows.drop("state", "amount", "extra", "note"), batch_of(table(kind), txn))

    append(T.IntegerType(), "m0", 1, 1)
    table(T.IntegerType()).fold()
    append(T.IntegerType(), "m1", 2, 3)
    if killed:
        killed_before_the_mark(lambda: append(T.LongType(), "m2", 3, 5))
        assert "m2" not in held_by(table(T.LongType()))
    append(T.LongType(), "m2", 3, 5)
    wide = table(T.LongType())
    mark, head = store.transaction("silver", ENTITY, "fold"), store.version("silver", LOG)
    assert mark is not None
    assert head is not None
    assert sum(file["num_records"] for file in rearrangements.new_files(wide, mark, head)) == 1
    wide.fold()
    assert [row["line"] for row in wide.versions().orderBy("valid_from").collect()] == [1, 2, 3]
    assert wide.audit().isEmpty()
