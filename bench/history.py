"""A day of changes and what it costs, beside other ways to keep the same history."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import duckdb
from pyspark.sql import DataFrame

from bench import spark as spark_
from bench.bench import Bench
from bench.peers import Peer, clone, floor, tools
from bench.peers.deltars import DeltaRs
from bench.peers.duck import DuckTable
from bench.peers.merge import NaiveMerge, TunedMerge
from bench.peers.ours import Ours
from bench.workload import PAYLOAD, Workload

OPEN_FORMAT = ("naive", "naive with vectors", "tuned merge", "delta-rs")
REPEATS = 3


def run(bench: Bench) -> None:
    """All parts; the competitors without a JVM come first, while there is none."""
    rows, inputs = bench.arguments.rows, bench.arguments.work / "inputs"
    randomly = Workload(inputs, rows).make(whole=True)
    localised = Workload(inputs, rows, keys="localised").make()
    for workload in (randomly, localised):
        with bench.part(workload.keys) as wanted:
            if wanted:
                _race(bench, workload)
    parts: dict[str, Callable[[Bench, Workload], None]] = {
        "empty": _empty, "snapshot": _snapshot, "late": _late, "read": _read, "tools": _tools
    }  # fmt: skip
    for name, measure in parts.items():
        with bench.part(name) as wanted:
            if wanted:
                measure(bench, randomly)


# --- five days ------------------------------------------------------------------------------------------------


def _race(bench: Bench, workload: Workload) -> None:
    """Every competitor takes the same five days. `day`: the write; `visible`: the write and the reads after it."""
    _follow(bench, workload, DuckTable(bench.tables / "duckdb"))
    _follow(bench, workload, DeltaRs(bench.tables / "delta-rs"))
    spark = bench.spark
    _floors(bench, workload)
    for peer in (
        NaiveMerge(spark, bench.tables / "naive"),
        NaiveMerge(spark, bench.tables / "naive-vectors", name="naive with vectors", vectors=True),
        TunedMerge(spark, bench.tables / "tuned"),
    ):
        _follow(bench, workload, peer)
    lake = bench.loaded(workload)
    _follow(bench, workload, bench.ours(lake, "varve"), is_loaded=True)
    _fold_once(bench, workload, bench.ours(lake, "varve-once"))
    _aims(bench, workload)


def _follow(bench: Bench, workload: Workload, peer: Peer, *, is_loaded: bool = False) -> None:
    """Load, five days, and the check that the history is right."""
    name, seen = peer.name, [workload.load]
    if not is_loaded:
        with bench.timed(f"{name}: load", peer.folder):
            peer.load(workload.load)
    for number in range(1, workload.days + 1):
        seen.append(workload.day(number))
        keys = workload.sample(number)
        with bench.timed(f"{name}: day", peer.folder):
            peer.day(workload.day(number))
        with bench.timed(f"{name}: read 100 keys"):
            peer.read_keys(keys)
        with bench.timed(f"{name}: count"):
            current = peer.count_current()
        expected = bench.reference.expected(seen).current
        if current != expected:
            bench.report.wrong(name, f"{current} current rows on day {number}", expected)
            break
        if isinstance(peer, Ours):
            with bench.timed(f"{name}: fold", peer.folder):
                peer.fold()
    else:
        bench.is_right(peer, seen)
    if isinstance(peer, DuckTable):
        peer.close()
    bench.drop(peer.folder)


def _fold_once(bench: Bench, workload: Workload, ours: Ours) -> None:
    """Five days appended, one fold at the end."""
    with bench.timed("varve once: five days, one fold", ours.folder):
        for number in range(1, workload.days + 1):
            ours.day(workload.day(number))
        ours.fold()
    ours.name = "varve once"
    bench.is_right(ours, [workload.load, *(workload.day(n) for n in range(1, workload.days + 1))])
    bench.drop(ours.folder)


def _floors(bench: Bench, workload: Workload) -> None:
    for number in range(1, workload.days + 1):
        target = bench.tables / f"floor-{number}"
        with bench.timed("floor in duckdb: day"):
            floor.with_duckdb(workload.index, workload.day(number), target.with_suffix(".parquet"))
        with bench.timed("floor in spark: day"):
            floor.with_spark(bench.spark, workload.index, workload.day(number), target)


def _aims(bench: Bench, workload: Workload) -> None:
    report, of = bench.report, f"{workload.keys} keys"
    visible = {name: _sum(bench, [f"{name}: {p}" for p in PARTS]) for name in ("varve", "duckdb", *OPEN_FORMAT)}
    peers = [seconds for name in OPEN_FORMAT if (seconds := visible[name])]
    best, naive = min(peers, default=None), report.median("naive: day")
    folded = _sum(bench, ("varve: day", "varve: fold"))
    report.value("seconds to visible", visible)
    report.aim_ratio(f"{of}: time to visible / naive", visible["varve"], visible["naive"], 0.25)
    report.aim_ratio(f"{of}: time to visible / best open-format peer", visible["varve"], best, 0.999)
    report.aim_ratio(f"{of}: day with its fold / naive", folded, naive, 0.5)
    five = naive and naive * workload.days
    once = report.median("varve once: five days, one fold")
    report.aim_ratio(f"{of}: five days with one fold / five naive days", once, five, 0.25)
    for engine in ("duckdb", "spark"):
        least = report.median(f"floor in {engine}: day")
        report.value(f"day / floor in {engine}", _ratio(report.median("varve: day"), least))
        report.value(f"day with its fold / floor in {engine}", _ratio(folded, least))


PARTS = ("day", "read 100 keys", "count")


def _sum(bench: Bench, figures: Iterable[str]) -> float | None:
    medians = [bench.report.median(figure) for figure in figures]
    return None if None in medians else sum(m for m in medians if m is not None)


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


# --- single days ----------------------------------------------------------------------------------------------


def _empty(bench: Bench, workload: Workload) -> None:
    """A day on which nothing changed, as an empty file of changes."""
    naive, ours = NaiveMerge(bench.spark, bench.tables / "naive"), bench.ours(bench.loaded(workload), "varve")
    naive.load(workload.load)
    for number in range(REPEATS):
        empty = clone(workload.empty.parent, bench.tables / f"empty-{number}") / workload.empty.name
        with bench.timed("naive: empty day", naive.folder):
            naive.day(empty)
        with bench.timed("varve: empty day with its fold", ours.folder):
            ours.day(empty)
            ours.fold()
    ratio = ("varve: empty day with its fold", "naive: empty day")
    bench.report.aim_ratio("empty day / naive", *map(bench.report.median, ratio), 0.1)
    bench.drop(naive.folder)
    bench.drop(ours.folder)


def _snapshot(bench: Bench, workload: Workload) -> None:
    """A full snapshot in new files that says nothing new; the first is compared row by row, later ones by bucket."""
    ours = bench.ours(bench.loaded(workload), "varve")
    with bench.timed("varve: first snapshot", ours.folder):
        ours.take_snapshot(workload.snapshot, 1)
    columns = ", ".join(("k", *PAYLOAD))
    scan = f"SELECT sum(hash({columns})) FROM '{workload.snapshot}/*.parquet'"
    for number in range(REPEATS):
        with bench.timed("varve: unchanged snapshot", ours.folder):
            ours.take_snapshot(workload.snapshot, 2 + number)
        with bench.timed("spark: scan and hash"):
            spark_.digest(spark_.changes(bench.spark, workload.snapshot).select("k", *PAYLOAD))
        with bench.timed("duckdb: scan and hash"):
            duckdb.sql(scan).fetchall()
    bench.is_right(ours, [workload.load])
    took, least = (bench.report.median(f) for f in ("varve: unchanged snapshot", "spark: scan and hash"))
    bench.report.aim_ratio("unchanged snapshot / spark's scan and hash", took, least, 1.5)
    bench.report.value(
        "unchanged snapshot / duckdb's scan and hash", _ratio(took, bench.report.median("duckdb: scan and hash"))
    )
    bench.drop(ours.folder)


def _after_days(bench: Bench, workload: Workload) -> Path:
    """A lake of ours after five days, folded."""
    lake = bench.tables / "after-days"
    if not lake.exists():
        ours = bench.ours(bench.loaded(workload), lake.name)
        for number in range(1, workload.days + 1):
            ours.day(workload.day(number))
        ours.fold()
    return lake


def _late(bench: Bench, workload: Workload) -> None:
    """The sixth day with its fold, all on time and with a tenth of it late."""
    lake, earlier = _after_days(bench, workload), [workload.day(n) for n in range(1, workload.days + 1)]
    for kind, changes in [("on time", workload.day(workload.days + 1)), ("a tenth late", workload.late)] * REPEATS:
        ours = bench.ours(lake, "varve")
        ours.name = f"varve {kind}"
        with bench.timed(f"{ours.name}: append", ours.folder):
            ours.day(changes)
        with bench.timed(f"{ours.name}: fold", ours.folder):
            ours.fold()
        bench.is_right(ours, [workload.load, *earlier, changes])
        bench.drop(ours.folder)
    late, plain = (_sum(bench, (f"varve {k}: append", f"varve {k}: fold")) for k in ("a tenth late", "on time"))
    bench.report.aim_ratio("day with a tenth late / day on time", late, plain, 1.3)


def _read(bench: Bench, workload: Workload) -> None:
    """A full-width aggregate of the current rows, 1 % and 5 % of them not yet folded, and of a compacted table."""
    compacted = bench.ours(_after_days(bench, workload), "compacted")
    compacted.optimize()
    unfolded = {days: bench.ours(bench.loaded(workload), f"unfolded-{days}") for days in (1, workload.days)}
    for days, ours in unfolded.items():
        for number in range(1, days + 1):
            ours.day(workload.day(number))
    for _ in range(REPEATS):
        for figure, ours in (("compacted", compacted), *((f"{days} % unfolded", o) for days, o in unfolded.items())):
            with bench.timed(f"varve: read, {figure}"):
                spark_.digest(_current(ours))
    least = bench.report.median("varve: read, compacted")
    for days, aim in ((1, 1.3), (workload.days, 1.6)):
        took = bench.report.median(f"varve: read, {days} % unfolded")
        bench.report.aim_ratio(f"read with {days} % unfolded / compacted", took, least, aim)
    for ours in (compacted, *unfolded.values()):
        bench.drop(ours.folder)


def _current(ours: Ours) -> DataFrame:
    return ours.table.read().filter("is_current").select("k", *PAYLOAD)


def _tools(bench: Bench, workload: Workload) -> None:
    """dbt snapshot and dlt scd2, once: they take a complete extract and keep their own clock."""
    for tool in (tools.Dbt, tools.Dlt):
        tool(bench, workload).run()
