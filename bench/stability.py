"""Sixty daily runs with maintenance: does a day cost more as history grows?"""

from __future__ import annotations

from bench.bench import Bench
from bench.meters import footprint
from bench.peers.ours import Ours
from bench.report import median
from bench.workload import Workload

PARTS = ("days",)
WARM_UP = 3  # days on a copy, after the small table: a JVM that is still cold would make the early days look slow
MAINTENANCE_EVERY = 10  # [days]
EARLY = 5  # the day that the last one is compared with
AROUND = 2  # days to each side of it, and before the last: single days are noisy
MOST_GROWTH = 1.2


def run(bench: Bench) -> None:
    """A day: append, read 100 keys, fold. Maintenance follows each tenth day, and every day pays a tenth of it."""
    workload = Workload(bench.inputs, bench.arguments.rows, days=bench.arguments.days).make()
    with bench.part("days") as wanted:
        if wanted:
            _warm_up(bench, workload)
            ours = bench.ours(bench.loaded(workload), "varve")
            for number in range(1, workload.days + 1):
                _day(bench, ours, workload, number)
            bench.is_right(ours, [workload.load, *(workload.day(n) for n in range(1, workload.days + 1))])
            _aim(bench, workload.days)


def _warm_up(bench: Bench, workload: Workload) -> None:
    bench.warm_up([Ours(bench.spark, bench.tables / "varve")])
    ours = bench.ours(bench.loaded(workload), "warm-up")
    for number in range(1, WARM_UP + 1):
        _take(ours, workload, number, workload.sample(number))
    ours.optimize()
    bench.drop(ours.folder)


def _day(bench: Bench, ours: Ours, workload: Workload, number: int) -> None:
    keys = workload.sample(number)
    with bench.timed("varve: day", ours.folder):
        _take(ours, workload, number, keys)
    if number % MAINTENANCE_EVERY == 0:
        log, versions = footprint(ours.versions.with_name(f"{ours.entity}_changes")), footprint(ours.versions)
        bench.report.value(f"size after day {number}", {"log": vars(log), "versions": vars(versions)})
        with bench.timed("varve: maintenance", ours.folder):
            ours.optimize()


def _take(ours: Ours, workload: Workload, number: int, keys: list[int]) -> None:
    ours.day(workload.day(number))
    ours.read_keys(keys)
    ours.fold()


def _aim(bench: Bench, days: int) -> None:
    """No figure when the history was not right: its readings are gone."""
    took, maintained = bench.report.seconds("varve: day"), bench.report.seconds("varve: maintenance") or [0.0]
    early, last = median(took[EARLY - 1 - AROUND : EARLY + AROUND]), median(took[-1 - 2 * AROUND :])
    above = last and last + maintained[-1] / MAINTENANCE_EVERY
    below = early and early + maintained[0] / MAINTENANCE_EVERY
    bench.report.aim_ratio(f"day {days} / day {EARLY}, maintenance included", above, below, MOST_GROWTH)
