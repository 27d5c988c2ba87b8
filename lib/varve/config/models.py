"""What every configuration model shares: frozen, no unknown fields, nothing guessed from the wrong type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, Strict

# Names of sources, datasets, tables and columns become folders, tables and SQL names.
NAME: Final = r"^[a-z][a-z0-9_]*$"

# Where rows belong, as configuration may state it: _mixed is raw's own.
COUNTRY: Final = r"^([A-Z]{2}|_all|_unknown)$"
ENTITY: Final = r"^([a-z0-9][a-z0-9_-]*|_all|_unknown)$"
MODULE: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
DURATION: Final = r"^[1-9][0-9]*[dwmy]$"

# The patterns in the words of messages.
IN_WORDS: Final[Mapping[str, str]] = {
    NAME: "lower-case letters, digits and _, beginning with a letter",
    COUNTRY: "two capital letters (ISO 3166), _all or _unknown",
    ENTITY: "lower-case letters, digits, - and _, or _all or _unknown",
    MODULE: "the name of a package or module, without dots",
    DURATION: "a number and d, w, m or y, such as 90d",
}

Name = Annotated[str, Field(pattern=NAME)]
ModuleName = Annotated[str, Field(pattern=MODULE)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]


class Model(BaseModel):
    """Base of all configuration models."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
