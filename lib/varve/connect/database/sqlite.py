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
from typing import Annotated, Literal, Self, cast

import msgspec
from pydantic import Field

from varve.config import Dataset
from varve.config.sources import PathPattern, absolute
from varve.connect._connector import Connector, Discovered, Finding, Plan
from varve.connect._takes import (
    BadDate,
    Bound,
    Known,
    MissingScopeColumn,
    ScopeCount,
    Stamp,
    declared_date,
    draft,
    extract_id,
    folder_scope,
    moment_of,
    sha256,
)
from varve.connect.database._tables import DatabaseSource, TableOptions
from varve.errors import ParkedError, SourceError
from varve.framing import Framed
from varve.raw import Manifest, Publisher
from varve.scope import Scope

Value = str | int | float | bytes | None


class SqliteSource(DatabaseSource):
    """An SQLite database."""

    kind: Literal["sqlite"]
    database: Annotated[str, Field(min_length=1)]
    """The database file, relative to the folder that holds conf; or a glob, when each copy is a file of its own."""
    declared_date: PathPattern | None = None
    """Regular expression with one group on that path: when the copy was taken; absent: when it is read."""

    def resolved(self, folder: Path) -> Self:
        return self.model_copy(update={"database": absolute(self.database, folder)})

    @property
    def files(self) -> list[Path]:
        """The database files that are there."""
        base = _base(self.database)
        return sorted(p for p in base.glob(str(Path(self.database).relative_to(base))) if p.is_file())


class Sqlite(Connector):
    """The connector of SQLite databases."""

    kind = "sqlite"
    source = SqliteSource

    def discover(self, source: SqliteSource) -> Iterator[Discovered]:
        """The tables of the last database file."""
        for path in source.files[-1:]:
            with closing(_connect(path)) as database:
                for table in _tables(database):
                    columns = database.execute(f"PRAGMA table_info({_quoted(table)})")
                    yield Discovered(table, {row[1]: row[2] for row in columns})

    def check(self, source: SqliteSource) -> Iterator[Finding]:
        what, files = f"source {source.source}", source.files
        if not files:
            yield Finding(what, f"{source.database}: nothing there yet")
            return
        try:
            with closing(_connect(files[-1])) as database:
                there = _tables(database)
        except sqlite3.Error as error:
            yield Finding(what, f"{files[-1]} cannot be read: {error}", "Is it an SQLite database? Correct database.")
            return
        names = [options.table or entry for entry, options in source.tables.items()]
        if absent := [name for name in names if name not in there]:
            found = f"{files[-1]} has no table {absent[0]}, it has {', '.join(there) or 'none'}"
            yield Finding(what, found, "Correct its name in conf/sources.")
        else:
            yield Finding(what, source.database)

    def plan(self, dataset: Dataset, publisher: Publisher, *, expected: bool) -> Plan:
        """Look at the database files: one that was taken as it is, is not opened."""
        return _plan(dataset, cast(SqliteSource, dataset.system), publisher, expected=expected)


