from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from pyspark.sql import SparkSession

from varve.errors import UsageError
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
