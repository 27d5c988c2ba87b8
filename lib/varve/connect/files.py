"""Files in a folder: what is new or changed, by content and declared date, is landed once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

import msgspec

from varve.config import Dataset
from varve.connect._connector import Connector, Discovered, Finding, Plan
from varve.connect._files_model import FilesDataset, FilesSource
from varve.connect._known import Known, Stamp, sha256
from varve.connect._scopes import folder_scope
from varve.connect._takes import BadDate, declared_date, draft, extract_id, framed_into, moment_of, parked
from varve.framing import Columns, Format, FramingError, framed
from varve.model.errors import SourceError
from varve.model.scope import Scope
from varve.raw import Landing, Manifest, Publisher

_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")
_FORMATS: Final = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".parquet": "parquet"}


class FilesConnector(Connector):
    """The connector of files in a folder."""

    kind = "files"
    source = FilesSource

    def discover(self, source: FilesSource) -> Iterator[Discovered]:
        """Every file that a source may take, with the names that its first record gives."""
        for path, relative in _candidates(Path(source.root), "**/*", []):
            form = next((f.form(()) for f in source.datasets.values() if path in Path(source.root).glob(f.path)), None)
            kind = next((kind for ending, kind in _FORMATS.items() if ending in path.name.lower()), None)
            columns = Columns()
            try:
                if form is not None or kind is not None:
                    next(framed(path, form or Format(kind), columns), None)  # type: ignore[arg-type]
            except FramingError:
                pass  # it is there all the same
            yield Discovered(relative, dict.fromkeys(columns.names, "string"))

    def check(self, source: FilesSource) -> Iterator[Finding]:
        what, root = f"source {source.source}", Path(source.root)
        if not root.exists():
            # No problem: the embedded company is made by the first run, other data may be named when a graph is run.
            yield Finding(what, f"{root}: nothing there yet")
        elif not root.is_dir():
            yield Finding(what, f"{root} is no folder", "Correct root in conf/sources.")
        elif not os.access(root, os.R_OK | os.X_OK):
            yield Finding(what, f"{root} cannot be read", "Let this user read it.")
        else:
            yield Finding(what, str(root))

    def plan(self, dataset: Dataset, publisher: Publisher, *, expected: bool) -> Plan:
        """Look at the folder: a file whose name, size and times are known is not read."""
        return _plan(dataset, cast(FilesSource, dataset.system), publisher, expected=expected)


@dataclass(frozen=True, slots=True)
class FileTake:
    """One file to land, if nothing like it was taken before. notes: gets what is said of it; fault: why it is parked
    without a look inside."""

    publisher: Publisher
    known: Known
    dataset: Dataset
    path: Path
    relative: str
    stamp: Stamp
    declared: str | None
    scope: Scope
    notes: list[str]
    fault: str | None = None

    @property
    def as_of(self) -> datetime:
        """The declared date; else when the file was last written, because that is nearer to the moment of the picture
        than the landing, and keeps the order of files that land together. Never in the future."""
        if self.declared is not None:
            return moment_of(self.declared)
        return min(datetime.fromtimestamp(self.stamp.mtime_ns / 1e9, UTC), datetime.now(UTC))

    def land(self) -> Manifest | None:
        """Read the file once, into raw; it is dropped there when it is a copy, or is being written at this moment.

        A file that cannot be framed is parked with its reason."""
        with self.publisher.landing(self._draft("")) as landing:
            digest = landing.receive(self.path)
            known = self._draft(digest)
            if Stamp.of(self.path) != self.stamp:
                self.notes.append(f"{self.relative} is being written: left for the next run")
                return None
            if self.known.is_copy(known):
                self.notes.append(f"{self.relative} is a copy of a delivery that came before: left out")
                return None
            if earlier := self.known.came_earlier(known):
                self.notes.append(f"{self.relative} has the bytes of {earlier}, which is not the last: loaded as newer")
            kept = landing.keep(known)
            landed = landing.publish(
                parked(known, self.fault) if self.fault is not None else self._framed(kept, landing, known)
            )
        self.known.add(landed)
        return landed

    def _draft(self, digest: str) -> Manifest:
        """The manifest as far as it is known: a file's id is its content, and what it came after if it came back."""
        known = draft(
            self.dataset, self.scope, "", self.stamp.origin(self.relative, digest), declared=self.declared,
            as_of=self.as_of, started=datetime.now(UTC),
        )  # fmt: skip
        before = None
        if self.known.has_same_bytes(known):
            before = self.known.last_id(self.relative) or str(self.stamp.mtime_ns)
        names = (self.dataset.source, self.dataset.name, str(self.scope))
        return msgspec.structs.replace(known, id=extract_id(*names, digest, self.declared, before))

    def _framed(self, kept: Path, landing: Landing, known: Manifest) -> Manifest:
        columns = Columns()
        form = cast(FilesDataset, self.dataset.options).form([c.received_as for c in self.dataset.contract.columns])
        return framed_into(landing, known, framed(kept, form, columns), columns.names, self.dataset.scope)


def _plan(dataset: Dataset, source: FilesSource, publisher: Publisher, *, expected: bool) -> Plan:
    root, options = Path(source.root), cast(FilesDataset, dataset.options)
    if not root.is_dir():
        if expected or publisher.known.last:
            raise SourceError(
                "the folder is absent", where=f"source {dataset.source}", found=f"no {root}",
                expected="a folder with files", remedy="Is it mounted? Else correct root in conf/sources.",
            )  # fmt: skip
        return Plan(notes=[f"nothing was ever delivered: there is no {root}"])
    memory = Known.of(publisher.known)
    takes: list[FileTake] = []
    notes: list[str] = []
    for path, relative in _candidates(root, options.path, notes):
        stamp = Stamp.of(path)
        if memory.is_unchanged(relative, stamp):
            continue
        if memory.looks_unchanged(relative, stamp) and memory.has_digest(relative, sha256(path)):
            continue
        if time.time() - stamp.ctime_ns / 1e9 < options.settle_seconds:
            notes.append(f"{relative} changed less than {options.settle_seconds:g} s ago: left for the next run")
            continue
        fault = declared = None
        try:
            declared = declared_date(options.declared_date, relative)
        except BadDate as error:
            fault = str(error)
        scope = folder_scope(dataset.scope, relative)
        takes.append(FileTake(publisher, memory, dataset, path, relative, stamp, declared, scope, notes, fault))
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
