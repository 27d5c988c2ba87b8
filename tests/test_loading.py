"""Raw to bronze: as few commits as the size allows, one culprit waits alone, and what is loaded is what commits say."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final

import deltalake
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from in_process import Jobs
from till import COLUMNS, TABLE, Till
from varve.bronze.load import MOST_SHAPES, BronzeLoad, bronze_loaded
from varve.model.errors import OvertakenError, ParkedError, StorageError
from varve.model.scope import Scope
from varve.ops import tables
from varve.raw.batch import Batch, Load, batches, transaction
from varve.raw.index import Loaded
from varve.run.run import Run
from varve.silver import EntityLoad
from varve.storage import Disk
from varve.storage.commits import Commit
from varve.storage.delta import Store

VARIES: Final = ("_landed_at", "recorded_at", "rejected_at", "run_id", "batch")


def load_of(lake: Run) -> BronzeLoad:
    [dataset] = lake.config.datasets()
    return BronzeLoad(lake, dataset)


def held(lake: Run, layer: str = "bronze", table: str = TABLE) -> list[list[Load]]:
    """What each commit holds that holds anything."""
    return [list(found) for _, found in batches(lake.store, layer, table) if found]


def jobs_of(spark: SparkSession) -> int:
    """How many jobs Spark has run."""
    return int(spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs())


def contents(root: Path) -> dict[str, list[str]]:
    """All rows of bronze, of the versions, of rejects and drift, but for what tells when and by which run."""
    found = {}
    for table in (f"bronze/{TABLE}", "silver/sale", "ops/rejects", "ops/drift"):
        if (root / table / "_delta_log").is_dir():
            place = deltalake.DeltaTable(str(root / table))
            result: Any = deltalake.QueryBuilder().register("t", place).execute("select * from t").read_all()
            rows = [dict(zip(result.schema.names, row, strict=True)) for row in zip(*_columns(result), strict=True)]
            found[table] = sorted(str({k: v for k, v in row.items() if k not in VARIES}) for row in rows)
    return found


def _columns(table: Any) -> list[list[Any]]:
    return [[value.as_py() for value in table.column(name)] for name in table.schema.names]


class Appends:
    """Counts how often bronze tried to commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried = 0
        load = BronzeLoad._commit

        def counted(one: BronzeLoad, *args: Any) -> None:
            self.tried += 1
            load(one, *args)

        monkeypatch.setattr(BronzeLoad, "_commit", counted)


# --- batches ---------------------------------------------------------------------------------------------------------


def shapes(count: int) -> list[tuple[str, ...]]:
    """Sets of columns, by turns: `count` of them."""
    return [(*COLUMNS, *(f"new{n}" for n in range(shape))) for shape in range(count)]


@pytest.mark.parametrize(
    ("count", "settings", "of_shapes", "sizes"),
    [
        pytest.param(1000, {}, 1, [1000], id="a thousand are one commit"),
        pytest.param(1000, {"manifests": 300}, 1, [300, 300, 300, 100], id="cut by number", marks=pytest.mark.slow),
        pytest.param(7, {"manifests": 3}, 1, [3, 3, 1], id="cut by a small number"),
        pytest.param(7, {"size": "5k"}, 1, [3, 3, 1], id="cut by size"),
        pytest.param(2, {"size": "1k"}, 1, [1, 1], id="one that is larger is a commit", marks=pytest.mark.slow),
        pytest.param(6, {}, 2, [6], id="two shapes are one commit"),
        pytest.param(MOST_SHAPES + 1, {}, MOST_SHAPES + 1, [MOST_SHAPES, 1], id="too many shapes are cut"),
    ],
)
def test_what_waits_comes_in_few_commits(
    tmp_path: Path, spark: SparkSession, count: int, settings: Mapping[str, object], of_shapes: int, sizes: list[int]
) -> None:
    till = Till(tmp_path, batch=settings)
    made = shapes(of_shapes)
    for number in range(1, count + 1):
        manifest = till.publish(number, entity=f"e{number % 5}", columns=made[number % of_shapes])
    assert 1_400 < manifest.bytes < 2_500, "three are below 5k, four are not"
    jobs, before = Jobs.at(till.lake, spark, "r1", conf=till.conf), jobs_of(spark)
    jobs.run("bronze")
    ran = jobs_of(spark) - before
    found = held(jobs.lake)
    assert [len(loaded) for loaded in found] == sizes
    assert [load.number for loaded in found for load in loaded] == list(range(1, count + 1))
    assert sorted(id_ for (id_,) in jobs.rows(f"bronze.{TABLE}", "sale_id")) == list(range(1, count + 1))
    assert ran <= 12 * len(sizes), "the jobs follow the commits, not the extracts"
    [*_, commit] = sorted((till.lake / "bronze" / TABLE / "_delta_log").glob("*.json"))
    print(f"{count} extracts: {ran} jobs, the last commit file has {commit.stat().st_size:,} bytes")
    assert (deltalake.DeltaTable(jobs.lake.store.path("bronze", TABLE)).version()) == len(sizes) - 1


