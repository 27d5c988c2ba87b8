"""What each step may touch, by counters: jobs, scans of the plan, files that are read, rows that are moved."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import deltalake
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession

from varve.history_table import pending
from varve.storage.delta import Store

from .cases import Case, world_of
from .engine import ENTITY, Engine
from .test_store_history import hide, jobs_of, told_in_loads
from .worlds import TIME_LAW, Picture

IN_ORDER = ("a.b:A@1 k.1:A@1 x.y:A@1 z.z:A@1", "a.b:B@3 x.y:-@3", "a.b:C@5 k.1:A@5 n.n:A@5 z.z:-@5")


@pytest.fixture
def engine(shared_spark: SparkSession, lake_dir: Path) -> Iterator[Engine]:
    """Two loads folded, so that there are open and closed rows; a third is to come. The path of great tables."""
    engine = Engine(shared_spark, str(lake_dir), told_in_loads(*IN_ORDER))
    with engine.great():
        for name in ("changes-0", "changes-1"):
            engine.hear(name)
            engine.table.fold()
        yield engine


def plan_of(frame: DataFrame) -> list[tuple[int, str]]:
    """The nodes of the physical plan with their depth."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        frame.explain()
    lines = [line for line in told.getvalue().splitlines() if line.strip(" :+-*()0123456789")]
    return [(len(line) - len(line.lstrip(" :+-*()0123456789")), line) for line in lines if not line.startswith("==")]


def above(plan: list[tuple[int, str]], index: int) -> list[str]:
    """The nodes that the rows of a node go through."""
    depth, found = plan[index][0], []
    for at, node in reversed(plan[:index]):
        if at < depth:
            found.append(node)
            depth = at
    return found


def scans(plan: list[tuple[int, str]], *, wide: bool) -> list[int]:
    """Scans of the versions, with or without their attributes."""
    stored = [n for n, (_, node) in enumerate(plan) if "FileScan" in node and "DeltaFileIndex" in node]
    return [n for n in stored if ("state#" in plan[n][1].partition("]")[0]) == wide]


def test_reading_is_planned_without_a_row_and_passes_every_stored_row_once(engine: Engine) -> None:
    engine.hear("changes-2")
    table = engine.table
    bring_back = hide(engine, ENTITY)
    plan = plan_of(table.read())  # the statistics of the log tell that no key is late
    bring_back()
    (wide,) = scans(plan, wide=True)
    assert not [n for n in above(plan, wide) if "Exchange" in n or "Sort" in n or "Window" in n], plan[wide]
    assert scans(plan, wide=False), "whose touched keys are looked up by a few narrow columns"
    engine.check(table.read(), "read")


def test_reading_current_rows_leaves_closed_ones_alone(engine: Engine) -> None:
    engine.hear("changes-2")
    bring_back = hide(engine, ENTITY, only={Path(uri).name for uri in stored_files(engine) if "is_open=false" in uri})
    engine.table.read().filter("is_current").collect()
    bring_back()
    assert len(scans(plan_of(engine.table.read().filter("is_current")), wide=True)) == 1


def test_the_same_state_is_planned_once(shared_spark: SparkSession, engine: Engine) -> None:
    engine.hear("changes-2")
    table = engine.table
    assert table.read() is table.read()
    table.fold()
    assert jobs_of(shared_spark, table.read) == 0


def test_a_fold_rewrites_the_rows_that_change_and_no_other(engine: Engine) -> None:
    engine.hear("changes-2")
    before = stored_files(engine)
    told = engine.table.fold()
    metrics = deltalake.DeltaTable(engine.store.path("silver", ENTITY)).history(1)[0]["operationMetrics"]
    numbers = {name: int(value) for name, value in metrics.items() if str(value).isdigit()}
    assert numbers["numTargetRowsCopied"] == 0, "untouched rows stay where they are, beside a deletion vector"
    assert numbers["numTargetRowsUpdated"] == 3, "a.b, k.1 and z.z go on; a no-op moves the greatest position"
    assert numbers["numTargetRowsInserted"] == 3, "C, the new key, the tombstone"
    assert (told.inserted, told.removed) == (6, 3)
    assert {f for f in before if "is_open=false" in f} <= stored_files(engine), "closed rows are not touched"
    engine.check(engine.table.versions(), "the versions")


def stored_files(engine: Engine) -> set[str]:
    return set(deltalake.DeltaTable(engine.store.path("silver", ENTITY)).file_uris())


def test_a_fold_of_keys_in_a_range_reads_no_file_of_another(shared_spark: SparkSession, lake_dir: Path) -> None:
    engine = Engine(shared_spark, str(lake_dir), told_in_loads("a.b:A@1", "x.y:A@3", "x.y:B@5"))
    with engine.great():
        engine.hear("changes-0")
        engine.table.fold()
        first = {Path(uri).name for uri in stored_files(engine)}
        engine.hear("changes-1")
        engine.table.fold()
        engine.hear("changes-2")
        bring_back = hide(engine, ENTITY, only=first)
        engine.table.fold()
        bring_back()
    engine.check(engine.table.versions(), "the versions")


