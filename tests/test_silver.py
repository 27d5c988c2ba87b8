"""Silver from a shared database: one manifest, three entities, and what a bad picture of one does to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from varve.bronze.load import bronze_loaded
from varve.config import Config, Settings
from varve.connect.files import FilesConnector
from varve.model.contract import Column, Contract, Feed, Guard, HistoryRules, Personal, Rule
from varve.model.errors import ParkedError
from varve.model.scope import Scope
from varve.ops import tables
from varve.privacy.pseudonyms import PseudonymKey
from varve.raw.batch import Load, batches, transaction
from varve.raw.manifest import Manifest, Origin, encode
from varve.run.run import Run
from varve.silver import EntityLoad, SnapshotDecision, load_entity, plan_of

NORTH, SOUTH, WEST = SCOPES = (Scope("ES", "north"), Scope("ES", "south"), Scope("ES", "west"))
CUSTOMER = Contract(
    id="customer",
    version="1.0.0",
    table="customer",
    layer="silver",
    columns=(
        Column("customer_id", "string", key_position=1),
        Column("name", "string", required=True, personal=Personal("direct", "customer")),
        Column("points", "int"),
    ),
    rules=(Rule("few_points", "points < 100", severity="warning"),),
    history=HistoryRules(),
    guard=Guard(min_rows=1, max_deleted_share=0.5),
    feeds=(Feed("core_customer"),),
)
RECEIVED = Contract("core_customer", "1.0.0", "core_customer", "bronze", CUSTOMER.columns)
BRONZE = "customer_id string, name string, points int"

Row = tuple[Scope, str | None, str | None, int]


class Shop:
    """A lake with a bronze table that the test fills manifest by manifest."""

    def __init__(self, root: Path, spark: SparkSession) -> None:
        source = FilesConnector.source.model_validate({
            "source": "core", "kind": "files", "root": "in", "scope": {"country": "ES", "entity": "_unknown"},
            "datasets": {"customer": {"contract": "core_customer", "path": "*.csv", "format": "csv"}},
        })  # fmt: skip
        settings = Settings(lake=str(root / "lake"))
        nothing: MappingProxyType[str, Any] = MappingProxyType({})
        config = Config(
            root,
            "local",
            settings,
            {"core": source},
            {"customer": CUSTOMER, "core_customer": RECEIVED},
            nothing,
            {"files": FilesConnector()},
        )
        self.lake = Run(config, job="silver", run_id="test")
        self.contract = CUSTOMER
        self.spark = self.lake.spark
        assert self.spark is spark

    def bronze(self, day: int, *rows: Row) -> str:
        """Land and load one picture of the three scopes."""
        at = datetime(2024, 1, day, tzinfo=UTC)
        counts = {str(scope): sum(row[0] == scope for row in rows) for scope in SCOPES}
        dataset = self.lake.raw("core", "customer")
        number = dataset.numbers.last() + 1
        manifest = Manifest(
            id=f"m{day}", number=number, source="core", dataset="customer", contract="core_customer",
            scope_country="ES", scope_entity="_mixed", mode="snapshot", as_of=at, complete=True, rows=len(rows),
            scopes=counts, origin=Origin(path="in"), started_at=at, landed_at=at + timedelta(hours=1),
        )  # fmt: skip
        dataset.numbers.put(number, encode(manifest))
        frame = self.spark.createDataFrame(
            [(scope.country, scope.entity, *values) for scope, *values in rows],
            f"scope_country string, scope_entity string, {BRONZE}",
        ).withColumns({
            "_rescued": F.lit(None).cast("string"), "_manifest": F.lit(manifest.id), "_file": F.lit("f"),
            "_position": F.lit(1).cast("bigint"), "_landed_at": F.lit(manifest.landed_at), "_as_of": F.lit(at),
        })  # fmt: skip
        later = {c.name: F.lit(None).cast(c.type) for c in self.contract.columns if c.name not in CUSTOMER.names}
        batch = bronze_loaded(self.lake, dataset).batch([Load(dataset.table, number, manifest.id)])
        self.lake.store.append(
            frame.withColumns(later), "bronze", "core_customer",
            txn=transaction("bronze", "core_customer"), version=batch.number, note=batch.note(),
        )  # fmt: skip
        return manifest.id

    def unread(self, manifest: str, scope: Scope) -> None:
        """Bronze has rejected a record of the picture."""
        reject = {
            "table_name": "bronze.core_customer", "scope_country": scope.country, "scope_entity": scope.entity,
            "stage": "bronze", "manifest": manifest, "rule": "key",
        }  # fmt: skip
        tables.append(self.lake.root, tables.REJECTS, [reject])

    def silver(self, decision: SnapshotDecision | None = None, *scopes: Scope, folds: bool = True) -> None:
        with self.lake.ledger.within("silver"):
            load_entity(self.load(), wanted=frozenset(scopes), decision=decision, folds=folds)

    def load(self) -> EntityLoad:
        key = PseudonymKey("k1", self.spark.sparkContext.broadcast(b"the key of this test"))
        return EntityLoad(self.lake, self.contract, lists={}, key=lambda: key)

    def open_rows(self) -> dict[str, list[str]]:
        """Keys that are live, per entity."""
        rows = self.query("silver/customer", "select scope_entity, customer_id from t where is_current order by 1, 2")
        found: dict[str, list[str]] = {scope.entity: [] for scope in SCOPES}
        for row in rows:
            found[row["scope_entity"]].append(row["customer_id"])
        return found

    def query(self, table: str, sql: str) -> list[dict[str, Any]]:
        place = DeltaTable(str(self.lake.root / table))
        return pa.table(QueryBuilder().register("t", place).execute(sql).read_all()).to_pylist()  # type: ignore[no-any-return]

    def held(self) -> list[list[str]]:
        """What each commit of the log says that it holds: extracts, or scopes of them."""
        return [
            ["@".join((load.manifest, *load.scopes)) for load in held]
            for _, held in batches(self.lake.store, "silver", "customer_changes")
            if held
        ]

    def statuses(self, since: int) -> dict[str, str]:
        """How the scopes ended in the ledger's rows from number `since` on."""
        return {
            str(row.scope): row.status for row in self.lake.ledger.rows[since:] if row.scope and row.step == "silver"
        }


