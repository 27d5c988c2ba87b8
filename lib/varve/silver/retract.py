"""Take back one statement of a key, above all one of two that contradict each other.

The retract is a statement too: the log keeps what was believed before, with the time at which we learned better.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pyspark.sql import Row
from pyspark.sql import functions as F

from varve.errors import UsageError
from varve.history import DELETE, RETRACT, Policy
from varve.scope import Scope
from varve.silver.keys import rows_of
from varve.silver.load import EntityLoad
from varve.store import Commit


def retract(
    load: EntityLoad,
    key: Mapping[str, str],
    *,
    at: datetime,
    says: Mapping[str, str],
    scope: Scope | None,
) -> Commit:
    """Take back what the log says of a key at a moment: one statement, chosen by what it says of some columns.

    at: its valid_from (UTC). says: column -> value as text; `null` is null. A delete is taken back when it stands alone
    there, for it says nothing by which it could be told apart. Raises UsageError unless one statement is meant.
    """
    policy, columns = load.history.policy, load.contract.names
    if unknown := sorted(says.keys() - set(columns)):
        raise UsageError("that is no column of the entity", found=", ".join(unknown), expected=", ".join(columns))
    there = rows_of(load.history.log(), key, scope).where(F.col("valid_from") == F.lit(at))
    said = [*policy.identity, *policy.payload, "op", "valid_from", "sequence"]
    found = there.select(said).distinct().collect()
    taken_back = [row for row in found if row["op"] == RETRACT]
    meant = [
        row for row in found
        if row["op"] != RETRACT and all(_text(row[c]) == value for c, value in says.items())
        and not any(_says(row, policy) == _says(r, policy) for r in taken_back)
    ]  # fmt: skip
    if len(meant) != 1 or (meant[0]["op"] == DELETE and len(found) > 1):
        told = "; ".join(
            f"{row['op']} {', '.join(f'{c}={_text(row[c])}' for c in policy.payload)}" for row in meant or found
        )
        raise UsageError(
            f"{len(meant)} statements are meant, and one can be taken back", where=f"{load.table} at {at:%Y-%m-%d %T}",
            found=told or "nothing is said there", expected="--says column=value, enough of them to mean one",
            remedy="./spark-submit.sh history --changes shows all that was said of a key.",
        )  # fmt: skip
    values = {
        "op": F.lit(RETRACT), "recorded_at": F.lit(datetime.now(UTC)), "manifest": F.lit(f"retract:{load.lake.run_id}"),
        "contract_version": F.lit(load.contract.version),
    }  # fmt: skip
    one = F.lit(True)
    for column in said:
        one &= F.col(column).eqNullSafe(F.lit(meant[0][column]).cast(there.schema[column].dataType))
    rows = there.where(one).select(said).distinct().withColumns(values)
    return load.history.append(rows.select(*there.columns), txn=f"retract:{load.lake.run_id}")


def _says(row: Row, policy: Policy) -> tuple[object, ...]:
    return tuple(row[c] for c in (*policy.payload, "sequence"))


def _text(value: object) -> str:
    return "null" if value is None else str(value)
