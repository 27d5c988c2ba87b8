"""The scope of a row: the country and the investment entity that it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from varve.model.errors import ConfigError

ALL: Final = "_all"  # reference data: belongs to every country or entity
UNKNOWN: Final = "_unknown"  # not assigned yet
MIXED: Final = "_mixed"  # raw only: a column of the records holds the entity

SCOPE_COLUMNS: Final = ("scope_country", "scope_entity")

# A scope is a folder of raw and a partition value of every table: no separators, no blanks, no case twins.
COUNTRY: Final = r"[A-Z]{2}|_all|_unknown|_mixed"
ENTITY: Final = r"[a-z0-9][a-z0-9_-]*|_all|_unknown|_mixed"


@dataclass(frozen=True, order=True, slots=True)
class Scope:
    """country: ISO 3166 alpha-2 or reserved; entity: lower case or reserved. `str(scope)` is `ES/iberia1`."""

    country: str
    entity: str

    def __post_init__(self) -> None:
        if not re.fullmatch(COUNTRY, self.country):
            raise ConfigError(
                "no such country", where="scope", found=repr(self.country),
                expected=f"two capital letters, {ALL}, {UNKNOWN} or {MIXED}",
            )  # fmt: skip
        if not re.fullmatch(ENTITY, self.entity):
            raise ConfigError(
                "no such entity", where="scope", found=repr(self.entity),
                expected=f"lower-case letters, digits, - and _, or {ALL}, {UNKNOWN}, {MIXED}",
            )  # fmt: skip

    def __iter__(self) -> Iterator[str]:
        """Country and entity, as the columns of a row have them."""
        return iter((self.country, self.entity))

    def __str__(self) -> str:
        return f"{self.country}/{self.entity}"

    @classmethod
    def parse(cls, text: str) -> Scope:
        """The scope written as `ES/iberia1`."""
        country, slash, entity = text.partition("/")
        if not slash:
            raise ConfigError("this is no scope", found=repr(text), expected="country/entity, such as ES/iberia1")
        return cls(country, entity)


def in_scopes(scopes: Iterable[Iterable[str]]) -> str:
    """The rows of these scopes as an SQL predicate of literals, so that only their files are read.

    scopes: `Scope`s, or (country, entity) as a table has them."""
    named = [f"(scope_country = '{country}' and scope_entity = '{entity}')" for country, entity in scopes]
    return " or ".join(named) or "false"