@pytest.fixture
def shop(tmp_path: Path, spark: SparkSession) -> Shop:
    return Shop(tmp_path, spark)


def everywhere(*keys: str) -> Sequence[Row]:
    return [(scope, key, f"name of {key}", 1) for scope in SCOPES for key in keys]


def test_one_bad_scope_does_not_stop_the_others(shop: Shop) -> None:
    shop.bronze(1, *everywhere("a", "b"))
    shop.silver()
    assert shop.held() == [["m1"]], "one commit for all scopes"
    assert shop.open_rows() == {"north": ["a", "b"], "south": ["a", "b"], "west": ["a", "b"]}

    # North: b comes without its name. South and west: nobody is left.
    shop.bronze(2, (NORTH, "a", "name of a", 500), (NORTH, "b", None, 1))
    shop.bronze(3, (NORTH, "a", "name of a", 1), *[(scope, key, "n", 1) for scope in (SOUTH, WEST) for key in "ac"])
    since = len(shop.lake.ledger.rows)
    with pytest.raises(
        ParkedError, match="parked: it has 0 rows, fewer than 1 and it would delete 2 of 2 rows"
    ) as parked:
        shop.silver()
    assert parked.value.exit_code == 3
    assert shop.statuses(since) == {"ES/north": "done", "ES/south": "parked", "ES/west": "parked"}
    assert shop.open_rows() == {"north": ["a"], "south": ["a", "b"], "west": ["a", "b"]}, "b of north went with m3 only"
    assert shop.held() == [["m1"], ["m2@ES/north"], ["m3@ES/north"]]

    tombstone = shop.query("silver/customer", "select customer_id, valid_from from t where is_deleted")
    assert [(row["customer_id"], row["valid_from"].day) for row in tombstone] == [("b", 3)], (
        "a bad row is not an absent one"
    )
    (reject,) = shop.query("ops/rejects", "select * from t")
    assert (reject["rule"], reject["manifest"], reject["scope_entity"]) == ("required:name", "m2", "north")
    assert "warnings: few_points 1" in [row.reason for row in shop.lake.ledger.rows[since:]]

    shop.silver(SnapshotDecision("accept", "the south was sold"), SOUTH, NORTH)
    assert shop.open_rows()["south"] == ["a", "c"], "m2 emptied the south, m3 brought two back"
    shop.silver(SnapshotDecision("discard", "a broken export"), WEST)
    assert shop.open_rows() == {"north": ["a"], "south": ["a", "c"], "west": ["a", "c"]}
    deleted = shop.query(
        "silver/customer", "select scope_entity, customer_id, valid_from from t where is_deleted order by 1, 2"
    )
    assert [(r["scope_entity"], r["customer_id"], r["valid_from"].day) for r in deleted] == [
        ("north", "b", 3), ("south", "a", 2), ("south", "b", 2), ("west", "b", 3),
    ]  # fmt: skip
    said = tables.rows(shop.lake.root, tables.DECISIONS, columns=("scope", "manifest", "verdict", "reason"))
    assert sorted(tuple(row.values()) for row in said) == [
        ("ES/south", "m2", "accept", "the south was sold"), ("ES/west", "m2", "discard", "a broken export"),
    ]  # fmt: skip

    before = {table: shop.lake.store.version(*table) for table in shop.lake.store.tables()}
    since = len(shop.lake.ledger.rows)
    shop.silver()
    assert [row.status for row in shop.lake.ledger.rows[since:]] == ["skipped"]
    assert {table: shop.lake.store.version(*table) for table in before} == before

    names = shop.query("silver/customer_changes", "select name from t where record = 'change' and op = 'upsert'")
    assert {row["name"][:3] for row in names} == {"k1:"}


