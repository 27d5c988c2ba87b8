"""Problems found in configuration files: collected, sorted by file and line, raised together."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from varve.model.errors import ConfigError, ContractError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place. `file` is the path as shown to a person, `line` counts from 1."""

    file: str
    line: int | None
    what: str
    found: object = None
    expected: object = None
    remedy: str | None = None

    def error(self) -> ConfigError:
        """This problem as an error; what is wrong in a contract file is a ContractError."""
        kind = ContractError if self.file.endswith((".odcs.yaml", ".odcs.yml")) else ConfigError
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return kind(self.what, where=where, found=self.found, expected=self.expected, remedy=self.remedy)


class SeveralConfigError(ConfigError):
    """Several errors of the configuration in one report, one line each."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__(f"the configuration has {len(errors)} errors")
        self._errors = errors

    @property
    def errors(self) -> tuple[ConfigError, ...]:
        return self._errors

    def __str__(self) -> str:
        return "\n".join([f"{self.what}:", *(f"  {error}" for error in self._errors)])

    def __reduce__(self) -> tuple[type[SeveralConfigError], tuple[tuple[ConfigError, ...]]]:
        return SeveralConfigError, (self._errors,)


@dataclass
class Problems:
    """The problems found so far."""

    found: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        """Remember one problem; the same problem at the same place counts once."""
        if problem not in self.found:
            self.found.append(problem)

    def raise_any(self) -> None:
        """Raise what was found, sorted by file and line; do nothing when all is well."""
        problems = sorted(self.found, key=lambda p: (p.file, p.line or 0, p.what))
        errors = tuple(problem.error() for problem in problems)
        if errors:
            raise errors[0] if len(errors) == 1 else SeveralConfigError(errors)


def among(name: str, known: Collection[str]) -> dict[str, str | None]:
    """What a message says of a name that is none of those known: they are expected, and one may have been meant."""
    return {"expected": f"one of {listed(known)}", "remedy": did_you_mean(name, known)}


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """`Did you mean contract?` when a known name is close to `name`."""
    close = close_match(name, known)
    return None if close is None else f"Did you mean {close}?"


def close_match(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most alike, if one is alike enough to be meant."""
    lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    return lower[close[0]] if close else None


def listed(names: Iterable[str], *, limit: int = 20) -> str:
    """Names as a person reads them: `a, b, c`, cut when there are many, `nothing` when there are none."""
    items = list(names)
    shown = ", ".join(items[:limit])
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{shown}{more}" if items else "nothing"
