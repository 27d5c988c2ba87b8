"""Every error that Varve raises on purpose. The exit code tells the caller what to do next.

VarveError            1  any error of ours
├── DefectError       1  Varve broke a promise of its own: report it
├── UsageError        2  the command line is wrong: correct the command
├── ConfigError       2  the configuration is wrong: correct the file it names
│   ├── ContractError 2  a contract is wrong, or a table does not keep it
│   └── TransformError 2 the company's own code raised something
├── ParkedError       3  work was set aside and waits for a person
├── SourceError       4  a source could not be read: try again later
└── StorageError      4  the lake could not be read or written: try again later
    └── OvertakenError 4 another run was first: run again, to go on from what it left
"""

from __future__ import annotations

from typing import ClassVar


class VarveError(Exception):
    """What went wrong, where, what was found, what was expected and what to do about it.

    `str(error)` is one readable line: `where: what; found …; expected …. remedy`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.what]
        if self.found is not None:
            parts.append(f"found {self.found}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        line = "; ".join(parts)
        if self.where is not None:
            line = f"{self.where}: {line}"
        return line if self.remedy is None else f"{line}. {self.remedy}"


class DefectError(VarveError):
    """Varve broke a promise of its own; nobody but us can mend it."""


class UsageError(VarveError):
    """The command line does not say what to do, or says it wrongly."""

    exit_code = 2


class ConfigError(VarveError):
    """The configuration is wrong. One error may hold several, sorted by file and line, in `errors`."""

    exit_code = 2

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        """The single errors that this one reports: itself, unless it is a report of several."""
        return (self,)


class ContractError(ConfigError):
    """A contract is wrong, or a table does not keep it."""


class TransformError(ConfigError):
    """A conform function or a mart raised something; the ledger keeps the trace."""


class ParkedError(VarveError):
    """Work was set aside and changes nothing until a person decides."""

    exit_code = 3


class SourceError(VarveError):
    """A source could not be read."""

    exit_code = 4


class StorageError(VarveError):
    """The lake could not be read or written."""

    exit_code = 4


class OvertakenError(StorageError):
    """Another run was first; nothing of this one's work was kept."""
