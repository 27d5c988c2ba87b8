"""The ledger: what it records, and that a kill, a crash or a lost table loses nothing of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deltalake
import pytest

from varve.model.errors import ConfigError, ParkedError, SourceError, StorageError, UsageError
from varve.model.scope import Scope
from varve.ops import tables
from varve.ops.journal import closed, log_of
from varve.ops.ledger import Ledger
from varve.ops.task import Task
from varve.storage import Disk, Holder, Leases

IBERIA = Scope("ES", "iberia1")


@dataclass(frozen=True)
class Commit:
    version: int | None
    rows: int = 0
    bytes: int = 0


def ledger(root: Path, run: str = "r1") -> Ledger:
    return Ledger(root, run_id=run, job="daily")


def runs(root: Path, where: str = "true") -> list[dict[str, Any]]:
    return tables.rows(root, tables.RUNS, columns=tables.COLUMNS[tables.RUNS], where=where)


def park(task: Task) -> None:
    raise ParkedError("too many deletes", where="silver.claim", remedy="Look at it.")


def set_aside(task: Task) -> None:
    task.parked(ParkedError("too many deletes", where="silver.claim", remedy="Look at it."))


def fail(task: Task) -> None:
    task.read(3)
    raise SourceError("no answer", where="es_core", found="timeout")


def defect(task: Task) -> None:
    raise KeyError("Juan Garcia")


def write(task: Task) -> None:
    task.input("m2", "m1")
    task.read(10)
    task.read(5)
    task.wrote(Commit(4, 9, 900), rejected=1)
    task.wrote(Commit(5, 4, 400), rejected=1)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        pytest.param(
            write,
            {"status": "done", "manifests": ["m2", "m1"], "rows_in": 15, "rows_out": 13, "rows_rejected": 2,
             "bytes": 1300, "version_before": 3, "version_after": 5, "error": None},
            id="counts add up, versions span all commits",
        ),
        pytest.param(
            lambda task: task.wrote(Commit(0, 2, 20)),
            {"status": "done", "version_before": None, "version_after": 0, "rows_out": 2},
            id="the first commit of a table has no version before",
        ),
        pytest.param(
            lambda task: task.wrote(Commit(None), rejected=3),
            {"status": "done", "version_after": None, "rows_out": 0, "rows_rejected": 3},
            id="nothing written, rejects counted",
        ),
        pytest.param(Task.skip, {"status": "skipped", "reason": "nothing new", "rows_in": 0}, id="skipped"),
        pytest.param(
            park,
            {"status": "parked", "error": "silver.claim: too many deletes", "remedy": "Look at it."},
            id="a raised ParkedError parks",
        ),
        pytest.param(
            set_aside,
            {"status": "parked", "error": "silver.claim: too many deletes", "remedy": "Look at it."},
            id="parked without leaving",
        ),
        pytest.param(
            fail,
            {"status": "failed", "rows_in": 3, "error": "es_core: no answer; found timeout"},
            id="our own error is told in full",
        ),
        pytest.param(
            defect, {"status": "failed", "error": "KeyError"}, id="an unexpected error may quote a person: name only"
        ),
        pytest.param(
            lambda task: task.guard({"deleted": 0.5, "passed": False}),
            {"status": "done", "guard": '{"deleted": 0.5, "passed": false}'},
            id="guard as JSON",
        ),
        pytest.param(
            lambda task: task.drift({"added": ["fax"]}),
            {"status": "done", "drift": '{"added": ["fax"]}'},
            id="drift as JSON",
        ),
    ],
)  # fmt: skip
def test_a_task_is_one_row(tmp_path: Path, work: Callable[[Task], None], expected: dict[str, Any]) -> None:
    book = ledger(tmp_path)
    with (
        suppress(ParkedError, SourceError, KeyError),
        book.within("silver"),
        book.task("silver", "silver.claim", IBERIA) as t,
    ):
        work(t)
    book.close()
    [row] = runs(tmp_path)
    assert {name: row[name] for name in expected} == expected
    assert (row["run_id"], row["job"], row["task"], row["table_name"], row["scope"]) == (
        "r1", "daily", "silver", "silver.claim", "ES/iberia1",
    )  # fmt: skip
    assert row["started_at"] <= row["ended_at"]


def test_the_fingerprint_tells_the_input_and_not_its_order(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    for number, manifests in enumerate([("a", "b"), ("b", "a"), ("a",), ()]):
        with book.task("bronze", f"t{number}") as task:
            task.input(*manifests)
    one, same, other, none = (row.fingerprint for row in book.rows)
    assert one == same
    assert len({one, other, none}) == 3
    assert none is None


def test_scopes_that_keep_going_are_all_tried_and_the_worst_error_ends_the_task(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    errors = [ParkedError("p"), None, SourceError("s"), ConfigError("c"), ParkedError("q")]

    def run() -> None:
        for number, error in enumerate(errors):
            with book.task("bronze", f"t{number}", IBERIA, keep_going=True):
                if error:
                    raise error

    with pytest.raises(ConfigError, match="c"), book.within("bronze"):
        run()
    assert [row.status for row in book.rows] == ["parked", "done", "failed", "failed", "parked"]


def test_a_task_that_fails_outside_its_tables_has_a_row_too(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with pytest.raises(SourceError), book.within("extract", attempt=2):
        raise SourceError("no answer")
    [row] = book.rows
    assert (row.task, row.attempt, row.table_name, row.status) == ("extract", 2, None, "failed")


def test_a_mistyped_command_is_no_failure_of_the_lake(tmp_path: Path) -> None:
    for task, left in (("daily", []), ("silver", ["failed"])):  # the job itself; a task of a graph
        book = ledger(tmp_path, task)
        with pytest.raises(UsageError), book.within(task):
            raise UsageError("no entity is called that")
        book.close()
        assert [row["status"] for row in runs(tmp_path)] == left


def test_a_task_that_only_parked_raises_at_its_end(tmp_path: Path) -> None:
    book = ledger(tmp_path)

    def run() -> None:
        with book.task("silver", "silver.claim") as task:
            task.parked("too small")
        with book.task("silver", "silver.debtor"):
            pass

    with pytest.raises(ParkedError), book.within("silver"):
        run()
    assert [row.status for row in book.rows] == ["parked", "done"]


def test_one_commit_per_flush_and_none_without_rows(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    for task in ("bronze", "silver"):
        with book.within(task):
            for table in ("a", "b", "c"):
                with book.task(task, table, IBERIA):
                    pass
        book.flush()
    book.flush()
    book.close()
    assert deltalake.DeltaTable(str(tmp_path / "ops" / "runs")).version() == 1
    assert len(runs(tmp_path)) == 6


def test_a_run_that_recorded_nothing_leaves_nothing(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    assert book.decisions.accepted("silver.claim", IBERIA, "m1") is None
    book.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_threads_share_a_ledger(tmp_path: Path) -> None:
    book = ledger(tmp_path)

    def work(number: int) -> None:
        with book.task("bronze", f"t{number}", IBERIA) as task:
            task.read(number)

    with book.within("bronze"), ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    book.close()
    found = runs(tmp_path)
    assert sorted(row["rows_in"] for row in found) == list(range(200))
    assert {row["task"] for row in found} == {"bronze"}


def test_the_tables_have_the_columns_that_ops_says(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with book.task("bronze", "t"):
        pass
    book.decisions.decide("t", IBERIA, "m1", verdict="accept", reason="seen")
    book.close()
    arrow = {"string": "string", "bigint": "long", "double": "double", "timestamp": "timestamp"}
    for table in (tables.RUNS, tables.DECISIONS):
        fields = json.loads(deltalake.DeltaTable(str(tmp_path / "ops" / table)).schema().to_json())["fields"]
        said = {name: arrow.get(kind, kind) for name, kind in tables.COLUMNS[table].items()}
        found = {f["name"]: f["type"] if isinstance(f["type"], str) else "array<string>" for f in fields}
        assert found == said
        assert all(field["nullable"] for field in fields)


KILLED = """
import os, signal, sys
from pathlib import Path
from varve.ops.ledger import Ledger
book = Ledger(Path(sys.argv[1]), run_id="killed", job="daily")
with book.within("bronze"):
    with book.task("bronze", "bronze.done", "ES/iberia1") as task:
        task.read(7)
    book.decisions.decide("bronze.done", "ES/iberia1", "m1", verdict="accept", reason="seen")
    with book.task("bronze", "bronze.half", "IT/roma2") as task:
        task.read(3)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A lake on which a run was killed in the middle of a task."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "ops" / "runs").exists()
    return tmp_path


