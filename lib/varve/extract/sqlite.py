"""SQLite databases: whole tables, or the rows beyond a cursor, read in one transaction.

Values become text in Python, by their own type: SQLite's cast of a real to text keeps 15 digits, `repr` keeps all.
A live database is one file; nightly copies are a glob with the date in their path.
"""

from __future__ import annotations

import glob
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from varve.config import SqliteSource, SqliteTable
from varve.contract import Contract
from varve.errors import ParkedError, SourceError
from varve.extract.framing import Framed
from varve.extract.takes import (
    BadDate,
    Bound,
    Known,
    MissingScopeColumn,
    Plan,
    ScopeCount,
    Stamp,
    declared_date,
    extract_id,
    folder_scope,
    moment_of,
    sha256,
)
from varve.raw import Manifest, Publisher
from varve.scope import Scope

Value = str | int | float | bytes | None


@dataclass(frozen=True, slots=True)
class TableTake:
    """One table of one database file."""

    publisher: Publisher
    source: str
    name: str
    table: SqliteTable
    contract: Contract
    path: Path
    relative: str
    stamp: Stamp
    declared: str | None
    scope: Scope
    known: Known

    def land(self) -> Manifest | None:
        """Land what is new; None when nothing is. A damaged database is parked."""
        try:
            with closing(_connect(self.path)) as database:
                landed = self._land(database)
        except sqlite3.OperationalError as error:
            raise SourceError("the database cannot be read", where=str(self.path), found=error) from error
        except sqlite3.DatabaseError as error:
            landed = self._parked(f"damaged database, maybe cut off: {error}")
        if landed is not None:
            self.known.add(landed)
        return landed

    def _land(self, database: sqlite3.Connection) -> Manifest | None:
        database.execute("BEGIN")  # deferred: the first read below fixes the picture for all that follow
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(self.table.table)})")]
        if not columns:
            names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
            tables = [row[0] for row in names]
            raise ParkedError(
                f"the database has no table {self.table.table}", where=str(self.path),
                found=", ".join(tables) or "no table at all", remedy="Correct its name in conf/sources.",
            )  # fmt: skip
        started = datetime.now(UTC)
        after = self.known.uppers.get(self.scope)
        select = Select.of(self.table, columns)
        upper: Bound = None
        if self.table.cursor is not None:
            upper = select.newest(database, after)
            if upper is None and (after is not None or not select.filled(database)):
                return None
            digest = ""
            id_ = extract_id(self.source, self.name, str(self.scope), self.declared, after, upper)
        else:
            digest = select.digest(database)
            found = self.known.new_id(self.source, self.name, self.relative, digest, self.declared, self.scope)
            if found is None:
                return None
            id_ = found
        window: dict[str, Bound] = {"lower": after, "upper": upper}
        return self._write(database, select, id_, digest, window if self.table.cursor else None, started)

    def _write(
        self,
        database: sqlite3.Connection,
        select: Select,
        id_: str,
        digest: str,
        window: dict[str, Bound] | None,
        started: datetime,
    ) -> Manifest:
        draft = self._draft(id_, digest, started)
        draft = msgspec.structs.replace(draft, columns=tuple(select.columns), bounds=window, query=select.sql)
        with self.publisher.landing(draft) as landing:
            counts = ScopeCount(self.table.scope, self.relative)
            records = (_framed(i, row, select.columns) for i, row in enumerate(select.rows(database, window), start=1))
            try:
                rows, rejected = landing.frame(counts.passing(records, select.columns), select.columns)
            except MissingScopeColumn as verdict:
                landing.discard_records()
                return landing.publish(msgspec.structs.replace(draft, status="parked", reason=str(verdict)))
            complete = draft.mode == "snapshot" and rejected == 0
            return landing.publish(
                msgspec.structs.replace(draft, rows=rows, rejected=rejected, scopes=counts.scopes, complete=complete)
            )

    def _parked(self, reason: str) -> Manifest | None:
        digest = sha256(self.path)
        id_ = self.known.new_id(self.source, self.name, self.relative, digest, self.declared, self.scope)
        if id_ is None:
            return None
        draft = self._draft(id_, digest, datetime.now(UTC))
        with self.publisher.landing(draft) as landing:
            return landing.publish(msgspec.structs.replace(draft, status="parked", reason=reason))

    def _draft(self, id_: str, digest: str, started: datetime) -> Manifest:
        mode: Literal["snapshot", "changes"] = "snapshot" if self.table.mode == "snapshot" else "changes"
        return Manifest(
            id=id_, source=self.source, dataset=self.name, contract=self.contract.id,
            scope_country=self.scope.country, scope_entity=self.scope.entity, mode=mode,
            as_of=moment_of(self.declared) if self.declared else started,
            origin=self.stamp.origin(self.relative, digest), declared=self.declared, started_at=started,
            landed_at=started,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Select:
    """The statement that reads a table: every column by name, in the order of the keys."""

    table: str
    columns: list[str]
    order: list[str]
    cursor: str | None

    @classmethod
    def of(cls, table: SqliteTable, columns: list[str]) -> Select:
        absent = [c for c in (*table.keys, *([table.cursor] if table.cursor else [])) if c not in columns]
        if absent:
            raise ParkedError(
                f"the table {table.table} has no column {absent[0]}", found=", ".join(columns),
                remedy="Correct keys and cursor in conf/sources, or ask the owner",
            )  # fmt: skip
        return cls(_quoted(table.table), columns, list(table.keys) or columns, table.cursor and _quoted(table.cursor))

    @property
    def sql(self) -> str:
        names = ", ".join(_quoted(c) for c in self.columns)
        where = ""
        if self.cursor is not None:
            where = f" WHERE {self.cursor} IS NULL OR ({self._beyond} AND {self.cursor} <= :upper)"
        return f"SELECT {names} FROM {self.table}{where} ORDER BY {', '.join(_quoted(c) for c in self.order)}"

    @property
    def _beyond(self) -> str:
        return f"(:lower IS NULL OR {self.cursor} > :lower)"

    def newest(self, database: sqlite3.Connection, lower: Bound) -> Bound:
        """The greatest cursor beyond `lower`, None when there is none: fixed before the rows are read."""
        sql = f"SELECT max({self.cursor}) FROM {self.table} WHERE {self._beyond}"
        found: Bound = database.execute(sql, {"lower": lower}).fetchone()[0]
        return found

    def filled(self, database: sqlite3.Connection) -> bool:
        return database.execute(f"SELECT 1 FROM {self.table} LIMIT 1").fetchone() is not None

    def rows(self, database: sqlite3.Connection, window: dict[str, Bound] | None) -> Iterator[tuple[Value, ...]]:
        """Rows without a cursor come along with every window: they are never lost, and the history knows them again."""
        yield from database.execute(self.sql, window or {})

    def digest(self, database: sqlite3.Connection) -> str:
        """What the table holds, names and types included, as one hash."""
        total = hashlib.sha256(msgspec.json.encode(self.columns))
        for row in self.rows(database, None):
            total.update(repr(row).encode("utf-8", "surrogatepass"))
        return total.hexdigest()


def plan(
    publisher: Publisher,
    source: SqliteSource,
    name: str,
    table: SqliteTable,
    contract: Contract,
    *,
    expected: bool,
) -> Plan:
    """Look at the database files; under `raw.publishing`. expected: none at all is an error."""
    base = _base(source.database)
    found = sorted(p for p in base.glob(str(Path(source.database).relative_to(base))) if p.is_file())
    if not found:
        if expected or publisher.known.last:
            raise SourceError(
                "there is no database", where=f"source {source.source}", found=f"no {source.database}",
                expected="an SQLite file", remedy="Is it mounted? Else correct database in conf/sources.",
            )  # fmt: skip
        return Plan(notes=[f"nothing was ever delivered: there is no {source.database}"])
    memory = Known.of(publisher.known)
    takes: list[TableTake] = []
    notes: list[str] = []
    for path in found:
        relative = path.relative_to(base).as_posix()
        stamp = Stamp.of(path)
        log = path.with_name(f"{path.name}-wal")
        if memory.untouched(relative, stamp) and not (log.exists() and log.stat().st_size):
            continue
        try:
            declared = declared_date(source.declared_date, relative)
        except BadDate as error:
            notes.append(f"{relative} is ignored: {error}")
            continue
        scope = folder_scope(table.scope, relative)
        takes.append(
            TableTake(publisher, source.source, name, table, contract, path, relative, stamp, declared, scope, memory)
        )
    takes.sort(key=lambda take: (take.declared or "", take.relative))
    return Plan(takes, notes)


def _base(pattern: str) -> Path:
    """The folder above the first wildcard: paths in manifests are relative to it."""
    base = Path(pattern).parent
    while glob.has_magic(str(base)):
        base = base.parent
    return base


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30, isolation_level=None)
    database.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    return database


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _framed(position: int, row: tuple[Value, ...], names: list[str]) -> Framed:
    values = [_text(value) for value in row]
    try:
        return Framed(position, msgspec.json.encode(dict(zip(names, values, strict=True))).decode(), values)
    except UnicodeEncodeError:
        shown = [v and v.encode("utf-8", "backslashreplace").decode() for v in values]
        text = msgspec.json.encode(dict(zip(names, shown, strict=True))).decode()
        wrong = [n for n, v, s in zip(names, values, shown, strict=True) if v != s]
        return Framed(position, text, reason=f"the text in {wrong[0]} is not UTF-8")


def _text(value: Value) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str) else repr(value)
