"""Whose rows an extract holds: the scope of its folder, and the rows of each scope."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from varve.config import FromColumn, FromPath, ScopeRule
from varve.framing import FramedRecord, TypedRecords, texts
from varve.model.scope import COUNTRY, ENTITY, MIXED, UNKNOWN, Scope


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
        self._scopes: dict[tuple[str | None, ...], Scope] = {}
        self._rows = 0

    def passing(
        self, records: Iterable[FramedRecord | TypedRecords], names: Sequence[str]
    ) -> Iterator[FramedRecord | TypedRecords]:
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
