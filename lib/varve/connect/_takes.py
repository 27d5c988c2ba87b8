"""The manifest of an extract, drafted before the first read and completed by framing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from varve.config import Dataset, ScopeRule
from varve.connect._scopes import MissingScopeColumn, ScopeCount
from varve.framing import FramedRecord, FramingError, TypedRecords
from varve.model.scope import Scope
from varve.raw import Landing, Manifest, Origin

Bound = str | int | float | None


class BadDate(Exception):  # noqa: N818  (a verdict on a name)
    """The path does not say for which date the file speaks; the message says what it says."""


def extract_id(*parts: str | int | float | None) -> str:
    """An id of 32 hexadecimal digits that the same parts always give, so that a rerun goes on under the same name."""
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
    """The manifest of an extract, as far as it is known before the first read.

    declared: the date or time that it speaks for, ISO; as_of: when the picture was taken (UTC); started: now (UTC)."""
    return Manifest(
        id=id_, source=dataset.source, dataset=dataset.name, contract=dataset.contract.id, scope_country=scope.country,
        scope_entity=scope.entity, mode=dataset.mode, as_of=as_of, origin=origin, declared=declared,
        started_at=started, landed_at=started,
    )  # fmt: skip


def framed_into(
    landing: Landing,
    known: Manifest,
    records: Iterable[FramedRecord | TypedRecords],
    names: Sequence[str],
    rule: ScopeRule,
) -> Manifest:
    """Write the records into the landing; returns the manifest to publish, a parked one where framing fails.

    known: the manifest as far as it is known; names: those of the columns, they may grow while the records are read."""
    counts = ScopeCount(rule, known.origin.path)
    try:
        rows, rejected = landing.frame(counts.passing(records, names), names)
    except (FramingError, MissingScopeColumn) as verdict:
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
    """The same manifest as that of a parked extract, which waits for a person. reason: what is wrong with it."""
    return msgspec.structs.replace(known, status="parked", reason=reason)
