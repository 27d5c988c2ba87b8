"""What people decided about parked manifests: rows of `ops.decisions`, read once and then known."""

from __future__ import annotations

import getpass
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from varve.model.errors import UsageError
from varve.model.scope import Scope
from varve.ops import tables
from varve.ops.journal import Decision, DecisionVerdict


class Decisions:
    """The decisions on one lake, as one run knows them. Threads may share it.

    root: the lake's folder; run_id: of the run that decides; keep: makes a new decision durable.
    """

    def __init__(self, root: Path, run_id: str, keep: Callable[[Decision], None]) -> None:
        self._root, self._run_id, self._keep = root, run_id, keep
        self._lock = threading.RLock()
        self._by_manifest: dict[tuple[str, str, str], Decision] | None = None  # (table, scope, manifest)

    def decide(
        self,
        table: str,
        scope: Scope | str | None,
        manifest: str,
        *,
        verdict: DecisionVerdict,
        reason: str,
        by: str | None = None,
    ) -> Decision:
        """Record what a person decided about a parked manifest. The last decision counts; the same one twice is one.

        table: `silver.claim`; scope: None for all of them; by: the user of this process when it is None. Raises
        UsageError without a reason, StorageError when it cannot be recorded."""
        if not reason.strip():
            where = f"{table} {manifest}"
            raise UsageError(
                "a decision needs a reason",
                where=where,
                remedy=f'Say why: --{verdict} "reason"; of bronze --discard EXTRACT --reason "…".',
            )
        text = None if scope is None else str(scope)
        with self._lock:
            known = self._known().get((table, text or "", manifest))
            if known and (known.verdict, known.reason) == (verdict, reason):
                return known
            decision = Decision(
                id=uuid.uuid4().hex, table_name=table, scope=text, manifest=manifest, verdict=verdict, reason=reason,
                decided_by=by or getpass.getuser(), decided_at=datetime.now(UTC), run_id=self._run_id,
            )  # fmt: skip
            self._keep(decision)
            self._known()[(table, text or "", manifest)] = decision
        return decision

    def accepted(self, table: str, scope: Scope | str | None, manifest: str) -> str | None:
        """The reason for which a person let this parked manifest in; None if nobody did. StorageError."""
        return self._reason("accept", table, scope, manifest)

    def discarded(self, table: str, scope: Scope | str | None, manifest: str) -> str | None:
        """The reason for which a person discarded this parked manifest; None if nobody did. StorageError."""
        return self._reason("discard", table, scope, manifest)

    def reread(self) -> None:
        """Read the table again at the next question: other runs' decisions were brought into it."""
        with self._lock:
            self._by_manifest = None

    def _reason(
        self, verdict: DecisionVerdict, table: str, scope: Scope | str | None, manifest: str
    ) -> str | None:  # fmt: skip
        with self._lock:
            decision = self._known().get((table, "" if scope is None else str(scope), manifest))
        return decision.reason if decision and decision.verdict == verdict else None

    def _known(self) -> dict[tuple[str, str, str], Decision]:
        if self._by_manifest is None:
            rows = tables.rows(self._root, tables.DECISIONS, columns=tables.COLUMNS[tables.DECISIONS])
            decisions = sorted((Decision(**row) for row in rows), key=lambda decision: decision.decided_at)
            self._by_manifest = {(d.table_name, d.scope or "", d.manifest): d for d in decisions}
        return self._by_manifest
