"""Sixty daily runs with maintenance: does a day cost more as history grows?"""

from __future__ import annotations

import statistics

from bench.bench import Bench
from bench.meters import footprint
from bench.peers.ours import Ours
from bench.workload import Workload

MAINTENANCE_EVERY = 10  # [days]
EARLY = 5  # the day that the last one is compared with
AROUND = 2  # days to each side of it, and before the last: single days are noisy
MOST_GROWTH = 1.2


def run(bench: Bench) -> None:
    """A day: append, read 100 keys, fold; each tenth day versions are compacted, and every day pays a tenth."""
    days = bench.arguments.days
    workload = Workload(bench.arguments.work / "inputs", bench.arguments.rows, days=days).make()
    with bench.part("days") as wanted:
        if not wanted:
            return
        ours = bench.ours(bench.loaded(workload), "varve")
        took, maintained, sizes = [], [], []
        for number in range(1, days + 1):
            took.append(_day(bench, ours, workload, number))
            if number % MAINTENANCE_EVERY == 0:
                maintained.append(_maintenance(bench, ours))
            log, versions = footprint(ours.versions.with_name("orders_changes")), footprint(ours.versions)
            sizes.append({"day": number, "log": vars(log), "versions": vars(versions)})
        bench.report.value("seconds of every day", took)
        bench.report.value("size after every day", sizes)
        bench.is_right(ours, [workload.load, *(workload.day(n) for n in range(1, days + 1))])
        early = took[EARLY - 1 - AROUND : EARLY + AROUND]
        last = took[-1 - 2 * AROUND :]
        share = [seconds / MAINTENANCE_EVERY for seconds in maintained] or [0.0]
        above, below = statistics.median(last) + share[-1], statistics.median(early) + share[0]
        bench.report.aim_ratio(f"day {days} / day {EARLY}, maintenance included", above, below, MOST_GROWTH)


def _day(bench: Bench, ours: Ours, workload: Workload, number: int) -> float:
    keys = workload.sample(number)
    with bench.meter.measure(ours.folder) as reading:
        ours.day(workload.day(number))
        ours.read_keys(keys)
        ours.fold()
    bench.report.add("varve: day", reading)
    return reading.seconds


def _maintenance(bench: Bench, ours: Ours) -> float:
    with bench.meter.measure(ours.folder) as reading:
        ours.optimize()
    bench.report.add("varve: maintenance", reading)
    return reading.seconds
