"""Bronze: one record in, one row out or one reject; what does not fit is kept as it came, with its reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

from varve.bronze import typing
from varve.bronze.drift import Drift, drift
from varve.bronze.typing import ScopeColumn, rejects_of, rows_of, typing_of
from varve.model.contract import Column, Contract, Personal

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def contract(*columns: Column, evolve: str = "rescue") -> Contract:
    return Contract("s_d", "1.2.0", "s_d", "bronze", columns, evolve=evolve)  # type: ignore[arg-type]


def typed(frame: DataFrame, of: Contract, *columns: str, entity: ScopeColumn | None = None) -> DataFrame:
    """The records typed. columns: their names as received."""
    return typing.typed(frame, of, typing_of(columns, of, ("",), (None, entity)))


def records(spark: SparkSession, *rows: Sequence[str | None]) -> DataFrame:
    """Records as raw gives them, with what their extract says of all of them."""
    width = len(rows[0])
    schema = StructType([
        StructField("_position", LongType()), StructField("_record", StringType()),
        *(StructField(f"c{i}", StringType()) for i in range(width)),
    ])  # fmt: skip
    frame = spark.createDataFrame([(n, repr(row), *row) for n, row in enumerate(rows, start=1)], schema)
    said = {"scope_country": "ES", "scope_entity": "iberia1", "_manifest": "m1", "_file": "extract=m1/x.csv"}
    times = {"_landed_at": MOMENT, "_as_of": MOMENT}
    return frame.withColumns({name: F.lit(value) for name, value in {**said, **times}.items()})


WRONG = "wrong type"
FINE = "precision"


# (type, format, text as received, value, reason in _rescued)
VALUES = [
    ("int", None, "42", 42, None), ("int", None, " -7 ", -7, None), ("int", None, "1.0", None, WRONG),
    ("int", None, "99999999999", None, WRONG), ("int", None, "x", None, WRONG), ("int", None, "", None, None),
    ("bigint", None, "9007199254740993", 9007199254740993, None),
    ("decimal(10,2)", None, "1.10", Decimal("1.10"), None), ("decimal(10,2)", None, "1.100", Decimal("1.10"), None),
    ("decimal(10,2)", None, "1.105", None, FINE), ("decimal(10,2)", None, "1e2", Decimal("100.00"), None),
    ("decimal(10,2)", None, "15e-3", None, FINE), ("decimal(10,2)", None, "123456789", None, FINE),
    ("decimal(10,2)", None, "1,5", None, WRONG), ("decimal(38,0)", None, "1.5", None, FINE),
    ("double", None, "1e5", 1e5, None), ("double", None, "1d", None, WRONG), ("double", None, "1e999", None, WRONG),
    ("boolean", None, "true", True, None), ("boolean", None, "0", False, None), ("boolean", None, "maybe", None, WRONG),
    ("date", None, "2026-02-28", date(2026, 2, 28), None), ("date", None, "2026-02-30", None, WRONG),
    ("date", None, "2026", None, WRONG), ("date", None, "2026-02-28T00:00:00Z", date(2026, 2, 28), None),
    ("date", None, "2026-02-28T10:00:00Z", None, WRONG),
    ("date", "dd/MM/yyyy", "31/01/2026", date(2026, 1, 31), None), ("date", "dd/MM/yyyy", "31/02/2026", None, WRONG),
    ("date", "dd/MM/yyyy", "2026-01-31", None, WRONG),
    ("date", "d MMMM yyyy", "13 April 2026", date(2026, 4, 13), None),
    ("timestamp", None, "2026-01-01T10:00:00Z", "2026-01-01 10:00:00", None),
    ("timestamp", None, "2026-01-01 10:00:00.5+02:00", "2026-01-01 08:00:00.5", None),
    ("timestamp", None, "2026-01-01T10:00:00+0530", "2026-01-01 04:30:00", None),
    ("timestamp", None, "2026-01-01 10:00:00+00", "2026-01-01 10:00:00", None),
    ("timestamp", None, "2026-01-01", "2026-01-01 00:00:00", None),
    ("timestamp", None, "2023-11-16 18:15:46.6805901", "2023-11-16 18:15:46.68059", FINE),
    ("timestamp", None, "2023-11-16 18:15:46.6805900", "2023-11-16 18:15:46.68059", None),
    ("timestamp", None, "10:00", None, WRONG), ("timestamp", None, "2026-01-01T25:00:00Z", None, WRONG),
    ("timestamp", "yyyy-MM-dd HH:mm:ss", "2026-01-01 10:00:00", "2026-01-01 10:00:00", None),
    ("timestamp_ntz", None, "2026-01-01 10:00:00", "2026-01-01 10:00:00", None),
    ("timestamp_ntz", None, "2026-01-01 10:00:00Z", None, WRONG),
    ("date", None, "0000-01-01", None, WRONG), ("date", None, "0001-01-01", date(1, 1, 1), None),
    ("date", None, "9999-12-31", date(9999, 12, 31), None), ("timestamp_ntz", None, "0000-12-31 23:59:59", None, WRONG),
    ("timestamp", None, "0001-01-01 00:00:00", "0001-01-01 00:00:00", None),
    ("timestamp", None, "0001-01-01 00:00:00+01:00", None, WRONG),
    ("timestamp", None, "9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999", None),
    ("timestamp", None, "9999-12-31 23:59:59-01:00", None, WRONG),
    ("binary", None, "00ff", bytearray(b"\x00\xff"), None), ("binary", None, "xyz", None, WRONG),
    ("string", None, " kept as it is ", " kept as it is ", None),
]  # fmt: skip


def test_types(spark: SparkSession) -> None:
    """All cases in one frame, a column each: a Spark job per case would take minutes."""
    columns = [Column(f"v{i}", kind, format=form) for i, (kind, form, *_) in enumerate(VALUES)]
    frame = records(spark, [text for _, _, text, *_ in VALUES])
    frame = typed(frame, contract(*columns), *(c.name for c in columns))
    shown = [F.col(c.name).cast("string") if "timestamp" in c.type else F.col(c.name) for c in columns]
    row = frame.select(*shown, "_rescued").collect()[0]
    rescued = {entry["field"]: (entry["value"], entry["reason"]) for entry in json.loads(row["_rescued"])}
    found = [(row[i], rescued.get(f"v{i}")) for i in range(len(VALUES))]
    expected = [(value, reason and (text, reason)) for _, _, text, value, reason in VALUES]
    differences = [(case, f, e) for case, f, e in zip(VALUES, found, expected, strict=True) if f != e]
    assert differences == []


MADRID = "Europe/Madrid"
SKIPPED, AMBIGUOUS = "skipped time", "ambiguous time"
# (zone, format, text as received, moment in UTC, reason in _rescued)
LOCAL = [
    (None, None, "2026-07-01 12:00:00", "2026-07-01 12:00:00", None),
    (MADRID, None, "2026-07-01 12:00:00", "2026-07-01 10:00:00", None),
    (MADRID, None, "2026-01-01T12:00", "2026-01-01 11:00:00", None),
    (MADRID, None, "2026-01-01", "2025-12-31 23:00:00", None),
    (MADRID, None, "2026-07-01 12:00:00Z", "2026-07-01 12:00:00", None),
    (MADRID, None, "2026-10-25 02:30:00+01", "2026-10-25 01:30:00", None),
    (MADRID, None, "2026-10-25T02:30:00+0200", "2026-10-25 00:30:00", None),
    (MADRID, "dd/MM/yyyy HH:mm", "01/07/2026 12:00", "2026-07-01 10:00:00", None),
    (MADRID, None, "2026-03-29 01:59:59.999999", "2026-03-29 00:59:59.999999", None),
    (MADRID, None, "2026-03-29 02:00:00", "2026-03-29 01:00:00", SKIPPED),
    (MADRID, None, "2026-03-29 02:30:00", "2026-03-29 01:30:00", SKIPPED),
    (MADRID, "dd/MM/yyyy HH:mm", "29/03/2026 02:30", "2026-03-29 01:30:00", SKIPPED),
    (MADRID, None, "2026-03-29 03:00:00", "2026-03-29 01:00:00", None),
    (MADRID, None, "2026-10-25 01:59:59", "2026-10-24 23:59:59", None),
    (MADRID, None, "2026-10-25 02:00:00", "2026-10-25 00:00:00", AMBIGUOUS),
    (MADRID, None, "2026-10-25 02:30:00", "2026-10-25 00:30:00", AMBIGUOUS),
    (MADRID, None, "2026-10-25 02:30:00.1234567", "2026-10-25 00:30:00.123456", f"{AMBIGUOUS}, precision"),
    (MADRID, None, "2026-10-25 03:00:00", "2026-10-25 02:00:00", None),
    (MADRID, None, "02:30", None, "wrong type"), (MADRID, None, "", None, None),
    (MADRID, None, "0001-01-01T00:00:00", "0001-01-01 00:14:44", None),
    ("Europe/Rome", None, "0001-01-01T00:00:00", None, "wrong type"),
    ("America/New_York", None, "9999-12-31 23:59:59", None, "wrong type"),
    ("America/New_York", None, "2026-11-01 01:30:00", "2026-11-01 05:30:00", AMBIGUOUS),
    ("Australia/Lord_Howe", None, "2026-04-05 01:45:00", "2026-04-04 14:45:00", AMBIGUOUS),
    ("Australia/Lord_Howe", None, "2026-04-05 01:15:00", "2026-04-04 14:15:00", None),
    ("Pacific/Apia", None, "2011-12-30 12:00:00", "2011-12-30 22:00:00", SKIPPED),
]  # fmt: skip


def test_local_times_need_a_zone_and_doubtful_ones_are_told(spark: SparkSession) -> None:
    """A time without an offset is UTC, or the zone's; an hour that was left out or shown twice is never silent."""
    columns = [Column(f"v{i}", "timestamp", zone=zone, format=form) for i, (zone, form, *_) in enumerate(LOCAL)]
    frame = records(spark, [text for _, _, text, *_ in LOCAL])
    frame = typed(frame, contract(*columns), *(c.name for c in columns))
    row = frame.select(*(F.col(c.name).cast("string") for c in columns), "_rescued").collect()[0]
    rescued = {entry["field"]: (entry["value"], entry["reason"]) for entry in json.loads(row["_rescued"])}
    found = [(row[i], rescued.get(f"v{i}")) for i in range(len(LOCAL))]
    expected = [(moment, reason and (text, reason)) for _, _, text, moment, reason in LOCAL]
    assert [(case, f, e) for case, f, e in zip(LOCAL, found, expected, strict=True) if f != e] == []


