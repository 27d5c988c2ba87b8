"""The one place that builds a Spark session.

A local session starts its own JVM here, so a process that never asks for a session never pays for one. Under
`spark-submit` (a cluster) the JVM exists already, and `submit_arguments` is what it was given on its command line.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from varve.config import load
from varve.config.settings import Settings, Spark
from varve.model import clock
from varve.model.errors import ConfigError
from varve.spark.jars import jars_folder

LOG_CONFIG = Path(__file__).with_name("log4j2.properties")
ARCHIVE = "classes.jsa"
GIB = 1024**3
LOCAL = "local[*]"
NOISE = ("WARNING: Using incubator modules",)


def build(settings: Settings, *, app: str) -> SparkSession:
    """The process's session, made on the first call. What `settings.spark.conf` says wins over what stands here.

    The process works in UTC from then on, see `clock`."""
    clock.work_in_utc()
    if (active := SparkSession.getActiveSession()) is not None:
        return active
    # Made afresh each time and outside the working directory: Spark wants a warehouse, we never put a table there.
    warehouse = tempfile.mkdtemp(prefix="varve-warehouse-")
    atexit.register(shutil.rmtree, warehouse, ignore_errors=True)
    # Every refused statement would print itself, with a trace, before whoever asked can say what is wrong.
    PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    spark = settings.spark
    options = {**runtime_options(spark), **launch_options(spark), "spark.sql.warehouse.dir": warehouse}
    conf = SparkConf().setAppName(app).setAll(list(options.items()))
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # Python workers need this environment, not any python3
    if spark.master or "PYSPARK_GATEWAY_PORT" not in os.environ:
        conf.setMaster(spark.master or LOCAL)
    gateway = None
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        os.environ.setdefault("SPARK_LAUNCHER_OPTS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        sink = _filtered(sys.__stderr__)
        gateway = launch_gateway(conf, {"stderr": sink})  # type: ignore[no-untyped-call]
        os.close(sink)  # the JVM holds the other copy: the thread ends when it does
    conf.setAll(list(spark.revealed().items()))  # not before: everybody can read the command line that starts a JVM
    if gateway is not None:
        SparkContext(conf=conf, gateway=gateway)
    return SparkSession.builder.config(conf=conf).getOrCreate()


def submit_arguments(spark: Spark) -> list[str]:
    """The arguments `spark-submit` needs, for what must be known before the JVM starts."""
    pairs = {**spark.plain, **launch_options(spark)}
    return ["--master", spark.master or LOCAL, *(word for pair in pairs.items() for word in ("--conf", "=".join(pair)))]


def launch_options(spark: Spark) -> dict[str, str]:
    """Settings that a JVM takes only when it starts: memory, class path, flags. Those of `spark.conf` are added to."""
    jars = delta_jars()
    # Throughput counts and two cores are few: the parallel collector beats G1 there. UTC, because a JVM in local time
    # casts dates and reads old partition values differently from the session.
    common = ["-XX:+UseParallelGC", "-XX:-DontCompileHugeMethods", "-Duser.timezone=UTC"]
    driver = [*common, f"-Dlog4j2.configurationFile={LOG_CONFIG.as_uri()}"]
    archive = jars[0].with_name(ARCHIVE) if jars else None
    if archive is not None and archive.exists():
        # Classes parsed and verified beforehand; an archive that does not fit this JVM is ignored without a word.
        driver += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]
    options = {
        "spark.driver.memory": driver_memory(spark.driver_memory),
        "spark.driver.extraJavaOptions": _joined(spark, "spark.driver.extraJavaOptions", " ", driver),
        "spark.executor.extraJavaOptions": _joined(spark, "spark.executor.extraJavaOptions", " ", common),
    }
    if jars:
        # On the class path, not resolved at every start (1 to 3 s).
        paths = [str(jar) for jar in jars]
        options["spark.driver.extraClassPath"] = _joined(spark, "spark.driver.extraClassPath", os.pathsep, paths)
    if _is_local(spark):
        # A laptop on a train has no network and sometimes no name for itself.
        options |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
    elif jars:  # workers fetch them from the driver
        options["spark.jars"] = _joined(spark, "spark.jars", ",", [jar.as_uri() for jar in jars])
    return options


def runtime_options(spark: Spark) -> dict[str, str]:
    """Settings of the session itself; those of the configuration come last and win."""
    options = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.catalogImplementation": "in-memory",  # no metastore_db, no derby.log where the user stands
        # Meaning of data
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",  # an overflow or a bad cast is an error, never a silent null
        "spark.sql.sources.partitionColumnTypeInference.enabled": "false",  # inference made entity `01` the number 1
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # INT96, the default, has no statistics
        "spark.sql.parquet.compression.codec": "zstd",  # smaller than snappy at the same speed
        "spark.hadoop.parquet.page.row.count.limit": "5000",  # a look-up of one key decodes one page of every column
        # Delta
        "spark.databricks.delta.snapshotPartitions": "2",  # 50 tasks to replay a log of ten lines otherwise
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": "16",  # VACUUM runs as many tasks; default 10,000
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "100",  # paths; a listing of more is a job
        # Speed
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",  # few full partitions, not many empty ones
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "64m",
        "spark.sql.autoBroadcastJoinThreshold": "64m",  # key sets of a change are small beside a history
        "spark.sql.parquet.pushdown.inFilterThreshold": "1000",  # a list of keys reads its pages only, not their span
        # A read of a history is some 60 generated classes; with the default of 100 the next one compiles them again.
        "spark.sql.codegen.cache.maxEntries": "2000",
        # Stored rows and new ones are a union, which would copy every row that passes it.
        "spark.sql.codegen.wholeStage.union.enabled": "true",
        # Every operation on a column would ask the JVM ten times more, for the place in our code where it was called,
        # and the JVM would write down its own stack.
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.dataFrameQueryContext.enabled": "false",
        "spark.locality.wait": "0",
        "spark.scheduler.mode": "FAIR",  # tables loaded side by side share the cores
        # Quiet
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",  # would write over our own progress lines
    }
    if _is_local(spark):
        # 200 is the largest waste locally, and the second is to plan again after every stage: with as many partitions
        # as cores there is nothing to coalesce, and Delta lists the files of tables with deletion vectors each time.
        options["spark.sql.shuffle.partitions"] = str(max(2, _cores(spark.master or LOCAL)))
        options["spark.sql.adaptive.enabled"] = "false"
        # On a local file system a vectored read starts a thread for every range of every column.
        options["spark.hadoop.parquet.hadoop.vectored.io.enabled"] = "false"
    return {**options, **spark.plain}


def delta_jars() -> list[Path]:
    """Delta's jars as set-up put them; none where the platform brings its own (Databricks)."""
    return sorted(jars_folder().glob("*.jar"))


