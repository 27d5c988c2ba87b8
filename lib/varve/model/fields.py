"""The kinds of fields that contracts and configuration have, and what all their models share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError

# Names of sources, datasets, tables and columns become folders, tables and SQL names.
NAME: Final = r"^[a-z][a-z0-9_]*$"

# Where rows belong, as configuration may state it: _mixed is raw's own.
COUNTRY: Final = r"^([A-Z]{2}|_all|_unknown)$"
ENTITY: Final = r"^([a-z0-9][a-z0-9_-]*|_all|_unknown)$"
MODULE: Final = r"^[A-Za-z][A-Za-z0-9_]*$"
DURATION: Final = r"^[1-9][0-9]*[dwmy]$"
EVERY_DAY: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]( [^ ]+)?$"

# The patterns in the words of messages.
IN_WORDS: Final[Mapping[str, str]] = {
    NAME: "lower-case letters, digits and _, beginning with a letter",
    COUNTRY: "two capital letters (ISO 3166), _all or _unknown",
    ENTITY: "lower-case letters, digits, - and _, or _all or _unknown",
    MODULE: "the name of a package or module, without dots",
    DURATION: "a number and d, w, m or y, such as 90d",
    EVERY_DAY: "a time of the day, such as 06:00 (UTC) or 06:00 Europe/Madrid",
}


def wrong(what: str, **said: object) -> PydanticCustomError:
    """What a validator raises. said: found, expected and remedy of the message; field: which field of the model."""
    return PydanticCustomError("wrong", "{what}", {"what": what, **said})


def only(is_right: Callable[[Any], object], what: str, **said: object) -> AfterValidator:
    """Refuses values that are not right with this message, which says what was found."""

    def checked(value: Any) -> Any:
        if not is_right(value):
            raise wrong(what, **{"found": value, **said})
        return value

    return AfterValidator(checked)


def like(pattern: str) -> Callable[[object], object]:
    """Whether a text has this pattern."""
    return lambda text: isinstance(text, str) and re.fullmatch(pattern, text)


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        expected = close[0] if close else "such as Europe/Madrid"
        raise wrong("this is no zone of the IANA database", found=name, expected=expected)
    return name


def _in_a_known_zone(every_day: str) -> str:
    if zone := every_day.partition(" ")[2]:
        _known_zone(zone)
    return every_day


Name = Annotated[str, Field(pattern=NAME)]
ModuleName = Annotated[str, Field(pattern=MODULE)]
Duration = Annotated[str, Field(pattern=DURATION)]
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Zone = Annotated[str, AfterValidator(_known_zone)]
EveryDay = Annotated[str, Field(pattern=EVERY_DAY), AfterValidator(_in_a_known_zone)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]

SHAPE: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # of dataclasses, which say frozen themselves


class Model(BaseModel):
    """Base of all configuration models: frozen, no unknown fields, nothing guessed from the wrong type."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
