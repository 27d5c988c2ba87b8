"""What the benchmarks share: the report, the meter, the session, the inputs and the tables they start from."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from pyspark.sql import SparkSession

from bench import spark as spark_
from bench.arguments import Arguments
from bench.meters import Meter
from bench.peers import Peer, clone
from bench.peers.ours import Ours
from bench.reference import Reference
from bench.report import Report
from bench.workload import Workload

WARM_UP_ROWS = 600_000  # more than what a fold of ours rewrites at once: everybody warms up the way it goes later


class Bench:
    """One run of one benchmark."""

    def __init__(self, arguments: Arguments) -> None:
        self.arguments, self.inputs = arguments, arguments.work / "inputs"
        self.report, self.meter = Report(arguments), Meter()
        self.tables = arguments.work / "tables" / arguments.name
        shutil.rmtree(self.tables, ignore_errors=True)
        self.tables.mkdir(parents=True)

    @cached_property
    def spark(self) -> SparkSession:
        """Started when the first part needs it, so that competitors without a JVM run without one."""
        self.meter.spark = spark_.build(self.arguments.memory)
        return self.meter.spark

    @cached_property
    def reference(self) -> Reference:
        return Reference()

    @contextmanager
    def part(self, name: str) -> Iterator[bool]:
        """`with bench.part("x") as wanted: if wanted: ...`; saves the report. A part can be taken up again."""
        wanted = self.arguments.wants(name)
        if wanted:
            self.report.begin(name)
        yield wanted
        if wanted:
            self.report.save()

    @contextmanager
    def timed(self, figure: str, folder: Path | None = None) -> Iterator[None]:
        """One repeat of a figure."""
        with self.meter.measure(folder) as reading:
            yield
        self.report.add(figure, reading)

    def warm_up(self, peers: Iterable[Peer]) -> None:
        """Three unmeasured days on a small table for each: what runs first in a JVM is slow, whoever it is."""
        workload = Workload(self.inputs, min(self.arguments.rows, WARM_UP_ROWS), days=3).make()
        for peer in peers:
            self.report.console.print(f"{peer.name}: warm-up on {workload.rows} rows")
            peer.load(workload.load)
            for number in range(1, workload.days + 1):
                peer.day(workload.day(number))
                peer.read_keys(workload.sample(number))
                peer.count_current()
                if isinstance(peer, Ours):
                    peer.fold()
            shutil.rmtree(peer.folder)

    def load(self, peer: Peer, workload: Workload) -> None:
        """Give a competitor the load. A Delta table is loaded once, later ones are copies of it."""
        kept = self.tables / f"loaded-{peer.name}-{workload.rows}"
        if kept.exists():
            clone(kept, peer.folder)
            return
        with self.timed(f"{peer.name}: load", peer.folder):
            peer.load(workload.load)
        if (peer.folder / "_delta_log").exists():
            clone(peer.folder, kept)

    def loaded(self, workload: Workload) -> Path:
        """A lake of ours that holds the load, made once."""
        lake = self.tables / f"loaded-{workload.rows}"
        if not lake.exists():
            ours = Ours(self.spark, lake)
            with self.timed("varve: load", lake):
                ours.load(workload.load)
        return lake

    def ours(self, source: Path, name: str) -> Ours:
        """Our engine on a copy of a lake."""
        return Ours(self.spark, clone(source, self.tables / name))

    def is_right(self, peer: Peer, files: list[Path]) -> bool:
        """Whether the whole history is what the files say; when not, the competitor loses its figures."""
        expected, found = self.reference.expected(files), self.reference.found(peer.history())
        if found != expected:
            self.report.wrong(peer.name, found, expected)
        return found == expected

    def drop(self, folder: Path) -> None:
        """Give the disk back."""
        if not self.arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Clean up and print the table."""
        self.drop(self.tables)
        self.report.close()
