"""Marts as a graph, run in one process: what fails stops only what reads it, and is told by name and file."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import Jobs
from stranger import CONFORM, Stranger
from varve.model.errors import ConfigError, TransformError, UsageError
from written_conf import write_contract

HEAD = """\
from pyspark.sql import functions as F

from transforms.numbers import reciprocal
from varve.model.scope import SCOPE_COLUMNS
from varve.transforms import mart


def inverse(shift):
    return F.udf(lambda n: reciprocal(n - shift), "double", useArrow=False)


@mart("sales", reads=["silver.ticket"])
def sales(ticket):
"""
OTHER = """
    from varve.model.scope import SCOPE_COLUMNS
    from varve.transforms import mart


    @mart("towns", reads=["silver.ticket"])
    def towns(ticket):
        return ticket.select(*SCOPE_COLUMNS, "city").distinct()
"""
LATER = """
    from varve.transforms import mart


    @mart("later", reads=["gold.best"])
    def later(best):
        return best
"""
RUNS = count()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, shared_spark: SparkSession) -> Stranger:
    house = Stranger(tmp_path_factory.mktemp("stranger"))
    for mart in ("towns", "later"):
        columns = [{"name": "city", "physicalType": "string"}]
        write_contract(house.conf, mart, {"layer": "gold"}, columns)
    house.module("marts/towns.py", OTHER)
    house.module("marts/later.py", LATER)
    house.module("numbers.py", "def reciprocal(n):\n    return 1 / n\n")
    house.deliver("2026-03-01", (1, "madrid", 1050), (2, "vigo", 700))
    for job in ("extract", "bronze", "silver", "gold"):
        ended, error = run(house, shared_spark, job)
        assert error is None, ended
    return house


def run(house: Stranger, spark: SparkSession, *words: str) -> tuple[dict[str, str], ConfigError | None]:
    """Run a job with the configuration as it is now: (table -> how it ended and why, the error that ended the run)."""
    jobs = Jobs.at(house.lake, spark, f"run{next(RUNS)}", conf=house.conf)
    error = None
    try:
        jobs.run(*words)
    except ConfigError as raised:
        error = raised
    finally:
        jobs.lake.ledger.close()
    rows = jobs.lake.ledger.rows
    return {str(row.table_name): f"{row.status} {row.reason or ''}".strip() for row in rows if row.table_name}, error


SKIPPED = "skipped nothing new"


def test_what_is_as_it_was_is_skipped(house: Stranger, spark: SparkSession) -> None:
    ended, error = run(house, spark, "gold")
    assert error is None
    assert ended == dict.fromkeys(["gold.sales", "gold.best", "gold.later", "gold.towns"], SKIPPED)


FAILURES = [
    pytest.param("raise KeyError('a name')", "sales failed; found KeyError", id="raised in the function"),
    pytest.param("return 7", "sales returns no DataFrame; found int", id="no frame"),
    pytest.param("return ticket.select('nowhere')",
                 "sales failed; found AnalysisException [UNRESOLVED_COLUMN.WITH_SUGGESTION]", id="no such column"),
    pytest.param("return ticket.select(*SCOPE_COLUMNS, 'city')",
                 "contract sales: the mart lacks columns: amount; found scope_country, scope_entity, city",
                 id="a column too few"),
    pytest.param("return ticket.select(*SCOPE_COLUMNS, 'city', F.array(F.lit(1)).alias('amount'))",
                 "contract sales: [DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION]", id="a type that is not the contract's"),
    pytest.param("return ticket.select(*SCOPE_COLUMNS, 'city', F.expr('1 / (ticket_id - 1)').alias('amount'))",
                 "sales failed; found DIVIDE_BY_ZERO", id="an expression that fails on a row"),
    pytest.param("return ticket.select(*SCOPE_COLUMNS, 'city', inverse(2)('ticket_id').alias('amount'))",
                 "sales failed; found PYTHON_EXCEPTION", id="a function of Python that fails on a row"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), FAILURES)
def test_a_mart_that_fails_stops_what_reads_it(house: Stranger, spark: SparkSession, body: str, message: str) -> None:
    file = house.root / "transforms/marts/sales.py"
    good = file.read_text()
    try:
        file.write_text(f"{HEAD}    {body}\n")
        ended, error = run(house, spark, "gold")
    finally:
        file.write_text(good)
    assert error is not None
    assert error.exit_code == 2
    assert message in str(error)
    assert {**ended, "gold.sales": ""} == {
        "gold.sales": "", "gold.towns": SKIPPED, "gold.best": "skipped gold.sales was not made",
        "gold.later": "skipped gold.best was not made",
    }  # fmt: skip
    if isinstance(error, TransformError):
        assert str(error.where).startswith(f"{file}:")
        assert error.remedy is not None
        trace = Path(error.remedy.removeprefix("The trace is in ").removesuffix("."))
        assert str(file) in trace.read_text()
        assert "a name" not in str(error)


def test_functions_of_python_reach_the_workers_that_have_no_such_module(house: Stranger, spark: SparkSession) -> None:
    file = house.root / "transforms/marts/sales.py"
    good = file.read_text()
    try:
        file.write_text(
            f"{HEAD}    return ticket.select(*SCOPE_COLUMNS, 'city', inverse(3)('ticket_id').alias('amount'))\n"
        )
        assert run(house, spark, "gold", "--table", "sales") == ({"gold.sales": "done"}, None)
    finally:
        file.write_text(good)
    assert run(house, spark, "gold")[1] is None


def test_only_the_marts_that_are_named(house: Stranger, spark: SparkSession) -> None:
    assert run(house, spark, "gold", "--table", "later")[0] == {"gold.later": SKIPPED}
    with pytest.raises(UsageError, match="no mart is called late; expected best, later, sales, towns"):
        run(house, spark, "gold", "--table", "late")


def test_a_mart_whose_input_is_not_there_waits(house: Stranger, spark: SparkSession, tmp_path: Path) -> None:
    fresh = Stranger(tmp_path)
    ended, error = run(fresh, spark, "gold")
    assert error is None
    assert ended == {
        "gold.sales": "skipped silver.ticket is not there yet", "gold.best": "skipped gold.sales is not there yet",
    }  # fmt: skip


CONFORM_FAILURES = [
    pytest.param("return bronze.select('ticket_id', 'nowhere', *CARRIED)", "tickets failed; found AnalysisException",
                 id="no such column"),
    pytest.param("return bronze.toPandas", "tickets returns no DataFrame; found method", id="no frame"),
    pytest.param("return bronze.select('ticket_id', 'city', 'cents')",
                 "the conform function loses columns; found scope_country", id="a function that loses what rows carry"),
    pytest.param("return bronze.select('ticket_id', 'city', *CARRIED)", "amount", id="a column too few"),
    pytest.param("raise OSError('a name')", "tickets failed; found OSError", id="raised in the function"),
    pytest.param("return bronze.select('ticket_id', 'city', F.expr('1 / (ticket_id - 1)').alias('amount'), *CARRIED)",
                 "DIVIDE_BY_ZERO", id="an expression that fails on a row"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message"), CONFORM_FAILURES)
def test_a_conform_function_that_fails(tmp_path: Path, spark: SparkSession, body: str, message: str) -> None:
    house = Stranger(tmp_path)
    house.module("entities/ticket.py", CONFORM[: CONFORM.index("return")] + body + "\n")
    house.deliver("2026-03-01", (1, "madrid", 1050))
    for job in ("extract", "bronze"):
        assert run(house, spark, job)[1] is None
    ended, error = run(house, spark, "silver")
    assert error is not None, ended
    assert error.exit_code == 2
    assert message in str(error)
    assert "a name" not in str(error)
