"""How the columns of an extract differ from those of its contract. PURE.

A received name is taken for a column of the contract when a person would take it for that: its letters are the same but
for capitals, blanks around or between them, marks that nobody sees and the way that Unicode writes them. The exact name
comes first. Where two received names could be one column a person decides: the extract is parked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from varve.model.contract import Contract


@dataclass(frozen=True, slots=True)
class Drift:
    """How the columns received differ from the contract. Names as received, of those that did not come the contract's.

    added: no column of the contract; missing: the contract can do without them; required: it cannot, the extract is
    parked; spelling: the contract has them in another spelling; unclear: columns of the contract that two received
    names could be, the extract is parked."""

    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    spelling: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.added, self.missing, self.required, self.spelling, self.unclear))

    @property
    def parks(self) -> bool:
        """Whether a person must look."""
        return bool(self.required or self.unclear)


def drift(columns: Sequence[str], contract: Contract) -> Drift:
    """Compare the names received with those of the contract. Order means nothing."""
    expected = dict.fromkeys(c.received_as for c in contract.columns)  # two columns may be read from one field
    meant, unclear = _matches(columns, contract)
    doubtful = {_letters(name) for name in unclear}
    received = {meant.get(name, name) for name in columns}
    absent = [name for name in expected if name not in received and name not in unclear]
    required = {c.received_as for c in contract.columns if c.required or c.key_position is not None}
    return Drift(
        added=tuple(n for n in columns if n not in expected and n not in meant and _letters(n) not in doubtful),
        missing=tuple(n for n in absent if n not in required),
        required=tuple(n for n in absent if n in required),
        spelling=tuple(meant),
        unclear=tuple(unclear),
    )


def spellings(columns: Iterable[str], contract: Contract) -> Mapping[str, str]:
    """Received name -> the contract's, of those that are columns of the contract in another spelling."""
    return _matches(columns, contract)[0]


def _matches(columns: Iterable[str], contract: Contract) -> tuple[dict[str, str], list[str]]:
    """Received name -> the contract's, of those in another spelling; and the contract's names that several could be, or
    that one could be as well as another."""
    expected, columns = {c.received_as for c in contract.columns}, list(columns)
    others = _by_letters(name for name in columns if name not in expected)
    meant, unclear = dict[str, str](), list[str]()
    for letters, names in _by_letters(sorted(expected.difference(columns))).items():
        received = others.get(letters, ())
        if len(names) == len(received) == 1:
            meant[received[0]] = names[0]
        elif received:
            unclear += names
    return meant, unclear


def _by_letters(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_letters(name), []).append(name)
    return found


def _letters(name: str) -> str:
    """A name without what nobody sees of it: capitals, blanks and how Unicode composes its letters."""
    plain = unicodedata.normalize("NFKC", name)
    seen = "".join(letter for letter in plain if unicodedata.category(letter) not in ("Cf", "Cc") or letter.isspace())
    return unicodedata.normalize("NFKC", re.sub(r"\s+", " ", seen).strip().casefold())
