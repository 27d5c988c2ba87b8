"""Who works on what: whoever was asleep while another did its work leaves nothing; who waits says for whom.

The other process is one of its own with real signals; what wakes up and what goes on are the real jobs.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from pyspark.sql import SparkSession

from conftest import PROJECT, PYTHONPATH
from in_process import launched
from stranger import KEY, Stranger
from varve.ops import journal
from varve.raw import RawDataset
from varve.storage import Disk, Holder, Leases
from written_conf import write, write_contract

SECONDS = 1.5  # after which a process that is asleep is taken for dead


class Worker:
    """A process that runs jobs and may stop in them, see `job_process`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.mark, self.output = folder / f"mark-{os.urandom(4).hex()}", folder / f"output-{os.urandom(4).hex()}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VARVE_", "SPARK_", "PYSPARK_"))}
        self.process = subprocess.Popen(
            [sys.executable, str(PROJECT / "tests" / "job_process.py"), *words],
            env=environment | {"PYTHONPATH": PYTHONPATH, "COLUMNS": "400"}, cwd=folder, text=True,
            start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, job: str, *words: str, point: str = "", of: str = "", how: str = "stop") -> None:
        """Begin a job, that is to stop at a point."""
        assert self.process.stdin is not None
        told = {"job": job, "words": words, "point": point, "of": of, "how": how}
        self.output.unlink(missing_ok=True)
        files = {"mark": str(self.mark), "output": str(self.output)}
        print(json.dumps(told | files), file=self.process.stdin, flush=True)

    def reached(self) -> None:
        """Wait until it has stopped."""
        until(self.mark.exists, f"{self.process.args} does not reach its point")

    def asleep(self) -> None:
        """Wait until the whole process is asleep."""
        self.reached()
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it does not fall asleep")

    def wake(self) -> None:
        """Let it go on, whichever way it has stopped."""
        self.mark.unlink()
        os.killpg(self.process.pid, signal.SIGCONT)

    def says(self, text: str) -> None:
        """Wait until it has said something."""
        until(lambda: self.output.exists() and text in self.output.read_text(), f"it does not say {text}")

    def answer(self) -> tuple[int, str]:
        """The exit code of the job, and all that it said."""
        assert self.process.stdout is not None
        code = next(
            line.removeprefix("exit ") for line in self.process.stdout if line.startswith("exit ")
        )  # or Spark's
        return int(code), self.output.read_text()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@contextmanager
def worker(folder: Path, *words: str) -> Iterator[Worker]:
    one = Worker(folder, *words)
    try:
        yield one
    finally:
        one.kill()


