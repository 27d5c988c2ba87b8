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
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession

from conftest import PROJECT, PYTHONPATH
from in_process import launched
from stranger import KEY, Stranger
from varve import journal
from varve.raw import RawDataset
from varve.storage import Disk, Holder, Leases
from written_conf import write, write_contract

SECONDS = 1.5  # after which a process that is asleep is taken for dead
SCOPE = {"scope_country": "ES", "scope_entity": "iberia1"}


@dataclass(frozen=True)
class Answer:
    """How a job ended."""

    code: int
    output: str


class Worker:
    """A process that runs jobs and may stop in them, see `job_process`."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.mark = folder / f"mark-{time.monotonic_ns()}"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VARVE_", "SPARK_", "PYSPARK_"))}
        self.process = subprocess.Popen(
            [sys.executable, str(PROJECT / "tests" / "job_process.py"), *words],
            env=environment | {"PYTHONPATH": PYTHONPATH}, cwd=folder, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, job: str, *words: str, point: str = "", of: str = "", how: str = "stop") -> None:
        """Begin a job, that is to stop at a point."""
        assert self.process.stdin is not None
        told = {"job": job, "words": words, "point": point, "of": of, "how": how, "mark": str(self.mark)}
        print(json.dumps(told), file=self.process.stdin, flush=True)

    def reached(self) -> None:
        """Wait until it has stopped."""
        until(self.mark.exists, f"{self.process.args} does not reach its point")

    def asleep(self) -> None:
        """Wait until the whole process is asleep."""
        self.reached()
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it does not fall asleep")

    def wake(self) -> None:
        self.mark.unlink(missing_ok=True)
        os.killpg(self.process.pid, signal.SIGCONT)

    def answer(self) -> Answer:
        assert self.process.stdout is not None
        return Answer(**json.loads(self.process.stdout.readline()))

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


def until(holds: Callable[[], bool], complaint: str, *, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
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
        text = "ticket_id,city,cents,colour\n1,madrid,1100,red\n4,vigo,500,\nno key,vigo,1,\n5,vigo,no number,blue\n"
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
    there = {entry.key for entry in dataset.files.list("raw") if "/manifests/" not in entry.key}
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


@pytest.mark.parametrize(
    ("work", "point", "of", "how"),
    [
        pytest.param("extract", "Landing.publish", "", "stop", id="extract, before it publishes"),
        pytest.param("extract", "Landing.receive", "", "stop", id="extract, before it reads"),
        pytest.param("extract", "Landing.keep", "", "stop", id="extract, before it keeps what it read"),
        pytest.param("extract", "Landing.put", "", "stop", id="extract, between its files"),
        pytest.param("extract", "Publisher.take_number", "", "stop", id="extract, at its number"),
        pytest.param("bronze", "Store.append", "shop_ticket", "stop", id="bronze, between rejects and commit"),
        pytest.param("bronze", "Store.append_shared", "rejects", "stop", id="bronze, before the rejects"),
        pytest.param("bronze", "DataFrameWriter.save", "shop_ticket", "stop", id="bronze, after it has looked"),
        pytest.param("bronze", "Store.append", "shop_ticket", "inside", id="bronze, while it writes"),
        pytest.param("silver", "Store.append", "ticket_changes", "stop", id="silver"),
        pytest.param("silver", "DataFrameWriter.save", "ticket_changes", "stop", id="silver, after it has looked"),
        pytest.param("fold", "Store.replace", "ticket", "stop", id="fold"),
        pytest.param("fold", "DataFrameWriter.save", "ticket", "stop", id="fold, after it has looked"),
        pytest.param("fold", "Store.replace", "ticket", "inside", id="fold, while it writes"),
        pytest.param("gold", "Store.replace", "sales", "stop", id="gold"),
        pytest.param("gold", "DataFrameWriter.save", "sales", "stop", id="gold, after it has looked"),
        pytest.param("gold", "Store.replace", "sales", "inside", id="gold, while it writes"),
        pytest.param("restate", "Store.append", "ticket_changes", "stop", id="restate"),
        pytest.param("restate", "DataFrameWriter.save", "ticket_changes", "stop", id="restate, after it has looked"),
        pytest.param("maintain", "Store.append", "ticket_changes", "stop", id="maintain, before the horizon"),
        pytest.param("maintain", "Store.replace", "ticket_changes", "stop", id="maintain, before it anchors"),
        pytest.param("maintain", "DataFrameWriter.save", "ticket_changes", "stop", id="maintain, after it has looked"),
        pytest.param("maintain", "Store.compact", "ticket_changes", "stop", id="maintain, before it compacts"),
        pytest.param("maintain", "Store.vacuum", "ticket_changes", "stop", id="maintain, before it deletes files"),
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
    woken = sleeper.answer()
    assert woken.code == 4, woken.output
    assert "another run" in woken.output
    assert contents(lake) == contents(one.after)
    must_have_left_nothing(lake, "asleep")
    assert launched("audit", *one.words[-2:], "--lake", str(lake)) == 0