def test_late_keys_alone_have_their_versions_exchanged(shared_spark: SparkSession, lake_dir: Path) -> None:
    """Where they differ; the others go on from their open row."""
    engine = Engine(shared_spark, str(lake_dir), told_in_loads("a.b:A@1 k.1:A@1", "a.b:B@5 k.1:B@5", "a.b:C@3 k.1:C@7"))
    with engine.great():
        for name in ("changes-0", "changes-1"):
            engine.hear(name)
            engine.table.fold()
        engine.hear("changes-2")
        told = engine.table.fold()
    assert (told.inserted, told.removed) == (4, 2), "A[1,3) C[3,5) of a.b, B[5,7) C[7,) of k.1; B[5,) of a.b stays"
    engine.check(engine.table.versions(), "the versions")


@pytest.mark.parametrize(
    ("loads", "needs_log"),
    [
        pytest.param(("A@1", "B@5", "C@3"), False, id="every statement opened a version"),
        pytest.param(("A@1", "-@5", "C@3"), False, id="a delete too"),
        pytest.param(("A@1 A@2", "B@5", "C@3"), True, id="one was a no-op"),
        pytest.param(("A@1", "B@5 B@7", "C@3"), True, id="one was a no-op, later"),
        pytest.param(("A@1 B@1", "B@5", "C@3"), True, id="two contradict each other"),
        pytest.param(("A@1", "B@5", "!A@1"), True, id="a retract"),
        pytest.param(("-@1 A@2", "B@5", "C@3"), True, id="a delete before anything was there"),
    ],
)
def test_a_late_key_is_made_anew_from_its_versions_where_they_say_all(
    shared_spark: SparkSession, lake_dir: Path, loads: tuple[str, ...], needs_log: bool
) -> None:
    engine = Engine(shared_spark, str(lake_dir), told_in_loads(*loads))
    with engine.great():
        for name in ("changes-0", "changes-1"):
            engine.hear(name)
            engine.table.fold()
        log = f"{ENTITY}_changes"
        folded = {Path(uri).name for uri in deltalake.DeltaTable(engine.store.path("silver", log)).file_uris()}
        engine.hear("changes-2")
        bring_back = hide(engine, log, only=folded)
        if needs_log:
            with pytest.raises(Py4JJavaError, match="FILE_NOT_EXIST"):
                engine.table.fold()
            bring_back()
            engine.table.fold()
        else:
            engine.check(engine.table.read(), "read")
            engine.table.fold()
            bring_back()
    engine.check(engine.table.versions(), "the versions")
    assert [row.asDict() for row in engine.table.audit().collect()] == []


def test_a_fold_that_needs_no_mark_claims_none(shared_spark: SparkSession, lake_dir: Path) -> None:
    """The fold that was to mark the key that waits died; the next one is later than all and asks for no mark."""
    engine = Engine(shared_spark, str(lake_dir), told_in_loads("-@5 a.b:A@1", "a.b:B@9", "A@3"))
    with engine.great():
        engine.hear("changes-0")
        with patch.object(Store, "append", side_effect=OSError("died")), pytest.raises(OSError, match="died"):
            engine.table.fold()
        for name in ("changes-1", "changes-2"):
            engine.hear(name)
            engine.table.fold()
    engine.check(engine.table.versions(), "the versions")


def test_a_redelivery_under_another_name_moves_the_mark_and_no_row(shared_spark: SparkSession, lake_dir: Path) -> None:
    engine = Engine(shared_spark, str(lake_dir), told_in_loads("a.b:A@1 k.1:A@1", "a.b:B@5", "a.b:B@5"))
    with engine.great():
        for name in ("changes-0", "changes-1"):
            engine.hear(name)
            engine.table.fold()
        engine.hear("changes-2")
        before = stored_files(engine)
        engine.table.fold()
    assert stored_files(engine) == before
    log = deltalake.DeltaTable(engine.store.path("silver", ENTITY)).history(1)[0]
    assert json.loads(log["userMetadata"])["watermark"] == engine.store.version("silver", f"{ENTITY}_changes")
    engine.check(engine.table.read(), "read")


def test_a_narrow_read_keeps_nothing_and_says_the_same(engine: Engine) -> None:
    engine.hear("changes-2")
    narrow = engine.table.read(is_narrow=True)
    assert not [node for _, node in plan_of(narrow) if "InMemoryRelation" in node]
    engine.check(narrow, "a narrow read")
    assert [node for _, node in plan_of(engine.table.read()) if "InMemoryRelation" in node], (
        "what the next read costs less for"
    )