# (zone, text as received, nanoseconds from 2026-01-01 10:00 UTC, reason in _rescued)
EXACT = [
    (None, "2026-01-01 10:00:00.1234567", 123_456_700, None), (None, "2026-01-01 10:00:00.1234568", 123_456_800, None),
    (None, "2026-01-01T10:00:00.123456789Z", 123_456_789, None), (None, "2026-01-01 10:00:00", 0, None),
    (None, "2026-01-01 09:59:59.9999999", -100, None), (None, "2026-01-01 12:00:00.5+02:00", 500_000_000, None),
    ("Europe/Madrid", "2026-01-01 11:00:00.0000001", 100, None),
    (None, "2026-01-01 10:00:00.1234567891", 123_456_789, "precision"), (None, "9999-12-31", None, "wrong type"),
    (None, "x", None, "wrong type"), (None, "", None, None),
]  # fmt: skip


def test_a_sequence_of_times_keeps_all_digits_and_the_time_beside_it_is_floored(spark: SparkSession) -> None:
    """SQL Server's datetime2(7) as a sequence: a bigint of format timestamp; one field may be read both ways."""
    exact = [
        Column(f"v{i}", "bigint", format="timestamp", zone=zone, source_name=f"f{i}")
        for i, (zone, *_) in enumerate(EXACT)
    ]
    time = Column("floored", "timestamp", source_name="f1")
    frame = records(spark, [text for _, text, *_ in EXACT])
    frame = typed(frame, contract(*exact, time), *(c.received_as for c in exact))
    row = frame.select(*(c.name for c in exact), F.col("floored").cast("string"), "_rescued").collect()[0]
    begin = int(datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp()) * 10**9
    rescued = [(entry["field"], entry["reason"]) for entry in json.loads(row["_rescued"])]
    assert [None if row[i] is None else row[i] - begin for i in range(len(EXACT))] == [n for _, _, n, _ in EXACT]
    assert rescued == [(f"f{i}", reason) for i, (*_, reason) in enumerate(EXACT) if reason] + [("f1", "precision")]
    assert row["floored"] == "2026-01-01 10:00:00.123456"


