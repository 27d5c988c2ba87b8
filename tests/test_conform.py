"""From the bronze rows of a source to what they say about an entity."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from transforms.entities.fx import ecb_rates
from varve.model.contract import Column, Contract, Feed, HistoryRules, Personal, Rule
from varve.model.errors import ContractError
from varve.privacy import pseudonyms
from varve.privacy.pseudonyms import PseudonymKey
from varve.rules import codes
from varve.silver.conform import CARRIED, observations

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)
LISTS: Mapping[str, codes.CodeList] = MappingProxyType(
    {"kind": codes.parse("kind", "source,source_code,group_code,valid_from,valid_to\ncore,P,person,,\n")}
)
CLAIM = Contract(
    id="claim",
    version="1.0.0",
    table="claim",
    layer="silver",
    columns=(
        Column("claim_id", "bigint", key_position=1),
        Column("balance", "decimal(19,4)", required=True),
        Column("kind", "string", codes="kind"),
        Column("debtor", "string", personal=Personal("direct", "debtor")),
        Column("changed_at", "timestamp"),
    ),
    rules=(Rule("not_negative", "balance >= 0"),),
    history=HistoryRules(valid_from="changed_at", sequence="version_no", deleted_when="gone = 'Y'"),
)
FEED = Feed("core_claim", {"claim_id": "nr", "balance": "saldo", "debtor": "name", "changed_at": "ts"})
BRONZE = "nr string, saldo string, kind string, name string, ts string, gone string, version_no int"


def bronze(spark: SparkSession, *rows: tuple[object, ...], schema: str = BRONZE) -> DataFrame:
    """Rows of a bronze table as the bronze job leaves them."""
    frame = spark.createDataFrame(list(rows), schema)
    given = {"scope_country": "ES", "scope_entity": "iberia1", "_manifest": "m1", "_file": "f1"}
    missing = {name: F.lit(value) for name, value in given.items()}
    times = {"_landed_at": F.lit(AS_OF), "_as_of": F.lit(AS_OF)}
    rescued = {} if "_rescued" in frame.columns else {"_rescued": F.lit(None).cast("string")}
    return frame.withColumns({**missing, **times, **rescued, "_position": F.lit(1).cast("bigint")})


def local(moment: datetime) -> datetime:
    """As Spark hands it to Python: naive, in the zone of the process."""
    return moment.astimezone().replace(tzinfo=None)


@pytest.fixture
def key(spark: SparkSession) -> PseudonymKey:
    return PseudonymKey("k1", spark.sparkContext.broadcast(b"a key of the tests"))


def claim(spark: SparkSession, key: PseudonymKey, *row: object):  # type: ignore[no-untyped-def]
    found = observations(bronze(spark, row), CLAIM, FEED, source="core", lists=LISTS, key=key)
    assert found.columns == [*CLAIM.names, *CARRIED, "_failed", "_warned"]
    return found.first()


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        pytest.param(
            ("7", "12.5", "P", "Ana", "2024-01-02 03:04:05", "N", 9),
            {"claim_id": 7, "balance": Decimal("12.5000"), "kind": "person", "_deleted": False, "_sequence": 9},
            id="columns by their names in the source, types, codes",
        ),
        pytest.param(
            ("7", None, None, None, "2024-01-02", "Y", 9),
            {"claim_id": 7, "_deleted": True, "balance": None, "rules": []},
            id="a delete by flag needs its key only",
        ),
        pytest.param(("7", "x", "P", None, "2024-01-02", "N", 9), {"rules": ["required:balance"]}, id="wrong type"),
        pytest.param(
            ("7", "-1", "Q", None, "2024-01-02", "N", 9), {"rules": ["codes:kind", "not_negative"]}, id="all rules"
        ),
        pytest.param((None, "1", "P", None, "2024-01-02", "N", 9), {"rules": ["key:claim_id"]}, id="no key"),
        pytest.param(("7", "1", "P", None, "soon", "N", 9), {"rules": ["valid_from"]}, id="no time"),
    ],
)
def test_by_configuration(
    spark: SparkSession, key: PseudonymKey, row: tuple[object, ...], expected: Mapping[str, object]
) -> None:
    found = claim(spark, key, *row)
    values = {**found.asDict(), "rules": [one.rule for one in found._failed]}
    assert {name: values[name] for name in expected} == expected


def test_business_time_and_pseudonyms(spark: SparkSession, key: PseudonymKey) -> None:
    found = claim(spark, key, "7", "1", "P", "Ana", "2024-01-02 03:04:05", "N", 9)
    assert found._valid_from == found.changed_at == local(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert found.debtor.startswith("k1:")
    assert found._failed == []


@pytest.mark.parametrize(
    ("reason", "warned"),
    [
        pytest.param("ambiguous time", ["ambiguous_time"], id="an hour that the clocks showed twice"),
        pytest.param("skipped time, precision", ["skipped_time"], id="an hour that they left out"),
        pytest.param("precision", [], id="another reason"),
    ],
)
def test_doubtful_local_times_are_warnings(
    spark: SparkSession, key: PseudonymKey, reason: str, warned: list[str]
) -> None:
    """The row is good, and the ledger counts it."""
    value = r"\"reason\":\"skipped time"  # what the source sent, escaped as JSON does
    rescued = f'[{{"field":"ts","value":"{value}","reason":"{reason}"}}]'
    row = ("7", "1", "P", None, "2026-10-25 00:30:00", "N", 9, rescued)
    rows = bronze(spark, row, schema=f"{BRONZE}, _rescued string")
    found = observations(rows, CLAIM, FEED, source="core", lists=LISTS, key=key).first()
    assert found is not None
    assert (found._warned, found._failed) == (warned, [])


def test_without_business_time_the_manifest_tells_it(spark: SparkSession) -> None:
    plain = Contract("rate", "1", "rate", "silver", (Column("nr", "string", key_position=1), Column("saldo", "int")))
    found = observations(
        bronze(spark, ("7", "1"), schema="nr string, saldo string"),
        plain,
        Feed("core_rate"),
        source="core",
        lists={},
        key=None,
    ).first()
    assert (found._valid_from, found._sequence, found._deleted) == (local(AS_OF), None, False)


def test_a_column_that_bronze_lacks_is_named(spark: SparkSession, key: PseudonymKey) -> None:
    with pytest.raises(ContractError, match=r"contract claim, feed core_claim: .*cannot be resolved.*Map the column"):
        observations(bronze(spark, ("7",), schema="nr string"), CLAIM, FEED, source="core", lists=LISTS, key=key)


def test_types_of_silver() -> None:
    types = {field.name: field.dataType.simpleString() for field in pseudonyms.silver_schema(CLAIM).fields}
    assert types == {
        "claim_id": "bigint",
        "balance": "decimal(19,4)",
        "kind": "string",
        "debtor": "string",
        "changed_at": "timestamp",
    }


FX = Contract(
    id="fx",
    version="1.0.0",
    table="fx",
    layer="silver",
    columns=(
        Column("rate_date", "date", key_position=1),
        Column("currency", "string", key_position=2),
        Column("rate", "decimal(20,8)", required=True),
    ),
)


@pytest.mark.parametrize(
    ("usd", "jpy", "rescued", "expected"),
    [
        pytest.param("1.10", "130", [], [("JPY", "130", []), ("USD", "1.10", [])], id="one row per currency"),
        pytest.param("1.10", None, [], [("USD", "1.10", [])], id="no value, no row"),
        pytest.param(None, None, [], [], id="a day without rates"),
        pytest.param(
            "1.10", None, [("XCU", "3.5", "unknown field"), ("XCV", "N/A", "unknown field"), ("", "", "unknown field")],
            [("USD", "1.10", []), ("XCU", "3.5", [])], id="a currency that the contract does not know yet",
        ),
        pytest.param(
            "1.10", None, [("JPY", "13O", "wrong type")], [("JPY", None, ["required:rate"]), ("USD", "1.10", [])],
            id="a bad cell is rejected, not taken for a withdrawn rate",
        ),
        pytest.param(
            None, "130", [("USD", "1.1000000001", "precision")], [("JPY", "130", []), ("USD", None, ["required:rate"])],
            id="a value finer than the type is not rounded",
        ),
    ],
)  # fmt: skip
def test_ecb_rates(
    spark: SparkSession, usd: str | None, jpy: str | None, rescued: list[tuple[str, str, str]], expected: list[object]
) -> None:
    told = json.dumps([{"field": f, "value": v, "reason": r} for f, v, r in rescued]) if rescued else None
    day = date(2024, 1, 2)
    rates = [None if rate is None else Decimal(rate) for rate in (usd, jpy)]
    schema = "date date, usd decimal(20,8), jpy decimal(20,8), _rescued string"
    rows = observations(
        bronze(spark, (day, *rates, told), schema=schema),
        FX,
        Feed("ecb_eurofxref_hist"),
        source="ecb",
        lists={},
        key=None,
        conform=ecb_rates,
    ).collect()
    assert all(row.rate_date == day for row in rows)
    found = [(row.currency, row.rate, [one.rule for one in row._failed]) for row in rows]
    assert sorted(found, key=lambda row: row[0]) == [
        (currency, None if rate is None else Decimal(rate), rules) for currency, rate, rules in expected
    ]
