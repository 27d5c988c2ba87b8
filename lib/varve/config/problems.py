"""Problems found in configuration files: collected, sorted by file and line, raised together."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from varve.model.errors import ConfigError, ContractError


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


@dataclass(frozen=True, slots=True)
class Problems:
    """The problems found so far, by file, line and text."""

    found: dict[tuple[str, int, str], ConfigError] = field(default_factory=dict)

    def add(self, file: Path, line: int | None, what: str, **said: Any) -> None:
        """Remember a problem; the same one at the same place counts once. line: from 1; said: found, expected, remedy.

        What is wrong in a contract is a ContractError."""
        where = from_here(file)
        kind = ContractError if where.endswith((".odcs.yaml", ".odcs.yml")) else ConfigError
        error = kind(what, where=where if line is None else f"{where}:{line}", **said)
        self.found[where, line or 0, str(error)] = error

    def raise_any(self) -> None:
        """Raise what was found, sorted by file and line; do nothing when all is well."""
        errors = tuple(self.found[key] for key in sorted(self.found))
        if errors:
            raise errors[0] if len(errors) == 1 else SeveralConfigError(errors)


def from_here(path: Path) -> str:
    """A path as messages show it: from where the person stands, when it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def repeated(names: Sequence[object]) -> Iterator[tuple[int, int]]:
    """(index, index of the first of that name) of every name that occurs again."""
    first = {name: index for index, name in reversed([*enumerate(names)])}
    return ((index, first[name]) for index, name in enumerate(names) if first[name] < index)


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
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return f"{', '.join(items[:limit])}{more}" or "nothing"
