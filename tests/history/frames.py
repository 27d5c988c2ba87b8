"""Between the oracle's plain values and Spark's rows. The oracle's moment n is n hours after midnight of 2026-01-01."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.types import DataType, DecimalType, LongType, StringType, StructField, StructType, TimestampType

from varve.history import Policy
from varve.history_table import HistoryTable
from varve.raw.batch import Batch, Load, batches

from .oracle import Identity, Law, Scope, Statement, Version

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {
    "amount": DecimalType(19, 4),
    "line": LongType(),
}


def moment(value: Any) -> datetime | None:
    return None if value is None else EPOCH + timedelta(hours=value)


def number(value: datetime | None) -> Any:
    if value is None:
        return None
    hours = (value.replace(tzinfo=UTC) - EPOCH) / timedelta(hours=1)
    return int(hours) if hours == int(hours) else hours


def policy_of(law: Law, *, without: Sequence[str] = ()) -> Policy:
    return Policy(
        keys=law.keys,
        attributes=tuple(c for c in law.tracked if c not in without),
        overwritten=tuple(c for c in law.overwritten if c not in without),
        tie_break=law.tie_break,
        domain=law.domain,
    )


def entity_schema(law: Law, *, without: Sequence[str] = ()) -> StructType:
    """Keys and attributes, as a contract would give them."""
    names = [c for c in (*law.keys, *law.columns) if c not in without]
    return StructType([StructField(c, TYPES.get(c, StringType())) for c in names])


def changes_schema(law: Law, *, without: Sequence[str] = ()) -> StructType:
    scope = [StructField(c, StringType()) for c in ("scope_country", "scope_entity")]
    stated = [
        StructField("op", StringType()),
        StructField("valid_from", TimestampType()),
        StructField("sequence", LongType()),
        StructField("recorded_at", TimestampType()),
        StructField("manifest", StringType()),
        StructField("contract_version", StringType()),
    ]
    return StructType([*scope, *entity_schema(law, without=without).fields, *stated])


def changes_frame(
    spark: SparkSession, statements: Iterable[Statement], law: Law, *, manifest: str = "m", without: Sequence[str] = ()
) -> DataFrame:
    rows = [
        (*s.scope, *s.key, *_kept(s.values, law, without), s.op, moment(s.valid_from), s.sequence,
         moment(s.recorded_at), manifest, "1")
        for s in statements
    ]  # fmt: skip
    return _frame(spark, rows, changes_schema(law, without=without))


def rows_frame(
    spark: SparkSession, rows: Iterable[tuple[Scope, tuple[Any, ...], tuple[Any, ...]]], law: Law,
    *, without: Sequence[str] = (),
) -> DataFrame:  # fmt: skip
    """The rows of a snapshot: scope, keys, attributes."""
    schema = changes_schema(law, without=without)
    fields = schema.fields[: len(schema.fields) - 6]
    plain = [(*scope, *key, *_kept(values, law, without)) for scope, key, values in rows]
    return _frame(spark, plain, StructType(fields))


def identities_frame(spark: SparkSession, identities: Iterable[Identity], law: Law) -> DataFrame:
    fields = changes_schema(law).fields[: 2 + len(law.keys)]
    return _frame(spark, [(*scope, *key) for scope, key in identities], StructType(fields))


def _kept(values: tuple[Any, ...], law: Law, without: Sequence[str]) -> list[Any]:
    return [
        Decimal(value) if value is not None and name == "amount" else value
        for name, value in zip(law.columns, values, strict=True)
        if name not in without
    ]


ARROW: dict[DataType, Any] = {
    StringType(): pa.string(),
    LongType(): pa.int64(),
    TimestampType(): pa.timestamp("us", tz="UTC"),
    DecimalType(19, 4): pa.decimal128(19, 4),
}


def _frame(spark: SparkSession, rows: list[tuple[Any, ...]], schema: StructType) -> DataFrame:
    """By way of Arrow: a local relation, no Python worker."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema.fields)
    arrays = [pa.array(column, type=ARROW[f.dataType]) for column, f in zip(columns, schema.fields, strict=True)]
    return spark.createDataFrame(pa.table(arrays, names=schema.names), schema=schema)


def versions_of(frame: DataFrame, law: Law) -> dict[Identity, list[Version]]:
    """The engine's versions as the oracle's, in order of time."""
    result: dict[Identity, list[Version]] = {}
    for row in sorted(_collected(frame), key=lambda r: r["valid_from"]):
        version = version_of(row, law)
        result.setdefault(version.identity, []).append(version)
    return result


def version_of(row: Row, law: Law) -> Version:
    said = row.asDict()
    amount = said.get("amount")
    values = [said.get(c) for c in law.columns]
    if amount is not None:
        values[law.columns.index("amount")] = int(amount)
    return Version(
        scope=(said["scope_country"], said["scope_entity"]),
        key=tuple(said[c] for c in law.keys),
        values=tuple(values),
        valid_from=number(said["valid_from"]),
        valid_to=number(said["valid_to"]),
        is_current=said["is_current"],
        is_deleted=said["is_deleted"],
        recorded_at=number(said["recorded_at"]),
    )


def _collected(frame: DataFrame) -> list[Row]:
    return frame.collect()


def difference(
    expected: dict[Identity, list[Version]], got: dict[Identity, list[Version]], *, recorded: bool = True
) -> list[Identity]:
    """The identities whose versions are not the same."""

    def shown(versions: list[Version]) -> list[Any]:
        return [(v.values, v.valid_from, v.valid_to, v.is_current, v.is_deleted, v.recorded_at if recorded else None)
                for v in versions]  # fmt: skip

    return [i for i in sorted(expected.keys() | got.keys()) if shown(expected.get(i, [])) != shown(got.get(i, []))]


def told(statements: Iterable[Any]) -> str:
    return "\n".join(f"    {statement}" for statement in statements)


def side_by_side(expected: list[Version], got: list[Version]) -> str:
    def line(v: Version) -> str:
        kind = "deleted" if v.is_deleted else "current" if v.is_current else "closed"
        until = "..." if v.valid_to is None else v.valid_to
        return f"[{v.valid_from}, {until}) {kind} {v.values} recorded {v.recorded_at}"

    lines = ["  expected by the oracle:", *(f"    {line(v)}" for v in expected)]
    return "\n".join([*lines, "  got from the engine:", *(f"    {line(v)}" for v in got)])


def held_by(table: HistoryTable) -> set[str]:
    """The names of everything that the commits of the log say that they hold."""
    return {load.manifest for _, held in batches(table.store, table.layer, table.log_table) for load in held}


def batch_of(table: HistoryTable, name: str) -> Batch:
    """The next batch of the log, that holds an extract of this name."""
    return table.batch(Load("test", 1, name))