# --- one culprit -----------------------------------------------------------------------------------------------------


def garbage(part: Path) -> None:
    part.write_bytes(b"PAR1" + b"x" * 500 + b"PAR1")


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-200])


def without_a_row(part: Path) -> None:
    pq.write_table(pq.read_table(part).slice(1), part)


def gone(part: Path) -> None:
    part.unlink()


@pytest.mark.parametrize(
    ("count", "spoil"),
    [
        pytest.param(60, garbage, id="garbage among sixty"),
        pytest.param(1000, garbage, id="garbage among a thousand", marks=pytest.mark.slow),
        pytest.param(12, cut, id="cut", marks=pytest.mark.slow),
        pytest.param(12, without_a_row, id="lacks a row"),
        pytest.param(12, gone, id="gone"),
    ],
)
def test_one_bad_extract_leaves_its_scope_waiting(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, count: int, spoil: Callable[[Path], None]
) -> None:
    till, bad = Till(tmp_path), count * 2 // 3
    for number in range(1, count + 1):
        late = number == count  # behind the bad one
        till.publish(number, entity="bad" if number == bad or late else f"e{number % 5}")
    part, tried = till.part(bad), Appends(monkeypatch)
    whole = part.read_bytes()
    spoil(part)
    first = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    with pytest.raises(StorageError) as raised:
        first.run("bronze")
    told = str(raised.value)
    assert raised.value.exit_code == 4
    assert all(word in told for word in (f"x{bad:06d}", "backup", "--discard")), told
    waits = {bad, count}
    expected = [number for number in range(1, count + 1) if number not in waits]
    assert sorted(id_ for (id_,) in first.rows(f"bronze.{TABLE}", "sale_id")) == expected
    ended = {(row.scope, row.status) for row in first.lake.ledger.rows if row.scope}
    assert ended == {("ES/bad", "failed"), *((f"ES/e{n}", "done") for n in range(5))}
    assert tried.tried <= 2 * math.ceil(math.log2(count)) + 1
    assert not (till.lake / "ops" / "rejects").exists()

    again = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    with pytest.raises(StorageError, match=f"x{bad:06d}"):
        again.run("bronze")
    assert sorted(id_ for (id_,) in again.rows(f"bronze.{TABLE}", "sale_id")) == expected, "where it was"
    part.write_bytes(whole)
    mended = Jobs.at(till.lake, spark, "r3", conf=till.conf)
    mended.run("bronze")
    assert sorted(id_ for (id_,) in mended.rows(f"bronze.{TABLE}", "sale_id")) == list(range(1, count + 1))


def test_a_bad_extract_that_is_discarded_waits_no_more(tmp_path: Path, spark: SparkSession) -> None:
    till = Till(tmp_path)
    for number in range(1, 5):
        till.publish(number)
    without_a_row(till.part(2))
    with pytest.raises(StorageError):
        Jobs.at(till.lake, spark, "r1", conf=till.conf).run("bronze")
    jobs = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    jobs.run("bronze", "--discard", "x000002", "--reason", "lost")
    assert sorted(jobs.rows(f"bronze.{TABLE}", "sale_id")) == [(1,), (3,), (4,)]


