"""Received bytes: what is inside gzip and zip, decoded strictly into lines."""

from __future__ import annotations

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final, cast

from varve.framing.record import FramingError

LONGEST_RECORD: Final = 64 * 2**20  # [bytes] a torn quote must not swallow the memory
_MOST_LAYERS: Final = 3  # of gzip or zip inside one another

_PACKED: Final = {
    b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"7z\xbc\xaf\x27\x1c": "7z",
    b"PAR1": "Parquet", b"\xd0\xcf\x11\xe0": "an old Excel workbook", b"SQLite format 3\x00": "an SQLite database",
}  # fmt: skip


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes inside a file: gzip and zip are recognised by their first bytes, whatever the name says, and what was
    packed twice is unpacked twice.

    Raises FramingError, also while the stream is read."""
    try:
        with ExitStack() as layers:
            stream: IO[bytes] = layers.enter_context(path.open("rb"))
            for _ in range(_MOST_LAYERS + 1):
                start = stream.read(16)
                stream.seek(0)
                if start.startswith(b"\x1f\x8b"):
                    stream = cast(IO[bytes], layers.enter_context(gzip.GzipFile(fileobj=stream, mode="rb")))
                elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
                    stream = layers.enter_context(_member(layers, stream))
                else:
                    break
            else:
                raise FramingError(f"the file is packed more than {_MOST_LAYERS} times, one inside another")
            yield _not_packed(stream)
    except EOFError as error:
        raise FramingError(f"cut off: the compressed data ends too early ({error})") from error
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise FramingError(f"damaged gzip or zip: {error}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise FramingError(f"damaged or unreadable zip, maybe cut off: {error}") from error


def _member(layers: ExitStack, stream: IO[bytes]) -> IO[bytes]:
    if isinstance(stream, gzip.GzipFile):
        raise FramingError("the file is a zip inside a gzip: deliver one of them")  # whose end is not at hand
    archive = layers.enter_context(zipfile.ZipFile(stream))
    return archive.open(_only_member(archive))


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        names = ", ".join(m.filename for m in members[:5]) or "none"
        raise FramingError(f"the zip holds {len(members)} files ({names}), expected 1: deliver one file per archive")
    if members[0].flag_bits & 0x1:
        raise FramingError(f"{members[0].filename} in the zip is encrypted")
    return members[0]


def _not_packed(stream: IO[bytes]) -> IO[bytes]:
    """`stream`, from its start again, unless it holds what no text format can be."""
    start = stream.read(16)
    stream.seek(0)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            raise FramingError(f"the file is {name}, expected text, plain or in gzip or zip")
    if not start:
        raise FramingError("empty file: nothing inside the archive")
    return stream


def lines(stream: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines of a stream with their ends as received, decoded strictly; only a line feed ends a line.

    Raises FramingError for other bytes than the encoding has, and for a line of LONGEST_RECORD bytes."""
    start = stream.read(4)
    stream.seek(0)
    declared = encoding.lower().replace("_", "-")
    if declared.startswith(("utf-16", "utf-32")):
        yield from _wide_lines(stream, encoding)
        return
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FramingError(f"wrong encoding: the byte order mark is that of UTF-16, declared is {encoding}")
    number = 0
    offset = 0
    if start.startswith(b"\xef\xbb\xbf"):
        if declared not in ("utf-8", "utf8", "utf-8-sig"):
            raise FramingError(f"wrong encoding: the byte order mark is that of UTF-8, declared is {encoding}")
        stream.read(3)
        offset = 3
    codec = "utf-8" if declared in ("utf-8-sig", "utf8") else encoding
    while line := stream.readline(LONGEST_RECORD):
        number += 1
        if len(line) == LONGEST_RECORD:
            raise FramingError(_too_long(line, number))
        try:
            yield line.decode(codec)
        except UnicodeDecodeError as error:
            wrong = line[error.start : error.start + 1].hex()
            raise FramingError(
                f"wrong encoding: line {number} is not {encoding} (byte 0x{wrong} at offset {offset + error.start}); "
                "declare the encoding that the sender uses, such as cp1252"
            ) from error
        offset += len(line)


def _too_long(line: bytes, number: int) -> str:
    if b"\r" in line:
        return f"line ends are CR only: no line feed within {LONGEST_RECORD >> 20} MiB from line {number} on"
    return f"line {number} is longer than {LONGEST_RECORD >> 20} MiB"


def _wide_lines(stream: IO[bytes], encoding: str) -> Iterator[str]:
    text = io.TextIOWrapper(stream, encoding=encoding, errors="strict", newline="\n")
    number = 0
    try:
        while line := text.readline(LONGEST_RECORD):
            number += 1
            if len(line) == LONGEST_RECORD:
                raise FramingError(f"line {number} is longer than {LONGEST_RECORD >> 20} million characters")
            yield line
    except UnicodeError as error:
        raise FramingError(f"wrong encoding: after line {number} the file is not {encoding} ({error})") from error
    finally:
        text.detach()
