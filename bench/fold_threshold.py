"""Where a fold should stop exchanging rows and rewrite its scope: the three ways, by size and by changed share.

Justifies REWRITE_BELOW_ROWS and REWRITE_ABOVE_SHARE of varve.history_table.pending and varve.history_table.folding.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from bench.bench import Bench
from bench.peers.ours import Ours
from bench.workload import Workload
from varve.history_table import folding, pending

SIZES = (200_000, 1_000_000, 5_000_000)
PARTS = tuple(map(str, SIZES))
SHARES = (1, 5, 20)  # [%]
REPEATS = 2
NEVER, ALWAYS = -1.0, float("inf")
WAYS = {  # REWRITE_BELOW_ROWS, REWRITE_ABOVE_SHARE
    "whole log of touched keys": (sys.maxsize, ALWAYS),
    "rewrite": (0, NEVER),
    "merge": (0, ALWAYS),
}
MOST_LOST = 1.25


def run(bench: Bench) -> None:
    """One part per size, up to `--rows`."""
    bench.warm_up([Ours(bench.spark, bench.tables / "varve")])
    sizes = [s for s in SIZES if s <= bench.arguments.rows] or [bench.arguments.rows]
    for size in sizes:
        with bench.part(str(size)) as wanted:
            if wanted:
                for share in SHARES:
                    _compare(bench, size, share)
                bench.drop(bench.tables / f"loaded-{size}")


def _compare(bench: Bench, size: int, share: int) -> None:
    """Fold one day in each way, and in the way that the engine chooses."""
    workload = Workload(bench.inputs, size, days=1, changes=size * share // 100).make()
    appended = bench.ours(bench.loaded(workload), "appended")
    appended.day(workload.day(1))
    for _ in range(REPEATS):
        for way, (rows, most) in WAYS.items():
            ours = bench.ours(appended.folder, "varve")
            with (
                patch.object(pending, "REWRITE_BELOW_ROWS", rows),
                patch.object(folding, "REWRITE_ABOVE_SHARE", most),
                bench.timed(f"{share} %, {way}", ours.folder),
            ):
                ours.fold()
    chosen = bench.ours(appended.folder, "varve")
    for repeat in range(REPEATS):
        if repeat:
            chosen = bench.ours(appended.folder, "varve")
        with bench.timed(f"{share} %, as chosen", chosen.folder):
            chosen.fold()
    bench.is_right(chosen, [workload.load, workload.day(1)])
    fastest = min(filter(None, (bench.report.median(f"{share} %, {way}") for way in WAYS)))
    took = bench.report.median(f"{share} %, as chosen")
    bench.report.aim_ratio(f"{size} rows, {share} %: as chosen / the fastest way", took, fastest, MOST_LOST)
