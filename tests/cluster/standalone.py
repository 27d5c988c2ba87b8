"""A real Spark standalone cluster on loopback: one master, workers of one core each, from pyspark's own jars.

`python tests/cluster/standalone.py` keeps one running until Ctrl-C and prints its master URL.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyspark

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
START_SECONDS = 120
MASTER_UP = re.compile(r"Starting Spark master at (spark://\S+)")
WORKER_UP = re.compile(r"Successfully registered with master")


@dataclass(frozen=True)
class Cluster:
    """A running cluster. master: its URL; folder: logs and the workers' scratch space."""

    master: str
    folder: Path

    def conf(self, to: Path, *, lake: Path) -> Path:
        """Write `to`/cluster.yml, which points a run with `--env cluster` here."""
        to.mkdir(parents=True, exist_ok=True)
        (to / "cluster.yml").write_text(
            f"lake: {lake}\n"
            "spark:\n"
            f"  master: {self.master}\n"
            "  driver_memory: 1g\n"
            "  conf:\n"
            "    spark.driver.host: 127.0.0.1\n"
            "    spark.executor.memory: 1g\n"
            "    spark.sql.shuffle.partitions: '2'\n",
            encoding="utf-8",
        )
        return to


@contextlib.contextmanager
def standalone(folder: Path, *, workers: int = 2) -> Iterator[Cluster]:
    """Start the cluster, yield it, and end every process of it, executors included."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        name = "org.apache.spark.deploy.{0}.{1}"
        ports = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        log = _start(stack, folder / "master.log", name.format("master", "Master"), *ports)
        master = _wait(log, MASTER_UP)[1]
        worker_class = name.format("worker", "Worker")
        logs = []
        for number in range(workers):
            work = folder / f"worker-{number}"
            size = ("--cores", "1", "--memory", "1g", "--work-dir", str(work))
            logs.append(_start(stack, folder / f"worker-{number}.log", worker_class, *ports, *size, master))
        for log in logs:
            _wait(log, WORKER_UP)
        yield Cluster(master, folder)


def _start(stack: contextlib.ExitStack, log: Path, *command: str) -> Path:
    # Spark says what it does at level info, and on stderr.
    config = log.with_suffix(".properties")
    config.write_text(
        "rootLogger.level = info\nrootLogger.appenderRef.e.ref = e\nappender.e.type = Console\nappender.e.name = e\n"
        "appender.e.target = SYSTEM_ERR\nappender.e.layout.type = PatternLayout\nappender.e.layout.pattern = %m%n%ex\n",
        encoding="utf-8",
    )
    environment = {
        **os.environ,
        "SPARK_HOME": str(SPARK_CLASS.parents[1]),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": f"-Dlog4j2.configurationFile={config.as_uri()}",
    }
    with log.open("w", encoding="utf-8") as output:
        # A process group of its own: a worker's executors end with it.
        process = subprocess.Popen(
            [str(SPARK_CLASS), *command], stdout=output, stderr=output, env=environment, start_new_session=True
        )
    stack.callback(_end, process)
    return log


def _end(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
            return


def _wait(log: Path, line: re.Pattern[str]) -> re.Match[str]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if found := line.search(log.read_text(encoding="utf-8", errors="replace")):
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{log.name}: no line says {line.pattern!r}: {log.read_text(encoding='utf-8')[-2000:]}")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch, standalone(Path(scratch)) as running:
        print(running.master, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
