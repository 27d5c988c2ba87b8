"""PURE. Code lists: what a source writes -> what the group means, with validity. An unmapped code is a reject.

A list is a CSV file `source,source_code,group_code,valid_from,valid_to`; validity is half-open, an empty date is open.
`*` as source holds for every source that has no line of its own for the code.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from varve.model.contract import Contract
from varve.model.errors import ConfigError, ContractError
from varve.rules.quality import DELETED, FAILED, FAILURES, failed_when, failure

HEADER: Final = ("source", "source_code", "group_code", "valid_from", "valid_to")
EVERY_SOURCE: Final = "*"
_MEANING: Final = "struct<group_code:string,valid_from:date,valid_to:date>"


@dataclass(frozen=True, slots=True)
class Code:
    """One line of a list: `source_code` of `source` means `group_code` on days in [valid_from, valid_to)."""

    source: str
    source_code: str
    group_code: str
    valid_from: date | None = None
    valid_to: date | None = None

    def overlaps(self, other: Code) -> bool:
        """Whether both speak of the same code on some day."""
        same = (self.source, self.source_code) == (other.source, other.source_code)
        first, last = date.min, date.max
        starts_before_end = (self.valid_from or first) < (other.valid_to or last)
        return same and starts_before_end and (other.valid_from or first) < (self.valid_to or last)


@dataclass(frozen=True, slots=True)
class CodeList:
    """A code list; codes in the order of the file."""

    name: str
    codes: tuple[Code, ...]

    def of(self, source: str) -> Mapping[str, list[Code]]:
        """The codes that hold for a source, by source code."""
        own: dict[str, list[Code]] = {}
        general: dict[str, list[Code]] = {}
        for code in self.codes:
            if code.source in (source, EVERY_SOURCE):
                found = own if code.source == source else general
                found.setdefault(code.source_code, []).append(code)
        return general | own


def parse(name: str, text: str) -> CodeList:
    """The code list in the text of `conf/codes/<name>.csv`.

    Raises ConfigError with the line if the header is another one, a date is none or two lines contradict each other.
    """
    where = f"codes/{name}.csv"
    lines = csv.reader(io.StringIO(text, newline=""))
    header = tuple(next(lines, ()))
    if header != HEADER:
        raise ConfigError("wrong header", where=f"{where}:1", found=",".join(header), expected=",".join(HEADER))
    codes: list[Code] = []
    by_code: dict[tuple[str, str], list[Code]] = {}
    for line in lines:
        if not line:
            continue
        code = _code(line, f"{where}:{lines.line_num}")
        others = by_code.setdefault((code.source, code.source_code), [])
        if any(code.overlaps(other) for other in others):
            raise ConfigError(
                f"'{code.source_code}' of {code.source} has two meanings on the same day",
                where=f"{where}:{lines.line_num}", remedy="Give the lines validities that do not overlap.",
            )  # fmt: skip
        others.append(code)
        codes.append(code)
    return CodeList(name, tuple(codes))


def _code(line: list[str], where: str) -> Code:
    if len(line) != len(HEADER):
        raise ConfigError("wrong number of fields", where=where, found=len(line), expected=len(HEADER))
    source, source_code, group_code, *validity = (field.strip() for field in line)
    if not source or not source_code or not group_code:
        raise ConfigError("source, source_code and group_code must not be empty", where=where, found=",".join(line))
    try:
        valid_from, valid_to = (date.fromisoformat(day) if day else None for day in validity)
    except ValueError as error:
        raise ConfigError("this is no date", where=where, found=",".join(validity), expected="YYYY-MM-DD") from error
    return Code(source, source_code, group_code, valid_from, valid_to)


def mapped(rows: DataFrame, contract: Contract, lists: Mapping[str, CodeList], *, source: str, at: str) -> DataFrame:
    """The rows with every column that names a code list translated from the source's codes to the group's.

    at: name of the column (date or timestamp) with the day that decides about validity.
    Returns rows with these columns as string and `_failed` (see quality) grown by `codes:<list>` for every code that is
    not mapped; null stays null; a row that deletes is not judged, its unmapped codes become null.
    Raises ContractError if a column names a list that does not exist.
    """
    columns = [column for column in contract.columns if column.codes is not None]
    values: dict[str, Column] = {}
    failures: list[Column] = []
    deleted = F.coalesce(F.col(DELETED), F.lit(False)) if DELETED in rows.columns else F.lit(False)
    for column in columns:
        listed = lists.get(str(column.codes))
        if listed is None:
            raise ContractError(
                f"column {column.name} names a code list that does not exist", where=f"contract {contract.id}",
                found=column.codes, expected=", ".join(sorted(lists)) or "a file in conf/codes",
            )  # fmt: skip
        received = F.col(f"`{column.name}`").cast("string")
        values[column.name] = _meaning(listed, source, received, F.col(at).cast("date"))
        reason = F.format_string(f"code list {listed.name.replace('%', '%%')}: '%s' is not mapped", received)
        unmapped = received.isNotNull() & values[column.name].isNull() & ~deleted
        failures.append(failed_when(unmapped, failure(f"codes:{listed.name}", reason)))
    earlier = [F.col(FAILED)] if FAILED in rows.columns else [F.array().cast(FAILURES)]
    kept = [
        values[name].alias(name) if name in values else F.col(f"`{name}`") for name in rows.columns if name != FAILED
    ]
    return rows.select(*kept, F.concat(*earlier, *failures).alias(FAILED))


def _meaning(listed: CodeList, source: str, received: Column, day: Column) -> Column:
    """The group's code for a source's code on a day, null if there is none."""
    known = listed.of(source)
    if not known:
        return F.lit(None).cast("string")
    entries: list[Column] = []
    for source_code, codes in known.items():
        meanings = [F.struct(F.lit(c.group_code), F.lit(c.valid_from), F.lit(c.valid_to)) for c in codes]
        entries += [F.lit(source_code), F.array(*(meaning.cast(_MEANING) for meaning in meanings))]

    def holds(one: Column) -> Column:
        begun = one["valid_from"].isNull() | (one["valid_from"] <= day)
        return begun & (one["valid_to"].isNull() | (day < one["valid_to"]))

    return F.get(F.filter(F.try_element_at(F.create_map(*entries), received), holds), 0)["group_code"]