def driver_memory(wanted: str) -> str:
    """`wanted`, or about 40 % of what this machine (or container) has, between 1 and 12 GiB, for "auto".

    Python, the page cache and a second run need the rest. VARVE_DRIVER_MEMORY wins over both.
    """
    wanted = os.environ.get("VARVE_DRIVER_MEMORY") or wanted
    if wanted != "auto":
        return wanted
    return f"{min(12 * GIB, max(GIB, machine_memory() * 2 // 5)) // 2**20}m"


def machine_memory() -> int:
    """Bytes of memory this process may use: the machine's, or the container's limit where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(path).read_text()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return min(limits)


def _is_local(spark: Spark) -> bool:
    return (spark.master or LOCAL).split("[")[0] == "local"


def _joined(spark: Spark, key: str, separator: str, ours: list[str]) -> str:
    return separator.join([*ours, *filter(None, [spark.conf.get(key)])])


def _cores(master: str) -> int:
    count = master.removeprefix("local").strip("[]").split(",")[0]
    if count == "*":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(count or 1)


def _filtered(target: IO[str] | None) -> int:
    """A file descriptor for the JVM's stderr that passes on all but the lines every start of it prints."""
    source, sink = os.pipe()

    def forward() -> None:
        with os.fdopen(source, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if target is not None and not line.startswith(NOISE):
                    target.write(line)
                    target.flush()

    threading.Thread(target=forward, name="jvm-stderr", daemon=True).start()
    return sink


def main(argv: list[str]) -> int:
    """Print, each closed by NUL, what spark-submit.sh passes on: `python -m varve.spark.session <conf> <env>`."""
    try:
        settings = load(Path(argv[0]), env=argv[1]).settings
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    sys.stdout.write("".join(f"{word}\0" for word in submit_arguments(settings.spark)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
