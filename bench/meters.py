"""What a stretch of work took: wall and CPU time, bytes through the process and its JVM, memory, Spark jobs, files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Reading:
    """seconds, cpu_seconds; read and written [bytes through system calls, page cache included]; peak_memory [bytes];
    jobs: of Spark; files, stored [bytes]: new under the folder that was watched, the Delta log apart as log_bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    read: int = 0
    written: int = 0
    peak_memory: int = 0
    jobs: int = 0
    files: int = 0
    stored: int = 0
    log_bytes: int = 0


@dataclass(frozen=True)
class Footprint:
    """What lies in a folder: data files, their bytes, bytes of the Delta logs."""

    files: int
    stored: int
    log_bytes: int


def footprint(folder: Path) -> Footprint:
    """Checksum files that Hadoop writes beside every file are left out."""
    files = stored = log_bytes = 0
    for path in folder.rglob("*"):
        if path.name.endswith(".crc") or not path.is_file():
            continue
        size = path.stat().st_size
        if "_delta_log" in path.parts:
            log_bytes += size
        else:
            files, stored = files + 1, stored + size
    return Footprint(files, stored, log_bytes)


class Meter:
    """Measures this process, the processes that it waited for, and the JVM of a Spark session once `spark` is set.

    The memory of the processes that it waited for is not in `peak_memory`.
    """

    def __init__(self) -> None:
        self.spark: SparkSession | None = None

    @contextmanager
    def measure(self, folder: Path | None = None) -> Iterator[Reading]:
        """A reading that is filled when the block ends."""
        reading = Reading()
        for pid in self._pids():
            _reset_peak(pid)
        at_first = footprint(folder) if folder else None
        cpu, read, written, jobs = self._cpu(), *self._transferred(), self._jobs()
        started = time.perf_counter()
        yield reading
        reading.seconds = time.perf_counter() - started
        reading.cpu_seconds = self._cpu() - cpu
        now_read, now_written = self._transferred()
        reading.read, reading.written = now_read - read, now_written - written
        reading.jobs = self._jobs() - jobs
        reading.peak_memory = sum(_status(pid, "VmHWM") for pid in self._pids())
        if folder and at_first:
            now = footprint(folder)
            reading.files, reading.stored = now.files - at_first.files, now.stored - at_first.stored
            reading.log_bytes = now.log_bytes - at_first.log_bytes

    def _pids(self) -> list[int]:
        return [os.getpid(), *([jvm_pid(self.spark)] if self.spark else [])]

    def _cpu(self) -> float:
        fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids())
        return sum(int(ticks) for f in fields for ticks in f[11:15]) / TICKS  # user, system; of waited-for children

    def _transferred(self) -> tuple[int, int]:
        counts = [_counts(pid) for pid in self._pids()]
        return sum(c["rchar"] for c in counts), sum(c["wchar"] for c in counts)

    def _jobs(self) -> int:
        return self.spark.sparkContext._jsc.sc().dagScheduler().numTotalJobs() if self.spark else 0


def jvm_pid(spark: SparkSession) -> int:
    """The process of the Spark driver."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    return int(jvm.java.lang.ProcessHandle.current().pid())


def _counts(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return {name: int(count) for name, count in (line.split(": ") for line in lines)}


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