def until(holds: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + 180
    while not holds():
        assert time.monotonic() < end, complaint
        time.sleep(0.01)


# --- Asleep while another does the work


@dataclass(frozen=True)
class Work:
    """A job that has something to do on the lake `before`, and left `after` where nothing disturbed it."""

    job: str
    words: tuple[str, ...]
    before: Path
    after: Path


class House(Stranger):
    """The shop's second day lies there, with rows that bronze and silver reject and a column that nobody knows."""

    def __init__(self, root: Path, **leases: float) -> None:
        super().__init__(root)
        write(self.conf, "local.yml", {"leases": {"seconds": SECONDS, "wait_seconds": 60.0, **leases}})
        self._silver(self.conf, required=True)
        self.lenient = root / "lenient"  # what was rejected may come in
        shutil.copytree(self.conf, self.lenient)
        self._silver(self.lenient, required=False)

    @staticmethod
    def _silver(conf: Path, *, required: bool) -> None:
        facts = {
            "layer": "silver", "history": {}, "feeds": [{"bronze": "shop_ticket"}], "guard": {"max_deleted_share": 1.0},
        }  # fmt: skip
        columns = [
            {"name": "ticket_id", "physicalType": "bigint", **KEY},
            {"name": "city", "physicalType": "string"},
            {"name": "amount", "physicalType": "decimal(19,4)", "required": required},
        ]
        write_contract(conf, "ticket", facts, columns)

    def second_day(self) -> None:
        """No key is missing: a snapshot with a key that cannot be read would have to wait before it deletes one."""
        text = (
            "ticket_id,city,cents,colour\n1,madrid,1100,red\n2,madrid,200,\n3,vigo,700,\n4,vigo,500,\nno key,vigo,1,\n"
            "5,vigo,no number,blue\n"
        )
        (self.root / "incoming" / "tickets_2026-03-02.csv").write_text(text)


WORK = {
    "extract": ("extract", "conf"),
    "bronze": ("bronze", "conf"),
    "silver": ("silver --no-fold", "conf"),
    "fold": ("silver", "conf"),
    "gold": ("gold", "conf"),
    "restate": ("restate --table ticket --day 2026-03-02 --reason corrected", "lenient"),
    "maintain": ("maintain --expire-before 2026-03-02 --keep-days 0", "lenient"),
}


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory, shared_spark: SparkSession) -> dict[str, Work]:
    """A lake before each kind of work, and after it."""
    house = House(tmp_path_factory.mktemp("house"))
    house.deliver("2026-03-01", (1, "madrid", 1050), (2, "madrid", 200), (3, "vigo", 700))
    lake, found = house.root / "lake", {}
    for job in ("extract", "bronze", "silver", "gold"):
        assert launched(job, "--conf", str(house.conf), "--lake", str(lake), "--quiet") == 0
    house.second_day()
    for name, (text, conf) in WORK.items():
        job, *words = *text.split(), "--conf", str(house.root / conf)
        before = house.root / f"before-{name}"
        shutil.copytree(lake, before)
        assert launched(job, *words, "--lake", str(lake), "--quiet") == 0, name
        after = house.root / f"after-{name}"
        shutil.copytree(lake, after)
        found[name] = Work(job, tuple(words), before, after)
    return found


