"""Personal columns become keyed pseudonyms, and the key is nowhere but in the memory of those who need it."""

from __future__ import annotations

import base64
import gzip
import hmac
import logging
import secrets
from datetime import date
from pathlib import Path

import pytest
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from varve.model.contract import Column, Contract, Personal
from varve.model.errors import ConfigError
from varve.privacy import pseudonyms
from varve.privacy.pseudonyms import PseudonymKey

DEBTOR = Personal("direct", "debtor")
CONTRACT = Contract(
    id="debtor",
    version="1.0.0",
    table="debtor",
    layer="silver",
    columns=(
        Column("debtor_id", "bigint", key_position=1),
        Column("name", "string", personal=DEBTOR),
        Column("alias", "string", personal=DEBTOR),
        Column("agent", "string", personal=Personal("direct", "agent")),
        Column("born_on", "date", personal=Personal("indirect")),
        Column("city", "string"),
    ),
)
SCHEMA = "debtor_id bigint, name string, alias string, agent string, born_on date, city string"


@pytest.fixture
def key_bytes() -> bytes:
    return secrets.token_hex(24).encode()


@pytest.fixture
def key(spark: SparkSession, key_bytes: bytes) -> PseudonymKey:
    return PseudonymKey("k1", spark.sparkContext.broadcast(key_bytes))


def frame(spark: SparkSession) -> DataFrame:
    rows = [
        (1, "Ana", "Ana", "Ana", date(1980, 1, 2), "Roma"),
        (2, None, "José", "", None, None),
        (3, "José", None, None, date(1980, 1, 2), "Ana"),  # decomposed: the same text for a person
    ]
    return spark.createDataFrame(rows, SCHEMA)


def test_pseudonyms(spark: SparkSession, key: PseudonymKey, key_bytes: bytes) -> None:
    ana, jose, other = pseudonyms.pseudonymised(frame(spark), CONTRACT, key).orderBy("debtor_id").collect()

    def expected(domain: str, text: str) -> str:
        message = len(domain).to_bytes(4, "big") + domain.encode() + text.encode()
        return "k1:" + hmac.new(key_bytes, message, "sha256").hexdigest()

    assert ana.name == ana.alias == expected("debtor", "Ana"), "one subject, one pseudonym in every column"
    assert ana.agent == expected("agent", "Ana") != ana.name, "another subject, another pseudonym"
    assert ana.born_on == other.born_on == expected("born_on", "1980-01-02"), "no subject: the column is the domain"
    assert (jose.name, jose.born_on, other.alias) == (None, None, None)
    assert jose.agent == expected("agent", ""), "an empty text is a value"
    assert jose.alias == other.name == expected("debtor", "José"), "equal in Unicode's canonical form"
    assert (ana.city, other.city, ana.debtor_id) == ("Roma", "Ana", 1), "the rest is untouched"


def test_a_second_run_gives_the_same(spark: SparkSession, key: PseudonymKey, key_bytes: bytes) -> None:
    again = PseudonymKey("k1", spark.sparkContext.broadcast(key_bytes))
    first, second = (
        pseudonyms.pseudonymised(frame(spark), CONTRACT, k).orderBy("debtor_id").collect() for k in (key, again)
    )
    assert first == second


def test_columns(spark: SparkSession) -> None:
    assert pseudonyms.personal_columns(CONTRACT) == ("name", "alias", "agent", "born_on")
    assert pseudonyms.statistics_columns(CONTRACT) == ("debtor_id", "city")
    assert pseudonyms.silver_schema(CONTRACT)["born_on"].dataType.simpleString() == "string"


def test_personal_columns_without_a_key_are_refused(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="no key for pseudonyms"):
        pseudonyms.pseudonymised(frame(spark), CONTRACT, None)


def test_the_key_is_in_no_plan_log_or_table(
    spark: SparkSession, key: PseudonymKey, key_bytes: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Plans, the event log of Spark, its log, Delta's log and the data files, searched byte by byte."""
    caplog.set_level(logging.DEBUG)
    jvm, events = spark.sparkContext._jvm, tmp_path / "events"
    events.mkdir()
    conf = spark.sparkContext._jsc.sc().conf().clone().set("spark.eventLog.compress", "false")
    listener = jvm.org.apache.spark.scheduler.EventLoggingListener(
        "varve", jvm.scala.Option.empty(), jvm.java.net.URI(events.as_uri()), conf
    )
    listener.start()
    spark.sparkContext._jsc.sc().addSparkListener(listener)
    try:
        rows = pseudonyms.pseudonymised(frame(spark), CONTRACT, key).where(F.col("name").isNotNull())
        rows.explain(mode="extended")
        plan = rows._jdf.queryExecution().toString() + repr(key) + str(key)
        listed = ",".join(pseudonyms.statistics_columns(CONTRACT))
        writer = rows.write.format("delta").option("delta.dataSkippingStatsColumns", listed)
        writer.save(str(tmp_path / "table"))
        broken = PseudonymKey("k1", spark.sparkContext.broadcast(key_bytes.decode()))
        failing = pseudonyms.pseudonymised(frame(spark), CONTRACT, broken)
        with pytest.raises(PythonException, match="Python worker"):  # a failing worker reports its frames
            failing.collect()
    finally:
        spark.sparkContext._jsc.sc().removeSparkListener(listener)
        listener.stop()

    captured = capfd.readouterr()
    texts = {"plan": plan, "log": caplog.text, "stdout": captured.out, "stderr": captured.err}
    places = {name: text.encode() for name, text in texts.items()}
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    places |= {str(file.relative_to(tmp_path)): readable(file) for file in files}
    assert any(
        name.startswith("events/") and b"SparkListenerSQLExecutionStart" in text for name, text in places.items()
    )
    assert "pseudonym(" in plan, "the function's name is all that a plan shows"
    spellings = [key_bytes, key_bytes.hex().encode(), base64.b64encode(key_bytes)]
    assert [name for name, text in places.items() if any(one in text for one in spellings)] == []
    statistics = b"".join(text for name, text in places.items() if "_delta_log" in name)
    assert b"Roma" in statistics, "the search is able to find a value"
    assert b"k1:" not in statistics, "a pseudonym still tells persons apart: it is no minimum and no maximum of a file"


def readable(file: Path) -> bytes:
    raw = file.read_bytes()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
