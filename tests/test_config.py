"""Configuration: what a valid folder gives, and every mistake with its file, line and words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies

from example_conf import (
    CLAIM,
    CORE,
    DAILY,
    EXAMPLE,
    LOCAL,
    SHOP,
    SHOP_CLAIM,
    WHOLE,
    assert_one_error,
    case,
    edited,
    errors,
)
from varve.config import Config, FromColumn, load
from varve.config.publish import schema_text, schemas
from varve.model.errors import ConfigError, ContractError, VarveError

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def example(here: Path) -> Config:
    return load(edited(here))


def test_a_source_knows_where_it_lies_and_its_datasets_their_scope(example: Config, here: Path) -> None:
    shop: Any = example.sources["shop"]
    core: Any = example.sources["core"]
    assert (shop.root, core.database) == (str(here / "data/shop"), str(here / "data/core.db"))
    assert [(d.source, d.name) for d in example.datasets()] == [("core", "claim_line"), ("shop", "claim")]
    line, claim = example.datasets()
    assert (claim.table, claim.scope.entity, claim.contract.id) == ("shop_claim", "iberia1", "shop.claim")
    assert core.table_named("claim_line") == "dbo.ClaimLine"
    assert line.scope.entity == FromColumn(column="company", map={"1": "roma"})


def test_contracts_are_found_by_table(example: Config) -> None:
    assert example.bronze_contract("shop_claim").id == "shop.claim"
    assert example.silver_contract("claim").layer == "silver"
    assert example.entities() == ("claim",)
    with pytest.raises(ConfigError, match=r"no contract describes silver\.clam; expected claim"):
        example.silver_contract("clam")


def test_tasks_come_after_what_they_depend_on(here: Path) -> None:
    conf = edited(here, DAILY, "      tasks:\n", """      tasks:
        - task_key: last
          depends_on: [{task_key: silver}, {task_key: extract}]
          spark_python_task: {python_file: x.py}
