"""CSV into records. Fields are parsed by Python's own reader in strict mode; each record keeps its text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from varve.framing.received import LONGEST_RECORD, lines
from varve.framing.record import Columns, Format, FramedRecord, FramingError

_Record = tuple[str, list[str], str | None, int]


class _Tape:
    """Gives lines to the reader and remembers those of the record that is being read."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._held: list[str] = []
        self._length = 0
        self.first_line = 1  # of the record
        self.last_line = 0

    def __iter__(self) -> _Tape:
        return self

    def __next__(self) -> str:
        line = next(self._source)
        self._held.append(line)
        self._length += len(line)
        self.last_line += 1
        if self._length > LONGEST_RECORD:
            size = f"{LONGEST_RECORD >> 20} MiB"
            raise FramingError(f"torn quote: one that opens after line {self.first_line} is still open {size} later")
        return line

    def take(self) -> str:
        """The exact text of the record just read, without its line end."""
        text = self._held[0] if len(self._held) == 1 else "".join(self._held)
        self._held.clear()
        self._length = 0
        self.first_line = self.last_line + 1
        return text[:-2] if text.endswith("\r\n") else text[:-1] if text.endswith("\n") else text


def framed_csv(stream: IO[bytes], form: Format, columns: Columns) -> Iterator[FramedRecord]:
    """The records of a CSV file with or without a header (`form.header`), in order. Raises FramingError.

    stream: unpacked bytes; columns: gets the names."""
    if csv.field_size_limit() < LONGEST_RECORD:
        csv.field_size_limit(LONGEST_RECORD)
    tape = _Tape(lines(stream, form.encoding))
    reader = csv.reader(
        tape, delimiter=form.delimiter, quotechar=form.quote, strict=True, skipinitialspace=form.strip
    )  # fmt: skip
    records = _records(reader, tape, form)
    for number in range(form.skip_rows):
        if next(records, None) is None:
            raise FramingError(f"the file has {number} records, {form.skip_rows} were to be skipped before the header")
    width, names = _header(records, form)
    columns.declare(names)
    tail = width - len(names)  # 1: every record ends with a delimiter, as the header does
    for position, (text, values, fault, last) in enumerate(records, start=1):
        yield _judged(position, text, values, fault, width, tail, last)


def _records(reader: Iterator[list[str]], tape: _Tape, form: Format) -> Iterator[_Record]:
    """(text, values, fault, lines) of every record that is not blank."""
    while True:
        first = tape.first_line
        try:
            values = next(reader)
            fault = None
        except StopIteration:
            return
        except csv.Error as error:
            values = []
            fault = _fault(error, tape, first)
        count = tape.last_line - first + 1
        text = tape.take()
        if fault is None:
            if not values:
                continue
            if form.strip:
                values = [v.strip() for v in values]
        yield text, values, fault, count


def _fault(error: csv.Error, tape: _Tape, first: int) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        raise FramingError(
            f"torn quote: opened in the record that begins on line {first}, not closed when the file ends"
        )
    if "new-line character" in message:
        if first == 1:
            raise FramingError(
                "line ends are CR only: no line feed after a carriage return in line 1; expected LF or CRLF"
            )
        return "a carriage return without a line feed stands outside quotes"
    if tape.last_line > first:
        raise FramingError(
            f"torn quote: a quote opens in the record that begins on line {first} and closes on line {tape.last_line} "
            f"where more text follows ({message})"
        )
    return f"malformed quotes: {message}"


def _header(records: Iterator[_Record], form: Format) -> tuple[int, list[str]]:
    """(number of fields, names): an empty last name is the trace of a delimiter at the end of every record."""
    if form.header is not None:
        return len(form.header), list(form.header)
    first = next(records, None)
    if first is None:
        raise FramingError("empty file: blank lines only, not even a header")
    text, values, fault, _ = first
    if fault is not None:
        raise FramingError(f"the header cannot be read: {fault}")
    if "\0" in text:
        raise FramingError("the header holds NUL characters: is the file UTF-16 without a byte order mark?")
    width = len(values)
    if width > 1 and not values[-1].strip():
        values = values[:-1]
    names: list[str] = []
    for index, value in enumerate(values, start=1):
        names.append(value if value.strip() else _free_name(f"column_{index}", values))
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise FramingError(f"duplicate headers: {', '.join(map(repr, twice[:10]))} occur more than once")
    return width, names


def _free_name(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _judged(
    position: int, text: str, values: list[str], fault: str | None, width: int, tail: int, count: int
) -> FramedRecord:  # fmt: skip
    if fault is not None:
        return FramedRecord(position, text, reason=fault)
    if "\0" in text:
        return FramedRecord(position, text, reason="the record holds a NUL character")
    if len(values) != width:
        hint = f" in {count} lines: a torn quote?" if count > 1 else ""
        return FramedRecord(position, text, reason=f"expected {width - tail} fields, found {len(values) - tail}{hint}")
    if tail:
        if values[-1]:
            reason = f"expected {width - tail} fields, found {width}: a value stands beyond the last header"
            return FramedRecord(position, text, reason=reason)
        values.pop()
    return FramedRecord(position, text, values)