def test_rows_that_a_commit_lost_are_a_defect_and_nothing_is_loaded_twice(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are there: to split the batch and try again would double them."""
    till = Till(tmp_path)
    for number in range(1, 5):
        till.publish(number)
    append = Store.append

    def lossy(store: Store, *args: Any, **options: Any) -> Commit:
        commit = append(store, *args, **options)
        return Commit(commit.version, commit.rows - 1, commit.files, commit.bytes)

    monkeypatch.setattr(Store, "append", lossy)
    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    with pytest.raises(Exception, match="lost or invented"):
        jobs.run("bronze")
    assert sorted(jobs.rows(f"bronze.{TABLE}", "sale_id")) == [(1,), (2,), (3,), (4,)]
    assert len(held(jobs.lake)) == 1


# --- in the time of what is new --------------------------------------------------------------------------------------


class Counted(Disk):
    """A disk that counts what is asked of it."""

    read_keys: ClassVar[list[str]] = []
    asked = 0

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        Counted.read_keys.append(key)
        return super().read(key, start=start, length=length)

    def size(self, key: str) -> int | None:
        Counted.asked += 1
        return super().size(key)

    def list(self, prefix: str) -> Any:
        raise AssertionError(f"{prefix} is listed")


def keys_read() -> list[str]:
    """What was read, but for the sign of life of the run itself."""
    return sorted(key for key in Counted.read_keys if not key.startswith("leases/"))


def test_a_hundred_thousand_extracts_none_of_them_new(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, till = 100_000, Till(tmp_path)
    till.publish(1)
    text = till.manifest(1).read_text()
    folder = till.manifest(1).parent
    for number in range(2, count + 1):
        (folder / f"{number:012d}.json").write_text(text.replace("x000001", f"x{number:06d}"))
    assert till.raw.catalog().last == count, "they are rolled up"
    lake = Jobs.at(till.lake, spark, "r1", conf=till.conf).lake
    for layer, table in (("bronze", TABLE), ("silver", "sale_changes")):
        empty = spark.createDataFrame([], "scope_country string, scope_entity string, _manifest string")
        name = transaction(layer, table)
        lake.store.append(empty, layer, table, txn=name, version=0)
        for first in range(1, count + 1, 10_000):
            numbers = range(first, first + 10_000)
            batch = Batch(numbers[-1] // 10_000, tuple(Load(TABLE, n, f"x{n:06d}") for n in numbers))
            lake.store.advance(layer, table, txn=name, version=batch.number, is_fenced=True, note=batch.note())
    load_of(lake).loaded()
    Jobs.at(till.lake, spark, "r2", conf=till.conf).run("silver", "--no-fold")  # both know what they hold

    monkeypatch.setattr(Counted, "read_keys", [])
    monkeypatch.setattr(Counted, "asked", 0)
    jobs = Jobs.at(till.lake, spark, "r3", conf=till.conf)
    jobs.lake.__dict__["files"] = Counted(till.lake)
    before, began = jobs_of(spark), datetime.now(UTC)
    jobs.run("bronze")
    took = (datetime.now(UTC) - began).total_seconds()
    assert keys_read() == [f"index/bronze/{TABLE}"]
    assert Counted.asked == 2, "two numbers more"
    assert [row.status for row in jobs.lake.ledger.rows] == ["skipped"]
    print(f"bronze, none of {count:,} new: {took:.2f} s")

    entity = EntityLoad(jobs.lake, jobs.lake.config.silver_contract("sale"), lists={}, key=None)  # type: ignore[arg-type]
    monkeypatch.setattr(Counted, "read_keys", [])
    assert entity.windows() == []
    assert keys_read() == [f"index/bronze/{TABLE}", "index/silver/sale_changes"]
    assert jobs_of(spark) == before


def transactions(table: Path) -> set[str]:
    """The names of the transactions in the JSON commits of a Delta log."""
    actions = [json.loads(line) for file in table.glob("_delta_log/*.json") for line in file.read_text().splitlines()]
    return {action["txn"]["appId"] for action in actions if "txn" in action}


@pytest.mark.parametrize(
    ("days", "mode"),
    [
        pytest.param(3, "changes", id="changes of three days"),
        pytest.param(4, "snapshot", id="snapshots of four days", marks=pytest.mark.slow),
        pytest.param(200, "changes", id="changes of 200 days", marks=pytest.mark.slow),
    ],
)
def test_a_log_names_one_transaction_per_writer(tmp_path: Path, spark: SparkSession, days: int, mode: str) -> None:
    till = Till(tmp_path, mode=mode)
    seen: list[tuple[set[str], set[str]]] = []
    for day in range(1, days + 1):
        till.publish(day, records=[(str(n), "Madrid", "1") for n in range(day)])
        jobs = Jobs.at(till.lake, spark, f"r{day}", conf=till.conf)
        jobs.run("bronze")
        jobs.run("silver")
        seen.append((transactions(till.lake / "bronze" / TABLE), transactions(till.lake / "silver" / "sale_changes")))
    assert len(held(jobs.lake)) == days
    assert seen[-1][0] == {f"bronze.{TABLE}"}
    assert seen[-1][1] <= {"silver.sale_changes", "waiting", "waiting, all"}
    assert seen[-1] == seen[days // 2], "they do not grow with the days"


# --- the index is a cache --------------------------------------------------------------------------------------------


def deleted(index: Path) -> None:
    index.unlink()


def emptied(index: Path) -> None:
    index.write_bytes(b"")


def halved(index: Path) -> None:
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


def overwritten(index: Path) -> None:
    index.write_bytes(b"\x00\xff garbage")


def of_another_table(index: Path) -> None:
    index.write_text(json.dumps({**json.loads(index.read_text()), "table": "another", "datasets": {}}))


def of_the_future(index: Path) -> None:
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 99, "datasets": {}}))


@pytest.fixture(scope="module")
def loaded_twice(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Till, Loaded]:
    """A lake whose bronze table has two batches, and the index of it."""
    till = Till(tmp_path_factory.mktemp("twice"), batch={"manifests": 3})
    for number in range(1, 6):
        till.publish(number)
    lake = Jobs.at(till.lake, shared_spark, "r1", conf=till.conf).lake
    load = load_of(lake)
    load.load(load.pending(load.loaded()), load.loaded())
    found = load_of(lake).loaded()
    assert (found.number, found.whole[TABLE].intervals) == (2, [[1, 5]])
    return till, found


def copied(till: Till, root: Path) -> Till:
    shutil.copytree(till.root, root, dirs_exist_ok=True)
    return Till(root, mode=till.mode, batch=till.batch, rule=till.rule)


@pytest.mark.parametrize("spoil", [deleted, emptied, halved, overwritten, of_another_table, of_the_future])
def test_an_index_that_is_lost_is_made_again(
    tmp_path: Path, spark: SparkSession, loaded_twice: tuple[Till, Loaded], spoil: Callable[[Path], None]
) -> None:
    till, expected = copied(loaded_twice[0], tmp_path), loaded_twice[1]
    index = till.lake / "index" / "bronze" / TABLE
    content = json.loads(index.read_text())
    spoil(index)
    load, before = load_of(Jobs.at(till.lake, spark, "r2", conf=till.conf).lake), jobs_of(spark)
    assert load.loaded() == expected
    assert not load.pending(load.loaded())
    assert jobs_of(spark) == before, "its commits tell"
    assert json.loads(index.read_text()) == content


@pytest.mark.parametrize("is_index_there", [True, False], ids=["with the index", "without the index"])
def test_a_log_that_was_cleaned(
    tmp_path: Path, spark: SparkSession, loaded_twice: tuple[Till, Loaded], is_index_there: bool
) -> None:
    till, expected = copied(loaded_twice[0], tmp_path), loaded_twice[1]
    table = till.lake / "bronze" / TABLE
    deltalake.DeltaTable(str(table)).create_checkpoint()
    *old, _ = sorted(table.glob("_delta_log/*.json"))
    for file in old:
        file.unlink()
    if not is_index_there:
        (till.lake / "index" / "bronze" / TABLE).unlink()
    jobs = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    assert load_of(jobs.lake).loaded() == expected
    till.publish(6)
    jobs.run("bronze")
    assert sorted(jobs.rows(f"bronze.{TABLE}", "sale_id")) == [(n,) for n in range(1, 7)]
    assert load_of(jobs.lake).loaded().number == 3


# --- tables that lost what they had ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_days(shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Till:
    """Three days of two entities in raw: with drift, rejects of every layer, and an extract that has nothing else."""
    till = Till(tmp_path_factory.mktemp("days"), batch={"manifests": 2})
    till.deliver("e0", 1, "1,Madrid,100", "2", "x,Lugo,5")
    till.deliver("e1", 1, "1,Vigo,100")
    till.deliver("e0", 2, "3,Madrid,7,n", head="sale_id,city,cents,new")
    till.deliver("e1", 2, "x,Vigo,1", "3")
    till.deliver("e0", 3, "4,Lugo,-5")
    till.deliver("e1", 3, "1,Vigo,200")
    Jobs.at(till.lake, shared_spark, "extract", conf=till.conf).run("extract")
    return till


@pytest.fixture(scope="module")
def three_days_loaded(
    shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, three_days: Till
) -> tuple[Till, dict[str, list[str]]]:
    """The same in bronze and silver, in three commits of bronze; and all that they hold."""
    till = copied(three_days, tmp_path_factory.mktemp("loaded"))
    jobs = Jobs.at(till.lake, shared_spark, "first", conf=till.conf)
    jobs.run("bronze")
    jobs.run("silver")
    found = contents(till.lake)
    assert {table: len(rows) for table, rows in found.items()} == {
        f"bronze/{TABLE}": 5, "silver/sale": 4, "ops/rejects": 5, "ops/drift": 1,
    }  # fmt: skip
    assert len(held(jobs.lake)) == 3
    return till, found


def delete_table(spark: SparkSession, table: Path) -> None:
    shutil.rmtree(table)


def delete_table_and_index(spark: SparkSession, table: Path) -> None:
    shutil.rmtree(table)
    (table.parents[1] / "index" / "bronze" / TABLE).unlink()


def restore_by_delta_rs(spark: SparkSession, table: Path) -> None:
    deltalake.DeltaTable(str(table)).restore(0)


def restore_by_sql(spark: SparkSession, table: Path) -> None:
    spark.sql(f"RESTORE TABLE delta.`{table}` TO VERSION AS OF 0")


def moment_of(table: Path, version: int) -> datetime:
    history = deltalake.DeltaTable(str(table)).history()
    [found] = [commit["timestamp"] for commit in history if commit["version"] == version]
    return datetime.fromtimestamp(found / 1000, UTC)


def restore_to_a_moment(spark: SparkSession, table: Path) -> None:
    written = (table / "_delta_log" / f"{0:020d}.json").stat().st_mtime
    at = datetime.fromtimestamp(written, UTC) + timedelta(milliseconds=1)
    spark.sql(f"RESTORE TABLE delta.`{table}` TO TIMESTAMP AS OF '{at:%Y-%m-%d %H:%M:%S.%f}'")


def restore_to_a_moment_by_delta_rs(spark: SparkSession, table: Path) -> None:
    deltalake.DeltaTable(str(table)).restore(moment_of(table, 0) + timedelta(milliseconds=1))


def restore_twice(spark: SparkSession, table: Path) -> None:
    """Back, and forth again by half."""
    deltalake.DeltaTable(str(table)).restore(0)
    deltalake.DeltaTable(str(table)).restore(1)


def restore_without_index(spark: SparkSession, table: Path) -> None:
    deltalake.DeltaTable(str(table)).restore(0)
    (table.parents[1] / "index" / "bronze" / TABLE).unlink()


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(delete_table, marks=pytest.mark.slow), delete_table_and_index,
        pytest.param(restore_by_delta_rs, marks=pytest.mark.slow), restore_by_sql, restore_to_a_moment,
        pytest.param(restore_to_a_moment_by_delta_rs, marks=pytest.mark.slow), restore_twice,
        pytest.param(restore_without_index, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_table_that_lost_rows_gets_exactly_what_is_missing(
    tmp_path: Path, spark: SparkSession, three_days_loaded: tuple[Till, dict[str, list[str]]],
    lose: Callable[[SparkSession, Path], None],
) -> None:  # fmt: skip
    till, expected = copied(three_days_loaded[0], tmp_path), three_days_loaded[1]
    lose(spark, till.lake / "bronze" / TABLE)
    jobs = Jobs.at(till.lake, spark, "again", conf=till.conf)
    jobs.run("bronze")
    jobs.run("silver")
    assert contents(till.lake) == expected
    since = len(jobs.lake.ledger.rows)
    jobs.run("bronze")
    assert [row.status for row in jobs.lake.ledger.rows[since:]] == ["skipped"]
    assert contents(till.lake) == expected


@pytest.mark.parametrize("is_rolled_up", [False, True], ids=["raw knows nothing of it", "raw remembers it"])
@pytest.mark.parametrize("by", ["number", "id"])
def test_an_extract_that_raw_has_lost_is_named_until_a_person_discards_it(
    tmp_path: Path, spark: SparkSession, by: str, is_rolled_up: bool
) -> None:
    till, count = Till(tmp_path), 70 if is_rolled_up else 4
    for number in range(1, count + 1):
        till.publish(number)
    lake = Jobs.at(till.lake, spark, "r1", conf=till.conf).lake
    assert lake.raw("till", "sale").catalog().last == count
    till.manifest(2).unlink()
    first = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    with pytest.raises(ParkedError) as parked:
        first.run("bronze")
    assert parked.value.exit_code == 3
    assert all(word in str(parked.value) for word in ("extract 2", "backup", f"--discard {TABLE}#2")), str(parked.value)
    there = [(number,) for number in range(1, count + 1) if number != 2]
    assert sorted(first.rows(f"bronze.{TABLE}", "sale_id")) == there, "the others come in"

    if by == "id" and not is_rolled_up:
        return  # nobody knows its id
    said = Jobs.at(till.lake, spark, "r3", conf=till.conf)
    said.run("bronze", "--discard", "x000002" if by == "id" else f"{TABLE}#2", "--reason", "lost")
    again = Jobs.at(till.lake, spark, "r4", conf=till.conf)
    again.run("bronze")
    assert [row.status for row in again.lake.ledger.rows] == ["skipped"]


def test_a_number_that_is_lost_before_it_was_loaded_hides_no_later_one(tmp_path: Path, spark: SparkSession) -> None:
    till = Till(tmp_path)
    for number in (1, 2):
        till.publish(number)
    Jobs.at(till.lake, spark, "r1", conf=till.conf).run("bronze")
    for number in (3, 4, 5):
        till.publish(number)
    till.manifest(3).unlink()
    jobs = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    with pytest.raises(ParkedError, match="extract 3"):
        jobs.run("bronze")
    assert sorted(jobs.rows(f"bronze.{TABLE}", "sale_id")) == [(1,), (2,), (4,), (5,)]


# --- of two at once, one is refused ----------------------------------------------------------------------------------


@contextmanager
def overtaken(monkeypatch: pytest.MonkeyPatch, place: str, other: Callable[[], None]) -> Iterator[None]:
    """Let another one do its work when this one comes to a place in the store, once."""
    honest, done = getattr(Store, place), []

    def late(store: Store, *args: Any, **options: Any) -> Any:
        found = honest(store, *args, **options) if place.startswith("_") else None
        if not done:
            done.append(True)
            other()
        return found if place.startswith("_") else honest(store, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Store, place, late)
        yield
    assert done, f"{place} was never reached"


@pytest.mark.parametrize(
    ("place", "is_first"),
    [
        pytest.param("append", True, id="of a new table"),
        pytest.param("append", False, id="before the check", marks=pytest.mark.slow),
        pytest.param("_is_reached", False, id="after the check"),
    ],
)
def test_of_two_that_decided_the_same_batch_one_is_refused(
    tmp_path: Path,
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
    three_days: Till,
    three_days_loaded: tuple[Till, dict[str, list[str]]],
    place: str,
    is_first: bool,
) -> None:
    till = copied(three_days, tmp_path)
    one, other = (Jobs.at(till.lake, spark, name, conf=till.conf) for name in ("one", "other"))
    if not is_first:
        with monkeypatch.context() as patched:  # only the first batch of three
            patched.setattr(BronzeLoad, "_batches", lambda _self, free: [list(free[:2])])
            one.run("bronze")
    slow, fast = load_of(one.lake), load_of(other.lake)
    decided = slow.loaded(), fast.loaded()
    assert decided[0].number == decided[1].number
    pending = slow.pending(decided[0]), fast.pending(decided[1])
    faster = overtaken(monkeypatch, place, lambda: fast.load(pending[1], decided[1]))
    with faster, pytest.raises(OvertakenError), one.lake.ledger.within("bronze"):
        slow.load(pending[0], decided[0])
    one.run("silver")
    assert sorted(n for loaded in held(one.lake) for n in (load.number for load in loaded)) == list(range(1, 7))
    for table in (tables.REJECTS, tables.DRIFT):
        where = "rule not in ('kept')" if table == tables.REJECTS else "true"
        runs = {run for (run,) in one.rows(f"ops.{table}", "run_id", where)}
        assert runs <= ({"other"} if is_first else {"one", "other"})
    assert contents(till.lake) == three_days_loaded[1]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(KeyboardInterrupt, id="interrupted after the commit"),
        pytest.param(StorageError, id="the log cannot be read after the commit", marks=pytest.mark.slow),
    ],
)
def test_rejects_of_a_batch_that_was_committed_stay_whatever_is_raised_behind_it(
    tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch,
    three_days_loaded: tuple[Till, dict[str, list[str]]], three_days: Till, error: type[BaseException],
) -> None:  # fmt: skip
    till = copied(three_days, tmp_path)
    written = Store._written

    def fails(store: Store, layer: str, *args: Any) -> Commit:
        if layer in ("bronze", "silver"):
            raise error("now")
        return written(store, layer, *args)

    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "_written", fails)
        with pytest.raises(error):
            jobs.run("bronze")
    Jobs.at(till.lake, spark, "r2", conf=till.conf).run("bronze")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "_written", fails)
        with pytest.raises(error):
            Jobs.at(till.lake, spark, "r3", conf=till.conf).run("silver")
    Jobs.at(till.lake, spark, "r4", conf=till.conf).run("silver")
    assert contents(till.lake) == three_days_loaded[1]


# --- the whole way ---------------------------------------------------------------------------------------------------


def test_from_files_to_the_table(tmp_path: Path, spark: SparkSession) -> None:
    """Each extract once, with its rejects and drift; what is parked blocks its scope, and no other."""
    till = Till(tmp_path)
    till.deliver("e0", 1, "1,a,1", "2", "x,c,1")
    till.deliver("e0", 2, "1,b,1,n", head="sale_id,city,cents,new")
    till.deliver("e0", 3, "c", head="city")
    till.deliver("e0", 4, "1,d,1")
    till.deliver("e1", 4, "9,d,1")
    jobs = Jobs.at(till.lake, spark, "r1", conf=till.conf)
    jobs.run("extract")
    with pytest.raises(ParkedError) as parked:
        jobs.run("bronze")
    told = str(parked.value)
    assert all(word in told for word in ("2026-03-03.csv", "expected sale_id", "1 later extracts", "--discard")), told
    [row] = [row for row in jobs.lake.ledger.rows if row.step == "bronze" and row.scope == str(Scope("ES", "e0"))]
    assert (row.rows_in, row.rows_out, row.rows_rejected, row.status) == (4, 2, 2, "parked"), "records = rows + rejects"
    assert sorted(jobs.rows(f"bronze.{TABLE}", "sale_id, city")) == [(1, "a"), (1, "b"), (9, "d")]
    assert sorted(jobs.rows("ops.rejects", "stage, position, record, reason")) == [
        ("bronze", 3, "x,c,1", "key column sale_id: found 'x', expected bigint"),
        ("landing", 2, "2", "expected 3 fields, found 1"),
    ]
    drifts = sorted(jobs.rows("ops.drift", "column_name, kind, action"))
    assert ("new", "added", "rescued") in drifts
    assert ("sale_id", "incompatible", "parked") in drifts
    before = contents(till.lake)
    again = Jobs.at(till.lake, spark, "r2", conf=till.conf)
    with pytest.raises(ParkedError):
        again.run("bronze")
    assert contents(till.lake) == before, "a second time adds nothing"
    again.run("bronze", "--discard", next(one.id for one in till.raw.catalog() if "2026-03-03" in one.origin.path),
              "--reason", "wrong file")  # fmt: skip
    assert sorted(again.rows(f"bronze.{TABLE}", "sale_id, city")) == [(1, "a"), (1, "b"), (1, "d"), (9, "d")]
    assert bronze_loaded(again.lake, till.raw).last(TABLE) == 5
