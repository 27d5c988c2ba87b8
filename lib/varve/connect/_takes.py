"""What an extraction is about to take, and whether it was taken before: decided by manifests, never by a counter."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from varve.config import Dataset, FromColumn, FromPath, ScopeRule
from varve.raw import Manifest, Origin, Published, Record
from varve.scope import COUNTRY, ENTITY, MIXED, UNKNOWN, Scope

Bound = str | int | float | None

_RACY_NS: Final = 2_000_000_000  # a file changed this shortly before it was read may change again in the same tick


class BadDate(Exception):  # noqa: N818  (a verdict on a name)
    """The path does not say for which date the file speaks; the message says what it says."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file looked like."""

    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def origin(self, path: str, sha256: str) -> Origin:
        return Origin(
            path=path,
            sha256=sha256,
            bytes=self.bytes,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            inode=self.inode,
        )


@dataclass(slots=True)
class Known:
    """What has been taken of one dataset: every delivery once, and the last one under each path."""

    last: dict[str, Published] = field(default_factory=dict)
    identities: set[tuple[str, str | None, Scope]] = field(default_factory=set)
    uppers: dict[Scope, Bound] = field(default_factory=dict)  # incremental: how far each scope has been read

    @classmethod
    def of(cls, published: Iterable[Published]) -> Known:
        known = cls()
        for one in published:
            known.add(one)
        return known

    def add(self, manifest: Published) -> None:
        self.last[manifest.origin.path] = manifest
        self.identities.add((manifest.origin.sha256, manifest.declared, manifest.scope))
        if manifest.bounds is not None and manifest.status == "landed":
            self.uppers[manifest.scope] = manifest.bounds["upper"]

    def untouched(self, path: str, stamp: Stamp) -> bool:
        """Whether this very file was taken as it is, so that it need not be read to know. A change of any kind shows
        in ctime, which nobody can set; what changed within two seconds before it was read is read again."""
        last = self.last.get(path)
        if last is None:
            return False
        same = last.origin == stamp.origin(path, last.origin.sha256)
        return same and max(stamp.mtime_ns, stamp.ctime_ns) < last.started_at.timestamp() * 1e9 - _RACY_NS

    def new_id(self, dataset: Dataset, path: str, sha256: str, declared: str | None, scope: Scope) -> str | None:
        """The id of this delivery, None if it was taken before.

        The same bytes for the same date under another name are a copy. Under their old name after others had come
        (A, B, A) they are a delivery of their own.
        """
        last = self.last.get(path)
        if last is not None and (last.origin.sha256, last.declared, last.scope) == (sha256, declared, scope):
            return None
        seen = (sha256, declared, scope) in self.identities
        if seen and last is None:
            return None
        return extract_id(
            dataset.source, dataset.name, str(scope), sha256, declared, last.id if seen and last else None
        )


def sha256(path: Path) -> str:
    """The digest of what the file holds now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extract_id(*parts: str | int | float | None) -> str:
    """An id that the same parts always give: a rerun after a crash goes on under the same name."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:32]


def declared_date(pattern: str | None, path: str) -> str | None:
    """The date or time in the path as ISO text in UTC, None without a pattern; raises BadDate when it is not there."""
    if pattern is None:
        return None
    match = re.search(pattern, path)
    if match is None or match[1] is None:
        raise BadDate(f"its path holds no date: {pattern!r} does not match {path!r}")
    digits = re.sub(r"\D", "", match[1])
    form = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    try:
        if form is None:
            raise ValueError("expected year, month and day, maybe hour, minute and second")
        moment = datetime.strptime(digits, form).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadDate(f"{match[1]!r} in its path is no date: {error}") from None
    return moment.date().isoformat() if len(digits) == 8 else moment.isoformat()


def moment_of(declared: str) -> datetime:
    """The UTC moment that a declared date or time means: of a date its midnight."""
    moment = datetime.fromisoformat(declared)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def draft(
    dataset: Dataset,
    scope: Scope,
    id_: str,
    origin: Origin,
    *,
    declared: str | None,
    as_of: datetime,
    started: datetime,
) -> Manifest:
    """The manifest of a take, as far as it is known before the first read."""
    return Manifest(
        id=id_, source=dataset.source, dataset=dataset.name, contract=dataset.contract.id, scope_country=scope.country,
        scope_entity=scope.entity, mode=dataset.mode, as_of=as_of, origin=origin, declared=declared,
        started_at=started, landed_at=started,
    )  # fmt: skip


def folder_scope(rule: ScopeRule, path: str) -> Scope:
    """The scope by which the extract is filed: `_mixed` where a column of the records holds it."""
    return Scope(_part(rule.country, path, COUNTRY), _part(rule.entity, path, ENTITY))


def _part(rule: str | FromPath | FromColumn, path: str, valid: str) -> str:
    if isinstance(rule, str):
        return rule
    if isinstance(rule, FromColumn):
        return MIXED
    match = re.search(rule.path, path)
    found = match[1] if match else None
    name = rule.map.get(found or "") if rule.map is not None else found
    return name if name and re.fullmatch(valid, name) else UNKNOWN


class MissingScopeColumn(Exception):  # noqa: N818  (a verdict on a file)
    """The column that says whose the records are is not among those received."""


class ScopeCount:
    """Counts rows per scope while they pass; every expected scope is there from the start, with zero."""

    def __init__(self, rule: ScopeRule, path: str) -> None:
        self._parts = (rule.country, rule.entity)
        self._fixed = folder_scope(rule, path)
        self._counts = dict.fromkeys(self._expected(), 0)
        self._rows = 0

    def passing(self, records: Iterator[Record], names: Sequence[str]) -> Iterator[Record]:
        """The same records, counted. Raises MissingScopeColumn at the end when there are records and no such column."""
        if MIXED not in (self._fixed.country, self._fixed.entity):
            for record in records:
                self._rows += record.reason is None
                yield record
            self._counts[self._fixed] = self._rows
            return
        for record in records:
            if record.reason is None:
                scope = Scope(*(self._value(i, record, names) for i in (0, 1)))
                self._counts[scope] = self._counts.get(scope, 0) + 1
                self._rows += 1
            yield record
        absent = [p.column for p in self._parts if isinstance(p, FromColumn) and p.column not in names]
        if absent and self._rows:
            raise MissingScopeColumn(
                f"the column {absent[0]!r}, which says whose a record is, is missing; found {list(names)[:20]}"
            )

    @property
    def scopes(self) -> dict[str, int]:
        return {str(scope): rows for scope, rows in sorted(self._counts.items())}

    def _expected(self) -> list[Scope]:
        country, entity = self._parts
        if isinstance(country, FromColumn) and isinstance(entity, FromColumn) and country.column == entity.column:
            return [Scope(country.map[value], entity.map[value]) for value in country.map if value in entity.map]
        if isinstance(country, FromColumn) and isinstance(entity, FromColumn):
            return []  # two columns: which combinations exist only the records know, and none is proved absent
        countries = sorted(set(country.map.values())) if isinstance(country, FromColumn) else [self._fixed.country]
        entities = sorted(set(entity.map.values())) if isinstance(entity, FromColumn) else [self._fixed.entity]
        return [Scope(c, e) for c in countries for e in entities]

    def _value(self, index: int, record: Record, names: Sequence[str]) -> str:
        part = self._parts[index]
        if not isinstance(part, FromColumn):
            return (self._fixed.country, self._fixed.entity)[index]
        place = names.index(part.column) if part.column in names else -1
        value = record.values[place] if 0 <= place < len(record.values) else None
        return part.map.get(value or "", UNKNOWN)