@pytest.fixture(scope="module")
def sleeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process with a session of its own."""
    with worker(tmp_path_factory.mktemp("sleeper"), "session") as one:
        yield one


def rows(lake: Path, layer: str, table: str) -> list[dict[str, Any]]:
    """The rows of a table, read by delta-rs; none where it is not there."""
    path = lake / layer / table
    if not (path / "_delta_log").is_dir():
        return []
    found = QueryBuilder().register("t", DeltaTable(str(path))).execute("select * from t").read_all()
    return pyarrow.table(found).to_pylist()


TIMES = ("_landed_at", "recorded_at", "rejected_at", "run_id", "batch")


def contents(lake: Path) -> dict[str, list[str]]:
    """All rows but those of the ledger, without what tells when and by which run; and what is published."""
    tables = [log.parts[-3:-1] for log in sorted(lake.glob("*/*/_delta_log"))]
    found = {
        f"{layer}.{table}": sorted(
            str({k: v for k, v in row.items() if k not in TIMES}) for row in rows(lake, layer, table)
        )
        for layer, table in tables
        if (layer, table) != ("ops", "runs")
    }
    published = RawDataset(Disk(lake), "shop", "ticket").catalog()
    return found | {"raw": [f"{one.number} {one.id} {one.rows} {one.rejected}" for one in published]}


def unlisted(lake: Path) -> set[str]:
    """Files of raw that no manifest lists."""
    dataset = RawDataset(Disk(lake), "shop", "ticket")
    manifests = [dataset.manifest(one.number) for one in dataset.catalog()]
    listed = {f"{manifest.folder}/{file.name}" for manifest in manifests for file in manifest.files}
    there = {entry.key for entry in dataset.files.list(dataset.folder) if "/manifests/" not in entry.key}
    return there - listed


def must_have_left_nothing(lake: Path, run: str) -> None:
    """What must hold when a run has ended that was taken for dead."""
    assert unlisted(lake) == set()
    for table in ("rejects", "drift"):
        assert [row for row in rows(lake, "ops", table) if row["run_id"] == run] == []
    told = rows(lake, "ops", "runs")
    assert len({row["id"] for row in told}) == len(told), "a row of the ledger is told twice"
    assert {row["status"] for row in told if row["run_id"] == run} <= {"failed", "skipped"}
    assert [row for row in told if row["run_id"] == run and row["status"] == "failed"] != []
    files = Disk(lake)
    assert [entry.key for entry in files.list("leases") if "run." in entry.key] == []
    assert Leases(files, holder=Holder.here(job="test", run_id="test")).holders() == []
    assert journal.closed(journal.log_of(files, run))


def stop(told: str, point: str, of: str = "", how: str = "stop", *, is_slow: bool = True) -> Any:
    """told: the work, and where in it the run falls asleep."""
    marks = [pytest.mark.slow] if is_slow else []
    return pytest.param(told.partition(",")[0], point, of, how, id=told, marks=marks)


@pytest.mark.parametrize(
    ("work", "point", "of", "how"),
    [
        stop("extract, before it publishes", "Landing.publish", is_slow=False),
        stop("extract, before it reads", "Landing.receive"),
        stop("extract, before it keeps what it read", "Landing.keep"),
        stop("extract, between its files", "Landing._put_part"),
        stop("extract, at its number", "Publisher.take_number"),
        stop("bronze, between rejects and commit", "Store.append", "shop_ticket", is_slow=False),
        stop("bronze, before the rejects", "Store.append_shared", "rejects"),
        stop("bronze, after it has looked", "DataFrameWriter.save", "shop_ticket"),
        stop("bronze, while it writes", "Store.append", "shop_ticket", "inside"),
        stop("silver", "Store.append", "ticket_changes", is_slow=False),
        stop("silver, after it has looked", "DataFrameWriter.save", "ticket_changes"),
        stop("fold", "Store.replace", "ticket", is_slow=False),
        stop("fold, after it has looked", "DataFrameWriter.save", "ticket"),
        stop("fold, while it writes", "Store.replace", "ticket", "inside"),
        stop("gold", "Store.replace", "sales"),
        stop("gold, after it has looked", "DataFrameWriter.save", "sales"),
        stop("gold, while it writes", "Store.replace", "sales", "inside"),
        stop("restate", "Store.append", "ticket_changes", is_slow=False),
        stop("restate, after it has looked", "DataFrameWriter.save", "ticket_changes"),
        stop("maintain, before the horizon", "Store.append", "ticket_changes"),
        stop("maintain, before it anchors", "Store.replace", "ticket_changes"),
        stop("maintain, after it has looked", "DataFrameWriter.mode", "overwrite"),
        stop("maintain, before it compacts", "Store.compact", "ticket_changes", is_slow=False),
        stop("maintain, before it deletes files", "Store.vacuum", "ticket_changes"),
    ],
)
def test_whoever_wakes_up_leaves_nothing(
    work: str, point: str, of: str, how: str, works: dict[str, Work], sleeper: Worker, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    lake, one = tmp_path / "lake", works[work]
    shutil.copytree(one.before, lake)
    words = (*one.words, "--lake", str(lake))
    sleeper.ask(one.job, *words, "--run-id", "asleep", point=point, of=of, how=how)
    sleeper.asleep()
    assert launched(one.job, *words, "--run-id", "awake") == 0, capfd.readouterr()
    assert contents(lake) == contents(one.after)
    sleeper.wake()
    code, output = sleeper.answer()
    assert code == 4, output
    assert "another run" in output
    assert contents(lake) == contents(one.after)
    must_have_left_nothing(lake, "asleep")
    assert launched("audit", *one.words[-2:], "--lake", str(lake)) == 0


@pytest.mark.slow
def test_what_came_in_while_an_expiry_slept_stays(works: dict[str, Work], sleeper: Worker, tmp_path: Path) -> None:
    """Nothing but the version of the log tells the expiry of it, and it has looked at that already."""
    lake, silver, maintain = tmp_path / "lake", works["silver"], works["maintain"]
    shutil.copytree(silver.before, lake)
    place = ["--lake", str(lake)]
    sleeper.ask("maintain", *maintain.words, *place, point="DataFrameWriter.mode", of="overwrite")
    sleeper.asleep()
    assert launched("silver", *silver.words, *place) == 0
    before = contents(lake)
    sleeper.wake()
    code, output = sleeper.answer()
    assert code == 4, output
    assert "another run" in output
    assert contents(lake) == before
    assert launched("silver", *works["fold"].words, *place) == 0
    assert launched("audit", *silver.words[-2:], *place) == 0


# --- Side by side, and one after the other


class Shop(House):
    """A second table beside that of the tickets. hasty: waits for nobody; patient: believes in a holder for long."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        scope = {"country": "ES", "entity": "iberia1"}
        dated = {"format": "csv", "declared_date": r"(\d{4}-\d{2}-\d{2})"}
        datasets = {
            name: {"contract": f"shop_{name}", "path": f"{name}s_*.csv", **dated} for name in ("ticket", "visit")
        }
        source = {"source": "shop", "kind": "files", "root": "incoming", "scope": scope, "datasets": datasets}
        write(self.conf, "sources/shop.yml", source)
        visit = [{"name": "visit_id", "physicalType": "bigint", **KEY}]
        write_contract(self.conf, "shop_visit", {"layer": "bronze"}, visit)
        self.deliver("2026-03-01", (1, "madrid", 1050))
        (root / "incoming" / "visits_2026-03-01.csv").write_text("visit_id\n1\n2\n")
        self.hasty, self.patient = root / "hasty", root / "patient"
        for conf, limits in ((self.hasty, (1.5, 0.5)), (self.patient, (60.0, 120.0))):
            shutil.copytree(self.conf, conf)
            write(conf, "local.yml", {"leases": {"seconds": limits[0], "wait_seconds": limits[1]}})

    def words(self, table: str, run: str, *, conf: str = "conf") -> list[str]:
        """Of an extract of one table."""
        place = ["--conf", str(self.root / conf), "--lake", str(self.lake)]
        return ["--source", "shop", "--dataset", table, "--run-id", run, *place]

    def held(self) -> list[str]:
        """What is held of datasets, by whom."""
        leases = Leases(Disk(self.lake), holder=Holder.here(job="test", run_id="test"))
        return [f"{one.name} {one.holder.run_id}" for one in leases.holders() if one.name.startswith("raw.")]

    def told(self) -> list[tuple[str, str, str | None]]:
        """The rows of the ledger."""
        return sorted((row["run_id"], row["status"], row["table_name"] or "") for row in rows(self.lake, "ops", "runs"))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Worker, Worker]]:
    """Two processes without a session."""
    folder = tmp_path_factory.mktemp("pair")
    with worker(folder) as one, worker(folder) as other:
        yield one, other