def test_a_plan_writes_nothing(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.bronze(1, *everywhere("a", "b"))
    Console(width=140).print(plan_of(shop.load(), frozenset({NORTH})))
    shown = capsys.readouterr().out
    assert "silver.customer: snapshot of 2024-01-01 00:00" in shown
    assert "ES/north" in shown
    assert "ES/south" not in shown
    assert "lets it in" in shown
    assert not shop.lake.store.exists("silver", "customer_changes")


def test_an_empty_snapshot_is_parked_by_the_guard(shop: Shop) -> None:
    shop.bronze(1, *everywhere("a"))
    shop.silver()
    before = [shop.lake.store.version("silver", table) for table in ("customer", "customer_changes")]
    shop.bronze(2)
    with pytest.raises(ParkedError, match="has 0 rows, fewer than 1"):
        shop.silver()
    assert [shop.lake.store.version("silver", table) for table in ("customer", "customer_changes")] == before
    assert shop.open_rows() == {"north": ["a"], "south": ["a"], "west": ["a"]}


def test_a_key_that_cannot_be_read_is_not_an_absent_one(shop: Shop) -> None:
    """Of north one record has no key that bronze can read, of the others all have one."""
    shop.contract = replace(CUSTOMER, guard=Guard(max_deleted_share=1.0))
    shop.bronze(1, *everywhere("a", "b"))
    shop.bronze(2, *everywhere("a"))
    shop.unread("m2", NORTH)
    with pytest.raises(ParkedError, match="the key of 1 of its records cannot be read") as parked:
        shop.silver()
    assert parked.value.exit_code == 3
    assert shop.open_rows() == {"north": ["a", "b"], "south": ["a"], "west": ["a"]}
    shop.silver(SnapshotDecision("accept", "b is gone, the source says so"), NORTH)
    assert shop.open_rows()["north"] == ["a"]

    shop.bronze(3, *everywhere("a", "c"))
    shop.unread("m3", SOUTH)
    shop.silver()
    assert shop.open_rows()["south"] == ["a", "c"], "no key is missing, so that nothing has to be proved"

    shop.bronze(4, *everywhere("a"))
    shop.unread("m4", Scope("ES", "_unknown"))
    since = len(shop.lake.ledger.rows)
    with pytest.raises(ParkedError):
        shop.silver()
    assert set(shop.statuses(since).values()) == {"parked"}, "a record without a scope may be of any"


def test_a_snapshot_without_a_place_in_the_order_can_be_discarded(shop: Shop) -> None:
    """It was landed before the dataset sent changes; the check refuses such a dataset."""
    shop.contract = replace(CUSTOMER, history=HistoryRules(sequence="points", domain="sequence"))
    shop.bronze(1, *everywhere("a"))
    with pytest.raises(ParkedError, match="customer is ordered by a sequence, and a snapshot has none"):
        shop.silver()
    shop.silver(SnapshotDecision("discard", "the table sends changes now"))
    assert not shop.load().windows()


def test_what_was_not_folded_is_folded_at_once_later(shop: Shop) -> None:
    """Until then who asks the history sees it, and who reads the files does not."""
    shop.bronze(1, *everywhere("a"))
    shop.silver()
    folded = shop.lake.store.version("silver", "customer")
    for day, keys in ((2, "ab"), (3, "abc")):
        shop.bronze(day, *everywhere(*keys))
        shop.silver(folds=False)
    assert shop.lake.store.version("silver", "customer") == folded
    assert shop.load().history.read().where("is_current").count() == 9
    shop.silver()
    assert shop.lake.store.version("silver", "customer") == folded + 1
    assert shop.open_rows() == {scope.entity: ["a", "b", "c"] for scope in SCOPES}
    assert [row.step for row in shop.lake.ledger.rows].count("fold") == 2


def test_rows_without_a_key_are_rejected_and_fail_nothing(shop: Shop) -> None:
    shop.bronze(1, (NORTH, None, "nobody", 1), (NORTH, "a", "Ana", 1), (SOUTH, "b", "Bo", 1), (WEST, "c", "Cy", 1))
    shop.silver()
    assert shop.open_rows() == {"north": ["a"], "south": ["b"], "west": ["c"]}
    (reject,) = shop.query("ops/rejects", "select rule, reason, scope_entity from t")
    assert tuple(reject.values()) == ("key:customer_id", "the key column customer_id is null", "north")


def test_a_changed_contract_opens_no_version(shop: Shop) -> None:
    """points becomes a bigint, level is new: the same pictures again, then one that says more."""
    shop.bronze(1, *everywhere("a", "b"))
    shop.silver()
    columns = [replace(c, type="bigint") if c.name == "points" else c for c in CUSTOMER.columns]
    shop.contract = replace(CUSTOMER, version="1.1.0", columns=(*columns, Column("level", "int")))
    since = len(shop.lake.ledger.rows)
    shop.silver()
    told = [row.reason for row in shop.lake.ledger.rows[since:] if row.reason]
    assert [reason for reason in told if "rebuilt: the contract changed: the type of points" in reason], told
    shop.bronze(2, *everywhere("a", "b"))
    shop.silver()
    shown = "select scope_entity, customer_id, points, level, valid_from from t"
    rows = shop.query("silver/customer", shown)
    assert {(r["points"], r["level"], r["valid_from"].day) for r in rows} == {(1, None, 1)}
    assert len(rows) == 6
    assert shop.load().history.audit().isEmpty()
    shop.bronze(3, *everywhere("a"), *[(scope, "b", "name of b", 2) for scope in SCOPES])
    shop.silver()
    assert len(shop.query("silver/customer", shown)) == 9
    assert shop.load().history.audit().isEmpty()

    since = len(shop.lake.ledger.rows)
    shop.silver()
    assert [row.status for row in shop.lake.ledger.rows[since:]] == ["skipped"]
