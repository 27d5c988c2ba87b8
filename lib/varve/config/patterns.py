"""Patterns of dates and times in contracts, as Spark reads them: what would be read as something else is found here.

Source: Spark's documentation, "Datetime Patterns for Formatting and Parsing".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_MOST: Final = {"y": 6, "M": 4, "L": 4, "d": 2, "D": 3, "H": 2, "h": 2, "k": 2, "K": 2, "m": 2, "s": 2, "S": 9, "a": 1,
                "V": 2, "z": 4, "O": 4, "X": 5, "x": 5, "Z": 5, "G": 4}  # fmt: skip
_OF_DATES: Final = frozenset("yMLdD")
_OF_TIMES: Final = frozenset("HhKkmsS")
_STRFTIME: Final = {
    "Y": "yyyy", "y": "yy", "m": "MM", "d": "dd", "H": "HH", "I": "hh", "M": "mm", "S": "ss", "f": "SSSSSS", "p": "a",
    "b": "MMM", "B": "MMMM", "j": "DDD", "z": "xx", "F": "yyyy-MM-dd", "T": "HH:mm:ss",
}  # fmt: skip
_UNKNOWN: Final = {
    "Y": ("Y is the year that a week belongs to, which Spark does not read", "y"),
    "u": ("u is the number of a weekday, which Spark does not read", "y"),
    "T": ("T is no letter of a pattern, text stands in quotes", "'T'"),
}
_EXAMPLES: Final = {  # of 31 December 2026, five past two in the afternoon
    "y": "2026", "yy": "26", "M": "12", "MM": "12", "MMM": "Dec", "MMMM": "December", "d": "31", "dd": "31", "D": "365",
    "H": "14", "h": "02", "k": "14", "K": "02", "m": "05", "s": "09", "a": "PM", "X": "+01:00", "x": "+0100",
    "Z": "+0100", "V": "Europe/Madrid", "z": "CET", "O": "GMT+1", "G": "AD",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WrongPattern:
    """What is wrong with a pattern, and the pattern that was probably meant; None when there is no telling."""

    what: str
    meant: str | None = None


def wrong_pattern(pattern: str) -> WrongPattern | None:
    """What would make Spark refuse a pattern, or read another time than its author means; None when nothing does.

    A pattern must name a year, and every part once and beside its like: months by days, minutes by hours. Nothing is
    wrong with what it proposes."""
    found = _first_wrong(pattern)
    if found is None:
        return None
    meant = found.meant
    for _ in pattern:  # each turn mends one letter
        if meant is not None and (again := _first_wrong(meant)) is not None:
            meant = again.meant
    return WrongPattern(found.what, meant)


def example(pattern: str) -> str:
    """A time as a pattern without fault writes it."""

    def written(found: re.Match[str]) -> str:
        run = found[0]
        if run.startswith("'"):
            return run.strip("'") or "'"
        return "123456789"[: len(run)] if run[0] == "S" else _EXAMPLES.get(run, _EXAMPLES[run[0]])

    return re.sub(r"'[^']*'|([A-Za-z])\1*", written, re.sub(r"[\[\]]", "", pattern))


def _first_wrong(pattern: str) -> WrongPattern | None:
    if re.search("%[A-Za-z]", pattern):
        meant = re.sub("%-?([A-Za-z])", lambda found: _STRFTIME.get(found[1], found[0]), pattern)
        return WrongPattern("this is a pattern of strftime, Spark has its own", None if "%" in meant else meant)
    if pattern.count("'") % 2 or pattern.count("[") != pattern.count("]"):
        return WrongPattern("a quote or a bracket is not closed")
    runs = [found[0] for found in re.finditer(r"([A-Za-z])\1*", re.sub("'[^']*'", " ", pattern))]
    return _unknown(pattern, runs) or _misplaced(pattern, runs) or _incomplete(pattern, runs)


def _unknown(pattern: str, runs: list[str]) -> WrongPattern | None:
    """A letter, or more of a letter, than Spark reads."""
    for run in runs:
        letter = run[0]
        if letter not in _MOST:
            what, meant = _UNKNOWN.get(letter, (f"Spark reads no {letter} in a pattern", None))
            new = None if meant is None else _with(pattern, run, meant if len(meant) > 1 else meant * len(run))
            return WrongPattern(what, new)
        if len(run) > _MOST[letter]:
            return WrongPattern(
                f"{run} has more than {_MOST[letter]} {letter}", _with(pattern, run, letter * _MOST[letter])
            )
    return None


def _misplaced(pattern: str, runs: list[str]) -> WrongPattern | None:
    """Minutes where months stand, months where minutes stand, days of the year where those of the month stand."""
    letters = [run[0] for run in runs]
    beside = {n: {*letters[max(n - 1, 0) : n], *letters[n + 1 : n + 2]} for n in range(len(runs))}
    minutes = [n for n, letter in enumerate(letters) if letter == "m" and not beside[n] & _OF_TIMES]
    months = [
        n for n, letter in enumerate(letters) if letter == "M" and letters[:n].count("M") + (not beside[n] & _OF_DATES)
    ]
    if minutes and beside[minutes[0]] & _OF_DATES:
        wanted = dict.fromkeys(minutes, "M") | {n: "m" for n in months if beside[n] & _OF_TIMES}
        return WrongPattern("m is the minute: every date would be one of January", _put(pattern, runs, wanted))
    if len(runs) > 1 and months and beside[months[0]] & _OF_TIMES:
        return WrongPattern(
            "M is the month, and stands where minutes do", _put(pattern, runs, dict.fromkeys(months, "m"))
        )
    if "D" in letters and (letters.count("D") > 1 or "M" in letters or "L" in letters):
        wanted = {n: "d" for n, letter in enumerate(letters) if letter == "D"}
        return WrongPattern("D is the day of the year, 1 to 366", _put(pattern, runs, wanted))
    if "S" in letters and "s" not in letters and "m" in letters:
        return WrongPattern("S is a fraction of a second", _put(pattern, runs, {letters.index("S"): "s"}))
    if {"h", "K"} & {*letters} and "a" not in letters:
        n = next(n for n, letter in enumerate(letters) if letter in "hK")
        return WrongPattern(
            f"{letters[n]} counts to 12 and nothing says which half of the day", _put(pattern, runs, {n: "H"})
        )
    return None


def _incomplete(pattern: str, runs: list[str]) -> WrongPattern | None:
    letters = [run[0] for run in runs]
    if "y" not in letters:
        return WrongPattern("a pattern without a year would give one of 1970")
    twice = next((one for one, other in pairwise(sorted(letters)) if one == other), None)
    return None if twice is None else WrongPattern(f"{twice} stands in it twice")


def _put(pattern: str, runs: list[str], wanted: dict[int, str]) -> str:
    """The pattern with other letters in place of some of its runs."""
    numbers = iter(range(len(runs)))

    def exchanged(found: re.Match[str]) -> str:
        if found[0].startswith("'"):
            return found[0]
        n = next(numbers)
        return wanted[n] * min(len(runs[n]), _MOST[wanted[n]]) if n in wanted else found[0]

    return re.sub(r"'[^']*'|([A-Za-z])\1*", exchanged, pattern)


def _with(pattern: str, run: str, new: str) -> str:
    return re.sub(rf"'[^']*'|{run}", lambda found: new if found[0] == run else found[0], pattern)