def test_the_next_run_takes_in_what_a_killed_one_left(killed: Path) -> None:
    book = ledger(killed, "next")
    [found] = book.recover()
    assert (found.run_id, found.rows) == ("killed", 3)
    assert book.recover() == []
    assert book.decisions.accepted("bronze.done", "ES/iberia1", "m1") == "seen"
    done, half, task = sorted(runs(killed), key=lambda row: row["table_name"] or "~")
    assert (done["status"], done["rows_in"]) == ("done", 7)
    assert (half["status"], half["reason"], half["scope"]) == ("failed", "killed", "IT/roma2")
    assert (task["status"], task["task"], task["table_name"]) == ("failed", "bronze", None)


@pytest.mark.parametrize("log", ["torn", "unmarked"])
def test_taking_in_twice_adds_nothing(killed: Path, log: str) -> None:
    lease = killed / "leases" / "run.killed.json"
    held = lease.read_bytes()
    ledger(killed, "next").recover()
    before = sorted(row["id"] for row in runs(killed))
    assert not lease.exists(), "a run that was taken in is forgotten"
    lease.write_bytes(held)
    file = killed / "ops" / "log" / "killed.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    # A crash after the tables were written and before the log was marked; or while the mark was being written.
    file.write_bytes(b"".join(lines[:-1]) + (lines[-1][:9] if log == "torn" else b""))
    assert not closed(log_of(Disk(killed), "killed"))
    assert [found.rows for found in ledger(killed, "later").recover()] == [0], "it has no row that is new"
    assert sorted(row["id"] for row in runs(killed)) == before
    assert closed(log_of(Disk(killed), "killed"))


