"""What an extraction is about to take, and whether it was taken before: decided by manifests, never by a counter."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from varve.config import Dataset, FromColumn, FromPath, ScopeRule
from varve.framing import Framed, TypedRecords, Unreadable, texts
from varve.model.scope import COUNTRY, ENTITY, MIXED, UNKNOWN, Scope
from varve.raw import Landing, Manifest, Origin, Published

Bound = str | int | float | None
Identity = tuple[str, str | None, Scope]  # digest, declared date and scope of a delivery

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
        """What the file system says of a file now. Raises OSError when it is gone."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def origin(self, path: str, sha256: str) -> Origin:
        """Where the extract is from, as its manifest says it."""
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
    identities: set[Identity] = field(default_factory=set)
    windows: dict[Scope, Published] = field(default_factory=dict)  # incremental: the last one of each scope

    @classmethod
    def of(cls, published: Iterable[Published]) -> Known:
        """What has been taken, in the order of publication."""
        known = cls()
        for one in published:
            known.add(one)
        return known

    def add(self, manifest: Published) -> None:
        """Remember one more delivery, the last one of its path from now on."""
        self.last[manifest.origin.path] = manifest
        self.identities.add(_identity(manifest))
        if manifest.bounds is not None and manifest.status == "landed":
            self.windows[manifest.scope] = manifest

    def untouched(self, path: str, stamp: Stamp) -> bool:
        """Whether this very file was taken as it is, so that it need not be read to know. A change of any kind shows
        in ctime, which nobody can set; what changed within two seconds before it was read may have changed again."""
        last = self.last.get(path)
        if last is None or not self.looks_taken(path, stamp):
            return False
        return max(stamp.mtime_ns, stamp.ctime_ns) < last.started_at.timestamp() * 1e9 - _RACY_NS

    def looks_taken(self, path: str, stamp: Stamp) -> bool:
        """Whether the file looks as it did when it was taken: then its digest is taken first, and it is not copied."""
        last = self.last.get(path)
        return last is not None and last.origin == stamp.origin(path, last.origin.sha256)

    def holds(self, path: str, digest: str) -> bool:
        """Whether the last extract of that path has this digest."""
        return path in self.last and self.last[path].origin.sha256 == digest

    def has(self, delivery: Manifest) -> bool:
        """Whether this delivery was taken before.

        The same bytes for the same date under another name are a copy. Under their old name after others had come
        (A, B, A) they are a delivery of their own.
        """
        last = self.last.get(delivery.origin.path)
        same = _identity(delivery)
        return same in self.identities if last is None else same == _identity(last)

    def seen(self, delivery: Manifest) -> bool:
        """Whether the same bytes came before for the same date, under whatever name."""
        return _identity(delivery) in self.identities

    def before(self, path: str) -> str | None:
        """The id of the last extract of that path."""
        last = self.last.get(path)
        return None if last is None else last.id


def _identity(delivery: Published) -> Identity:
    return (delivery.origin.sha256, delivery.declared, delivery.scope)


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


def framed_into(
    landing: Landing, known: Manifest, records: Iterable[Framed | TypedRecords], names: Sequence[str], rule: ScopeRule
) -> Manifest:
    """Frame the records; returns the manifest to be published, a parked one where they cannot be framed.

    known: the manifest as far as it is known; names: those of the columns, they may grow while the records are read."""
    counts = ScopeCount(rule, known.origin.path)
    try:
        rows, rejected = landing.frame(counts.passing(records, names), names)
    except (Unreadable, MissingScopeColumn) as verdict:
        landing.discard_records()
        return parked(known, str(verdict))
    return msgspec.structs.replace(
        known,
        rows=rows,
        rejected=rejected,
        scopes=counts.scopes,
        columns=tuple(names),
        # A record that could not be read may be any key: absence proves nothing then.
        complete=known.mode == "snapshot" and rejected == 0,
        reason=f"{rejected} of {rows + rejected} records were rejected" if rejected else None,
    )


def parked(known: Manifest, reason: str) -> Manifest:
    """The manifest of an extract that nobody can use."""
    return msgspec.structs.replace(known, status="parked", reason=reason)


class MissingScopeColumn(Exception):  # noqa: N818  (a verdict on a file)
    """The column that says whose the records are is not among those received."""


class ScopeCount:
    """Counts rows per scope while they pass; every expected scope is there from the start, with zero."""

    def __init__(self, rule: ScopeRule, path: str) -> None:
        self._parts = (rule.country, rule.entity)
        self._fixed = folder_scope(rule, path)
        self._counts = dict.fromkeys(self._expected(), 0)
        self._scopes: dict[tuple[str | None, ...], Scope] = {}
        self._rows = 0

    def passing(
        self, records: Iterable[Framed | TypedRecords], names: Sequence[str]
    ) -> Iterator[Framed | TypedRecords]:
        """The same records, counted. Raises MissingScopeColumn at the end when there are records and no such column."""
        for record in records:
            if isinstance(record, TypedRecords):
                for values, rows in self._counted(record, names).items():
                    self._add(values, rows)
            elif record.reason is None:
                self._add(tuple(_value(record.values, place) for place in self._places(names)), 1)
            yield record
        absent = [p.column for p in self._parts if isinstance(p, FromColumn) and p.column not in names]
        if absent and self._rows:
            raise MissingScopeColumn(
                f"the column {absent[0]!r}, which says whose a record is, is missing; found {list(names)[:20]}"
            )

    def _counted(self, batch: TypedRecords, names: Sequence[str]) -> Mapping[tuple[str | None, ...], int]:
        """Rows by what their columns say of country and entity."""
        places, rows = self._places(names), len(batch.positions)
        if places == [None, None]:
            return {(None, None): rows}
        said = ([None] * rows if place is None else texts(batch.fields[place]) for place in places)
        return Counter(zip(*said, strict=True))

    def _places(self, names: Sequence[str]) -> list[int | None]:
        """For country and entity the place of the column that holds it, if one does."""
        columns = [part.column if isinstance(part, FromColumn) else None for part in self._parts]
        return [names.index(column) if column in names else None for column in columns]

    def _add(self, values: tuple[str | None, ...], rows: int) -> None:
        """Count rows. values: what their columns say of country and entity."""
        scope = self._scopes.get(values)
        if scope is None:
            said = zip(self._parts, self._fixed, values, strict=True)
            named = (p.map.get(v or "", UNKNOWN) if isinstance(p, FromColumn) else fixed for p, fixed, v in said)
            scope = self._scopes[values] = Scope(*named)
        self._counts[scope] = self._counts.get(scope, 0) + rows
        self._rows += rows

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


def _value(values: Sequence[str | None], place: int | None) -> str | None:
    return values[place] if place is not None and place < len(values) else None
