"""The row of a task in the ledger, while it is being filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from varve.model.errors import ParkedError, VarveError
from varve.ops.ending import with_error
from varve.ops.journal import Row


class Committed(Protocol):
    """What the store says about a write; version None: nothing was written."""

    @property
    def version(self) -> int | None: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


@dataclass(slots=True)
class Task:
    """The row of a task while it is being filled in. Counts add up over several calls."""

    row: Row

    def input(self, *manifests: str) -> None:
        """The manifests that this task takes in."""
        self.row = replace(self.row, manifests=(*self.row.manifests, *manifests))

    def read(self, rows: int) -> None:
        """Count rows that the task took in."""
        self.row = replace(self.row, rows_in=self.row.rows_in + rows)

    def wrote(self, commit: Committed | None, *, rejected: int = 0, before: int | None = None) -> None:
        """Rows that a commit added, and rows that were rejected. `before` is the table's version before, if known."""
        row = replace(self.row, rows_rejected=self.row.rows_rejected + rejected)
        if commit is not None and commit.version is not None:
            first = row.version_after is None
            earlier = before if before is not None else commit.version - 1 if commit.version else None
            row = replace(
                row, rows_out=row.rows_out + commit.rows, bytes=row.bytes + commit.bytes, version_after=commit.version,
                version_before=earlier if first else row.version_before,
            )  # fmt: skip
        self.row = row

    def skip(self, reason: str = "nothing new") -> None:
        """There was nothing to do."""
        self.row = replace(self.row, status="skipped", reason=reason)

    def parked(self, error: VarveError | str) -> None:
        """The work was set aside and waits for a person; `within` ends with exit 3 for it."""
        cause = error if isinstance(error, VarveError) else ParkedError(error)
        self.row = with_error(replace(self.row, status="parked"), cause)

    def guard(self, verdict: Mapping[str, object]) -> None:
        """What a guard measured and decided."""
        self.row = replace(self.row, guard=json.dumps(verdict, default=str))

    def drift(self, difference: Mapping[str, object]) -> None:
        """How the input differed from its contract."""
        self.row = replace(self.row, drift=json.dumps(difference, default=str))

    def note(self, text: str) -> None:
        """A remark for whoever reads the ledger."""
        self.row = replace(self.row, reason=text)
