"""What every database states in `conf/sources`: its tables, and how each of them is taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from varve.config import DatasetOptions, Source
from varve.model.fields import wrong


class TableOptions(DatasetOptions):
    """One table of a database."""

    table: str = ""
    """The table's name in the database; absent: the name it is listed under."""
    mode: Literal["snapshot", "incremental"] = "snapshot"
    keys: tuple[str, ...] = ()
    """Key columns as the source names them."""
    cursor: str | None = None
    """incremental: the column that grows with every change."""
    lag: Annotated[float, Field(ge=0)] = 0
    """incremental: how far before the last bound is read again, in the unit of the cursor; of times in seconds."""

    @model_validator(mode="after")
    def _incremental_has_a_cursor(self) -> TableOptions:
        if self.mode == "incremental" and self.cursor is None:
            what, expected = "mode incremental needs a cursor", "cursor: <column>"
            raise wrong(what, found="no cursor", expected=expected, field="mode")
        if self.mode == "snapshot" and self.cursor is not None:
            raise wrong("cursor belongs to mode incremental", found="mode snapshot", field="cursor")
        if self.mode == "snapshot" and self.lag:
            raise wrong("lag belongs to mode incremental", found="mode snapshot", field="lag")
        return self


class DatabaseSource(Source):
    """A database. Its kind adds how it is reached."""

    listed_in: ClassVar[str] = "tables"

    tables: Annotated[Mapping[str, TableOptions], Field(min_length=1)]

    def dataset_name(self, entry: str) -> str:
        """The name in the lake of a table: `dbo.ClaimLine` -> `claim_line`."""
        last = entry.rpartition(".")[2]
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", last)
        return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")

    def table_named(self, dataset: str) -> str:
        """The name in the database of the table that gives the dataset."""
        entry = next(entry for entry in self.tables if self.dataset_name(entry) == dataset)
        return self.tables[entry].table or entry
