"""Take back one statement of a key, above all one of two that contradict each other.

The retract is a statement too: the log keeps what was believed before, with the time at which we learned better.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from pyspark.sql import functions as F

from varve import history
from varve.model.errors import UsageError
from varve.model.scope import Scope
from varve.silver.keys import key_of, rows_of_key
from varve.silver.load import EntityLoad
from varve.storage.commits import Commit


def retract(
    load: EntityLoad,
    key: Mapping[str, str],
    *,
    at: datetime,
    says: Mapping[str, str],
    scope: Scope | None,
) -> Commit:
    """Take back what the log says of a key at a moment: one statement, chosen by what it says of some columns.

    at: its valid_from (UTC). says: column -> value as text, `null` is null; and `op`, upsert or delete.
    Raises UsageError unless one statement is meant.
    """
    policy, columns = load.history.policy, load.contract.names
    if unknown := sorted(says.keys() - {*columns, "op"}):
        raise UsageError("that is no column of the entity", found=", ".join(unknown), expected=", ".join(columns))
    log = rows_of_key(load.history.log(), key, scope)
    there = history.standing(log, policy).where(F.col("valid_from") == F.lit(at))
    found = there.collect()
    meant = [row for row in found if all(_text(row[c]) == value for c, value in says.items())]
    if len(meant) != 1:
        found_ones = "; ".join(
            ", ".join(f"{c}={_text(row[c])}" for c in ("op", *policy.payload)) for row in meant or found
        )
        raise UsageError(
            f"{len(meant)} statements are meant, and one can be taken back", where=f"{load.table} at {at:%Y-%m-%d %T}",
            found=found_ones or "no statement at that time", expected="--says column=value, enough of them to mean one",
            remedy=f"All that was said of the key: {_history(load, key, scope)}",
        )  # fmt: skip
    values = {
        "op": history.retraction(policy),
        "recorded_at": F.lit(datetime.now(UTC)),
        "manifest": F.lit(f"retract:{load.run.run_id}"),
        "contract_version": F.lit(load.contract.version),
    }
    one = F.lit(True)
    for column in there.columns:
        one &= F.col(column).eqNullSafe(F.lit(meant[0][column]).cast(there.schema[column].dataType))
    rows = there.where(one).withColumns(values)
    return load.history.append(rows.select(*log.columns), load.batch())


def _history(load: EntityLoad, key: Mapping[str, str], scope: Scope | None) -> str:
    """The command that shows the key's log."""
    words = ["--table", load.contract.table, *(w for c, v in key.items() for w in ("--key", f"{c}={v}"))]
    return shlex.join(
        ["./spark-submit.sh", "history", *words, *(["--scope", str(scope)] if scope else []), "--changes"]
    )


def _text(value: object) -> str:
    return "null" if value is None else str(value)


def take_back(
    load: EntityLoad, words: Sequence[str], *, at: datetime | None, says: Mapping[str, str], scopes: Sequence[Scope],
    day: date | None, reason: str,
) -> None:  # fmt: skip
    """Take one statement of a key back, as a task of the ledger. words: the key as `[COLUMN=]VALUE`, typed by a person.

    UsageError unless there is a time, at most one scope and no day."""
    if at is None or day is not None or len(scopes) > 1:
        raise UsageError(
            "a statement has one time and one scope", where="--key", expected="--at TIME, one --scope, no --day",
            remedy=f"What was said of a key, and when: ./spark-submit.sh history --table {load.contract.table} "
            f"{shlex.join(w for key in words for w in ('--key', key))} --changes",
        )  # fmt: skip
    scope = scopes[0] if scopes else None
    with load.run.ledger.task("retract", load.table, scope) as task:
        task.note(reason)
        task.wrote(retract(load, key_of(load.contract.keys, words), at=at, says=says, scope=scope))
