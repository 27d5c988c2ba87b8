"""Sources: what every kind of them states (`conf/sources/*.yml`), and the datasets that come of it.

A connector extends `Source` and `DatasetOptions` for its kind; `Dataset` is what the layers are given.
"""

from __future__ import annotations

import os
import re
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag

from varve.model.contract import Contract, bronze_table
from varve.model.errors import UsageError
from varve.model.expected import Expected
from varve.model.fields import COUNTRY, ENTITY, EveryDay, Model, Name, wrong


def _one_group(pattern: str) -> str:
    """A regular expression with exactly one group: the part of the path that is wanted."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise wrong("this is no regular expression", found=f"{pattern}: {error}") from None
    if groups != 1:
        raise wrong("the expression must have one group", found=f"{groups} groups in {pattern}", expected="one (…)")
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


_Found = Annotated[FromPath, Tag("from path")] | Annotated[FromColumn, Tag("from column")]
Country = Annotated[Annotated[str, Field(pattern=COUNTRY), Tag("as it stands")] | _Found, Discriminator(_scope_part)]
Entity = Annotated[Annotated[str, Field(pattern=ENTITY), Tag("as it stands")] | _Found, Discriminator(_scope_part)]


class ScopeRule(Model):
    """Which country and entity the rows belong to. Reference data has _all, what is not assigned yet _unknown."""

    country: Country
    entity: Entity


class DatasetOptions(Model):
    """What every dataset states; its kind adds what it needs."""

    contract: str
    """The id of its bronze contract."""
    scope: ScopeRule | None = None
    """Absent: the source's."""
    mode: str = "snapshot"
    """snapshot: all rows of the scope, so absence means deleted; any other: only what changed."""
    expected: EveryDay | None = None
    """When it should have landed every day: 06:00 (UTC) or 06:00 Europe/Madrid; `status` tells when it is late."""

    @property
    def null_values(self) -> tuple[str, ...]:
        """Texts that mean null."""
        return ()


class Source(Model):
    """What every source states; its kind adds how the system is reached and lists the datasets."""

    listed_in: ClassVar[str] = "datasets"
    """The field that lists the datasets: name -> options."""

    source: Name
    """The system's name in the lake."""
    kind: str
    """Which connector reads it."""
    description: str = ""
    scope: ScopeRule | None = None
    """For all datasets that name none of their own."""

    @property
    def entries(self) -> Mapping[str, DatasetOptions]:
        """The datasets under the names that they are listed by."""
        found: Mapping[str, DatasetOptions] = getattr(self, self.listed_in)
        return found

    def dataset_name(self, entry: str) -> str:
        """The dataset's name in the lake."""
        return entry

    def resolved(self, folder: Path) -> Self:
        """The source with absolute paths. folder: the one that holds conf."""
        return self

    def moved(self, root: str) -> Self:
        """The same source read from another place."""
        raise UsageError(f"a source of kind {self.kind} is read from no folder", where="--root", found=self.source)


class Kind(ABC):
    """What configuration knows of a connector. kind: its name in a source; source: the model of its sources."""

    kind: ClassVar[str]
    source: ClassVar[type[Source]]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of one source. name: its name in the lake; options: its kind's own."""

    system: Source
    name: str
    options: DatasetOptions
    scope: ScopeRule
    contract: Contract
    connector: Kind

    @property
    def source(self) -> str:
        """The system's name in the lake."""
        return self.system.source

    @property
    def table(self) -> str:
        """The name of its bronze table."""
        return bronze_table(self.source, self.name)

    @property
    def mode(self) -> Literal["snapshot", "changes"]:
        """Whether absence means deleted."""
        return "snapshot" if self.options.mode == "snapshot" else "changes"

    @property
    def expected(self) -> Expected | None:
        """When it is expected every day; None: whenever it comes."""
        return None if self.options.expected is None else Expected.parse(self.options.expected)


def absolute(path: str, folder: Path) -> str:
    """A path of the configuration, which is relative to `folder`; a URL stays as it is."""
    return path if "://" in path else str(Path(os.path.normpath(folder / Path(path).expanduser())))
