"""Sources: how to reach a system, what to take from it and how (`conf/sources/*.yml`)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Discriminator, Field, Tag, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from varve.config.models import COUNTRY, ENTITY, Count, Flag, Model, Name


def _one_group(pattern: str) -> str:
    """A regular expression with exactly one group: the part of the path that is wanted."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise PydanticCustomError(
            "pattern", "this is no regular expression", {"found": f"{pattern}: {error}"}
        ) from None
    if groups != 1:
        raise PydanticCustomError(
            "pattern",
            "the expression must have one group",
            {"found": f"{groups} groups in {pattern}", "expected": "one (…)"},
        )
    return pattern


PathPattern = Annotated[str, Field(min_length=1), AfterValidator(_one_group)]


class FromPath(Model):
    """A part of the scope that stands in the path of the file."""

    path: PathPattern
    """Regular expression with one group, searched in the path relative to root."""
    map: Mapping[str, str] | None = None
    """What the group holds -> the name in the lake; absent: as it is."""


class FromColumn(Model):
    """A part of the scope that stands in a column of the records: raw says _mixed, bronze splits."""

    column: Annotated[str, Field(min_length=1)]
    """The column's name as received."""
    map: Annotated[Mapping[str, str], Field(min_length=1)]
    """Every expected value -> the name in the lake; a value that is not listed becomes _unknown."""


def _scope_part(value: Any) -> str:
    if isinstance(value, FromPath) or (isinstance(value, dict) and "path" in value):
        return "from path"
    if isinstance(value, (FromColumn, dict)):
        return "from column"
    return "as it stands"


Country = Annotated[
    Annotated[str, Field(pattern=COUNTRY), Tag("as it stands")]
    | Annotated[FromPath, Tag("from path")]
    | Annotated[FromColumn, Tag("from column")],
    Discriminator(_scope_part),
]
Entity = Annotated[
    Annotated[str, Field(pattern=ENTITY), Tag("as it stands")]
    | Annotated[FromPath, Tag("from path")]
    | Annotated[FromColumn, Tag("from column")],
    Discriminator(_scope_part),
]


class ScopeRule(Model):
    """Which country and entity the rows belong to. Reference data has _all, what is not assigned yet _unknown."""

    country: Country
    entity: Entity


def _known_encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise PydanticCustomError(
            "encoding", "the encoding is unknown", {"found": name, "expected": "utf-8, cp1252, latin-1 …"}
        ) from None
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


class Dataset(Model):
    """What every dataset states."""

    contract: str
    """The id of its bronze contract."""
    scope: ScopeRule = Field(default=None, validate_default=False)  # type: ignore[assignment]  # filled in by load
    """Absent: the source's."""


class FilesDataset(Dataset):
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
            raise PydanticCustomError(
                "option", "csv options on another format", {"found": f"format {self.format}", "field": "csv"}
            )
        if self.format != "json" and self.records is not None:
            raise PydanticCustomError(
                "option", "records belongs to format json", {"found": f"format {self.format}", "field": "records"}
            )
        return self


class SqliteTable(Dataset):
    """One table of an SQLite database."""

    table: str = ""
    """The table's name in the database; absent: the name it is listed under."""
    mode: Literal["snapshot", "incremental"] = "snapshot"
    keys: tuple[str, ...] = ()
    """Key columns as the source names them."""
    cursor: str | None = None
    """incremental: the column that grows with every change."""

    @model_validator(mode="after")
    def _incremental_has_a_cursor(self) -> SqliteTable:
        if self.mode == "incremental" and self.cursor is None:
            raise PydanticCustomError(
                "option",
                "mode incremental needs a cursor",
                {"found": "no cursor", "expected": "cursor: <column>", "field": "mode"},
            )
        if self.mode == "snapshot" and self.cursor is not None:
            raise PydanticCustomError(
                "option", "cursor belongs to mode incremental", {"found": "mode snapshot", "field": "cursor"}
            )
        return self


class _SourceBase(Model):
    source: Name
    """The system's name in the lake."""
    description: str = ""
    scope: ScopeRule | None = None
    """For all datasets that name none of their own."""


class FilesSource(_SourceBase):
    """Files in a folder."""

    kind: Literal["files"]
    root: Annotated[str, Field(min_length=1)]
    """A folder, relative to the folder that holds conf."""
    datasets: Annotated[Mapping[Name, FilesDataset], Field(min_length=1)]

    @property
    def named(self) -> Mapping[str, FilesDataset]:
        """dataset name -> dataset, with its scope."""
        return {name: _scoped(dataset, self.scope) for name, dataset in self.datasets.items()}


class SqliteSource(_SourceBase):
    """An SQLite database."""

    kind: Literal["sqlite"]
    database: Annotated[str, Field(min_length=1)]
    """The database file, relative to the folder that holds conf; or a glob, when each copy is a file of its own."""
    declared_date: PathPattern | None = None
    """Regular expression with one group on that path: when the copy was taken; absent: when it is read."""
    tables: Annotated[Mapping[str, SqliteTable], Field(min_length=1)]

    @property
    def named(self) -> Mapping[str, SqliteTable]:
        """dataset name (snake_case) -> table, with its scope and its name in the database."""
        return {
            dataset_name(name): _scoped(table.model_copy(update={"table": table.table or name}), self.scope)
            for name, table in self.tables.items()
        }


Source = FilesSource | SqliteSource
AnySource: TypeAdapter[Source] = TypeAdapter(Annotated[Source, Field(discriminator="kind")])


def dataset_name(table: str) -> str:
    """The name in the lake of a table in a database: `dbo.ClaimLine` -> `claim_line`."""
    last = table.rpartition(".")[2]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last)
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


_D = TypeVar("_D", bound=Dataset)


def _scoped(dataset: _D, scope: ScopeRule | None) -> _D:
    return dataset if "scope" in dataset.model_fields_set else dataset.model_copy(update={"scope": scope})
