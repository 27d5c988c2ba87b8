"""Lines that are added one by one, each there at once and whole, whatever happens to the process.

On a disk they are appended to one file. Object stores cannot append: there each line is an object of its own, numbered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from varve.storage.disk import Disk, disk_errors, make_folder
from varve.storage.files import Absent, Files, Taken
from varve.storage.numbers import Numbers

_TAIL: Final = 2**16  # [bytes] that the last line of a file is looked for in, before the whole file is read


class Lines:
    """The lines of one key. None of them is empty or holds a line break.

    Several may write at once, and each line is there once, in some order; meant is one writer at a time."""

    def __init__(self, files: Files, key: str) -> None:
        self.key = key
        self._files = files
        self._disk = files if isinstance(files, Disk) else None
        self._numbers = Numbers(files, key, ending="")
        self._last = 0
        self._handle: int | None = None

    @property
    def where(self) -> str:
        """Where they lie, for people."""
        return f"{self._files.root}/{self.key}"

    def exists(self) -> bool:
        """Whether any line was added."""
        return self._files.size(self.key if self._disk else self._numbers.key(1)) is not None

    def add(self, line: bytes) -> None:
        """Add a line; the operating system, or the store, has it when this returns."""
        if self._disk is None:
            self._last = self._last or self._numbers.last()
            while True:
                with suppress(Taken):  # by whoever took this writer for dead
                    self._numbers.put(self._last + 1, line)
                    self._last += 1
                    return
                self._last = self._numbers.last(self._last)
        with disk_errors(self._disk.folder / self.key):
            if self._handle is None:
                self._handle = self._opened(self._disk)
            os.write(self._handle, line + b"\n")  # one write to a file opened for appending: whole or torn, never mixed

    def read(self) -> list[bytes]:
        """All lines, oldest first; one that was torn by a kill is among them. Empty when there is none."""
        if self._disk is None:
            return [self._numbers.read(number) for number in range(1, self._numbers.last() + 1)]
        with suppress(Absent):
            return self._files.read(self.key).splitlines()
        return []

    def last(self) -> bytes:
        """The last line, empty when there is none; of a long one its end."""
        if self._disk is None:
            number = self._numbers.last()
            return self._numbers.read(number) if number else b""
        size = self._files.size(self.key) or 0
        tail = self._files.read(self.key, start=max(0, size - _TAIL)) if size else b""
        return tail.rstrip(b"\n").rpartition(b"\n")[2]

    def close(self) -> None:
        """Give the file back; a later `add` opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _opened(self, disk: Disk) -> int:
        path = disk.folder / self.key
        make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":  # a kill tore the last line
            os.write(handle, b"\n")
        return handle
