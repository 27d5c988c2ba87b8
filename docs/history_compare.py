"""What other systems make of the same observations (docs/history.md). Each runs in an environment of its own:

    pip install dbt-core dbt-duckdb   then  python docs/history_compare.py dbt
    pip install "dlt[duckdb]"         then  python docs/history_compare.py dlt
    the project's own environment     then  python docs/history_compare.py merge

A load is what one run finds: the rows of a feed of changes, or a whole snapshot. Moments are hours of 2026-01-01; `now`
is a time of the run's own clock. dbt: the timestamp strategy for changes, the check strategy with the snapshot's moment
as updated_at for snapshots, hard_deletes new_record. dlt: boundary_timestamp is the load's moment; keys are the
merge_key for changes, absent for snapshots. merge: the statement of Delta's documentation ("SCD type 2 using merge"),
and for snapshots WHEN NOT MATCHED BY SOURCE.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = ("k1", "k2", "state", "extra", "at")

Row = tuple[str, str, str | None, str | None, float | None, float | None, bool]  # key, state, extra, from, to, deleted


@dataclass(frozen=True)
class Case:
    name: str
    said: str
    late_column: bool = False  # `extra` exists from the second load on

    @property
    def is_snapshot(self) -> bool:
        return self.said.startswith("S@")

    def loads(self) -> list[tuple[float, list[dict[str, Any]]]]:
        """Of each load its moment and rows; op says what a change does."""
        return [self._load(text, number) for number, text in enumerate(self.said.split(" | "))]

    def _load(self, text: str, number: int) -> tuple[float, list[dict[str, Any]]]:
        if found := re.fullmatch(r"S@([\d.]+)\{(.*)\}", text):
            rows = [self._row(row, float(found[1])) for row in found[2].split(",") if row]
            at = float(found[1])
        else:
            rows = [self._row(word.rpartition("@")[0], float(word.rpartition("@")[2])) for word in text.split()]
            at = rows[-1]["at"]
        if self.late_column and number == 0:
            rows = [{c: v for c, v in row.items() if c != "extra"} for row in rows]
        return at, rows

    @staticmethod
    def _row(text: str, at: float) -> dict[str, Any]:
        key, _, value = text.rpartition(":")
        first, _, second = (key or "k.1").partition(".")
        state, _, extra = value.lstrip("-").partition("&")
        stated = {"state": None if state in ("", "null") else state, "extra": extra or None}
        return {"k1": first, "k2": second, **stated, "at": at, "op": "delete" if value.startswith("-") else "upsert"}


CASES = (
    Case("late row", "A@5 | C@9 | B@7"),
    Case("late below a no-op", "A@5 | A@10 | B@7"),
    Case("two changes in one load", "A@5 | B@7 C@9"),
    Case("replay", "A@5 | B@7 | A@5"),
    Case("tie", "Z@1 | A@5 B@5"),
    Case("gone and back", "S@5{A,z.z:Z} | S@7{z.z:Z} | S@9{A,z.z:Z}"),
    Case("late snapshot", "S@1{A} | S@5{A} | S@3{B}"),
    Case("empty extract", "S@1{A,a.b:B} | S@3{}"),
    Case("new column", "S@1{A} | S@3{A}", late_column=True),
    Case("keys that concatenate alike", "a.bc:A@1 ab.c:B@1 | ab.c:C@3"),
    Case("nulls that change places", "S@1{x} | S@3{null&x}"),
)


def moment(hours: float) -> datetime:
    return EPOCH + timedelta(hours=hours)


def hours(value: datetime | None) -> float | None:
    if value is None or value.year > 9000:
        return None
    return (value.replace(tzinfo=value.tzinfo or UTC) - EPOCH) / timedelta(hours=1)


def told(rows: Iterable[Row]) -> str:
    """Rows in the notation of the page, a key before its versions where it is not k.1."""
    lives: dict[str, list[str]] = {}
    for k1, k2, state, extra, start, end, deleted in sorted(rows, key=lambda r: (r[0], r[1], r[4] or 0, r[5] or 1e9)):
        text = ("-" * deleted) + (state or "null") + (f"&{extra}" if extra else "")
        lives.setdefault(f"{k1}.{k2}", []).append(f"{text}[{_shown(start)},{_shown(end)})")
    lives.pop("z.z", None)
    if set(lives) == {"k.1"}:
        return " ".join(lives["k.1"])
    return "; ".join(f"{key}: {' '.join(life)}" for key, life in lives.items()) or "nothing"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if value < 1000 else "now"


# --- dbt ------------------------------------------------------------------------------------------------------


def dbt(folder: Path) -> dict[str, str]:
    """One project, a snapshot per case, one `dbt snapshot` per load."""
    import duckdb
    from dbt.cli.main import dbtRunner

    database = folder / "lake.duckdb"
    (folder / "snapshots").mkdir()
    (folder / "dbt_project.yml").write_text("name: h\nversion: 1.0.0\nprofile: h\nsnapshot-paths: [snapshots]\n")
    (folder / "profiles.yml").write_text(
        f"h: {{target: t, outputs: {{t: {{type: duckdb, path: '{database}', threads: 1}}}}}}\n"
    )
    for number, case in enumerate(CASES):
        strategy = "strategy='check', check_cols=" + ("'all'" if case.late_column else "['state', 'extra']")
        strategy = strategy if case.is_snapshot else "strategy='timestamp'"
        deletes = "new_record" if case.is_snapshot else "ignore"
        (folder / "snapshots" / f"c{number}.sql").write_text(
            f"{{% snapshot c{number} %}}{{{{ config(schema='s', unique_key=['k1', 'k2'], {strategy}, "
            f"updated_at='updated_at', hard_deletes='{deletes}') }}}}"
            f"select * from src.c{number} {{% endsnapshot %}}"
        )
    failed: dict[str, str] = {}
    for load in range(3):
        with duckdb.connect(str(database)) as db:
            db.execute("create schema if not exists src")
            for number, case in enumerate(CASES):
                if load >= len(case.loads()):
                    continue
                _, rows = case.loads()[load]
                extra = "" if case.late_column and load == 0 else "extra varchar, "
                db.execute(
                    f"create or replace table src.c{number} "
                    f"(k1 varchar, k2 varchar, state varchar, {extra}updated_at timestamp)"
                )
                for row in rows:
                    values = [row[c] for c in COLUMNS[:-1] if c in row]
                    places = ", ".join("?" * (len(values) + 1))
                    db.execute(
                        f"insert into src.c{number} values ({places})",
                        [*values, moment(row["at"]).replace(tzinfo=None)],
                    )
        known = [n for n, case in enumerate(CASES) if load < len(case.loads()) and case.name not in failed]
        words = ["snapshot", "--project-dir", str(folder), "--profiles-dir", str(folder), "--quiet"]
        outcome = dbtRunner().invoke([*words, "--select", *(f"c{n}" for n in known)])
        for one in getattr(outcome.result, "results", ()):
            if one.status == "error":
                failed[CASES[int(one.node.name[1:])].name] = f"load {load + 1} fails: {one.message.splitlines()[0]}"
    result = {}
    with duckdb.connect(str(database)) as db:
        for number, case in enumerate(CASES):
            names = [c for (c, *_) in db.execute(f"describe main_s.c{number}").fetchall()]
            extra = "extra" if "extra" in names else "null"
            deleted = "dbt_is_deleted = 'True'" if "dbt_is_deleted" in names else "false"
            rows = db.execute(
                f"select k1, k2, state, {extra}, dbt_valid_from, dbt_valid_to, {deleted} from main_s.c{number}"
            ).fetchall()
            shown = told((*r[:4], hours(r[4]), hours(r[5]), r[6]) for r in rows)
            result[case.name] = f"{shown} ({failed[case.name]})" if case.name in failed else shown
    return result


# --- dlt ------------------------------------------------------------------------------------------------------


def dlt(folder: Path) -> dict[str, str]:
    """A table and a pipeline per case, one run per load."""
    import dlt as lib
    import duckdb

    result = {}
    for number, case in enumerate(CASES):
        database = folder / f"c{number}.duckdb"
        pipeline = lib.pipeline(
            f"c{number}",
            pipelines_dir=str(folder),
            destination=lib.destinations.duckdb(str(database)),
            dataset_name="s",
        )
        problem = ""
        for load, (at, rows) in enumerate(case.loads()):
            columns = {c: {"data_type": "text", "nullable": True} for c in ("state", "extra")}
            if case.late_column and load == 0:
                del columns["extra"]
            plain = [{c: v for c, v in row.items() if c not in ("at", "op")} for row in rows]
            disposition = {"disposition": "merge", "strategy": "scd2", "boundary_timestamp": moment(at).isoformat()}
            keys = {} if case.is_snapshot else {"merge_key": ["k1", "k2"]}
            resource = lib.resource(plain, name="t", write_disposition=disposition, columns=columns, **keys)
            try:
                pipeline.run(resource)
            except Exception as error:
                problem = f" (load {load + 1} fails: {str(error).splitlines()[-1][:120]})"
                break
        with duckdb.connect(str(database)) as db:
            names = [c for (c, *_) in db.execute("describe s.t").fetchall()]
            extra = "extra" if "extra" in names else "null"
            rows = db.execute(f"select k1, k2, state, {extra}, _dlt_valid_from, _dlt_valid_to from s.t").fetchall()
        result[case.name] = told((*r[:4], hours(r[4]), hours(r[5]), False) for r in rows) + problem
    return result


# --- MERGE ----------------------------------------------------------------------------------------------------


def merge(folder: Path) -> dict[str, str]:
    """The union trick of Delta's documentation on a Delta table per case."""
    from delta.tables import DeltaTable
    from pyspark.sql import functions as F

    from varve.config import Settings
    from varve.spark import session

    spark = session.build(
        Settings.model_validate({"spark": {"master": "local[2]", "driver_memory": "1g"}}), app="compare"
    )
    source_ddl = "k1 string, k2 string, state string, extra string, at double, op string"
    result = {}
    for number, case in enumerate(CASES):
        path = str(folder / f"c{number}")
        spark.sql(
            f"create table delta.`{path}` (k1 string, k2 string, state string, extra string, "
            "start_at double, end_at double, is_current boolean) using delta"
        )
        problem = ""
        for load, (at, rows) in enumerate(case.loads()):
            found = [(r["k1"], r["k2"], r["state"], r.get("extra"), r["at"], r["op"]) for r in rows]
            source, target = spark.createDataFrame(found, source_ddl), DeltaTable.forPath(spark, path)
            differs = "not (t.state <=> s.state and t.extra <=> s.extra)"
            again = source.alias("s").join(target.toDF().alias("t"), ["k1", "k2"]).where(f"t.is_current and {differs}")
            nothing = F.lit(None).cast("string")
            staged = (
                again.selectExpr("s.*")
                .withColumns({"m1": nothing, "m2": nothing})
                .unionByName(source.withColumns({"m1": F.col("k1"), "m2": F.col("k2")}))
            )
            statement = (
                target.alias("t")
                .merge(staged.alias("s"), "t.k1 = s.m1 and t.k2 = s.m2")
                .whenMatchedUpdate(
                    f"t.is_current and {differs}", {"is_current": F.lit(False), "end_at": F.col("s.at")}
                )
                .whenNotMatchedInsert(values={
                    "k1": "s.k1", "k2": "s.k2", "state": "s.state", "extra": "s.extra",
                    "start_at": "s.at", "end_at": "null", "is_current": "true",
                })
            )  # fmt: skip
            if case.is_snapshot:
                statement = statement.whenNotMatchedBySourceUpdate(
                    "t.is_current", {"is_current": F.lit(False), "end_at": F.lit(at)}
                )
            try:
                statement.execute()
            except Exception as error:
                problem = f" (load {load + 1} fails: {str(error).splitlines()[0][:120]})"
                break
        kept = spark.read.format("delta").load(path).collect()
        result[case.name] = told((r.k1, r.k2, r.state, r.extra, r.start_at, r.end_at, False) for r in kept) + problem
    spark.stop()
    return result


SYSTEMS: dict[str, Callable[[Path], dict[str, str]]] = {"dbt": dbt, "dlt": dlt, "merge": merge}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        for name, versions in SYSTEMS[sys.argv[1]](Path(place)).items():
            print(f"{name:28} {versions}")
