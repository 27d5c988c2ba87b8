"""Rules of a contract and code lists: every row learns all that is wrong with it, in one pass."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from varve.model.contract import Column, Contract, Rule
from varve.model.errors import ConfigError, ContractError
from varve.rules import codes, quality

CONTRACT = Contract(
    id="payment",
    version="1.0.0",
    table="payment",
    layer="silver",
    columns=(
        Column("payment_id", "bigint", key_position=1, required=True),
        Column("status", "string", codes="status"),
        Column("amount", "decimal(19,4)", required=True),
        Column("note", "string"),
    ),
    rules=(
        Rule("not_zero", "amount <> 0", column="amount"),
        Rule("small", "amount < 1000", severity="warning"),
        Rule("noted_when_large", "amount < 1000 or note is not null"),
    ),
)
ROWS = "payment_id bigint, status string, amount decimal(19,4), note string, day date, _deleted boolean"
STATUS = """source,source_code,group_code,valid_from,valid_to
core,P,paid,,2024-01-01
core,P,settled,2024-01-01,
core,100%,full,,
*,X,cancelled,,
*,P,somebody_elses,,
"""


@pytest.mark.parametrize(
    ("row", "failed", "warned"),
    [
        pytest.param("1, 'P', 5.0, null", [], [], id="good"),
        pytest.param("1, 'P', 0, null", ["not_zero"], [], id="an error"),
        pytest.param("1, 'P', 5000, 'n'", [], ["small"], id="a warning keeps the row"),
        pytest.param("1, 'P', 5000, null", ["noted_when_large"], ["small"], id="rule over two columns, with a warning"),
        pytest.param("1, 'P', null, null", ["required:amount"], [], id="a null breaks required and no rule"),
        pytest.param("null, 'P', 1, null", ["key:payment_id"], [], id="a null in the key"),
        pytest.param("null, 'Q', 0, null", ["codes:status", "key:payment_id", "not_zero"], [], id="all that failed"),
        pytest.param("1, null, 1, null", [], [], id="a null code stays null"),
    ],
)
def test_rules(spark: SparkSession, row: str, failed: list[str], warned: list[str]) -> None:
    rows = spark.sql(f"select * from values ({row}, date'2024-06-01', false)").toDF(
        *(c.split()[0] for c in ROWS.split(", "))
    )
    found = checked(rows.select(*(F.col(c.split()[0]).cast(c.split()[1]) for c in ROWS.split(", ")))).first()
    assert [one.rule for one in found._failed] == failed
    assert found._warned == warned


def test_a_row_is_good_or_rejected_and_never_both(spark: SparkSession) -> None:
    given = [(1, "P", 5, None, None, False), (2, "P", 0, None, None, False), (None, "Q", 5000, None, None, False)]
    rows = checked(
        spark.createDataFrame(given, ROWS.replace("decimal(19,4)", "int")).withColumn("day", F.current_date())
    )
    both = quality.good(rows).select("payment_id").unionByName(quality.rejected(rows).select("payment_id"))
    assert_df_equality(both, rows.select("payment_id"), ignore_row_order=True)


def checked(rows):  # type: ignore[no-untyped-def]
    lists = {"status": codes.parse("status", STATUS)}
    return quality.checked(codes.mapped(rows, CONTRACT, lists, source="core", at="day"), CONTRACT)


@pytest.mark.parametrize(
    ("code", "day", "meaning"),
    [
        pytest.param("P", "2023-12-31", "paid", id="the last day of a validity"),
        pytest.param("P", "2024-01-01", "settled", id="its end is the next one's first day"),
        pytest.param("X", "2024-01-01", "cancelled", id="what holds for every source"),
        pytest.param("100%", "2024-01-01", "full", id="a code with a percent sign"),
        pytest.param("p", "2024-01-01", None, id="case counts"),
    ],
)
def test_code_lists(spark: SparkSession, code: str, day: str, meaning: str | None) -> None:
    rows = spark.createDataFrame([(1, code, 1, None, None, False)], ROWS.replace("decimal(19,4)", "int"))
    found = checked(rows.withColumn("day", F.lit(day).cast("date"))).first()
    assert found.status == meaning
    reasons = [one.reason for one in found._failed]
    assert reasons == ([] if meaning else [f"code list status: '{code}' is not mapped"])


def test_good_and_rejected_rows_are_all_rows(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [(n, "P", n % 3, None, None, False) for n in range(30)], ROWS.replace("decimal(19,4)", "int")
    )
    found = checked(rows.withColumn("day", F.lit("2024-01-01").cast("date")))
    assert quality.good(found).columns == rows.columns
    assert (quality.good(found).count(), quality.rejected(found).count()) == (20, 10)


def test_a_delete_carries_only_its_key(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1, "?", None, None, None, True), (None, None, None, None, None, True)], ROWS)
    found = checked(rows).collect()
    assert [[one.rule for one in row._failed] for row in found] == [[], ["key:payment_id"]]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param(Rule("bad", "amuont > 0"), "rule bad cannot be applied", id="unknown column"),
        pytest.param(Rule("bad", "amount >"), "rule bad cannot be applied", id="no expression"),
        pytest.param(Rule("bad", "amount"), "rule bad cannot be applied", id="not boolean"),
    ],
)
def test_a_wrong_rule_is_named(spark: SparkSession, rule: Rule, message: str) -> None:
    contract = Contract("c", "1", "c", "silver", (Column("amount", "int"),), rules=(rule,))
    with pytest.raises(ContractError, match=message):
        quality.checked(spark.range(1).select(F.col("id").cast("int").alias("amount")), contract)


def test_a_missing_column_is_named(spark: SparkSession) -> None:
    with pytest.raises(ContractError, match="the rows lack the columns payment_id, status, amount, note"):
        quality.checked(spark.range(1), CONTRACT)


HEADER = "source,source_code,group_code,valid_from,valid_to\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("source,code\n", r"status.csv:1: wrong header", id="header"),
        pytest.param(HEADER + "core,A\n", r"status.csv:2: wrong number of fields", id="fields"),
        pytest.param(HEADER + "core,A,,,\n", r"status.csv:2: .* must not be empty", id="empty code"),
        pytest.param(HEADER + "core,A,a,1.1.2024,\n", r"status.csv:2: this is no date", id="date"),
        pytest.param(
            HEADER + "core,A,a,,2024-02-01\ncore,A,b,2024-01-01,\n", r"status.csv:3: 'A' of core has two", id="overlap"
        ),
        pytest.param("", r"status.csv:1: wrong header", id="empty file"),
    ],
)
def test_a_wrong_code_list_is_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        codes.parse("status", text)


def test_a_list_that_does_not_exist(spark: SparkSession) -> None:
    with pytest.raises(ContractError, match="names a code list that does not exist"):
        codes.mapped(spark.createDataFrame([], ROWS), CONTRACT, {}, source="core", at="day")
