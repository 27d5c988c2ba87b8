"""SQLite databases: whole tables, or the rows of a window, read in one transaction.

SQLite types values, not columns: a column whose values are of one type keeps it, one that mixes them lands as text,
made in Python by the type of each value (SQLite's cast of a real to text keeps 15 digits, `repr` keeps all).
A live database is one file; nightly copies are a glob with the date in their path.
"""

from __future__ import annotations

import glob
import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Final, Literal, Self, cast

import msgspec
import pyarrow as pa
from pydantic import Field

from varve.config import Dataset, FromColumn, ScopeRule
from varve.config.sources import PathPattern, absolute
from varve.connect._connector import Connector, Discovered, Finding, Plan
from varve.connect._known import Known, Stamp, sha256
from varve.connect._scopes import folder_scope
from varve.connect._takes import BadDate, Bound, declared_date, draft, extract_id, framed_into, moment_of, parked
from varve.connect.database._tables import DatabaseSource, TableOptions
from varve.connect.database._windows import CursorWindow, Overlap
from varve.framing import FramedRecord, TypedRecords
from varve.model.errors import ParkedError, SourceError
from varve.model.scope import Scope
from varve.raw import Landing, Manifest, Publisher

Value = str | int | float | bytes | None
Values = tuple[Value, ...]

