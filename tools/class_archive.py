"""An archive of the classes that every run loads, made once at set-up: a session then starts in two thirds of the time.

The JVM checks itself that the archive fits (same Java, same jars) and goes without it where it does not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pyspark import SparkContext

from varve.config import Settings
from varve.spark import session


def make(archive: Path) -> None:
    """Run what a small load runs, and let the JVM write the classes it used when it ends."""
    archive.unlink(missing_ok=True)
    draft = archive.with_suffix(".tmp")
    draft.unlink(missing_ok=True)
    # Nothing here runs long enough for the second compiler to pay.
    flags = f"-XX:ArchiveClassesAtExit={draft} -XX:TieredStopAtLevel=1 -Xlog:disable -Xlog:all=error:stderr"
    conf = {"spark.driver.extraJavaOptions": flags}
    spark = session.build(
        Settings.model_validate({"spark": {"driver_memory": "1g", "conf": conf}}), app="varve-archive"
    )
    with tempfile.TemporaryDirectory(prefix="varve-archive-") as scratch:
        table = f"delta.`{scratch}/t`"
        spark.sql(f"CREATE TABLE {table} (id BIGINT, name STRING, at TIMESTAMP) USING delta PARTITIONED BY (name)")
        rows = spark.range(9).selectExpr("id", "string(id % 2) AS name", "timestamp'2024-01-01' AS at")
        rows.write.format("delta").mode("append").save(f"{scratch}/t")
        spark.sql(
            f"MERGE INTO {table} t USING (SELECT id, max(name) AS name FROM {table} WHERE id > 5 GROUP BY id) s "
            "ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)"
        )
        spark.sql(f"SELECT *, row_number() OVER (PARTITION BY name ORDER BY id) AS n FROM {table}").collect()
        gateway = SparkContext._gateway  # the archive is written as the JVM ends, so its end is waited for
        spark.stop()
        assert gateway is not None
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()
    if draft.exists():
        draft.replace(archive)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