def test_touched_keys_that_are_few_are_looked_for_by_name(shared_spark: SparkSession, lake_dir: Path) -> None:
    """A page that holds none of them is not read, wherever in the table they are; of late keys in the log too."""
    loads = ("a.b:A@1 m.n:A@1 x.y:A@1 z.z:A@1", "a.b:B@3 a.b:B@4 z.z:B@3 z.z:B@4", "a.b:C@2 x.y:C@5 z.z:C@2")
    engine = Engine(shared_spark, str(lake_dir), told_in_loads(*loads))
    with engine.great():
        engine.hear("changes-0")
        engine.table.fold()
        for name, touched, late in (("changes-1", "a,z", None), ("changes-2", "a,x,z", "a,z")):
            engine.hear(name)
            table = engine.table
            plan = plan_of(table.read())
            assert all(f"In(k1, [{touched}])" in plan[n][1] for n in scans(plan, wide=False)), name
            logs = [node for _, node in plan if "DeltaFileIndex" in node and "op#" in node]
            assert [f"In(k1, [{late}])" in node for node in logs] == [True] * (late is not None), name
            table.fold()
    engine.check(engine.table.versions(), "the versions")


@pytest.mark.parametrize("loads", [
    pytest.param(("a.b:A@1 k.1:A@1 x.y:-@3", "a.b:B@3 x.y:A@1", "k.1:B@5 k.1:C@5"), id="on time, a mark, a tie"),
    pytest.param(("a.b:A@1 k.1:A@1", "a.b:B@5", "a.b:C@3 k.1:-@2"), id="late"),
])  # fmt: skip
def test_where_very_many_keys_are_touched_none_is_broadcast(
    shared_spark: SparkSession, lake_dir: Path, loads: tuple[str, ...]
) -> None:
    engine = Engine(shared_spark, str(lake_dir), told_in_loads(*loads))
    with engine.great(), patch.object(pending, "MOST_TOUCHED", 0):
        for name in engine.world.manifests:
            engine.hear(name)
            plan = plan_of(engine.table.read())
            assert not [node for _, node in plan if "Broadcast" in node]
            engine.check(engine.table.read(), f"read with {name}")
            engine.table.fold()
            engine.check(engine.table.versions(), f"the versions with {name}")
    engine.check_log()


@pytest.fixture
def details(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The details of snapshots' records, 256 checksums each, as they are read."""
    found, small = list[str](), Store.small

    def counted(store: Store, *table: str, **asked: Any) -> list[dict[str, Any]]:
        rows = small(store, *table, **asked)
        found.extend(row["detail"] for row in rows if row.get("detail") is not None)
        return rows

    monkeypatch.setattr(Store, "small", counted)
    return found


def test_what_is_read_of_the_snapshots_in_the_log(
    shared_spark: SparkSession, lake_dir: Path, details: list[str]
) -> None:
    said = "A@1 | S@3{A} | S@5{A} | S@7{B} | C@8 | C@2 | S@9{C}"
    world, _ = world_of([Case("", said, "")], TIME_LAW)
    engine = Engine(shared_spark, str(lake_dir), world)
    names = list(world.manifests)
    for name in names[:4]:
        engine.hear(name)
    assert len(details) == 2, "a snapshot reads the detail of the one before it, of none else"
    details.clear()
    bring_back = hide(engine, f"{ENTITY}_changes")
    engine.hear(names[4])
    bring_back()
    engine.hear(names[5])
    assert details == [], "changes read no detail; those on time no record either"
    engine.hear(names[6])
    assert len(details) == 1
    engine.check(engine.folded(), "the versions")


@pytest.mark.parametrize(("said", "reads_log"), [
    pytest.param("S@1{a.b:A,k.1:B} | S@3{a.b:A,k.1:C} | S@5{a.b:A,k.1:C}", False, id="its own rows alone"),
    pytest.param("S@1{a.b:A,k.1:B} | S@3{a.b:A,k.1:C} | a.b:A@4 | S@5{a.b:A,k.1:C}", True, id="a change after it"),
])  # fmt: skip
def test_what_came_since_the_last_snapshot_is_looked_for_only_where_there_is_any(
    shared_spark: SparkSession, lake_dir: Path, said: str, reads_log: bool
) -> None:
    world, _ = world_of([Case("since", said, "")], TIME_LAW)
    engine = Engine(shared_spark, str(lake_dir), world)
    *before, last = world.manifests
    for name in before:
        engine.hear(name)
    picture = world.manifests[last]
    assert isinstance(picture, Picture)
    jobs = jobs_of(shared_spark, lambda: engine.compared(picture))
    assert (jobs > 1) == reads_log, "one job sums the checksums of the snapshot"