class Sleepy(Disk):
    """A disk on which no lease is renewed while its process sleeps."""

    awake: threading.Event

    def replace(self, key: str, content: bytes, *, tag: str) -> str:
        self.awake.wait(30)
        return super().replace(key, content, tag=tag)


@pytest.mark.parametrize(
    "seconds", [pytest.param(0.5, id="its next beat tells it"), pytest.param(0, id="asking before the commit tells it")]
)
def test_a_row_of_a_run_that_was_taken_for_dead_is_told_once(tmp_path: Path, seconds: float) -> None:
    Sleepy.awake, holder = threading.Event(), Holder.here(job="daily", run_id="asleep")
    book = Ledger(tmp_path, run_id="asleep", job="daily", leases=Leases(Sleepy(tmp_path), holder=holder, seconds=0.1))
    with book.task("bronze", "t", IBERIA) as task:
        task.read(7)
        other, end = ledger(tmp_path, "other"), time.monotonic() + 30
        while not other.recover():
            assert time.monotonic() < end
            time.sleep(0.02)
        assert [(row["status"], row["reason"]) for row in runs(tmp_path)] == [("failed", "killed")]
    Sleepy.awake.set()
    time.sleep(seconds)
    book.close()
    assert [(row["status"], row["rows_in"]) for row in runs(tmp_path)] == [("done", 7)]
    assert closed(log_of(Disk(tmp_path), "asleep"))


def test_a_torn_line_costs_its_own_row_only(killed: Path) -> None:
    file = killed / "ops" / "log" / "killed.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    end = next(n for n, line in enumerate(lines) if line.startswith(b'{"event":"row"'))
    file.write_bytes(b"".join(lines[:end]) + lines[end][:40])
    ledger(killed, "next").recover()
    assert [(r["status"], r["reason"]) for r in runs(killed, "table_name = 'bronze.done'")] == [("failed", "killed")]


def test_a_lost_table_is_rebuilt_from_the_logs(tmp_path: Path) -> None:
    for run in ("r1", "r2"):
        book = ledger(tmp_path, run)
        with book.task("bronze", "t", IBERIA):
            pass
        book.close()
    before = sorted(runs(tmp_path), key=lambda row: row["id"])
    for file in sorted((tmp_path / "ops" / "runs").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (tmp_path / "ops" / "runs").rmdir()
    assert sorted(found.run_id for found in ledger(tmp_path, "r3").recover()) == ["r1", "r2"]
    assert sorted(runs(tmp_path), key=lambda row: row["id"]) == before


def test_the_last_decision_counts_and_the_same_twice_is_one(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    first = book.decisions.decide(
        "silver.claim", IBERIA, "m1", verdict="accept", reason="checked with Iberia", by="ana"
    )
    assert (
        book.decisions.decide("silver.claim", IBERIA, "m1", verdict="accept", reason="checked with Iberia", by="ben")
        == first
    )
    assert book.decisions.accepted("silver.claim", "ES/iberia1", "m1") == "checked with Iberia"
    assert book.decisions.accepted("silver.claim", "IT/roma2", "m1") is None
    assert book.decisions.discarded("silver.claim", IBERIA, "m1") is None
    ledger(tmp_path, "r2").decisions.decide(
        "silver.claim", IBERIA, "m1", verdict="discard", reason="it was half a file"
    )
    later = ledger(tmp_path, "r3")
    assert later.decisions.accepted("silver.claim", IBERIA, "m1") is None
    assert later.decisions.discarded("silver.claim", IBERIA, "m1") == "it was half a file"
    found = tables.rows(tmp_path, tables.DECISIONS, columns=["decided_by", "verdict"])
    assert [row["verdict"] for row in found if row["decided_by"] == "ana"] == ["accept"]
    assert len(found) == 2


def test_a_decision_needs_a_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        ledger(tmp_path).decisions.decide("silver.claim", IBERIA, "m1", verdict="accept", reason=" ")


def test_an_unexpected_error_leaves_its_trace_in_one_file_and_its_message_nowhere_else(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with pytest.raises(KeyError) as caught, book.within("silver"), book.task("silver", "silver.claim", IBERIA):
        raise KeyError("Juan Garcia")
    trace = book.trace(caught.value, "silver")
    book.close()
    assert "Juan Garcia" in trace.read_text(encoding="utf-8")
    others = [file for file in tmp_path.rglob("*") if file.is_file() and file != trace]
    assert others
    assert [file for file in others if b"Juan Garcia" in file.read_bytes()] == []


def test_an_interrupt_is_recorded(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    with pytest.raises(KeyboardInterrupt), book.within("bronze"), book.task("bronze", "t"):
        raise KeyboardInterrupt
    assert [(row.status, row.reason) for row in book.rows] == [("failed", "interrupted")]


def test_a_lake_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "ops").write_text("a file where a folder belongs", encoding="utf-8")
    with pytest.raises(StorageError, match=r"could not be .*written"), ledger(tmp_path).task("bronze", "t"):
        pass
