"""Gold: the company's marts, each replaced as a whole when something that it is made from has changed.

A mart is made from its inputs at their versions, its contract, its code lists and its code. All this stands in the note
of the commit that made it: where nothing differs, nothing is done, and no session is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve.model.errors import ContractError, UsageError
from varve.model.scope import SCOPE_COLUMNS
from varve.ops.task import Task
from varve.raw.batch import transaction
from varve.rules import codes
from varve.spark.failures import condition_of_row
from varve.storage.commits import Commit
from varve.transforms import Mart, failed

if TYPE_CHECKING:
    from varve.run.run import Run

LAYER: Final = "gold"
KIND: Final = "mart"  # of the note that a commit carries: what the mart was made from
# What Power BI's readers know: files without deletion vectors, columns under their own names.
PROPERTIES: Final = {"delta.enableDeletionVectors": "false", "delta.columnMapping.mode": "none"}

Versions = Mapping[str, int | None]  # table -> version, None of one that is not there


def load_mart(run: Run, wanted: Collection[str] = ()) -> None:
    """Renew the marts, each after those that it reads; one that fails stops only what reads it.

    wanted: only these marts; empty: all.
    """
    marts = run.config.transforms.marts
    names = [mart.table for mart in marts]
    if unknown := sorted(set(wanted) - set(names)):
        raise UsageError(
            f"no mart is called {unknown[0]}", where="--table", expected=", ".join(sorted(names)) or "none"
        )
    stopped: set[str] = set()
    for mart in marts:
        if wanted and mart.table not in wanted:
            continue
        stopped.add(mart.table)
        with run.ledger.task(LAYER, f"{LAYER}.{mart.table}", keep_going=True) as task:
            if above := sorted(stopped.intersection(mart.gold)):
                task.skip(f"{LAYER}.{above[0]} was not made")
                continue
            renew(run, mart, task)
            stopped.discard(mart.table)


def renew(run: Run, mart: Mart, task: Task) -> None:
    """Rebuild the mart, unless it is there and made from just this."""
    versions = {table: run.store.version(*_place(table)) for table in mart.reads}
    if missing := [table for table, version in versions.items() if version is None]:
        task.skip(f"{missing[0]} is not there yet")
        return
    task.input(*(f"{table}@{version}" for table, version in versions.items()))
    made_from = {"kind": KIND, "inputs": versions, "made_by": _maker(run, mart)}
    if made_from == run.store.last_note(LAYER, mart.table, KIND):
        task.skip()
        return
    with run.lease(f"{LAYER}.{mart.table}"):
        there, name = run.store.version(LAYER, mart.table), transaction(LAYER, mart.table)
        number = (run.store.transaction(LAYER, mart.table, name) or 0) + 1  # the fence: of two one is refused
        if made_from == run.store.last_note(LAYER, mart.table, KIND):
            task.skip("another run has made it meanwhile")
            return
        rows = _rows(run, mart, versions)
        task.wrote(_replaced(run, mart, rows, made_from, txn=name, version=number, based_on=there))


def _replaced(run: Run, mart: Mart, rows: DataFrame, made_from: Mapping[str, object], **fence: Any) -> Commit:
    try:
        return run.store.replace(rows, LAYER, mart.table, properties=PROPERTIES, note=made_from, **fence)
    except Exception as error:
        condition = condition_of_row(error)
        if condition is None:
            raise
        raise failed(mart.function, error, condition) from error  # all expressions of a mart are the company's


def _rows(run: Run, mart: Mart, versions: Versions) -> DataFrame:
    """The mart from these versions of its inputs, in the columns and types of its contract."""
    tables = [run.store.read(*_place(table), version=versions[table]) for table in mart.reads]
    rows = mart.rows([*tables, *(codes.parse(name, _text(run, name)) for name in mart.codes)])
    contract = run.config.gold_contract(mart.table)
    if lost := [name for name in (*SCOPE_COLUMNS, *contract.names) if name not in rows.columns]:
        raise ContractError(
            f"the mart lacks columns: {', '.join(lost)}", where=f"contract {contract.id}",
            found=", ".join(rows.columns), remedy=f"Return them from {mart.place}, or remove them from the contract.",
        )  # fmt: skip
    columns = [F.col(f"`{column.name}`").cast(column.type).alias(column.name) for column in contract.columns]
    try:
        return rows.select(*SCOPE_COLUMNS, *columns).coalesce(1)
    except AnalysisException as error:
        what = str(error).strip().splitlines()[0]
        raise ContractError(what, where=f"contract {contract.id}", remedy=f"Look at {mart.place}.") from error


def _maker(run: Run, mart: Mart) -> str:
    """A digest of what besides its inputs decides the rows: the contract, the code lists, the code."""
    texts = [repr(run.config.gold_contract(mart.table)), mart.code, *(_text(run, name) for name in mart.codes)]
    return sha256("\0".join(texts).encode()).hexdigest()[:16]


def _place(table: str) -> tuple[str, str]:
    layer, _, name = table.partition(".")
    return layer, name


def _text(run: Run, name: str) -> str:
    return (run.config.codes_dir / f"{name}.csv").read_text(encoding="utf-8")
