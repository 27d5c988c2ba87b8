"""Contracts: what they say, and every mistake with its file, line and words."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql.types import DecimalType, LongType, StructField, StructType

from example_conf import CLAIM, SHOP_CLAIM, assert_one_error, case, edited, errors
from varve.config import load
from varve.model.contract import Column, Contract, Feed, Guard, HistoryRules, Personal, Rule, spark_type
from varve.model.errors import ConfigError, ContractError
from varve.model.scope import Scope


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_silver_contract_says_all_of_this(here: Path) -> None:
    assert load(edited(here)).contracts["claim"] == Contract(
        id="claim",
        version="1.0.0",
        table="claim",
        layer="silver",
        columns=(
            Column("claim_id", "bigint", required=True, key_position=1),
            Column("updated_at", "timestamp"),
            Column("balance", "decimal(19,4)"),
            Column("amount", "double", tracked=False),
            Column("email", "string", personal=Personal("direct", "debtor"), codes="letters"),
        ),
        history=HistoryRules(valid_from="updated_at", tie_break=("balance",)),
        guard=Guard(max_deleted_share=0.02),
        feeds=(Feed("shop_claim", {"amount": "balance"}),),
        retain={"raw": "90d", "history": "10y"},
    )


def test_a_bronze_contract_says_all_of_this(here: Path) -> None:
    contracts = load(edited(here)).contracts
    contract = contracts["shop.claim"]
    assert (contract.layer, contract.keys, contract.history) == ("bronze", ("claim_id",), None)
    assert contract.rules == (Rule("not_negative", "balance >= 0", "error", "balance"),)
    fields = [StructField("claim_id", LongType()), StructField("balance", DecimalType(19, 4))]
    assert contract.schema() == StructType(fields)
    assert contracts["core.claim_line"].column("line_id").received_as == "LineId"
    with pytest.raises(ContractError, match=r"contract shop\.claim: there is no column x; expected claim_id, balance"):
        contract.column("x")


def test_keys_follow_their_positions(here: Path) -> None:
    new = "{name: updated_at, physicalType: timestamp, primaryKey: true, primaryKeyPosition: 1, required: true}"
    edited(here, CLAIM, "primaryKeyPosition: 1", "primaryKeyPosition: 2")
    conf = edited(here, CLAIM, "{name: updated_at, physicalType: timestamp}", new)
    assert load(conf).contracts["claim"].keys == ("updated_at", "claim_id")


@pytest.mark.parametrize(("order", "expected"), [
    pytest.param("[updated_at]", HistoryRules("updated_at"), id="time"),
    pytest.param("[updated_at, balance]", HistoryRules("updated_at", "balance"), id="time and sequence"),
    pytest.param("[updated_at, balance, amount, email]", HistoryRules("updated_at", "balance", ("amount", "email")),
                 id="and tie-breaks"),
])  # fmt: skip
def test_order_is_short_for_the_position(here: Path, order: str, expected: HistoryRules) -> None:
    conf = edited(here, CLAIM, "{valid_from: updated_at, tie_break: [balance]}", f"{{order: {order}}}")
    assert load(conf).contracts["claim"].history == expected


TYPES = [
    ("string", "string"), ("Boolean", "boolean"), ("binary", "binary"), ("date", "date"),
    ("timestamp", "timestamp"),
    ("timestamp_ntz", "timestamp_ntz"), ("byte", "tinyint"), ("short", "smallint"),
    ("INTEGER", "int"), ("long", "bigint"), ("real", "float"), ("double", "double"),
    ("decimal(38, 38)", "decimal(38,38)"), ("NUMERIC( 5 , 2 )", "decimal(5,2)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), TYPES)
def test_types_are_spark_types(text: str, expected: str) -> None:
    assert spark_type(text) == expected
    contract = Contract("c", "1.0.0", "t", "bronze", (Column("x", expected),))
    assert contract.schema().fields[0].dataType.simpleString() == expected


@pytest.mark.parametrize("text", [
    "", "varchar(3)", "decimal", "decimal(19)", "decimal(39,0)", "decimal(0,0)", "decimal(5,6)", "decimal(٣,١)",
    "array<int>", "struct<a:int>", "datetime", "int;",
])  # fmt: skip
def test_what_is_no_type(text: str) -> None:
    assert spark_type(text) is None


MISTAKES = [
    case("odcs unknown field", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicaltype: timestamp}",
         "the field physicaltype is unknown; expected one of … Did you mean physicalType?"),
    case("odcs missing", CLAIM, 1, "status: active\n", "",
         "the field status is missing; found apiVersion, kind, id, version, schema"),
    case("odcs kind", CLAIM, 2, "kind: DataContract", "kind: Contract",
         "kind has a value that is not possible; found 'Contract'; expected DataContract. Did you mean DataContract?"),
    case("odcs version float", CLAIM, 4, "version: 1.0.0", "version: 1.0",
         "version has a wrong value; found 1.0; expected text. Write it in quotes."),
    case("version two parts", CLAIM, 4, "version: 1.0.0", 'version: "1.0"',
         "a version has three numbers; found 1.0; expected such as 1.2.0"),
    case("odcs api", CLAIM, 1, "v3.1.0", "v3.0.2", "another version of the standard; found v3.0.2; expected v3.1.0"),
    case("column twice same", CLAIM, 25, "name: email", "name: amount",
         "the column amount occurs twice; found first as amount in line 21"),
    case("column name", CLAIM, 25, "name: email", "name: E-Mail",
         "the column's name is not possible; found E-Mail; expected lower-case letters, digits and … "),
    case("reserved", CLAIM, 25, "name: email", "name: valid_to",
         "valid_to is a column that Varve adds itself. Choose another name."),
    case("no type", CLAIM, 19, "{name: updated_at, physicalType: timestamp}", "{name: updated_at}",
         "the column updated_at has no physicalType; expected string, boolean, tinyint, smallint, … "),
    case("unknown type", CLAIM, 22, "physicalType: double", "physicalType: varchar(10)",
         "the type of amount is unknown; found varchar(10); expected string, boolean, tinyint, … "),
    case("decimal", CLAIM, 20, '"decimal(19,4)"', '"decimal(39,4)"',
         "the type of balance is unknown; found decimal(39,4); expected string, boolean, tinyint, … "),
    case("bare decimal", CLAIM, 20, '"decimal(19,4)"', "decimal",
         "the type of balance is unknown; found decimal; expected string, boolean, tinyint, … "),
    case("key not required", CLAIM, 18, "primaryKeyPosition: 1, required: true", "primaryKeyPosition: 1",
         "the key column claim_id is not required; expected required: true"),
    case("no key", CLAIM, 17, "primaryKey: true, primaryKeyPosition: 1, ", "",
         "a silver table needs a key; expected primaryKey: true on a column. For a bronze table say layer: bronze "
         "under customProperties varve."),
    case("position without key", CLAIM, 18, "primaryKey: true, ", "",
         "claim_id has a position and is no key; expected primaryKey: true"),
    case("position twice", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicalType: timestamp, primaryKey: true, primaryKeyPosition: 1, required: true}",
         "updated_at and claim_id have one position; found 1"),
    case("no position", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicalType: timestamp, primaryKey: true, required: true}",
         "the key column updated_at has no position; expected primaryKeyPosition: 1, 2, …"),
    case("unkept unique", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicalType: timestamp, unique: true}",
         "Varve does not keep unique; found column updated_at. State the key with primaryKey, which history keeps "
         "unique."),
    case("unkept options", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicalType: timestamp, logicalType: string, logicalTypeOptions: {maxLength: 3}}",
         "Varve does not keep logicalTypeOptions; found column updated_at. Write a quality rule for what must hold."),
    case("varve unknown field", CLAIM, 11, "history: {valid_from", "histroy: {valid_from",
         "the field histroy is unknown; expected one of … Did you mean history?"),
    case("history column", CLAIM, 11, "valid_from: updated_at", "valid_from: updated",
         "valid_from names no column; found updated; expected one of claim_id, updated_at, balance, amount, email. "
         "Did you mean updated_at?"),
    case("history type", CLAIM, 11, "valid_from: updated_at", "valid_from: balance",
         "valid_from must be a time, balance is none; found decimal(19,4); expected date, timestamp or timestamp_ntz"),
    case("history tie", CLAIM, 11, "tie_break: [balance]", "tie_break: [balanse]",
         "tie_break names no column; found balanse; expected one of claim_id, updated_at, balance, amount, email. Did "
         "you mean balance?"),
    case("order and valid_from", CLAIM, 11, "tie_break: [balance]", "order: [updated_at]",
         "order says the same as valid_from, sequence and tie_break; expected one of both ways"),
    case("sequence domain", CLAIM, 11, "tie_break: [balance]", "domain: sequence",
         "domain sequence needs a sequence; expected sequence: <column>"),
    case("sequence domain and a snapshot", CLAIM, 14, "tie_break: [balance]", "sequence: amount, domain: sequence",
         "claim is ordered by a sequence, and snapshots have none; found shop_claim with mode: snapshot in "
         "conf/sources/shop.yml; expected mode: changes for files, mode: incremental for a database. Or order it by "
         "time: leave domain: sequence out."),
    case("deleted_when", CLAIM, 11, "tie_break: [balance]", "deleted_when: \"op = 'D'\"",
         "the expression names op, which is no column; found op = 'D'; expected one of balance, claim_id"),
    case("share", CLAIM, 12, "max_deleted_share: 0.02", "max_deleted_share: 2",
         "max_deleted_share has a wrong value; found 2; expected less than or equal to 1"),
    case("retain", CLAIM, 16, "raw: 90d", "raw: 90 days",
         "raw has a wrong value; found '90 days'; expected a number and d, w, m or y, such as 90d"),
    case("retain layer", CLAIM, 16, "raw: 90d", "raww: 90d",
         "the name raww is not possible; expected one of raw, history. Did you mean raw?"),
    case("feed unknown", CLAIM, 14, "bronze: shop_claim", "bronze: shop_clam",
         "the feed names a bronze table that is not there; found shop_clam; expected one of core_claim_line, "
         "shop_claim. Did you mean shop_claim?"),
    case("feed silver column", CLAIM, 15, "{amount: balance}", "{amont: balance}",
         "amont is no column of claim; expected one of claim_id, updated_at, balance, amount, email. Did you mean "
         "amount?"),
    case("feed bronze column", CLAIM, 15, "{amount: balance}", "{amount: balanc}",
         "balanc is no column of shop_claim; expected one of claim_id, balance. Did you mean balance?"),
    case("codes", CLAIM, 29, "value: letters", "value: leters",
         "the code list of email is not there; found leters; expected codes/leters.csv; there are letters. Did you "
         "mean letters?"),
    case("personal typo", CLAIM, 28, "property: personal,", "property: personnal,",
         "the custom property personnal is unknown; expected source, format, zone, codes, personal, … Did you mean "
         "personal?"),
    case("personal kind", CLAIM, 28, "kind: direct,", "kind: directly,",
         "kind has a value that is not possible; found 'directly'; expected direct, indirect, free_text. Did you mean "
         "direct?"),
    case("classification", CLAIM, 27,
         "      - name: email\n        physicalType: string\n        customProperties:\n          - {property: "
         "personal, value: {kind: direct, subject: debtor}}",
         "      - name: email\n        physicalType: string\n        classification: personal\n        "
         "customProperties:",
         "email is classified as personal and nothing says how; expected the custom property personal: {kind: direct, "
         "indirect or free_text}"),
    case("tracked", CLAIM, 24, "{property: tracked, value: false}", "{property: tracked, value: 'false'}",
         "tracked has a wrong value; found 'false'; expected true or false"),
    case("zone of silver", CLAIM, 19, "{name: updated_at, physicalType: timestamp}",
         "{name: updated_at, physicalType: timestamp, customProperties: [{property: zone, value: Europe/Rome}]}",
         "the zone of updated_at would be passed over; found layer silver; expected a zone in the contract of … "),
    case("zone unknown", SHOP_CLAIM, 11, "{name: claim_id,",
         "{name: at, physicalType: timestamp, customProperties: [{property: zone, value: Europe/Madird}]}\n"
         "      - {name: claim_id,",
         "this is no zone of the IANA database; found Europe/Madird; expected Europe/Madrid"),
    case("zone of a number", SHOP_CLAIM, 11, "{name: claim_id,",
         "{customProperties: [{property: zone, value: Europe/Madrid}], name: claim_id,",
         "the zone of claim_id would be passed over; found bigint; expected timestamp, or bigint with … "),
    case("library rule", SHOP_CLAIM, 14,
         'quality: [{type: custom, engine: varve, name: not_negative, implementation: "balance >= 0", severity: '
         'error}]', "quality: [{rule: nullCheck}]",
         "Varve does not check the standard's library rules; found 'nullCheck'; expected a rule of … "),
    case("library metric", SHOP_CLAIM, 14,
         'quality: [{type: custom, engine: varve, name: not_negative, implementation: "balance >= 0", severity: '
         'error}]', "quality: [{type: library, metric: rowCount, mustBeGreaterThan: 3}]",
         "Varve does not check the standard's library rules; found 'rowCount'; expected a rule of … "),
    case("sql rule", SHOP_CLAIM, 14,
         'quality: [{type: custom, engine: varve, name: not_negative, implementation: "balance >= 0", severity: '
         'error}]', "quality: [{type: sql, query: select 1, mustBe: 1}]",
         "Varve does not run SQL queries as quality rules; found 'select 1'; expected a rule of … "),
    case("other engine", SHOP_CLAIM, 14, "engine: varve", "engine: soda",
         "this quality rule is for another engine; found engine 'soda'; expected a rule of engine … "),
    case("rule without engine", SHOP_CLAIM, 14, "engine: varve, ", "",
         "the field engine is missing; found type, name, implementation, severity"),
    case("rule without name", SHOP_CLAIM, 14, "name: not_negative, ", "",
         "a quality rule needs a name; found balance >= 0"),
    case("rule severity", SHOP_CLAIM, 14, "severity: error", "severity: fatal",
         "the severity is not possible; found fatal; expected error or warning"),
    case("rule sql", SHOP_CLAIM, 14, '"balance >= 0"', '"balance >="',
         "this is not Spark SQL; found balance >=. Look near >=."),
    case("rule column", SHOP_CLAIM, 14, '"balance >= 0"', '"balanc >= 0"',
         "the expression names balanc, which is no column; found balanc >= 0; expected one of claim_id, balance. Did "
         "you mean balance?"),
    case("rule statement", SHOP_CLAIM, 14, '"balance >= 0"', '"select 1"',
         "a statement stands where an expression is expected; found select 1; expected a Spark SQL boolean"),
    case("rule statements", SHOP_CLAIM, 14, '"balance >= 0"', '"balance >= 0; drop table x"',
         "a statement stands where an expression is expected; found balance >= 0; drop table x; expected a Spark SQL "
         "boolean"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "line", "old", "new", "message"), MISTAKES)
def test_a_mistake_is_one_error(here: Path, file: str, line: int, old: str, new: str, message: str) -> None:
    assert_one_error(edited(here, file, old, new), file, line, message)


MOMENT = """
      - name: {name}
        physicalType: {kind}
        customProperties: [{{property: source, value: ts}}, {{property: zone, value: Europe/Madrid}}{more}]"""


def test_a_local_time_may_be_read_as_such_and_exactly(here: Path) -> None:
    time = MOMENT.format(name="changed_at", kind="timestamp", more="")
    exact = MOMENT.format(name="changed_ns", kind="bigint", more=", {property: format, value: timestamp}")
    columns = load(edited(here, SHOP_CLAIM, "    properties:", f"    properties:{time}{exact}")).contracts["shop.claim"]
    assert [(c.received_as, c.zone, c.is_exact_time) for c in columns.columns[:2]] == [
        ("ts", "Europe/Madrid", False), ("ts", "Europe/Madrid", True),
    ]  # fmt: skip


def test_a_zone_beside_an_offset_is_refused(here: Path) -> None:
    more = ", {property: format, value: yyyy-MM-dd HH:mmXXX}"
    time = MOMENT.format(name="changed_at", kind="timestamp", more=more)
    conf = edited(here, SHOP_CLAIM, "    properties:", f"    properties:{time}")
    assert "found format yyyy-MM-dd HH:mmXXX; expected a format without an offset" in str(errors(conf))


@pytest.mark.parametrize(
    ("kind", "pattern", "expected"),
    [
        pytest.param(
            "date", "yyyy-mm-dd",
            "changed_at would be read wrongly: m is the minute: every date would be one of January; found format "
            "yyyy-mm-dd. Write yyyy-MM-dd, which reads 2026-12-31.", id="minutes for months",
        ),
        pytest.param(
            "timestamp", "HH:mm",
            "changed_at would be read wrongly: a pattern without a year would give one of 1970; found format HH:mm",
            id="no year",
        ),
        pytest.param(
            "bigint", "epoch",
            "the format of changed_at would be passed over; found bigint; expected date, timestamp or timestamp_ntz",
            id="no time",
        ),
    ],
)  # fmt: skip
def test_a_wrong_format_is_refused_with_its_line(here: Path, kind: str, pattern: str, expected: str) -> None:
    time = f"""
      - name: changed_at
        physicalType: {kind}
        customProperties: [{{property: format, value: "{pattern}"}}]"""
    conf = edited(here, SHOP_CLAIM, "    properties:", f"    properties:{time}")
    assert errors(conf) == [f"conf/{SHOP_CLAIM}:13: {expected}"]


def test_a_column_that_differs_in_case_only_is_named_twice(here: Path) -> None:
    conf = edited(here, CLAIM, "{name: updated_at,", "{name: Claim_Id,")
    expected = f"conf/{CLAIM}:19: the column Claim_Id occurs twice; found first as claim_id in line 18"
    assert expected in errors(conf)


def test_what_is_for_people_or_other_tools_is_left_alone(here: Path) -> None:
    edited(here, SHOP_CLAIM, "severity: error}]", "severity: error}, {type: text, description: Never below zero.}]")
    another = "value: {layer: bronze}}\n      - {property: dbt.x, value: 1}"
    conf = edited(here, SHOP_CLAIM, "value: {layer: bronze}}", another)
    assert [rule.name for rule in load(conf).contracts["shop.claim"].rules] == ["not_negative"]


@pytest.mark.parametrize("expression", [
    "balance is null or balance between 0 and 1e9", "claim_id % 2 = 0 and balance <> 0",
    "cast(balance as string) rlike '^[0-9;]+$'", "try_cast(balance as int) is not null",
    "scope_country in ('ES', 'IT')",
    "size(filter(split(cast(balance as string), ','), part -> part = claim_id)) > 0", "_as_of > timestamp'2024-01-01'",
    "BALANCE >= 0 and `claim_id` is not null",
])  # fmt: skip
def test_expressions_of_spark_are_understood(here: Path, expression: str) -> None:
    conf = edited(here, SHOP_CLAIM, '"balance >= 0"', f'"{expression}"')
    assert load(conf).contracts["shop.claim"].rules[0].expression == expression


def test_a_wide_contract_is_read_in_seconds(here: Path) -> None:
    columns = "\n".join(f"      - {{name: c{n}, physicalType: string}}" for n in range(1000))
    conf = edited(here, SHOP_CLAIM, "    properties:\n", f"    properties:\n{columns}\n")
    assert len(load(conf).contracts["shop.claim"].columns) == 1002


@pytest.mark.parametrize("text", ["ES/iberia1", "_all/_all", "IT/_unknown", "ES/_mixed"])
def test_scopes_are_read_as_written(text: str) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize("text", ["ES", "es/iberia1", "ES/", "ES/a/b", "ES/A", "/a", "ES/../x", "ES/_other"])
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(ConfigError):
        Scope.parse(text)


def test_scopes_sort_by_country_and_entity() -> None:
    assert sorted([Scope("IT", "a"), Scope("ES", "b"), Scope("ES", "a")])[0] == Scope("ES", "a")