""")  # fmt: skip
    assert [task.task_key for task in load(conf).graphs["daily"].in_order()] == ["extract", "bronze", "silver", "last"]


def test_a_folder_without_settings_has_defaults(here: Path) -> None:
    conf = edited(here)
    (conf / "local.yml").unlink()
    settings = load(conf).settings
    assert (settings.lake, settings.spark.driver_memory) == (str(here / "lake"), "auto")
    assert settings.pseudonyms is not None
    assert len(settings.pseudonyms.keys["k1"].reveal()) == 64


@pytest.mark.parametrize("sign", ["#", "?", "*", "[", "]", "{", "^", "|", "`", "%41"])
def test_a_lake_in_a_folder_that_not_every_library_takes_is_refused(here: Path, sign: str) -> None:
    with pytest.raises(
        ConfigError, match=r"lake: the folder of the lake has a name.*expected a path without"
    ) as refused:
        load(edited(here), lake=f"my{sign}lake")
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", ["a b", "ü", "o'c", "50%", "R&D", "a+b", "(a)"])
def test_a_lake_in_a_folder_with_another_name_is_taken(here: Path, name: str) -> None:
    assert load(edited(here), lake=name).settings.lake == str(Path.cwd() / name)


def test_lake_of_the_command_line_is_relative_to_where_one_stands(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = edited(here)
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert load(conf).settings.lake == str(here / "lake")
    assert load(conf, lake="mine").settings.lake == str(here / "elsewhere" / "mine")
    assert load(conf, lake="s3a://bucket/lake").settings.lake == "s3a://bucket/lake"


def test_dates_and_times_stay_text(here: Path) -> None:
    conf = edited(here, DAILY, "default: data", "default: 2024-01-31")
    assert load(conf).graphs["daily"].parameters[0].default == "2024-01-31"


MISTAKES = [
    case("duplicate key", SHOP, 4, "root: data/shop\n", "root: data/shop\nroot: other\n",
         "the field root occurs twice; found first in line 3. Keep one of them."),
    case("NO as a country", SHOP, 4, "country: ES", "country: NO",
         'NO without quotes is a truth value to YAML; expected "NO" in quotes for the text, else true or false'),
    case("tab", SHOP, 6, "  claim:", "\tclaim:", "a tab is used for indentation; expected blanks"),
    case("unbalanced", SHOP, 5, "scope: {country: ES, entity: iberia1}", "scope: {country: ES, entity: iberia1",
         "this is not YAML: did not find expected ',' or '}'. Look at this line and the one above."),
    case("empty source", SHOP, 1, WHOLE, "", "the field kind is missing; found nothing"),
    case("unknown field", SHOP, 9, "    format: csv", "    formt: csv",
         "the field formt is unknown; expected one of … Did you mean format?"),
    case("unknown field top", SHOP, 3, "root: data/shop", "roots: data/shop",
         "the field roots is unknown; expected one of … Did you mean root?"),
    case("missing field", SHOP, 6, "    path: claims/*.csv\n", "",
         "the field path is missing; found contract, format, declared_date"),
    case("missing kind", SHOP, 1, "kind: files\n", "",
         "the field kind is missing; found source, root, scope, datasets"),
    case("unknown kind", SHOP, 2, "kind: files", "kind: fils",
         "kind has a value that is not possible; found 'fils'; expected files, sqlite. Did you mean files?"),
    case("wrong enum", SHOP, 9, "format: csv", "format: cvs",
         "format has a value that is not possible; found 'cvs'; expected csv, json, ndjson, parquet. Did you mean "
         "csv?"),
    case("number for text", SHOP, 3, "root: data/shop", "root: 1.20",
         "root has a wrong value; found 1.2; expected text. Write it in quotes."),
    case("text for fields", SHOP, 4, "scope: {country: ES, entity: iberia1}", "scope: ES",
         "scope has a wrong value; found 'ES'; expected fields"),
    case("country", SHOP, 4, "country: ES", "country: es",
         "country has a wrong value; found 'es'; expected two capital letters (ISO 3166), _all or _unknown"),
    case("entity", SHOP, 4, "entity: iberia1", "entity: Iberia 1",
         "entity has a wrong value; found 'Iberia 1'; expected lower-case letters, digits, - and _, or _all or "
         "_unknown"),
    case("no scope", SHOP, 5, "scope: {country: ES, entity: iberia1}\n", "",
         "the dataset claim has no scope; expected scope: {country: …, entity: …} here or for the whole source. "
         "Reference data has _all for both."),
    case("regex", SHOP, 10, "'(\\d{4}-\\d\\d-\\d\\d)'", "'(\\d{4}-\\d\\d-\\d\\d'",
         "this is no regular expression; found (\\d{4}-\\d\\d-\\d\\d: missing ), unterminated subpattern at position "
         "0"),
    case("regex no group", SHOP, 10, "'(\\d{4}-\\d\\d-\\d\\d)'", "'\\d{4}'",
         "the expression must have one group; found 0 groups in \\d{4}; expected one (…)"),
    case("csv on json", SHOP, 10, "format: csv", "format: json\n    csv: {delimiter: ;}",
         "csv options on another format; found format json"),
    case("encoding", SHOP, 10, "format: csv", "format: csv\n    csv: {encoding: utf9}",
         "the encoding is unknown; found utf9; expected utf-8, cp1252, latin-1 …"),
    case("bool", SHOP, 10, "format: csv", "format: csv\n    csv: {header: 1}",
         "header has a wrong value; found 1; expected true or false"),
    case("unknown contract", SHOP, 7, "contract: shop.claim", "contract: shop.clam",
         "the dataset claim names a contract that is not there; found shop.clam; expected one of claim, "
         "core.claim_line, shop.claim. Did you mean shop.claim?"),
    case("silver contract", SHOP, 7, "contract: shop.claim", "contract: claim",
         "claim is no bronze contract; found layer silver; expected layer: bronze in its custom property varve"),
    case("contract of another table", SHOP, 7, "source: shop", "source: shop2",
         "shop.claim describes another table; found shop_claim; expected schema name shop2_claim, that is "
         "<source>_<dataset>"),
    case("password literal", SHOP, 4, "root: data/shop", "root: data/shop\npassword: hunter2",
         "the field password is unknown; expected one of … "),
    case("NO as a key", CORE, 9, '{"1": roma}', "{NO: roma}",
         'NO without quotes is a truth value to YAML; expected "NO" in quotes for the text, else true or false'),
    case("number as a key", CORE, 9, '{"1": roma}', "{1: roma}",
         "a field's name must be text; found 1 without quotes; expected \"1\" in quotes"),
    case("octal", CORE, 9, '{"1": roma}', '{"1": 010}',
         '010 without quotes is another number to YAML; expected "010" in quotes'),
    case("wrong list", CORE, 10, "keys: [LineId]", "keys: LineId",
         "keys has a wrong value; found 'LineId'; expected a list"),
    case("entity column map", CORE, 9, ', map: {"1": roma}', "", "the field map is missing; found column"),
    case("scope unknown field", CORE, 9, 'map: {"1": roma}', 'maps: {"1": roma}',
         "the field maps is unknown; expected one of … Did you mean map?"),
    case("incremental without cursor", CORE, 11, "keys: [LineId]", "keys: [LineId]\n    mode: incremental",
         "mode incremental needs a cursor; found no cursor; expected cursor: <column>"),
    case("cursor with snapshot", CORE, 11, "keys: [LineId]", "keys: [LineId]\n    cursor: x",
         "cursor belongs to mode incremental; found mode snapshot"),
    case("sexagesimal", LOCAL, 4, "driver_memory: 2g", "driver_memory: 20:00",
         '20:00 without quotes is another number to YAML; expected "20:00" in quotes'),
    case("tag", LOCAL, 1, "lake: lake", "lake: !!python/object:os.system lake",
         "the tag tag:yaml.org,2002:python/object:os.system is not supported; expected plain YAML"),
    case("custom tag", LOCAL, 1, "lake: lake", "lake: !x lake", "the tag !x is not supported; expected plain YAML"),
    case("merge", LOCAL, 2, "lake: lake", "lake: lake\n<<: {a: b}",
         "merge keys (<<) are not supported. Write the fields out."),
    case("not fields", LOCAL, 1, WHOLE, "- a\n", "the file has a wrong value; found ['a']; expected fields"),
    case("two documents", LOCAL, 2, "lake: lake", "lake: lake\n---\nlake: x",
         "this is not YAML: but found another document. Look at this line and the one above."),
    case("literal secret", LOCAL, 7, '"${env:VARVE_TEST_KEY}"', "hunter2",
         "a secret must not stand in the configuration; expected a reference: ${env:NAME}, ${file:/path}, "
         "${databricks:scope/key} or ${local:name}"),
    case("keys literal", LOCAL, 7, '{k1: "${env:VARVE_TEST_KEY}"}', "hunter2",
         "keys has a wrong value; expected fields"),
    case("spark secret", LOCAL, 4, "  master: local[2]", "  master: local[2]\n  conf: {fs.s3a.secret.key: hunter2}",
         "a secret must not stand in the configuration; expected a reference: ${env:NAME}, ${file:/path}, "
         "${databricks:scope/key} or ${local:name}"),
    case("current", LOCAL, 6, "current: k1", "current: k2", "current names no key; found k2; expected k1"),
    case("memory", LOCAL, 4, "driver_memory: 2g", "driver_memory: lots",
         "driver_memory has a wrong value; found 'lots'; expected match pattern '^(auto|[1-9][0-9]*[mg])$'"),
    case("secret in syntax", LOCAL, 8, '{k1: "${env:VARVE_TEST_KEY}"}', "{k1: hunter2",
         "this is not YAML: did not find expected ',' or '}'. Look at this line and the one above."),
    case("job field", DAILY, 17, "run_if: ALL_DONE", "runif: ALL_DONE",
         "the field runif is unknown; expected one of … Did you mean run_if?"),
    case("job run_if", DAILY, 17, "run_if: ALL_DONE", "run_if: ALL_DON",
         "run_if has a value that is not possible; found 'ALL_DON'; expected ALL_SUCCESS, ALL_DONE, … Did you mean "
         "ALL_DONE?"),
    case("job cycle", DAILY, 9, "        - task_key: extract\n",
         "        - task_key: extract\n          depends_on: [{task_key: silver}]\n",
         "the tasks depend on each other in a circle; found extract -> silver -> bronze -> extract. Remove one of "
         "these dependencies."),
    case("job self", DAILY, 9, "        - task_key: extract\n",
         "        - task_key: extract\n          depends_on: [{task_key: extract}]\n",
         "the tasks depend on each other in a circle; found extract -> extract. Remove one of these dependencies."),
    case("job unknown task", DAILY, 13, "depends_on: [{task_key: extract}]", "depends_on: [{task_key: extrct}]",
         "the task bronze depends on a task that is not there; found extrct; expected one of extract, bronze, silver. "
         "Did you mean extract?"),
    case("job task twice", DAILY, 12, "- task_key: bronze\n", "- task_key: extract\n",
         "the task extract occurs twice"),
    case("job parameter", DAILY, 11, "job.parameters.data", "job.parameters.date",
         "{{job.parameters.date}} names no parameter of the job; found date; expected data. Did you mean data?"),
    case("job reference", DAILY, 11, "job.parameters.data", "job.paramters.data",
         "{{job.paramters.data}} is no reference that Varve knows; expected job.parameters.<name>, … Did you mean "
         "job.parameters.<name>?"),
    case("input outside", DAILY, 11, "{{job.parameters.data}}", "{{input}}",
         "{{input}} stands outside the task of a for_each_task"),
    case("task value", DAILY, 22, "{{input}}", "{{tasks.silver.values.x}}",
         "{{tasks.silver.values.x}} is no reference that Varve knows; expected job.parameters.<name>, input, "
         "job.name, job.run_id, job.start_time.iso_date, task.name"),
    case("retry on timeout", DAILY, 17, "run_if: ALL_DONE", "retry_on_timeout: true",
         "timeout_seconds is the time of all attempts together; found true; expected false, or nothing. Raise "
         "timeout_seconds."),
    case("concurrent runs", DAILY, 4, "      name: daily\n", "      max_concurrent_runs: 3\n      name: daily\n",
         "runs of a graph are not counted: they wait for each other table by table; found 3; expected 1, or nothing"),
    case("inputs", DAILY, 19, "'[\"claim\"]'", "claim",
         "the inputs are no list; found claim; expected a JSON array, or {{job.parameters.x}}"),
    case("task does nothing", DAILY, 12, "          spark_python_task: {python_file: ../../jobs/bronze.py}\n", "",
         "a task does exactly one thing; found neither; expected spark_python_task or for_each_task"),
    case("parameter default", DAILY, 6, "default: data", "default: 3",
         "default has a wrong value; found 3; expected text. Write it in quotes."),
    case("retries", DAILY, 17, "run_if: ALL_DONE", "max_retries: many",
         "max_retries has a wrong value; found 'many'; expected a whole number"),
    case("condition task", DAILY, 14, "          spark_python_task: {python_file: ../../jobs/bronze.py}\n",
         "          condition_task: {op: EQUAL_TO}\n",
         "the field condition_task is unknown; expected one of … "),
]  # fmt: skip


@pytest.mark.parametrize(("file", "line", "old", "new", "message"), MISTAKES)
def test_a_mistake_is_one_error(here: Path, file: str, line: int, old: str, new: str, message: str) -> None:
    assert_one_error(edited(here, file, old, new), file, line, message)


def test_several_errors_are_reported_together_by_file_and_line(here: Path) -> None:
    edited(here, SHOP, "format: csv", "format: cvs")
    edited(here, SHOP, "kind: files", "kind: files\nx: 1")
    edited(here, CLAIM, "status: active", "status: active\nstate: x")
    conf = edited(here, LOCAL, "lake: lake", "lake: 1")
    with pytest.raises(ConfigError) as caught:
        load(conf)
    places = [str(error.where) for error in caught.value.errors]
    assert places == [
        "conf/contracts/claim.odcs.yaml:6", "conf/local.yml:1", "conf/sources/shop.yml:3", "conf/sources/shop.yml:10",
    ]  # fmt: skip
    assert isinstance(caught.value.errors[0], ContractError)
    assert str(caught.value).splitlines()[0] == "the configuration has 4 errors:"
    assert len(str(caught.value).splitlines()) == 5


def test_what_leads_to_a_broken_contract_is_no_second_error(here: Path) -> None:
    conf = edited(here, SHOP_CLAIM, "physicalType: bigint", "physicalType: number")
    assert_one_error(conf, SHOP_CLAIM, 11, "the type of claim_id is unknown; found number; … ")
    edited(here, SHOP_CLAIM, WHOLE, "id: shop.claim\nschema: {\x00\n")
    assert errors(conf) == [f"conf/{SHOP_CLAIM}:2: a control character stands in the file; found #x0000"]


@pytest.mark.parametrize(("copy_of", "name", "expected"), [
    pytest.param(SHOP, "sources/a.yml", "conf/sources/shop.yml:1: the source shop is described twice; "
                 "found first in conf/sources/a.yml", id="source"),
    pytest.param(DAILY, "jobs/a.yml", "conf/jobs/daily.yml:3: the job daily is described twice", id="job"),
])  # fmt: skip
def test_described_twice(here: Path, copy_of: str, name: str, expected: str) -> None:
    conf = edited(here, name, new=(EXAMPLE / copy_of).read_text(encoding="utf-8"))
    assert errors(conf) == [expected]


def test_a_contract_described_twice(here: Path) -> None:
    conf = edited(here, "contracts/a.odcs.yaml", new=(EXAMPLE / CLAIM).read_text(encoding="utf-8"))
    assert errors(conf) == [
        "conf/contracts/claim.odcs.yaml:3: the contract claim is described twice; "
        "found first in conf/contracts/a.odcs.yaml",
        "conf/contracts/claim.odcs.yaml:7: the table silver.claim is described twice; "
        "found first in conf/contracts/a.odcs.yaml",
    ]


def test_a_file_that_would_be_overlooked(here: Path) -> None:
    conf = edited(here, "contracts/claim2.yaml", new="id: x\n")
    assert errors(conf) == [
        "conf/contracts/claim2.yaml: the file's name is not possible; found claim2.yaml; "
        "expected *.odcs.yaml or *.odcs.yml"
    ]


def test_wrong_bytes(here: Path) -> None:
    conf = edited(here)
    (conf / SHOP).write_bytes(b"source: shop\nkind: fil\xe9s\n")
    assert errors(conf) == ["conf/sources/shop.yml:2: the file is not UTF-8; found byte 23 is 0xe9"]


def test_an_alias_into_itself(here: Path) -> None:
    conf = edited(here, SHOP, WHOLE, "a: &a {b: *a}\n")
    assert errors(conf) == ["conf/sources/shop.yml:1: an alias leads into itself"]


def test_no_folder(here: Path) -> None:
    assert errors(here / "none") == [
        f"{here / 'none'}: there is no configuration; expected a folder with sources, contracts and jobs"
    ]


@pytest.mark.parametrize(("settings", "expected"), [
    pytest.param(None, "conf/clutser.yml: the environment clutser has no settings; found no such file; "
                 "expected one of cluster, local. Did you mean cluster?", id="no such environment"),
    pytest.param("lake: s3a://b/l\n", "conf/contracts/claim.odcs.yaml:25: personal columns need a key for their "
                 "pseudonyms; found email; expected pseudonyms: {current: k1, keys: {k1: ${env:…}}} "
                 "in conf/cluster.yml",
                 id="personal columns without a key"),
    pytest.param('pseudonyms: {current: k1, keys: {k1: "${local:x}"}}\n',
                 "conf/cluster.yml:1: a key in the lake is for one machine only; found ${local:x}; "
                 "expected ${env:NAME}, ${file:/path} or ${databricks:scope/key}", id="local key"),
])  # fmt: skip
def test_environments(here: Path, settings: str | None, expected: str) -> None:
    conf = edited(here, "cluster.yml", new=settings or "lake: x\n")
    assert errors(conf, env="cluster" if settings else "clutser") == [expected]


def test_errors_say_everything_in_one_line() -> None:
    error = VarveError("it is torn", where="a.csv:3", found="half a row", expected="a row", remedy="Send it again.")
    assert str(error) == "a.csv:3: it is torn; found half a row; expected a row. Send it again."


def test_no_session_and_no_spark_is_needed(here: Path) -> None:
    conf = edited(here)
    program = f"import sys; from pathlib import Path; from varve.config import load; load(Path({str(conf)!r})); "
    program += "sys.exit('pyspark' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", sorted(schemas()))
def test_published_schemas_are_current(name: str) -> None:
    published = (PROJECT / "conf" / "schemas" / name).read_text(encoding="utf-8")
    assert published == schema_text(schemas()[name]), "run: python -m varve.config.publish conf/schemas"


KINDS = {"sources": "source", "contracts": "contract", "jobs": "jobs", ".": "settings"}


@pytest.mark.parametrize("conf", [EXAMPLE, PROJECT / "conf"], ids=["example", "project"])
def test_published_schemas_accept_what_loads(conf: Path) -> None:
    load(conf)
    for folder, kind in KINDS.items():
        validator = jsonschema.Draft202012Validator(json.loads(schema_text(schemas()[f"{kind}.schema.json"])))
        for path in sorted((conf / folder).glob("*.y*ml")):
            value = yaml.safe_load(path.read_text(encoding="utf-8"))
            assert [error.message for error in validator.iter_errors(value)] == [], path


@pytest.mark.parametrize(("kind", "file", "old", "new"), [
    pytest.param("source", SHOP, "root:", "roots:", id="source"),
    pytest.param("settings", LOCAL, "lake:", "leak:", id="settings"),
    pytest.param("settings", LOCAL, "${env:VARVE_TEST_KEY}", "hunter2", id="literal secret"),
    pytest.param("jobs", DAILY, "run_if: ALL_DONE", "run_if: ALL", id="jobs"),
    pytest.param("contract", CLAIM, "guard:", "gaurd:", id="table facts"),
    pytest.param("contract", CLAIM, "property: personal,", "property: personnal,", id="column facts"),
    pytest.param("contract", CLAIM, "kind: direct,", "kind: directly,", id="value of a column fact"),
])  # fmt: skip
def test_published_schemas_refuse_what_does_not_load(here: Path, kind: str, file: str, old: str, new: str) -> None:
    value = yaml.safe_load((edited(here, file, old, new) / file).read_text(encoding="utf-8"))
    assert not jsonschema.Draft202012Validator(schemas()[f"{kind}.schema.json"]).is_valid(value)


FILES = sorted(path.relative_to(EXAMPLE).as_posix() for path in EXAMPLE.rglob("*.y*ml"))
JUNK = ["\t", '"', "'", "{", "}", "[", "]", ":", " ", "\n", "- ", "&a ", "*a", "!x ", "NO", "0x", "1:2", "#", "\x00"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=strategies.sampled_from(FILES), junk=strategies.sampled_from(JUNK), share=strategies.floats(0, 1))
def test_any_slip_of_the_pen_loads_or_has_its_place(here: Path, file: str, junk: str, share: float) -> None:
    text = (EXAMPLE / file).read_text(encoding="utf-8")
    place = int(share * len(text))
    conf = edited(here, file, WHOLE, text[:place] + junk + text[place:])
    places: list[str | None] = []
    try:
        load(conf)
    except ConfigError as error:
        places = [e.where for e in error.errors]
    edited(here, file, WHOLE, text)
    assert [where for where in places if where is None or ":" not in where] == []
