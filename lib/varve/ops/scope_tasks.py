"""The rows of one table in the ledger while it is loaded scope by scope."""

from __future__ import annotations

from contextlib import AbstractContextManager

from varve.model.scope import Scope
from varve.ops.ledger import Ledger
from varve.ops.task import Task


class ScopeTasks:
    """The rows of one table, one per scope, open while it is loaded: `tasks[scope].wrote(…)`."""

    def __init__(self, ledger: Ledger, step: str, table: str) -> None:
        self._ledger, self._step, self._table = ledger, step, table
        self._open: dict[Scope, tuple[AbstractContextManager[Task], Task]] = {}
        self._unkept: list[BaseException] = []

    def __enter__(self) -> ScopeTasks:
        return self

    def __exit__(self, *_: object) -> None:
        """End the rows that are still open, as they are."""
        while self._open:
            self._open.popitem()[1][0].__exit__(None, None, None)

    def __getitem__(self, scope: Scope) -> Task:
        if scope not in self._open:
            context = self._ledger.task(self._step, self._table, scope, keep_going=True)
            self._open[scope] = (context, context.__enter__())
        return self._open[scope][1]

    def failed(self, scope: Scope, error: Exception) -> None:
        """End the scope's row with the error."""
        self[scope]
        context, _ = self._open.pop(scope)
        try:
            kept = context.__exit__(type(error), error, error.__traceback__)
        except Exception as raised:
            kept, error = False, raised
        if not kept:
            self._unkept.append(error)

    def raise_unkept(self) -> None:
        """Raise what the ledger has not kept for the end of the job: it was called outside of one."""
        if self._unkept:
            raise self._unkept[0]
