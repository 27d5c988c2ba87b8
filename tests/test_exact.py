"""What arrives typed takes the type of the contract by a cast that loses nothing; what would, is kept as text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from connecting import dataset_of, files, landed
from varve import raw
from varve.bronze.typing import typed, typing_of
from varve.model.columns import PROVENANCE
from varve.model.contract import Column, Contract
from varve.model.scope import SCOPE_COLUMNS
from varve.storage import Disk

WRONG, FINE = "wrong type", "precision"
MADRID = {"zone": "Europe/Madrid"}


def at(*parts: int) -> datetime:
    """A time as the session, which is in UTC, gives it back."""
    return datetime(*parts)  # type: ignore[arg-type, misc]  # noqa: DTZ001


# (type as it arrives, value in SQL, the contract's type, its format or zone, value, (text, reason) in _rescued)
VALUES: list[tuple[str, str, str, dict[str, str], Any, tuple[str, str] | None]] = [
    ("bigint", "42", "bigint", {}, 42, None), ("bigint", "42", "int", {}, 42, None),
    ("bigint", "99999999999", "int", {}, None, ("99999999999", WRONG)),
    ("int", "42", "bigint", {}, 42, None), ("tinyint", "1", "string", {}, "1", None),
    ("bigint", "9007199254740993", "double", {}, None, ("9007199254740993", FINE)),
    ("bigint", "9007199254740992", "double", {}, 2.0**53, None),
    ("bigint", "9223372036854775807", "double", {}, None, ("9223372036854775807", FINE)),
    ("int", "16777217", "float", {}, None, ("16777217", FINE)), ("int", "16777216", "float", {}, 2.0**24, None),
    ("bigint", "12", "decimal(10,2)", {}, Decimal("12.00"), None),
    ("bigint", "123456789", "decimal(10,2)", {}, None, ("123456789", FINE)),
    ("bigint", "1", "boolean", {}, True, None), ("bigint", "2", "boolean", {}, None, ("2", WRONG)),
    ("bigint", "20260228", "date", {"format": "yyyyMMdd"}, date(2026, 2, 28), None),
    ("bigint", "7", "date", {}, None, ("7", WRONG)), ("bigint", "null", "int", {}, None, None),
    ("double", "1.5D", "double", {}, 1.5, None), ("double", "0.1D", "float", {}, 0.1, None),
    ("double", "0.1234567890123D", "float", {}, None, ("0.1234567890123", FINE)),
    ("double", "1e300D", "float", {}, None, ("1.0E300", WRONG)),
    ("double", "1.0D", "int", {}, 1, None), ("double", "1.5D", "int", {}, None, ("1.5", WRONG)),
    ("double", "9.223372036854775807e18D", "bigint", {}, None, ("9.223372036854776E18", WRONG)),
    ("double", "1234.56D", "decimal(19,4)", {}, Decimal("1234.5600"), None),
    ("double", "1.1D", "decimal(38,20)", {}, Decimal("1.10000000000000000000"), None),
    ("double", "0.30000000000000004D", "decimal(19,4)", {}, None, ("0.30000000000000004", FINE)),
    ("double", "1.105D", "decimal(10,2)", {}, None, ("1.105", FINE)),
    ("double", "double('NaN')", "decimal(10,2)", {}, None, ("NaN", WRONG)),
    ("double", "double('NaN')", "double", {}, float("nan"), None), ("double", "1e300D", "string", {}, "1.0E300", None),
    ("double", "12345678.5D", "string", {}, "12345678.5", None), ("double", "5.0D", "string", {}, "5.0", None),
    ("double", "0.0001D", "string", {}, "0.0001", None), ("double", "1e16D", "string", {}, "1.0E16", None),
    ("float", "float('1.1')", "string", {}, "1.1", None), ("float", "float('0.1')", "double", {}, "0.1", None),
    ("float", "float('1.1')", "decimal(10,2)", {}, Decimal("1.10"), None),
    ("decimal(10,2)", "1.10", "decimal(10,2)", {}, Decimal("1.10"), None),
    ("decimal(10,2)", "1.10", "decimal(19,4)", {}, Decimal("1.1000"), None),
    ("decimal(10,2)", "1.10", "decimal(10,1)", {}, Decimal("1.1"), None),
    ("decimal(10,2)", "1.15", "decimal(10,1)", {}, None, ("1.15", FINE)),
    ("decimal(10,2)", "99999999.99", "decimal(6,2)", {}, None, ("99999999.99", FINE)),
    ("decimal(10,2)", "10.00", "int", {}, 10, None), ("decimal(10,2)", "10.50", "int", {}, None, ("10.50", WRONG)),
    ("decimal(20,0)", "18446744073709551615", "bigint", {}, None, ("18446744073709551615", WRONG)),
    ("decimal(10,2)", "1.10", "double", {}, 1.1, None),
    ("decimal(38,20)", "1.12345678901234567890", "double", {}, None, ("1.12345678901234567890", FINE)),
    ("decimal(10,2)", "1.10", "string", {}, "1.10", None), ("decimal(10,8)", "0", "string", {}, "0.00000000", None),
    ("boolean", "true", "boolean", {}, True, None), ("boolean", "true", "string", {}, "true", None),
    ("date", "date'2026-02-28'", "date", {}, date(2026, 2, 28), None),
    ("date", "date'0001-01-01'", "date", {}, date(1, 1, 1), None),
    ("date", "date_add(date'9999-12-31', 1)", "date", {}, None, ("+10000-01-01", WRONG)),
    ("date", "date'2026-02-28'", "timestamp", {}, at(2026, 2, 28), None),
    ("timestamp", "timestamp'2026-01-01 10:00:00.5Z'", "timestamp", {}, at(2026, 1, 1, 10, 0, 0, 500000), None),
    ("timestamp", "timestamp'2026-01-01 10:00:00Z'", "timestamp", MADRID, at(2026, 1, 1, 10), None),
    ("timestamp", "timestamp'2026-01-01 10:00:00Z'", "string", {}, "2026-01-01 10:00:00Z", None),
    ("timestamp", "timestamp'2026-01-01 10:00:00Z'", "timestamp_ntz", {}, None, ("2026-01-01 10:00:00Z", WRONG)),
    ("timestamp", "timestamp'2026-01-01 00:00:00Z'", "date", {}, date(2026, 1, 1), None),
    ("timestamp", "timestamp'0001-01-01 00:00:00Z' - interval 1 day", "timestamp", {}, None,
     ("0000-12-31 00:00:00Z", WRONG)),
    ("timestamp_ntz", "timestamp_ntz'2026-01-01 10:00:00'", "timestamp_ntz", {}, at(2026, 1, 1, 10), None),
    ("timestamp_ntz", "timestamp_ntz'2026-01-01 10:00:00'", "timestamp", {}, at(2026, 1, 1, 10), None),
    ("timestamp_ntz", "timestamp_ntz'2026-07-01 12:00:00'", "timestamp", MADRID, at(2026, 7, 1, 10), None),
    ("timestamp_ntz", "timestamp_ntz'2026-10-25 02:30:00'", "timestamp", MADRID, at(2026, 10, 25, 0, 30),
     ("2026-10-25 02:30:00", "ambiguous time")),
    ("timestamp_ntz", "timestamp_ntz'1970-01-01 00:00:01.000001'", "bigint", {"format": "timestamp"}, 1000001000, None),
    ("binary", "x'00ff'", "binary", {}, bytearray(b"\x00\xff"), None),
    ("binary", "x'00ff'", "string", {}, "00ff", None),
    ("binary", "x'00ff'", "int", {}, None, ("00ff", WRONG)),
]  # fmt: skip


def test_casts(spark: SparkSession) -> None:
    """All cases in one frame, a column each."""
    columns = [Column(f"v{i}", wanted, **more) for i, (_, _, wanted, more, *_) in enumerate(VALUES)]  # type: ignore[arg-type]
    contract = Contract("s_d", "1.0.0", "s_d", "bronze", tuple(columns))
    received = [f"cast({sql} as {kind}) as c{i}" for i, (kind, sql, *_) in enumerate(VALUES)]
    typing = typing_of([c.name for c in columns], contract, types=[kind for kind, *_ in VALUES])
    row = typed(records(spark, *received), contract, typing).collect()[0]
    rescued = {entry["field"]: (entry["value"], entry["reason"]) for entry in json.loads(row["_rescued"])}
    pairs = [(case, row[i], rescued.get(f"v{i}")) for i, case in enumerate(VALUES)]
    wrong = [(case, value, entry) for case, value, entry in pairs if (shown(value), entry) != (shown(case[4]), case[5])]
    assert wrong == []


def test_a_record_that_arrived_typed_is_told_as_json_when_it_is_rejected(spark: SparkSession) -> None:
    contract = Contract("s_d", "1.0.0", "s_d", "bronze", (Column("k", "int", key_position=1), Column("v", "double")))
    typing = typing_of(["k", "v", "x"], contract, types=["double", "double", "binary"])
    row = typed(records(spark, "1.5D as c0", "2.5D as c1", "x'ff' as c2"), contract, typing).collect()[0]
    assert row["_reason"] == "key column k: found '1.5', expected int"
    assert json.loads(row["_record"]) == {"k": "1.5", "v": "2.5", "x": "ff"}
    assert json.loads(row["_rescued"]) == [
        {"field": "k", "value": "1.5", "reason": WRONG}, {"field": "x", "value": "ff", "reason": "unknown field"},
    ]  # fmt: skip


def test_parquet_comes_through_raw_as_it_is(spark: SparkSession, lake_dir: Path, tmp_path: Path) -> None:
    sent = {
        "n": [2**62, None], "small": pa.array([7, None], pa.uint8()), "f": [0.1, None], "b": [True, None],
        "amount": [Decimal("1.10"), None], "bytes": [b"\xff", None], "day": [date(1, 1, 1), None],
        "moment": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)],
        "local": pa.array([at(1582, 10, 10), None], pa.timestamp("ms")), "tags": [["a"], None], "text": ["x", None],
    }  # fmt: skip
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table(sent), tmp_path / "in" / "x.parquet")
    wanted = {"n": "bigint", "small": "smallint", "f": "double", "b": "boolean", "amount": "decimal(10,2)",
              "bytes": "binary", "day": "date", "moment": "timestamp", "local": "timestamp_ntz", "tags": "string",
              "text": "string"}  # fmt: skip
    contract = Contract("s_d", "1.0.0", "s_d", "bronze", tuple(Column(name, kind) for name, kind in wanted.items()))
    [manifest] = landed(lake_dir, dataset_of(files(tmp_path / "in", format="parquet"), contract))
    frame = raw.read(spark, Disk(lake_dir), [manifest]).selectExpr(
        "*", *(f"string(null) as {name}" for name in (*SCOPE_COLUMNS, *PROVENANCE) if name != "_position")
    )
    typing = typing_of(manifest.columns, contract, types=manifest.types)
    frame = typed(frame, contract, typing).withColumn("moment", F.col("moment").cast("string"))
    found = frame.select(*wanted, "_rescued").orderBy("moment").collect()
    assert [tuple(row) for row in found] == [
        (2**62, 7, 0.1, True, Decimal("1.10"), bytearray(b"\xff"), date(1, 1, 1), "0001-01-01 00:00:00",
         at(1582, 10, 10), '["a"]', "x", None),
        (None, None, None, None, None, None, None, "9999-12-31 00:00:00", None, None, None, None),
    ]  # fmt: skip


def records(spark: SparkSession, *received: str) -> Any:
    """One record as raw gives it, with what its extract says of all its records."""
    common = ["1L as _position", "string(null) as _record", "'ES' as scope_country", "'e' as scope_entity"]
    common += ["'m' as _manifest", "'f' as _file", "timestamp'2026-01-01' as _landed_at"]
    return spark.range(1).selectExpr(*common, "timestamp'2026-01-01' as _as_of", *received)


def shown(value: Any) -> Any:
    """A value that can be compared: a float by its first digits, so that one of 32 bits equals its literal."""
    return f"{value:.7g}" if isinstance(value, float) else value