_TYPES: Final = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
_MOST_CELLS: Final = 1_000_000  # of one batch in memory


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
    looks_unchanged: bool
    declared: str | None
    scope: Scope
    known: Known

    def land(self) -> Manifest | None:
        """Land what is new; None when nothing is. A damaged database is parked."""
        try:
            with closing(_connect(self.path)) as database:
                database.execute("BEGIN")  # deferred: the first read fixes the picture for all that follow
                table = Table.of(database, self.path, self.table, self.options, self.dataset.scope)
                landed = self._snapshot(table) if self.options.cursor is None else self._window(table)
        except sqlite3.OperationalError as error:
            raise SourceError("the database cannot be read", where=str(self.path), found=error) from error
        except sqlite3.DatabaseError as error:
            landed = self._parked(f"damaged database, maybe cut off: {error}")
        if landed is not None:
            self.known.add(landed)
        return landed

    def _snapshot(self, table: Table) -> Manifest | None:
        """All rows, unless they are those that landed last: their digest is taken while they are written."""
        if self.looks_unchanged and self.known.has_digest(self.relative, table.digest()):
            return None
        known = self._draft(extract_id(*self._names, self.relative, self.declared, self.known.last_id(self.relative)))
        total = table.hash()
        with self.publisher.landing(known) as landing:
            framed = self._framed(landing, known, table, _hashed(table.rows(), total))
            framed = msgspec.structs.replace(framed, origin=self.stamp.origin(self.relative, total.hexdigest()))
            return None if self.known.is_known(framed) else landing.publish(framed)

    def _window(self, table: Table) -> Manifest | None:
        """The rows between the last bound and the newest that did not land yet."""
        last = self.known.windows.get(self.scope)
        window = CursorWindow.after(last, table.newest(), self.options.lag)
        overlap = Overlap.of(self.publisher.dataset, last)
        rows = overlap.new(table.rows(window))
        first = next(rows, None)
        if first is None:
            return None
        id_ = extract_id(*self._names, self.declared, window.lower, window.upper, None if last is None else last.id)
        bounds: dict[str, Bound] = {"lower": window.lower, "upper": window.upper}
        known = msgspec.structs.replace(self._draft(id_), bounds=bounds)
        with self.publisher.landing(known) as landing:
            framed = self._framed(landing, known, table, chain([first], rows), window)
            landing.add_overlap(overlap.content, len(overlap.digests))
            return landing.publish(framed)

    def _framed(
        self,
        landing: Landing,
        known: Manifest,
        table: Table,
        rows: Iterator[Values],
        window: CursorWindow | None = None,
    ) -> Manifest:
        known = msgspec.structs.replace(known, query=table.select(window))
        batches = _batches(rows, table.columns, table.types(window))
        return framed_into(landing, known, batches, table.columns, self.dataset.scope)

    def _parked(self, reason: str) -> Manifest | None:
        id_ = extract_id(*self._names, self.relative, self.declared, self.known.last_id(self.relative))
        known = msgspec.structs.replace(self._draft(id_), origin=self.stamp.origin(self.relative, sha256(self.path)))
        if self.known.is_known(known):
            return None
        with self.publisher.landing(known) as landing:
            return landing.publish(parked(known, reason))

    @property
    def _names(self) -> tuple[str, str, str]:
        return (self.dataset.source, self.dataset.name, str(self.scope))

    def _draft(self, id_: str) -> Manifest:
        started = datetime.now(UTC)
        return draft(
            self.dataset, self.scope, id_, self.stamp.origin(self.relative, ""), declared=self.declared,
            as_of=moment_of(self.declared) if self.declared else started, started=started,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """A table in an open transaction, every column by name, in the order of the keys. declared: the columns' types as
    the table states them, which binds no value."""

    database: sqlite3.Connection
    name: str
    columns: list[str]
    declared: list[str]
    order: list[str]
    cursor: str | None

    @classmethod
    def of(cls, database: sqlite3.Connection, path: Path, name: str, options: TableOptions, scope: ScopeRule) -> Table:
        """The table as configured; raises ParkedError when the database has it otherwise."""
        found = [row[1:3] for row in database.execute(f"PRAGMA table_info({_quoted(name)})")]
        if not found:
            raise ParkedError(
                f"the database has no table {name}", where=str(path),
                found=", ".join(_tables(database)) or "no table at all", remedy="Correct its name in conf/sources.",
            )  # fmt: skip
        columns = [column for column, _ in found]
        needed = [*options.keys, *([options.cursor] if options.cursor else [])]
        needed += [part.column for part in (scope.country, scope.entity) if isinstance(part, FromColumn)]
        if absent := [column for column in needed if column not in columns]:
            raise ParkedError(
                f"the table {name} has no column {absent[0]}", where=str(path), found=", ".join(columns),
                remedy="Correct keys, cursor and scope in conf/sources, or ask the owner",
            )  # fmt: skip
        cursor = options.cursor and _quoted(options.cursor)
        return cls(database, _quoted(name), columns, [kind for _, kind in found], [*options.keys] or columns, cursor)

    def select(self, window: CursorWindow | None) -> str:
        """The statement that reads the rows; a mark ends those of a window that the next one reads too."""
        mark = "" if window is None else f", {self.cursor} IS NULL OR {self.cursor} >= :overlap"
        order = ", ".join(_quoted(c) for c in self.order)
        return f"SELECT {self._names}{mark} FROM {self.name}{self._where(window)} ORDER BY {order}"

    def rows(self, window: CursorWindow | None = None) -> Iterator[Values]:
        """The rows of `select`, one by one. window: None = the whole table."""
        yield from self.database.execute(self.select(window), {} if window is None else asdict(window))

    def newest(self) -> Bound:
        """The greatest cursor value, None when no row has one."""
        newest: Bound = self.database.execute(f"SELECT max({self.cursor}) FROM {self.name}").fetchone()[0]
        return newest

    def types(self, window: CursorWindow | None) -> list[pa.DataType]:
        """The type of each column, asked of all its values before they are read."""
        asked = ", ".join(f"group_concat(DISTINCT typeof({_quoted(c)}))" for c in self.columns)
        sql = f"SELECT {asked} FROM {self.name}{self._where(window)}"
        found = self.database.execute(sql, {} if window is None else asdict(window)).fetchone()
        return [_type(said or "", declared) for said, declared in zip(found, self.declared, strict=True)]

    def hash(self) -> hashlib._Hash:
        """The beginning of the digest of what the table holds."""
        return hashlib.sha256(msgspec.json.encode(self.columns))

    def digest(self) -> str:
        """What the table holds, names and types included, as one hash."""
        total = self.hash()
        for _ in _hashed(self.rows(), total):
            pass
        return total.hexdigest()

    @property
    def _names(self) -> str:
        return ", ".join(_quoted(c) for c in self.columns)

    def _where(self, window: CursorWindow | None) -> str:
        if window is None:
            return ""
        lower = "" if window.lower is None else f"{self.cursor} >= :lower AND "
        return f" WHERE {self.cursor} IS NULL OR ({lower}{self.cursor} <= :upper)"


def _hashed(rows: Iterator[Values], total: hashlib._Hash) -> Iterator[Values]:
    """The same rows, added to the digest."""
    for row in rows:
        total.update(repr(row).encode("utf-8", "surrogatepass"))
        yield row


def _type(said: str, declared: str) -> pa.DataType:
    """The type of a column. said: those of its values; declared: what counts where all of them are null."""
    kinds = {kind for kind in said.split(",") if kind not in ("", "null")}
    if not kinds:
        name = declared.upper()
        kinds = {"integer"} if "INT" in name else {"real"} if re.search("REAL|FLOA|DOUB", name) else {"text"}
    return _TYPES.get(kinds.pop(), pa.string()) if len(kinds) == 1 else pa.string()


def _batches(
    rows: Iterator[Values], names: list[str], types: Sequence[pa.DataType]
) -> Iterator[FramedRecord | TypedRecords]:
    """The rows in batches, at least one; a row whose text is not UTF-8 is rejected."""
    size, position = max(1, _MOST_CELLS // len(names)), 1
    while (held := list(islice(rows, size))) or position == 1:
        numbered = list(enumerate(held, start=position))
        position += max(1, len(held))
        try:
            yield _batch(numbered, types)
        except UnicodeEncodeError:
            rejects = [reject for at, row in numbered if (reject := _reject(at, row, names)) is not None]
            yield from rejects
            bad = {reject.position for reject in rejects}
            yield _batch([(at, row) for at, row in numbered if at not in bad], types)


def _batch(numbered: Sequence[tuple[int, Values]], types: Sequence[pa.DataType]) -> TypedRecords:
    columns = zip(*(row for _, row in numbered), strict=True) if numbered else ((),) * len(types)
    fields = [
        pa.array(map(_text, values) if kind == pa.string() else values, kind)
        for values, kind in zip(columns, types, strict=True)
    ]
    return TypedRecords(pa.array([at for at, _ in numbered], pa.int64()), fields)


def _reject(position: int, row: Values, names: list[str]) -> FramedRecord | None:
    values = [_text(value) for value in row]
    shown = [v and v.encode("utf-8", "backslashreplace").decode() for v in values]
    wrong = [n for n, v, s in zip(names, values, shown, strict=True) if v != s]
    text = msgspec.json.encode(dict(zip(names, shown, strict=True))).decode()
    return FramedRecord(position, text, reason=f"the text in {wrong[0]} is not UTF-8") if wrong else None


def _text(value: Value) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str) else repr(value)


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
        is_quiet = not (log.exists() and log.stat().st_size)
        if is_quiet and memory.is_unchanged(relative, stamp):
            continue
        try:
            declared = declared_date(source.declared_date, relative)
        except BadDate as error:
            notes.append(f"{relative} is ignored: {error}")
            continue
        scope = folder_scope(dataset.scope, relative)
        looks_unchanged = is_quiet and memory.looks_unchanged(relative, stamp)
        takes.append(
            TableTake(
                publisher, dataset, table, options, path, relative, stamp, looks_unchanged, declared, scope, memory
            )
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


def _tables(database: sqlite3.Connection) -> list[str]:
    found = database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY 1")
    return [row[0] for row in found]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
