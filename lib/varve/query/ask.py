"""SQL over the lake: every Delta table under its root is there as `layer.name`, and nothing can be written.

An entity `silver.x` is also there as `silver.x__auto_cdc`, see `history.auto_cdc`. With a moment, every entity is there
as it was then: the rows that were valid.

Only the tables that a query names are registered, so that a lake of a thousand tables answers as fast as one of ten.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DataType, NumericType

from varve.history import AUTO_CDC_ROWS, auto_cdc_columns, is_valid_at
from varve.history_table import horizon
from varve.model.clock import utc
from varve.model.errors import UsageError
from varve.spark.failures import explained
from varve.storage.delta import Store
from varve.storage.delta_log import LAYERS

AUTO_CDC: Final = "__auto_cdc"
READS: Final = ("select", "with", "from", "values", "table", "describe", "desc", "show", "explain")
_NAME: Final = re.compile(rf"`?\b({'|'.join(LAYERS)})`?\s*\.\s*`?([A-Za-z0-9_]+)`?", re.IGNORECASE)
_SOURCE: Final = re.compile(rf"\b(?:from|join)\s+{_NAME.pattern}", re.IGNORECASE)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave. columns: (name, whether it holds numbers); rows: cells as text, None for null."""

    columns: tuple[tuple[str, bool], ...]
    rows: Iterable[tuple[str | None, ...]]


def tables(root: Path) -> list[str]:
    """Every table of the lake as `layer.name`, sorted by layer in the direction of the flow."""
    return [
        f"{layer}.{log.parent.name}" for layer in LAYERS for log in sorted((root / layer).glob("*/_delta_log"))
    ]  # fmt: skip


def ask(
    session: Callable[[], SparkSession],
    root: Path,
    query: str,
    *,
    limit: int | None = None,
    as_json: bool = False,
    as_of: datetime | None = None,
) -> Answer:
    """The answer to `query`, at most `limit` rows. What is wrong with the query is a UsageError in Spark's own words.

    session: called only when the query names tables that are there. as_json: one column, a JSON object per row.
    as_of: entities are as they were at that moment (UTC where it has no offset); ContractError when it lies behind the
    horizon of one of them.
    """
    query = query.strip().rstrip(";").strip()
    stored = tables(root)
    entities = {name for name in stored if f"{name}_changes" in stored}
    known = [*stored, *(f"{name}{AUTO_CDC}" for name in sorted(entities))]
    words = _COMMENT.sub(" ", query).split()
    if not words or words[0].lower().lstrip("(") not in READS:
        raise UsageError("sql only reads", found=words[0] if words else "nothing", expected=", ".join(READS).upper())
    for layer, name in _SOURCE.findall(query):
        if f"{layer}.{name}".lower() not in known:
            raise _unknown(f"{layer}.{name}", known)
    spark = session()
    named = {f"{layer}.{name}".lower() for layer, name in _NAME.findall(query)}
    wanted = known if words[0].lower() == "show" else [table for table in known if table in named]
    if as_of is not None:
        if not entities.intersection(wanted):
            raise UsageError(
                "nothing that the query names has a history", where="--as-of", found=", ".join(wanted) or "no table",
                expected=", ".join(sorted(entities)) or "no entity is loaded yet",
            )  # fmt: skip
        for layer, entity in (name.split(".") for name in sorted(entities & named)):
            found = horizon.recorded_horizon(Store(session, root), layer, f"{entity}_changes")
            horizon.must_not_hide(found, entity, utc(as_of))
    try:
        _register(spark, root, [table for table in wanted if not table.endswith(AUTO_CDC)], entities, as_of)
        _register_auto_cdc(spark, root, [table for table in wanted if table.endswith(AUTO_CDC)])
        if words[0].lower() in ("with", "from"):  # either may end in INSERT; inside a query that is a syntax error
            spark.sql(f"EXPLAIN SELECT * FROM (\n{query}\n)")
        frame = spark.sql(query)
    except PySparkException as error:
        raise _refused(error, root, known) from None
    text = _as_json(frame) if as_json else _as_text(frame)
    columns = tuple((field.name, isinstance(field.dataType, NumericType)) for field in frame.schema.fields)
    return Answer(columns, _rows(text if limit is None else text.limit(limit), root, known))


def _register(
    spark: SparkSession, root: Path, wanted: Iterable[str], entities: set[str], as_of: datetime | None
) -> None:
    for layer in LAYERS:
        spark.sql(f"CREATE DATABASE IF NOT EXISTS {layer}")
    for table in wanted:
        if as_of is not None and table in entities:
            rows = f"SELECT * FROM {_stored(root, table)} WHERE {is_valid_at(as_of)}"
            spark.sql(f"CREATE OR REPLACE VIEW {table} AS {rows}")
        else:
            location = str(root / table.replace(".", "/", 1)).replace("'", "\\'")
            spark.sql(f"CREATE TABLE IF NOT EXISTS {table} USING delta LOCATION '{location}'")


def _register_auto_cdc(spark: SparkSession, root: Path, wanted: Iterable[str]) -> None:
    for view in wanted:
        stored = _stored(root, view.removesuffix(AUTO_CDC))
        columns = auto_cdc_columns(spark.sql(f"SELECT * FROM {stored}").columns)
        spark.sql(f"CREATE OR REPLACE VIEW {view} AS SELECT {', '.join(columns)} FROM {stored} WHERE {AUTO_CDC_ROWS}")


def _stored(root: Path, table: str) -> str:
    """The table as SQL names what lies in a folder."""
    location = str(root / table.replace(".", "/", 1)).replace("`", "``")
    return f"delta.`{location}`"


def _as_text(frame: DataFrame) -> DataFrame:
    """Every cell as text by Spark, which knows the session's time zone; by position, for two columns may be alike."""
    fields = frame.schema.fields
    named = frame.toDF(*(f"c{i}" for i in range(len(fields))))
    return named.select(*(_text(F.col(f"c{i}"), field.dataType) for i, field in enumerate(fields)))


def _text(cell: Column, kind: DataType) -> Column:
    return F.hex(cell) if isinstance(kind, BinaryType) else cell.cast("string")


def _as_json(frame: DataFrame) -> DataFrame:
    return frame.select(F.to_json(F.struct("*"), {"ignoreNullFields": "false"}))


def _rows(frame: DataFrame, root: Path, known: list[str]) -> Iterator[tuple[str | None, ...]]:
    try:
        for row in frame.toLocalIterator():
            yield tuple(row)
    except PySparkException as error:  # a cast or a division that fails only when the row is read
        raise _refused(error, root, known) from None


def _refused(error: PySparkException, root: Path, known: list[str]) -> BaseException:
    if (ours := explained(error, root)) is not error:
        return ours
    message = error.getMessage() or str(error)
    if error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND":
        missing = re.search(r"The table or view (\S+)", message)
        return _unknown(missing[1].replace("`", "") if missing else "?", known)
    plain = re.split(r"\n\s*(?:'|\+-|JVM stacktrace|at org\.)|;\n", message.strip())[0]
    return UsageError("Spark refused the query", found=plain)


def _unknown(table: str, known: list[str]) -> UsageError:
    name = table.lower().rpartition(".")[2]
    close = difflib.get_close_matches(table.lower(), known, n=3, cutoff=0.6)
    close += [other for other in known if other.rpartition(".")[2] == name and other not in close]
    close = close or known[:20]
    return UsageError(
        f"there is no table {table} in this lake",
        expected=f"one of {', '.join(close)}" if close else None,
        remedy="`./spark-submit.sh sql` lists all tables." if known else "The lake is empty: run a job graph first.",
    )
