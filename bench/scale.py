"""How the time until 50,000 changes are visible grows with the open rows, and with the depth of history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.bench import Bench
from bench.peers.ours import Ours
from bench.workload import Workload

PARTS = ("open_rows", "depth")
SIZES = (1_000_000, 10_000_000, 30_000_000)
CHANGES = 50_000
DEPTHS = (0, 1, 3)  # closed rows for every open row
REPEATS = 5
MOST_GROWTH = 1.2


def run(bench: Bench) -> None:
    """`--rows` is the largest size; the smallest is a million, or a tenth of a lesser `--rows`."""
    rows = bench.arguments.rows
    sizes = [size for size in SIZES if size < rows] or [rows // 10]
    changes = min(CHANGES, sizes[0] // 20)
    bench.warm_up([Ours(bench.spark, bench.tables / "varve")])
    with bench.part("open_rows") as wanted:
        if wanted:
            for size in (*sizes, rows):
                workload = _workload(bench, size, changes)
                _repeat(bench, workload, bench.loaded(workload), f"{size} open")
                if size > sizes[0]:  # `depth` starts from the smallest
                    bench.drop(bench.loaded(workload))
            _aim(bench, [f"{size} open" for size in (*sizes, rows)])
    with bench.part("depth") as wanted:
        if wanted:
            workload = _workload(bench, sizes[0], changes)
            for depth in DEPTHS:
                lake, seen = _deepened(bench, workload, depth)
                _repeat(bench, workload, lake, f"{depth} closed for each open", seen)
                bench.drop(lake)
            _aim(bench, [f"{depth} closed for each open" for depth in DEPTHS])


def _workload(bench: Bench, rows: int, changes: int) -> Workload:
    return Workload(bench.inputs, rows, days=REPEATS, changes=changes).make()


def _deepened(bench: Bench, workload: Workload, depth: int) -> tuple[Path, list[Path]]:
    """A lake in which every key was updated `depth` times; those days lie before the days that are measured."""
    updates = Workload(
        workload.root, workload.rows, days=max(DEPTHS), changes=workload.rows, updates_only=True, step=3600
    ).make()
    ours = bench.ours(bench.loaded(workload), f"depth-{depth}")
    days = [updates.day(number) for number in range(1, depth + 1)]
    for day in days:
        ours.day(day)
    ours.fold()
    return ours.folder, days


def _repeat(bench: Bench, workload: Workload, lake: Path, name: str, updates: Sequence[Path] = ()) -> None:
    """Append a day and read 100 keys of it, each time on a fresh copy; the first time warms up and is kept apart."""
    for repeat in range(REPEATS + 1):
        number = max(1, repeat)
        figure, day = name if repeat else f"{name}, warm-up", workload.day(number)
        ours, keys = bench.ours(lake, "varve"), workload.sample(number)
        with bench.timed(f"{figure}: time to visible", ours.folder):
            ours.day(day)
            versions = ours.read_keys(keys, alone=True)
        with bench.timed(f"{figure}: count"):
            current = ours.count_current()
        expected = bench.reference.glance([workload.load, *updates, day], keys)
        if (versions, current) != expected:
            bench.report.wrong(name, (versions, current), expected)
        bench.drop(ours.folder)


def _aim(bench: Bench, names: list[str]) -> None:
    least = bench.report.median(f"{names[0]}: time to visible")
    for name in names[1:]:
        took = bench.report.median(f"{name}: time to visible")
        bench.report.aim_ratio(f"time to visible, {name} / {names[0]}", took, least, MOST_GROWTH)
