"""JSON and NDJSON into records: fields as text. Numbers and nested values keep their characters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any, Final

import msgspec

from varve.framing.received import lines
from varve.framing.record import Columns, Format, FramedRecord, FramingError

LARGEST_DOCUMENT: Final = 512 * 2**20  # [bytes] a JSON document is read whole

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])
_string = msgspec.json.Decoder(str)


def framed_ndjson(stream: IO[bytes], form: Format, columns: Columns) -> Iterator[FramedRecord]:
    """The records of NDJSON, one object per line. columns: gets the names. Raises FramingError."""
    position = 0
    for line in lines(stream, "utf-8"):
        text = line.rstrip("\r\n")
        if position == 0 and "\r" in text:
            raise FramingError(
                "line ends are CR only: no line feed after a carriage return in line 1; expected LF or CRLF"
            )
        if text.strip():
            position += 1
            reason = None if line.endswith("\n") else "cut off: the last line has no end and is no whole JSON object"
            yield _record(position, text, columns, reason)


def framed_json(stream: IO[bytes], form: Format, columns: Columns) -> Iterator[FramedRecord]:
    """The records of a JSON document: an array of objects, or one at the path `form.records`, or a single object.

    The document is read whole, at most LARGEST_DOCUMENT bytes. columns: gets the names. Raises FramingError."""
    data = stream.read(LARGEST_DOCUMENT + 1)
    if len(data) > LARGEST_DOCUMENT:
        size = f"{LARGEST_DOCUMENT >> 20} MiB"
        raise FramingError(f"a JSON document of more than {size}: deliver NDJSON, one object per line")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FramingError("the file is UTF-16 (it begins with its byte order mark), JSON is UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise FramingError(f"wrong encoding: the JSON is not UTF-8 ({wrong})") from error
    for position, item in enumerate(_array(msgspec.Raw(text.strip().encode()), form.records), start=1):
        yield _record(position, bytes(item).decode(), columns, None)


def _array(document: msgspec.Raw, path: str | None) -> list[msgspec.Raw]:
    """The items at `path`: steps joined by dots, a number indexes an array."""
    if not memoryview(document).nbytes:
        raise FramingError("empty file: blanks only")
    at = "the document"
    try:
        for step in path.split(".") if path else ():
            if _kind(document) == "array":
                document = _items.decode(document)[int(step)]
            else:
                document = _fields.decode(document)[step]
            at = f"{at}.{step}"
        if path is None and _kind(document) == "object":
            return [document]
        return _items.decode(document)
    except msgspec.ValidationError as error:
        raise FramingError(f"no array of records at {path or 'the top'}: {at} is {_kind(document)}") from error
    except msgspec.DecodeError as error:
        raise FramingError(f"cut off or malformed JSON: {error}") from error
    except RecursionError as error:
        raise FramingError("the JSON is nested too deeply to be read") from error
    except (KeyError, IndexError, ValueError) as error:
        raise FramingError(f"no array of records at {path}: {at} has no {error}") from error


def _kind(value: msgspec.Raw) -> str:
    start = bytes(memoryview(value)[:1])
    return {b"{": "object", b"[": "array", b'"': "string", b"n": "null"}.get(start, "number")


def _record(position: int, text: str, columns: Columns, cut_off: str | None) -> FramedRecord:
    try:
        fields = _fields.decode(text)
        if _may_repeat(fields, text) and (twice := _repeated(text)) is not None:
            return FramedRecord(position, text, reason=f"the object names {twice!r} twice")
        values: list[str | None] = [None] * len(columns.names)
        for name, raw in fields.items():
            index = columns.index(name)
            if index >= len(values):
                values.extend([None] * (index + 1 - len(values)))
            values[index] = _text(raw)
    except msgspec.ValidationError:
        found = _kind(msgspec.Raw(text.strip().encode()))
        return FramedRecord(position, text, reason=f"expected a JSON object, found {found}")
    except (msgspec.DecodeError, UnicodeError) as error:
        return FramedRecord(position, text, reason=cut_off or f"malformed JSON: {error}")
    except RecursionError:
        return FramedRecord(position, text, reason="nested too deeply to be read")
    if any("\0" in v for v in values if v):
        return FramedRecord(position, text, reason="the record holds a NUL character")
    return FramedRecord(position, text, values)


def _text(raw: msgspec.Raw) -> str | None:
    value = bytes(raw)
    if value[:1] == b'"':
        return _string.decode(value)
    return None if value == b"null" else value.decode()


def _may_repeat(fields: dict[str, msgspec.Raw], text: str) -> bool:
    """False when the fields account for every character, so that none can have been there twice."""
    size = sum(len(name) + len(bytes(raw).decode()) for name, raw in fields.items())
    return len(text) != max(size + 4 * len(fields) + 1, 2)  # quotes, colons, commas and braces, no blank


def _repeated(text: str) -> str | None:
    """The first name that occurs twice at the top level."""
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return None