@dataclass(frozen=True, slots=True)
class TableTake:
    """One table of one database file. table: its name there."""

    publisher: Publisher
    dataset: Dataset
    table: str
    options: TableOptions
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
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({_quoted(self.table)})")]
        if not columns:
            raise ParkedError(
                f"the database has no table {self.table}", where=str(self.path),
                found=", ".join(_tables(database)) or "no table at all", remedy="Correct its name in conf/sources.",
            )  # fmt: skip
        started = datetime.now(UTC)
        after = self.known.uppers.get(self.scope)
        select = Select.of(self.table, self.options, columns)
        upper: Bound = None
        if self.options.cursor is not None:
            upper = select.newest(database, after)
            if upper is None and (after is not None or not select.filled(database)):
                return None
            digest = ""
            id_ = extract_id(self.dataset.source, self.dataset.name, str(self.scope), self.declared, after, upper)
        else:
            digest = select.digest(database)
            found = self.known.new_id(self.dataset, self.relative, digest, self.declared, self.scope)
            if found is None:
                return None
            id_ = found
        window: dict[str, Bound] = {"lower": after, "upper": upper}
        return self._write(database, select, id_, digest, window if self.options.cursor else None, started)

    def _write(
        self,
        database: sqlite3.Connection,
        select: Select,
        id_: str,
        digest: str,
        window: dict[str, Bound] | None,
        started: datetime,
    ) -> Manifest:
        known = self._draft(id_, digest, started)
        known = msgspec.structs.replace(known, columns=tuple(select.columns), bounds=window, query=select.sql)
        with self.publisher.landing(known) as landing:
            counts = ScopeCount(self.dataset.scope, self.relative)
            records = (_framed(i, row, select.columns) for i, row in enumerate(select.rows(database, window), start=1))
            try:
                rows, rejected = landing.frame(counts.passing(records, select.columns), select.columns)
            except MissingScopeColumn as verdict:
                landing.discard_records()
                return landing.publish(msgspec.structs.replace(known, status="parked", reason=str(verdict)))
            complete = known.mode == "snapshot" and rejected == 0
            return landing.publish(
                msgspec.structs.replace(known, rows=rows, rejected=rejected, scopes=counts.scopes, complete=complete)
            )

    def _parked(self, reason: str) -> Manifest | None:
        digest = sha256(self.path)
        id_ = self.known.new_id(self.dataset, self.relative, digest, self.declared, self.scope)
        if id_ is None:
            return None
        known = self._draft(id_, digest, datetime.now(UTC))
        with self.publisher.landing(known) as landing:
            return landing.publish(msgspec.structs.replace(known, status="parked", reason=reason))

    def _draft(self, id_: str, digest: str, started: datetime) -> Manifest:
        return draft(
            self.dataset, self.scope, id_, self.stamp.origin(self.relative, digest), declared=self.declared,
            as_of=moment_of(self.declared) if self.declared else started, started=started,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Select:
    """The statement that reads a table: every column by name, in the order of the keys."""

    table: str
    columns: list[str]
    order: list[str]
    cursor: str | None

    @classmethod
    def of(cls, table: str, options: TableOptions, columns: list[str]) -> Select:
        absent = [c for c in (*options.keys, *([options.cursor] if options.cursor else [])) if c not in columns]
        if absent:
            raise ParkedError(
                f"the table {table} has no column {absent[0]}", found=", ".join(columns),
                remedy="Correct keys and cursor in conf/sources, or ask the owner",
            )  # fmt: skip
        order = list(options.keys) or columns
        return cls(_quoted(table), columns, order, options.cursor and _quoted(options.cursor))

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


def _plan(dataset: Dataset, source: SqliteSource, publisher: Publisher, *, expected: bool) -> Plan:
    if not source.files:
        if expected or publisher.known.last:
            raise SourceError(
                "there is no database", where=f"source {source.source}", found=f"no {source.database}",
                expected="an SQLite file", remedy="Is it mounted? Else correct database in conf/sources.",
            )  # fmt: skip
        return Plan(notes=[f"nothing was ever delivered: there is no {source.database}"])
    memory = Known.of(publisher.known)
    takes: list[TableTake] = []
    notes: list[str] = []
    table, options = source.table_named(dataset.name), cast(TableOptions, dataset.options)
    for path in source.files:
        relative = path.relative_to(_base(source.database)).as_posix()
        stamp = Stamp.of(path)
        log = path.with_name(f"{path.name}-wal")
        if memory.untouched(relative, stamp) and not (log.exists() and log.stat().st_size):
            continue
        try:
            declared = declared_date(source.declared_date, relative)
        except BadDate as error:
            notes.append(f"{relative} is ignored: {error}")
            continue
        scope = folder_scope(dataset.scope, relative)
        takes.append(TableTake(publisher, dataset, table, options, path, relative, stamp, declared, scope, memory))
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


def _tables(database: sqlite3.Connection) -> list[str]:
    found = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1")
    return [row[0] for row in found]


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
