"""The life of one key, for a person: every version with when it was valid, when we learned it, and from where."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import Row
from rich.table import Table
from rich.text import Text

from varve import history
from varve.history import DELETE, RESTORE, RESTORE_DELETE, UPSERT, Policy
from varve.history_table import HistoryTable
from varve.model.clock import utc
from varve.model.contract import Contract
from varve.model.scope import SCOPE_COLUMNS, Scope
from varve.ops import tables
from varve.run.run import Run
from varve.silver.keys import rows_of_key


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a change came from. file: as its source names it, the manifest's name when raw no longer has it; run: that
    brought it into the log, by the ledger, empty when the ledger does not say (the run was killed)."""

    file: str
    run: str


@dataclass(frozen=True, slots=True)
class _Load:
    """A run that took a manifest in. started, ended: UTC."""

    run: str
    step: str
    started: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Life:
    """versions: oldest first, never stale; changes: what the log says of the key, in order of position; origins: of
    each version and of each change, in their order."""

    policy: Policy
    versions: tuple[Row, ...]
    changes: tuple[Row, ...]
    version_origins: tuple[Provenance, ...]
    change_origins: tuple[Provenance, ...]


def life_of(
    run: Run,
    contract: Contract,
    key: Mapping[str, str],
    scope: Scope | None = None,
    *,
    known_at: datetime | None = None,
) -> Life:
    """The life of a key, wherever it occurs or in one scope. key: the value of every key column, as text.

    known_at: by what had been recorded by then (UTC); raises ContractError when the horizon has merged that."""
    table = HistoryTable.of(run.store, contract)
    place = [*SCOPE_COLUMNS, "valid_from"]
    if known_at is None:
        log, life = table.log(), table.read(is_narrow=True)
    else:
        log = table.known(known_at)
        life = history.timeline(log, table.policy)
    versions = rows_of_key(life, key, scope).orderBy(*place).collect()
    changes = rows_of_key(log, key, scope).orderBy(*place, "sequence", "recorded_at").collect()
    files, loads = _files(run, contract), _loads(run, contract)
    openers = [opener(version, changes, table.policy) for version in versions]
    return Life(
        table.policy, tuple(versions), tuple(changes),
        tuple(_origin(change, files, loads) for change in openers),
        tuple(_origin(change, files, loads) for change in changes),
    )  # fmt: skip


def opener(version: Row, changes: Iterable[Row], policy: Policy) -> Row | None:
    """The change that opened a version: it says the same and was recorded at the same time."""
    says = (DELETE, RESTORE_DELETE) if version["is_deleted"] else (UPSERT, RESTORE)
    said = [] if version["is_deleted"] else policy.attributes  # what a delete carries is not its state
    same = [
        change
        for change in changes
        if change["op"] in says
        and all(change[c] == version[c] for c in (*SCOPE_COLUMNS, "recorded_at", *said))
    ]  # fmt: skip
    # Of a sequence that came twice, one row may give the time and another the knowledge: hence no filter by time.
    return min(same, key=lambda c: (c["valid_from"] != version["valid_from"], c["manifest"]), default=None)


# --- from where -----------------------------------------------------------------------------------------------


def _files(run: Run, contract: Contract) -> dict[str, str]:
    """The file of every manifest that raw has of the entity's feeds."""
    bronze = {feed.bronze for feed in contract.feeds}
    return {
        one.id: one.origin.path
        for dataset in run.config.datasets()
        if dataset.table in bronze
        for one in run.raw(dataset.source, dataset.name).catalog()
    }


def _loads(run: Run, contract: Contract) -> dict[tuple[str, str], list[_Load]]:
    """By (manifest, scope) the runs that took it in, oldest first."""
    rows = tables.rows(
        run.root, tables.RUNS, columns=("manifests", "scope", "run_id", "step", "started_at", "ended_at"),
        where=f"table_name = 'silver.{contract.table}' and step in ('silver', 'restate') and ended_at is not null",
    )  # fmt: skip
    found: dict[tuple[str, str], list[_Load]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["started_at"]):
        load = _Load(row["run_id"], row["step"], utc(row["started_at"]), utc(row["ended_at"]))
        for manifest in row["manifests"] or ():
            found[manifest, row["scope"]].append(load)
    return found


def _origin(
    change: Row | None, files: Mapping[str, str], loads: Mapping[tuple[str, str], Sequence[_Load]]
) -> Provenance:
    """What was restated was recorded while its run went on; anything else was loaded by the last run that tried."""
    if change is None:
        return Provenance("", "")
    manifest = re.split("[@#]", change["manifest"])[0]  # a scope may be added, and how often it was said
    tried = loads.get((manifest, _scope(change)), ())
    recorded = utc(change["recorded_at"])
    restated = [load for load in tried if load.step == "restate" and load.started <= recorded <= load.ended]
    loaded = restated or [load for load in tried if load.step == "silver"]
    return Provenance(files.get(manifest, manifest), loaded[-1].run if loaded else "")


# --- as tables ------------------------------------------------------------------------------------------------


def versions_table(title: str, life: Life) -> Table:
    """A row per version; what differs from the version before is set off."""
    names = life.policy.payload
    table = Table(
        "scope", "valid from", "valid to", "state", *names, "learned", "from", "run", title=title, title_justify="left"
    )
    before: Row | None = None
    for row, origin in zip(life.versions, life.version_origins, strict=True):
        same_scope = before is not None and _scope(before) == _scope(row)
        state = "deleted" if row["is_deleted"] else "current" if row["is_current"] else ""
        cells = [_cell(row[c], changed=same_scope and before is not None and before[c] != row[c]) for c in names]
        learned = (_time(row["recorded_at"].replace(microsecond=0)), origin.file, origin.run)
        table.add_row(_scope(row), _time(row["valid_from"]), _time(row["valid_to"]), state, *cells, *learned)
        before = row
    return table


def changes_table(life: Life) -> Table:
    """A row per statement that the log holds."""
    names = life.policy.payload
    table = Table(
        "scope", "at", "sequence", "says", *names, "learned", "from", "run", title="the log", title_justify="left"
    )
    for row, origin in zip(life.changes, life.change_origins, strict=True):
        sequence = "" if row["sequence"] is None else str(row["sequence"])
        cells = [_cell(row[c]) for c in names]
        learned = (_time(row["recorded_at"].replace(microsecond=0)), origin.file, origin.run)
        table.add_row(_scope(row), _time(row["valid_from"]), sequence, row["op"], *cells, *learned)
    return table


def life_records(life: Life) -> list[dict[str, Any]]:
    """The versions as plain values, moments with their offset, each with the file and the run that it came from."""
    return [
        {**_plain(row), "file": origin.file, "run": origin.run}
        for row, origin in zip(life.versions, life.version_origins, strict=True)
    ]


def _plain(row: Row) -> dict[str, Any]:
    values = row.asDict(recursive=True)
    return {name: utc(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _cell(value: object, *, changed: bool = False) -> Text:
    if value is None:
        return Text("null", style="dim italic")
    return Text(str(value), style="bold yellow" if changed else "")


def _scope(row: Row) -> str:
    return f"{row['scope_country']}/{row['scope_entity']}"


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    text = f"{utc(moment):%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    return text.removesuffix(" 00:00:00")
