"""Files in a folder: what is new or changed, by content and declared date, is landed once."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self, cast

import msgspec
from pydantic import AfterValidator, Field, model_validator

from varve.config import Dataset, DatasetOptions, Source
from varve.config.sources import PathPattern, absolute
from varve.connect._connector import Connector, Discovered, Finding, Plan
from varve.connect._takes import (
    BadDate,
    Known,
    Stamp,
    declared_date,
    draft,
    extract_id,
    folder_scope,
    framed_into,
    moment_of,
    parked,
    sha256,
)
from varve.framing import Columns, Format, Unreadable, framed
from varve.model.errors import SourceError
from varve.model.fields import Count, Flag, Model, Name, wrong
from varve.model.scope import Scope
from varve.raw import Landing, Manifest, Publisher

_UNFINISHED: Final = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")
_FORMATS: Final = {".csv": "csv", ".json": "json", ".ndjson": "ndjson", ".parquet": "parquet"}


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise wrong("the encoding is unknown", found=name, expected="utf-8, cp1252, latin-1 …") from None
    return name


class Csv(Model):
    """How a CSV file is written."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    null_values: tuple[str, ...] = ("",)
    """Texts that mean null."""
    header: Flag = True
    """The first record holds the names; else the contract's order counts."""
    skip_rows: Count = 0
    """[records] before the header."""
    strip: Flag = False
    """Blanks around names and values are no data, as in `1.1684, 186.75`."""


class FilesDataset(DatasetOptions):
    """Files of one kind in a folder."""

    path: Annotated[str, Field(min_length=1)]
    """Glob relative to root, such as claims/**/*.csv.gz."""
    format: Literal["csv", "json", "ndjson", "parquet"]
    """What is inside; gzip and zip are recognised by content."""
    csv: Csv = Field(default_factory=Csv)
    records: str | None = None
    """json only: the path to the array of records, steps joined by dots, numbers index arrays; absent: the document."""
    mode: Literal["snapshot", "changes"] = "snapshot"
    """snapshot: a file holds all rows of its scope, so absence means deleted; changes: only what changed."""
    declared_date: PathPattern | None = None
    """Regular expression with one group on the relative path: the date or time that the file speaks for."""
    settle_seconds: Annotated[float, Field(ge=0)] = 0
    """A file changed more recently than this waits for the next run: for senders that write slowly and in place."""

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> FilesDataset:
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise wrong("csv options on another format", found=f"format {self.format}", field="csv")
        if self.format != "json" and self.records is not None:
            raise wrong("records belongs to format json", found=f"format {self.format}", field="records")
        return self

    @property
    def null_values(self) -> tuple[str, ...]:
        return self.csv.null_values if self.format == "csv" else ()

    def form(self, header: Sequence[str]) -> Format:
        """How the files are written. header: the names where a file has none."""
        return Format(
            self.format, delimiter=self.csv.delimiter, quote=self.csv.quote, encoding=self.csv.encoding,
            header=None if self.csv.header else header, skip_rows=self.csv.skip_rows, strip=self.csv.strip,
            records=self.records,
        )  # fmt: skip


class FilesSource(Source):
    """Files in a folder."""

    kind: Literal["files"]
    root: Annotated[str, Field(min_length=1)]
    """A folder, relative to the folder that holds conf."""
    datasets: Annotated[Mapping[Name, FilesDataset], Field(min_length=1)]

    def resolved(self, folder: Path) -> Self:
        return self.moved(absolute(self.root, folder))

    def moved(self, root: str) -> Self:
        return self.model_copy(update={"root": root})


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
            except Unreadable:
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
    """One file to land, if nothing like it was taken before. fault: why it is parked without a look inside."""

    publisher: Publisher
    known: Known
    dataset: Dataset
    path: Path
    relative: str
    stamp: Stamp
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
        """Read the file once, into raw; it is dropped there when it is a copy, or is being written at this moment.

        A file that cannot be framed is parked with its reason."""
        with self.publisher.landing(self._draft("")) as landing:
            digest = landing.receive(self.path)
            known = self._draft(digest)
            if Stamp.of(self.path) != self.stamp or self.known.has(known):
                return None
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
        before = self.known.before(self.relative) if self.known.seen(known) else None
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
        if memory.untouched(relative, stamp):
            continue
        if memory.looks_taken(relative, stamp) and memory.holds(relative, sha256(path)):
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
        takes.append(FileTake(publisher, memory, dataset, path, relative, stamp, declared, scope, fault))
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