def test_two_tables_are_worked_on_side_by_side(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    for one, table in zip(pair, ("ticket", "visit"), strict=True):
        one.ask("extract", *shop.words(table, table), point="Landing.publish", how="hold")
    for one in pair:
        one.reached()
    assert shop.held() == ["raw.shop_ticket ticket", "raw.shop_visit visit"]
    for one in pair:
        one.wake()
    assert [one.answer()[0] for one in pair] == [0, 0]
    assert shop.told() == [("ticket", "done", "raw.shop_ticket"), ("visit", "done", "raw.shop_visit")]


def test_bronze_of_two_tables_side_by_side(shop: Shop, sleeper: Worker, spark: SparkSession) -> None:
    place = ["--conf", str(shop.conf), "--lake", str(shop.lake)]
    assert launched("extract", *place) == 0
    sleeper.ask("bronze", "--table", "shop_ticket", *place, point="Store.append", of="shop_ticket", how="hold")
    sleeper.reached()
    assert launched("bronze", "--table", "shop_visit", *place) == 0
    assert len(rows(shop.lake, "bronze", "shop_visit")) == 2
    assert rows(shop.lake, "bronze", "shop_ticket") == []
    sleeper.wake()
    assert sleeper.answer()[0] == 0
    assert len(rows(shop.lake, "bronze", "shop_ticket")) == 1


def test_of_two_on_one_table_the_second_waits_and_says_for_whom(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    first.ask("extract", *shop.words("ticket", "first"), point="Landing.publish", how="hold")
    first.reached()
    holder = f"held by extract, process {first.process.pid} on {os.uname().nodename} since "
    second.ask("extract", *shop.words("ticket", "hasty", conf="hasty"))
    code, output = second.answer()
    assert code == 4
    assert "raw.shop_ticket is being worked on by another run" in output
    assert holder.removeprefix("held by ") in output
    second.ask("extract", *shop.words("ticket", "second"))
    second.says(f"waiting for raw.shop_ticket: {holder}")
    first.wake()
    assert [one.answer()[0] for one in pair] == [0, 0]
    rest = [("hasty", "failed", "raw.shop_ticket"), ("second", "done", "raw.shop_ticket")]
    assert [one for one in shop.told() if one[1] != "skipped"] == [("first", "done", "raw.shop_ticket"), rest[0]]
    assert RawDataset(Disk(shop.lake), "shop", "ticket").catalog().last == 1


def test_the_holder_is_killed_and_the_second_goes_on_at_once(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    _, second = pair
    with worker(shop.root) as first:
        first.ask("extract", *shop.words("ticket", "first", conf="patient"), point="Landing.publish", how="hold")
        first.reached()
        second.ask("extract", *shop.words("ticket", "second", conf="patient"))
        second.says("waiting for raw.shop_ticket")
        first.kill()
        killed = time.monotonic()
        code, output = second.answer()
        assert code == 0, output
        assert time.monotonic() - killed < 30, "half of what the lease lasts"
    failed = [("first", "failed", ""), ("first", "failed", "raw.shop_ticket")]
    assert shop.told() == [*failed, ("second", "done", "raw.shop_ticket")]


# --- The ledger's rows, once


def test_two_runs_of_one_id_come_one_after_the_other(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    first, second = pair
    first.ask("extract", *shop.words("ticket", "same"), point="Landing.publish", how="hold")
    first.reached()
    second.ask("extract", *shop.words("visit", "same"))
    second.says("waiting for run.same: held by extract")
    first.wake()
    assert [one.answer()[0] for one in pair] == [0, 0]
    assert shop.told() == [("same", "done", "raw.shop_ticket"), ("same", "done", "raw.shop_visit")]


def test_a_killed_run_is_told_of_by_one_of_the_same_id(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    with worker(shop.root) as first:
        first.ask("extract", *shop.words("ticket", "same"), point="Landing.publish", how="hold")
        first.reached()
        first.kill()
    pair[1].ask("extract", *shop.words("ticket", "same"))
    assert pair[1].answer()[0] == 0
    killed = [("same", "failed", ""), ("same", "failed", "raw.shop_ticket")]
    assert shop.told() == [("same", "done", "raw.shop_ticket"), *killed]


@pytest.mark.parametrize("how", ["together", "one asleep"])
def test_a_killed_run_is_taken_in_once_by_two(shop: Shop, pair: tuple[Worker, Worker], how: str) -> None:
    """Asleep: when it has looked what the table lacks, and is about to add it."""
    with worker(shop.root) as dead:
        dead.ask("extract", *shop.words("ticket", "dead"), point="Landing.publish", how="hold")
        dead.reached()
        dead.kill()
    first, second = pair
    is_asleep = how == "one asleep"
    first.ask(
        "extract", *shop.words("visit", "first"), **({"point": "SmallTable._write", "of": "runs"} if is_asleep else {})
    )
    if is_asleep:
        first.asleep()
    second.ask("extract", *shop.words("ticket", "second"))
    assert second.answer()[0] == 0
    if is_asleep:
        first.wake()
    assert first.answer()[0] == 0
    told = [one for one in shop.told() if one[0] == "dead"]
    assert told == [("dead", "failed", ""), ("dead", "failed", "raw.shop_ticket")]
    assert {("first", "done", "raw.shop_visit"), ("second", "done", "raw.shop_ticket")} < {*shop.told()}
    assert Disk(shop.lake).size("leases/run.dead.json") is None


def lasts_until_others_look_dead(one: Worker, shop: Shop) -> None:
    """A run on another table, that sees the others at its begin and at its end."""
    one.ask("extract", *shop.words("visit", "awake"), point="Landing.publish", how="hold")
    one.reached()
    time.sleep(SECONDS + 0.2)
    one.wake()
    assert one.answer()[0] == 0


def test_a_run_that_slept_before_its_rows_were_in_tells_them_once_and_rightly(
    shop: Shop, pair: tuple[Worker, Worker]
) -> None:
    first, second = pair
    first.ask("extract", *shop.words("ticket", "asleep"), point="SmallTable._write", of="runs")
    first.asleep()
    lasts_until_others_look_dead(second, shop)
    assert ("asleep", "done", "raw.shop_ticket") in shop.told(), "its log says so"
    first.wake()
    assert first.answer()[0] == 0
    assert shop.told() == [("asleep", "done", "raw.shop_ticket"), ("awake", "done", "raw.shop_visit")]


def test_a_run_that_slept_and_was_not_overtaken_goes_on(shop: Shop, pair: tuple[Worker, Worker]) -> None:
    """Another run took it for dead, and did nothing of its work."""
    first, second = pair
    first.ask("extract", *shop.words("ticket", "asleep"), point="Landing.publish")
    first.asleep()
    lasts_until_others_look_dead(second, shop)
    killed = [("asleep", "failed", ""), ("asleep", "failed", "raw.shop_ticket")]
    assert [one for one in shop.told() if one[0] == "asleep"] == killed
    first.wake()
    assert first.answer()[0] == 0
    assert [one for one in shop.told() if one[0] == "asleep"] == [("asleep", "done", "raw.shop_ticket")]
    assert unlisted(shop.lake) == set()


# --- The fence


# Appends batches to a table, each under the next number; who is refused asks for the number again.
FENCED = """
import sys
from pyspark.sql.types import StringType, StructType
from varve.model.errors import OvertakenError
from varve.storage.delta import Store
root, name, count = sys.argv[1:]
store, schema, mine = Store(lambda: None, root), StructType().add("batch", StringType()), 0
while mine < int(count):
    number = store.transaction("bronze", "t", "bronze.t") or 0
    try:
        if mine % 10 == 9:
            note = {"by": f"{name}.{mine}"}
            store.advance("bronze", "t", txn="bronze.t", version=number + 1, is_fenced=True, note=note)
        else:
            row = (f"{name}.{mine}",)
            store.append_few([row], schema, "bronze", "t", txn="bronze.t", version=number + 1, is_fenced=True, note={})
        mine += 1
    except OvertakenError:
        continue
"""


@pytest.mark.parametrize("batches", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_four_processes_take_each_number_once(lake_dir: Path, batches: int) -> None:
    place = str(lake_dir / "bronze" / "t")
    write_deltalake(place, pyarrow.table({"batch": pyarrow.array([], pyarrow.string())}))
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    processes = [
        subprocess.Popen([sys.executable, "-c", FENCED, str(lake_dir), f"p{n}", str(batches)], env=environment)
        for n in range(4)
    ]
    assert [process.wait(300) for process in processes] == [0] * 4
    table = DeltaTable(place)
    assert table.transaction_version("bronze.t") == table.version() == 4 * batches
    told = [f"p{n}.{mine}" for n in range(4) for mine in range(batches)]
    expected = sorted(batch for batch in told if not batch.endswith("9"))
    assert sorted(row["batch"] for row in rows(lake_dir, "bronze", "t")) == expected


@pytest.mark.slow
def test_runs_that_load_one_table_at_once_load_every_extract_once(shop: Shop) -> None:
    """Spark's commits, one run after the other by their lease, while more is delivered."""
    place = ["--conf", str(shop.conf), "--lake", str(shop.lake)]
    with worker(shop.root, "session") as one, worker(shop.root, "session") as other:
        for day in range(2, 12):
            shop.deliver(f"2026-03-{day:02d}", (day, "madrid", 100 * day))
            assert launched("extract", *place, has_session=False) == 0
            for process in (one, other):
                process.ask("bronze", *place)
            assert [process.answer()[0] for process in (one, other)] == [0, 0]
    assert sorted(row["ticket_id"] for row in rows(shop.lake, "bronze", "shop_ticket")) == list(range(1, 12))
    told = rows(shop.lake, "ops", "runs")
    assert len({row["id"] for row in told}) == len(told)
    assert {row["status"] for row in told} <= {"done", "skipped"}