def test_one_record_is_one_row_or_one_reject(spark: SparkSession) -> None:
    id_ = Column("id", "int", key_position=1, source_name="Id")
    mail = Column("mail", "int", key_position=2, personal=Personal("direct"))
    frame = records(spark, ("1", "7", "x"), ("a", "7", None), ("", "7", "y"), ("2", "anna@x", None))
    frame = typed(frame, contract(id_, mail), "Id", "mail", "new")
    [row] = rows_of(frame).collect()
    rejects = rejects_of(frame)
    assert (row["id"], row["mail"], row["_position"], row["_file"]) == (1, 7, 1, "extract=m1/x.csv")
    assert json.loads(row["_rescued"]) == [{"field": "new", "value": "x", "reason": "unknown field"}]
    assert (row["_manifest"], row["_contract_version"], row["scope_country"]) == ("m1", "1.2.0", "ES")
    assert row["_as_of"] == row["_landed_at"] == datetime(2026, 3, 1, 12)  # noqa: DTZ001  (the session is in UTC)
    assert {(r["_position"], r["reason"]) for r in rejects.collect()} == {
        (2, "key column Id: found 'a', expected int"),
        (3, "key column Id is null"),
        (4, "key column mail: found a value, expected int"),
    }, "a personal value is not quoted"
    assert {r["rule"] for r in rejects.collect()} == {"key"}


