"""What `conf/sources` states of files in a folder: where they lie, and how they are written."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from varve.config import DatasetOptions, Source
from varve.config.sources import PathPattern, absolute
from varve.framing import Format
from varve.model.fields import Count, Flag, Model, Name, wrong


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
        """How framing reads the files. header: the names of the columns, for files that have none."""
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
