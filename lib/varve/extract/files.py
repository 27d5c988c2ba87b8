"""Files in a folder: what is new or changed, by content and declared date, is landed once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from varve.config import FilesDataset
from varve.contract import Contract
from varve.errors import SourceError
from varve.extract.framing import Columns, Format, Unreadable, framed
from varve.extract.takes import (
    BadDate,
    Known,
    MissingScopeColumn,
    Plan,
    ScopeCount,
    Stamp,
    declared_date,
    folder_scope,
    moment_of,
    sha256,
)
from varve.raw import Manifest, Publisher
from varve.scope import Scope

_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True, slots=True)
class FileTake:
    """One file to land. fault: why it is parked without a look inside."""

    publisher: Publisher
    source: str
    name: str
    dataset: FilesDataset
    contract: Contract
    id: str
    path: Path
    relative: str
    stamp: Stamp
    sha256: str
    declared: str | None
    scope: Scope
    fault: str | None = None

    @property
    def as_of(self) -> datetime:
        """The declared date; else when the file was last written, because that is nearer to the moment of the picture
        than the landing, and keeps the order of files that land together. Never in the future."""
        if self.declared is not None:
            return moment_of(self.declared)
        return min(datetime.fromtimestamp(self.stamp.mtime_ns / 1e9, UTC), datetime.now(UTC))

    def land(self) -> Manifest | None:
        """Land the file, or park it with its reason; None when it is being written at this moment."""
        draft = Manifest(
            id=self.id, source=self.source, dataset=self.name, contract=self.contract.id,
            scope_country=self.scope.country, scope_entity=self.scope.entity, mode=self.dataset.mode, as_of=self.as_of,
            origin=self.stamp.origin(self.relative, self.sha256), declared=self.declared,
            started_at=datetime.now(UTC), landed_at=datetime.now(UTC),
        )  # fmt: skip
        with self.publisher.landing(draft) as landing:
            kept = landing.receive(self.path, sha256=self.sha256)
            if kept is None:
                return None
            columns = Columns()
            counts = ScopeCount(self.dataset.scope, self.relative)
            try:
                if self.fault is not None:
                    raise Unreadable(self.fault)
                records = counts.passing(framed(kept, self._format(), columns), columns.names)
                rows, rejected = landing.frame(records, columns.names)
            except (Unreadable, MissingScopeColumn) as verdict:
                landing.discard_records()
                return landing.publish(msgspec.structs.replace(draft, status="parked", reason=str(verdict)))
            return landing.publish(
                msgspec.structs.replace(
                    draft,
                    rows=rows,
                    rejected=rejected,
                    scopes=counts.scopes,
                    columns=tuple(columns.names),
                    # A record that could not be read may be any key: absence proves nothing then.
                    complete=self.dataset.mode == "snapshot" and rejected == 0,
                    reason=f"{rejected} of {rows + rejected} records were rejected" if rejected else None,
                )
            )

    def _format(self) -> Format:
        csv = self.dataset.csv
        header = None if csv.header else tuple(c.received_as for c in self.contract.columns)
        return Format(
            self.dataset.format, delimiter=csv.delimiter, quote=csv.quote, encoding=csv.encoding, header=header,
            skip_rows=csv.skip_rows, strip=csv.strip, records=self.dataset.records,
        )  # fmt: skip


def plan(
    publisher: Publisher,
    source: str,
    root: Path,
    name: str,
    dataset: FilesDataset,
    contract: Contract,
    *,
    expected: bool,
) -> Plan:
    """Look at the folder; under `raw.publishing`. expected: an absent folder is an error."""
    if not root.is_dir():
        if expected or publisher.known.last:
            raise SourceError(
                "the folder is absent", where=f"source {source}", found=f"no {root}", expected="a folder with files",
                remedy="Is it mounted? Else correct root in conf/sources.",
            )  # fmt: skip
        return Plan(notes=[f"nothing was ever delivered: there is no {root}"])
    memory = Known.of(publisher.known)
    takes: list[FileTake] = []
    planned: set[str] = set()
    notes: list[str] = []
    for path, relative in _candidates(root, dataset.path, notes):
        stamp = Stamp.of(path)
        if memory.untouched(relative, stamp):
            continue
        if time.time() - stamp.ctime_ns / 1e9 < dataset.settle_seconds:
            notes.append(f"{relative} changed less than {dataset.settle_seconds:g} s ago: left for the next run")
            continue
        digest = sha256(path)
        if Stamp.of(path) != stamp:
            notes.append(f"{relative} is being written: left for the next run")
            continue
        fault = declared = None
        try:
            declared = declared_date(dataset.declared_date, relative)
        except BadDate as error:
            fault = str(error)
        scope = folder_scope(dataset.scope, relative)
        id_ = memory.new_id(source, name, relative, digest, declared, scope)
        if id_ is None or id_ in planned:
            continue
        planned.add(id_)
        takes.append(
            FileTake(
                publisher, source, name, dataset, contract, id_, path, relative, stamp, digest, declared, scope, fault
            )
        )
    takes.sort(key=lambda take: (take.as_of, take.relative))
    return Plan(takes, notes)


def _candidates(root: Path, pattern: str, notes: list[str]) -> Iterator[tuple[Path, str]]:
    for path in sorted(root.glob(pattern)):
        relative = path.relative_to(root)
        if not path.is_file():
            continue
        if any(part.startswith(".") for part in relative.parts) or path.name.endswith(_UNFINISHED):
            notes.append(f"{relative} looks hidden or unfinished: ignored")
            continue
        yield path, relative.as_posix()
