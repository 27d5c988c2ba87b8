"""A day of changes and what it costs, beside other ways to keep the same history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from bench.report import median
from bench.workload import PAYLOAD, Workload

OPEN_FORMAT = ("naive", "naive with vectors", "tuned merge", "delta-rs")
VISIBLE = ("day", "read 100 keys", "count")  # what a change takes until it was seen
DAYS_OF_VARIANTS = 3  # of the MERGEs that are no aim's measure
REPEATS = 3
LATE_REPEATS = 5
FEW = 500  # changes that are found by the names of their keys


def run(bench: Bench) -> None:
    """All parts. The competitors without a JVM come first, while there is none."""
    rows = bench.arguments.rows
    randomly = Workload(bench.inputs, rows).make(whole=True)
    localised = Workload(bench.inputs, rows, keys="localised").make()
    for race in (_race_without_spark, _race_in_spark):
        for workload in (randomly, localised):
            with bench.part(workload.keys) as wanted:
                if wanted:
                    race(bench, workload)
    for name, measure in SINGLE.items():
        with bench.part(name) as wanted:
            if wanted:
                _warm_up(bench)
                measure(bench, randomly)


def _warm_up(bench: Bench) -> None:
    """Once in a session, whichever part needs it first."""
    if bench.meter.spark is None:
        bench.warm_up([*_merges(bench), Ours(bench.spark, bench.tables / "varve")])


def _merges(bench: Bench) -> Iterator[NaiveMerge]:
    spark, tables = bench.spark, bench.tables
    yield NaiveMerge(spark, tables / "naive")
    yield NaiveMerge(spark, tables / "naive-vectors", name="naive with vectors", vectors=True)
    yield TunedMerge(spark, tables / "tuned")


# --- five days ------------------------------------------------------------------------------------------------


def _race_without_spark(bench: Bench, workload: Workload) -> None:
    """Every competitor takes the same five days. `day`: the write; VISIBLE: the write and the reads after it."""
    _follow(bench, workload, DuckTable(bench.tables / "duckdb"))
    _follow(bench, workload, DeltaRs(bench.tables / "delta-rs"))


def _race_in_spark(bench: Bench, workload: Workload) -> None:
    _warm_up(bench)
    _floors(bench, workload)
    naive, *variants = _merges(bench)
    _follow(bench, workload, naive)
    if workload.keys == "random":
        for variant in variants:
            _follow(bench, workload, variant, days=DAYS_OF_VARIANTS)
    lake = bench.loaded(workload)
    _follow(bench, workload, bench.ours(lake, "varve"))
    _fold_once(bench, workload, bench.ours(lake, "varve-once"))
    _aims(bench, workload)


def _follow(bench: Bench, workload: Workload, peer: Peer, *, days: int = 0) -> None:
    """Load, the days (0: all), and the check that every read and the whole history are right."""
    name, seen = peer.name, [workload.load]
    if not isinstance(peer, Ours):
        bench.load(peer, workload)
    for number in range(1, (days or workload.days) + 1):
        seen.append(workload.day(number))
        keys = workload.sample(number)
        with bench.timed(f"{name}: day", peer.folder):
            peer.day(workload.day(number))
        with bench.timed(f"{name}: read 100 keys"):
            versions = peer.read_keys(keys)
        with bench.timed(f"{name}: count"):
            current = peer.count_current()
        if isinstance(peer, Ours):
            with bench.timed(f"{name}: fold", peer.folder):
                peer.fold()
        expected = bench.reference.glance(seen, keys)
        if (versions, current) != expected:
            bench.report.wrong(name, f"{versions} versions read, {current} current rows, day {number}", expected)
            break
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
        bench.drop(target)


def _aims(bench: Bench, workload: Workload) -> None:
    report, of = bench.report, f"{workload.keys} keys"
    visible = {name: median(_sums(bench, name, *VISIBLE)) for name in ("varve", "duckdb", *OPEN_FORMAT)}
    best = min((seconds for name in OPEN_FORMAT if (seconds := visible[name])), default=None)
    naive, folded = report.median("naive: day"), median(_sums(bench, "varve", "day", "fold"))
    report.value("seconds to visible", visible)
    report.aim_ratio(f"{of}: time to visible / naive", visible["varve"], visible["naive"], 0.25)
    report.aim_ratio(f"{of}: time to visible / best open-format peer", visible["varve"], best, 0.999)
    report.aim_ratio(f"{of}: day with its fold / naive", folded, naive, 0.5)
    five = sum(report.seconds("naive: day")) or None
    once = report.median("varve once: five days, one fold")
    report.aim_ratio(f"{of}: five days with one fold / five naive days", once, five, 0.25)
    for engine in ("duckdb", "spark"):
        least = report.median(f"floor in {engine}: day")
        report.value(f"day / floor in {engine}", _ratio(report.median("varve: day"), least))
        report.value(f"day with its fold / floor in {engine}", _ratio(folded, least))


def _sums(bench: Bench, name: str, *steps: str) -> list[float]:
    """Seconds of these steps together, of every day."""
    return [sum(day) for day in zip(*(bench.report.seconds(f"{name}: {step}") for step in steps), strict=True)]


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


# --- single days ----------------------------------------------------------------------------------------------


def _empty(bench: Bench, workload: Workload) -> None:
    """A day on which nothing changed, as an empty file of changes."""
    naive, ours = NaiveMerge(bench.spark, bench.tables / "naive"), bench.ours(bench.loaded(workload), "varve")
    bench.load(naive, workload)
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
    """The sixth day with its fold, all on time and with a tenth of it late; a first round of both is not counted."""
    lake, earlier = _after_days(bench, workload), [workload.day(n) for n in range(1, workload.days + 1)]
    for repeat in range(LATE_REPEATS + 1):
        for kind, changes in (("on time", workload.day(workload.days + 1)), ("a tenth late", workload.late)):
            ours = bench.ours(lake, "varve")
            ours.name = f"varve {kind}" if repeat else f"warm-up: varve {kind}"
            with bench.timed(f"{ours.name}: append", ours.folder):
                ours.day(changes)
            with bench.timed(f"{ours.name}: fold", ours.folder):
                ours.fold()
            if repeat == LATE_REPEATS:
                bench.is_right(ours, [workload.load, *earlier, changes])
            bench.drop(ours.folder)
    late, plain = (median(_sums(bench, f"varve {kind}", "append", "fold")) for kind in ("a tenth late", "on time"))
    bench.report.aim_ratio("day with a tenth late / day on time", late, plain, 1.3)


def _read(bench: Bench, workload: Workload) -> None:
    """A full-width aggregate of the current rows, 1 % and 5 % of them not yet folded, and of a compacted table."""
    compacted = bench.ours(_after_days(bench, workload), "compacted")
    compacted.optimize()
    tables = {"compacted": compacted}
    for days in (1, workload.days):
        ours = tables[f"{days} % unfolded"] = bench.ours(bench.loaded(workload), f"unfolded-{days}")
        for number in range(1, days + 1):
            ours.day(workload.day(number))
    for _ in range(REPEATS):
        digests = {}
        for figure, ours in tables.items():
            with bench.timed(f"varve: read, {figure}"):
                digests[figure] = spark_.digest(_current(ours))
    if digests[f"{workload.days} % unfolded"] != digests["compacted"]:
        bench.report.wrong("varve", digests[f"{workload.days} % unfolded"], digests["compacted"])
    least = bench.report.median("varve: read, compacted")
    for days, aim in ((1, 1.3), (workload.days, 1.6)):
        took = bench.report.median(f"varve: read, {days} % unfolded")
        bench.report.aim_ratio(f"read with {days} % unfolded / compacted", took, least, aim)
    for ours in tables.values():
        bench.drop(ours.folder)


def _current(ours: Ours) -> DataFrame:
    return ours.table.read().filter("is_current").select("k", *PAYLOAD)


def _few(bench: Bench, workload: Workload) -> None:
    """Days of a few hundred changes anywhere in the table, beside the best MERGE."""
    few = Workload(bench.inputs, workload.rows, changes=FEW).make()
    _follow(bench, few, TunedMerge(bench.spark, bench.tables / "tuned"))
    _follow(bench, few, bench.ours(bench.loaded(few), "varve"))
    compared = {"time to visible": (VISIBLE, VISIBLE), "day with its fold": (("day", "fold"), ("day",))}
    for figure, (ours, theirs) in compared.items():
        took, best = median(_sums(bench, "varve", *ours)), median(_sums(bench, "tuned merge", *theirs))
        bench.report.value(f"{FEW} changes: {figure} / tuned merge", _ratio(took, best))


def _tools(bench: Bench, workload: Workload) -> None:
    """dbt snapshot and dlt scd2, once: they take a complete extract and keep their own clock."""
    for tool in (tools.Dbt, tools.Dlt):
        tool(bench, workload).run()


SINGLE: dict[str, Callable[[Bench, Workload], None]] = {
    "empty": _empty, "snapshot": _snapshot, "late": _late, "read": _read, "few": _few, "tools": _tools
}  # fmt: skip
PARTS = ("random", "localised", *SINGLE)
