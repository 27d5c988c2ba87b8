from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession

from varve.model.errors import UsageError
from varve.query import ask, tables


@pytest.fixture
def lake(spark: SparkSession, lake_dir: Path) -> Path:
    query = "SELECT 1 AS id, CAST(NULL AS STRING) AS note, TIMESTAMP'2024-01-02 10:00:00' AS at, ARRAY(1, 2) AS xs"
    spark.sql(query).write.format("delta").save(str(lake_dir / "gold" / "fx_rate"))
    return lake_dir


def no_session() -> NoReturn:
    raise AssertionError("no session is needed for this")


def test_tables_are_there_by_layer_and_name(spark: SparkSession, lake: Path) -> None:
    assert tables(lake) == ["gold.fx_rate"]
    answer = ask(lambda: spark, lake, "select id, id, note, at, xs from Gold.FX_Rate;", limit=5)
    assert [name for name, _ in answer.columns] == ["id", "id", "note", "at", "xs"]
    assert [is_number for _, is_number in answer.columns] == [True, True, False, False, False]
    assert list(answer.rows) == [("1", "1", None, "2024-01-02 10:00:00", "[1, 2]")]
    (line,) = next(iter(ask(lambda: spark, lake, "select id, note, xs from gold.fx_rate", as_json=True).rows))
    assert line == '{"id":1,"note":null,"xs":[1,2]}'


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("select * from fx_rate", "no table fx_rate.*gold.fx_rate", id="a table without its layer"),
        pytest.param("select nope from gold.fx_rate", "UNRESOLVED_COLUMN", id="an unknown column"),
        pytest.param("select * frm gold.fx_rate", "PARSE_SYNTAX_ERROR", id="a syntax error"),
        pytest.param("select 1/0", "DIVIDE_BY_ZERO", id="an error while reading"),
        pytest.param("from gold.fx_rate insert into gold.fx_rate select *", "insert", id="a write behind FROM"),
    ],
)
def test_what_spark_refuses_is_a_usage_error(spark: SparkSession, lake: Path, query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        list(ask(lambda: spark, lake, query).rows)
    assert "\tat " not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("select * from gold.fx_rat", "no table gold.fx_rat.*one of gold.fx_rate", id="a misspelt table"),
        pytest.param("drop table gold.fx_rate", "sql only reads", id="a write"),
        pytest.param(" ; ", "sql only reads", id="nothing"),
    ],
)
def test_what_needs_no_spark_starts_none(lake: Path, query: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ask(no_session, lake, query)


@pytest.fixture
def entity(spark: SparkSession, lake_dir: Path) -> Path:
    """silver.claim: open from 1 to 3, closed until it was deleted at 5, back at 7."""
    shape = "k int, state string, day int, until int, is_deleted boolean"
    rows = [
        (1, "open", 1, 3, False),
        (1, "closed", 3, 5, False),
        (1, "closed", 5, 7, True),
        (1, "open", 7, None, False),
    ]
    spark.createDataFrame(rows, shape).selectExpr(
        "'ES' as scope_country", "'e1' as scope_entity", "k", "state",
        "timestampadd(day, day - 1, timestamp '2026-03-01 00:00:00Z') as valid_from",
        "timestampadd(day, until - 1, timestamp '2026-03-01 00:00:00Z') as valid_to", "is_deleted",
        "until is null as is_current", "until is null as is_open", "0L as row_hash",
    ).write.format("delta").save(str(lake_dir / "silver" / "claim"))  # fmt: skip
    spark.sql("select 1 as k").write.format("delta").save(str(lake_dir / "silver" / "claim_changes"))
    return lake_dir


@pytest.mark.parametrize(
    ("as_of", "states"),
    [
        pytest.param("2026-02-28T23:59:59+00:00", [], id="before it was there"),
        pytest.param("2026-03-01", ["open"], id="the first moment"),
        pytest.param("2026-03-03T01:00+02:00", ["open"], id="in another zone"),
        pytest.param("2026-03-03", ["closed"], id="the moment of a change"),
        pytest.param("2026-03-06", [], id="while it was deleted"),
        pytest.param("2026-03-08", ["open"], id="after its return"),
    ],
)
def test_as_of(spark: SparkSession, entity: Path, as_of: str, states: list[str]) -> None:
    moment = datetime.fromisoformat(as_of)
    rows = ask(lambda: spark, entity, "select state from silver.claim", as_of=moment).rows
    assert [state for (state,) in rows] == states


def test_as_of_needs_an_entity(spark: SparkSession, entity: Path) -> None:
    with pytest.raises(UsageError, match=r"has a history.*silver\.claim_changes.*silver\.claim"):
        ask(lambda: spark, entity, "select * from silver.claim_changes", as_of=datetime(2026, 3, 1, tzinfo=UTC))


def test_an_entity_as_auto_cdc_keeps_it(spark: SparkSession, entity: Path) -> None:
    """Tombstones are gaps; the entity's own columns, then __START_AT and __END_AT."""
    answer = ask(lambda: spark, entity, "select * from silver.claim__auto_cdc order by __START_AT")
    assert [name for name, _ in answer.columns] == [
        "scope_country", "scope_entity", "k", "state", "__START_AT", "__END_AT",
    ]  # fmt: skip
    assert [row[3:] for row in answer.rows] == [
        ("open", "2026-03-01 00:00:00", "2026-03-03 00:00:00"),
        ("closed", "2026-03-03 00:00:00", "2026-03-05 00:00:00"),
        ("open", "2026-03-07 00:00:00", None),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"no table silver\.claim_changes__auto_cdc"):
        ask(lambda: spark, entity, "select * from silver.claim_changes__auto_cdc")