def test_scope_from_a_column_and_columns_that_grow(spark: SparkSession) -> None:
    entity = ScopeColumn("k", {"1": "iberia1", "2": "iberia2"})
    frame = records(spark, ("1", "a", None), ("2", "b", "z"), ("3", "c", None), (None, "d", None))
    frame = typed(frame, contract(Column("k", "int"), evolve="add"), "k", "Claim Id", "k ", entity=entity)
    frame = frame.orderBy("_position")
    assert frame.columns[:2] == ["k", "claim_id"]
    assert [(r["scope_entity"], r["claim_id"]) for r in frame.collect()] == [
        ("iberia1", "a"), ("iberia2", "b"), ("_unknown", "c"), ("_unknown", "d"),
    ]  # fmt: skip
    assert "z" in frame.collect()[1]["_rescued"], "a name that is taken stays in _rescued"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("1003.0", 1003, id="as a spreadsheet writes it"),
        pytest.param("1003.000", 1003, id="more zeros"),
        pytest.param("-7.0", -7, id="negative"),
        pytest.param("1003.5", None, id="another number"),
        pytest.param("1,003", None, id="a comma may be either mark"),
        pytest.param(".0", None, id="no digit"),
    ],
)
def test_another_spelling_of_a_key_is_that_key(spark: SparkSession, text: str, key: int | None) -> None:
    of = contract(Column("id", "bigint", key_position=1), Column("v", "bigint"))
    found = typed(records(spark, [text, "1.0"]), of, "id", "v")
    [row] = found.collect()
    assert row["id"] == key
    assert (row["_reason"] is None) == (key is not None)
    assert row["v"] is None, "of other columns the type is strict"


def test_a_thousand_columns(spark: SparkSession) -> None:
    columns = [Column(f"v{i}", "bigint" if i % 2 else "string") for i in range(1000)]
    frame = records(spark, ["15"] * 1000, ["x"] * 1000)
    first, second = typed(frame, contract(*columns), *(c.name for c in columns)).collect()
    assert (first["v999"], first["_rescued"]) == (15, None)
    assert len(json.loads(second["_rescued"])) == 500


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(["b", "Id", "a"], Drift(), id="order means nothing"),
        pytest.param(["Id", "a", "b", "x"], Drift(added=("x",)), id="added"),
        pytest.param(["Id", "a"], Drift(missing=("b",)), id="missing"),
        pytest.param(["Id", "b"], Drift(required=("a",)), id="required"),
        pytest.param(["a", "b"], Drift(required=("Id",)), id="key"),
        pytest.param(["Id", "a", "B"], Drift(spelling=("B",)), id="capital letters"),
        pytest.param(["ID", " A ", "b"], Drift(spelling=("ID", " A ")), id="blanks around, also of what is needed"),
        pytest.param(["\ufeffId", "a", "b"], Drift(spelling=("\ufeffId",)), id="a byte order mark"),
        pytest.param(["Id", "a", "b\u200b"], Drift(spelling=("b\u200b",)), id="a blank without width"),
        pytest.param(["Id", "a", "\uff42"], Drift(spelling=("\uff42",)), id="a letter of full width"),
        pytest.param(["Id", "a", "b", "B"], Drift(added=("B",)), id="another spelling beside the right one"),
        pytest.param(["Id", "a", "B", "b "], Drift(unclear=("b",)), id="two other spellings"),
        pytest.param(["Id", "a", "bb"], Drift(added=("bb",), missing=("b",)), id="another name"),
    ],
)
def test_drift(columns: list[str], expected: Drift) -> None:
    of = contract(
        Column("id", "int", key_position=1, source_name="Id"), Column("a", "int", required=True), Column("b", "int")
    )
    found = drift(columns, of)
    assert found == replace(expected, spelling=found.spelling)
    assert sorted(found.spelling) == sorted(expected.spelling)


NAMES = [
    pytest.param("CITY", id="capital letters"),
    pytest.param(" City ", id="blanks"),
    pytest.param("\ufeffcity", id="a byte order mark"),
    pytest.param("ci\u00adty", id="a soft hyphen"),
]


@pytest.mark.parametrize("received", NAMES)
def test_a_value_under_another_spelling_of_its_name_is_there(spark: SparkSession, received: str) -> None:
    of = contract(Column("id", "int", key_position=1), Column("city", "string"))
    [row] = typed(records(spark, ["1", "Roma"]), of, "ID", received).collect()
    assert (row["id"], row["city"], row["_rescued"]) == (1, "Roma", None)


def test_letters_that_unicode_writes_in_two_ways_are_one_name(spark: SparkSession) -> None:
    of = contract(Column("id", "int", key_position=1), Column("city", "string", source_name="Citt\u00e0"))
    [row] = typed(records(spark, ["1", "Roma"]), of, "id", "Citta\u0300").collect()
    assert (row["city"], row["_rescued"]) == ("Roma", None)
