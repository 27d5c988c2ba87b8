"""The load of one entity as the ledger tells it: scope by scope, what was done, parked or failed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from pyspark.sql import Row

from varve.clock import utc
from varve.errors import ParkedError
from varve.history import Policy
from varve.scope import SCOPE_COLUMNS, Scope
from varve.silver.guard import Verdict
from varve.silver.load import EntityLoad, Loaded, Window
from varve.store import Commit

if TYPE_CHECKING:
    from varve.ledger import Ledger, Task

STEP: Final = "silver"
FOLD: Final = "fold"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says about the oldest parked snapshot of each scope."""

    verdict: Literal["accept", "discard"]
    reason: str


def load_entity(load: EntityLoad, *, wanted: frozenset[Scope], decision: Decision | None, folds: bool = True) -> None:
    """Load everything that bronze has for the entity, in the order of time, and fold it.

    A scope that fails or is parked stops there and does not stop the others.
    folds: otherwise the versions stay as they are, until a run that folds brings all of it in at once.
    """
    windows = load.windows(wanted)
    if windows and load.history.outgrown():  # its versions are made anew first: a widened log would do it unseen
        fold_entity(load)
    run = _Run(load, decision)
    try:
        for window in windows:
            run.load(window)
    finally:
        run.tasks.close()
    if folds:
        fold_entity(load, idle=not windows)
    run.tasks.raise_unkept()


@dataclass
class _Tasks:
    """The ledger's rows of one table, one per scope, open while the entity is loaded."""

    ledger: Ledger
    table: str
    _open: dict[Scope, tuple[AbstractContextManager[Task], Task]] = field(default_factory=dict)
    _unkept: list[BaseException] = field(default_factory=list)

    def __getitem__(self, scope: Scope) -> Task:
        if scope not in self._open:
            context = self.ledger.task(STEP, self.table, scope, keep_going=True)
            self._open[scope] = (context, context.__enter__())
        return self._open[scope][1]

    def failed(self, scope: Scope, error: Exception) -> None:
        """End the scope's row with the error."""
        self[scope]
        context, _ = self._open.pop(scope)
        self._end(context, error)

    def close(self) -> None:
        """End the rows that are still open, as they are."""
        while self._open:
            _, (context, _) = self._open.popitem()
            context.__exit__(None, None, None)

    def raise_unkept(self) -> None:
        """Raise what the ledger has not kept for the end of the job: it was called outside of one."""
        if self._unkept:
            raise self._unkept[0]

    def _end(self, context: AbstractContextManager[Task], error: Exception) -> None:
        try:
            kept = context.__exit__(type(error), error, error.__traceback__)
        except Exception as raised:
            kept, error = False, raised
        if not kept:
            self._unkept.append(error)


class _Run:
    """One load: which scopes wait, and what a person has decided so far."""

    def __init__(self, load: EntityLoad, decision: Decision | None) -> None:
        self.entity, self.decision = load, decision
        self.ledger = load.lake.ledger
        self.tasks = _Tasks(self.ledger, load.table)
        self._waiting: set[Scope] = set()
        self._decided: set[Scope] = set()

    def load(self, window: Window) -> None:
        """One manifest: the scopes that do not wait, all at once if it is all of them."""
        free = [scope for scope in window.scopes if scope not in self._waiting]
        together = set(free) == set(window.all_scopes)
        for part in [free] if together else [[scope] for scope in free]:
            self._load(window.only(part))

    def _load(self, window: Window) -> None:
        for scope in window.scopes:
            self.tasks[scope].input(window.manifest.id)
        try:
            done = self.entity.load(window, judge=self._judge(window))
        except Exception as error:
            if len(window.scopes) > 1:  # the rows of one scope may be the reason: let the others in
                for scope in window.scopes:
                    self._load(window.only([scope]))
                return
            self._waiting.update(window.scopes)
            self.tasks.failed(window.scopes[0], error)
            return
        for scope, loaded in done.items():
            self._record(scope, loaded)

    def _record(self, scope: Scope, loaded: Loaded) -> None:
        task = self.tasks[scope]
        task.read(loaded.tally.rows)
        task.wrote(loaded.commit, rejected=loaded.tally.rejected)
        if loaded.tally.warnings:
            task.note("warnings: " + ", ".join(f"{rule} {rows}" for rule, rows in loaded.tally.warnings.items()))

    def _judge(self, window: Window) -> Callable[[Scope, Verdict], bool]:
        """Whether a scope of the snapshot may come in: the guard's verdict, or a person's."""
        table, manifest = self.entity.table, window.manifest.id

        def may_come_in(scope: Scope, verdict: Verdict) -> bool:
            self._decide(scope, manifest, verdict)
            accepted = self.ledger.accepted(table, scope, manifest)
            discarded = self.ledger.discarded(table, scope, manifest)
            self.tasks[scope].guard(
                {**verdict.facts, "manifest": manifest, "refusal": verdict.refusal, "accepted": accepted}
            )
            if verdict.refusal is None or (accepted is not None and not verdict.is_final):
                return True
            if discarded is not None:
                self.tasks[scope].note(f"discarded: {discarded}")
                return False
            self._waiting.add(scope)
            self.tasks[scope].parked(_parked(window, table, scope, verdict))
            return False

        return may_come_in

    def _decide(self, scope: Scope, manifest: str, verdict: Verdict) -> None:
        """Keep what the person says, of the first snapshot of a scope that the guard refuses in this run."""
        if verdict.refusal is None or self.decision is None or scope in self._decided:
            return
        if verdict.is_final and self.decision.verdict == "accept":
            return
        if verdict.is_final or self.ledger.accepted(self.entity.table, scope, manifest) is None:
            self._decided.add(scope)
            said = self.decision
            self.ledger.decide(self.entity.table, scope, manifest, verdict=said.verdict, reason=said.reason)


def fold_entity(load: EntityLoad, *, idle: bool = False) -> None:
    """Bring the versions up to the log; contradictions in it end the run with exit code 3. idle: nothing was loaded."""
    history, ledger = load.history, load.lake.ledger
    if not load.lake.store.exists(history.layer, history.log_table):
        return
    if idle and history.is_folded():
        with ledger.task(STEP, load.table, keep_going=True) as task:
            task.skip()
        return
    with ledger.task(FOLD, load.table, keep_going=True) as task:
        fold = history.fold()
        if fold.version is not None:
            task.wrote(Commit(version=fold.version, rows=fold.inserted))
        elif not fold.quarantined:
            task.skip("nothing that changes a version")
        if fold.rebuilt:
            task.note(f"made anew: {fold.rebuilt}")
        if fold.quarantined:
            task.parked(_contradictory(load, fold.quarantined))


def _parked(window: Window, table: str, scope: Scope, verdict: Verdict) -> ParkedError:
    again = f"./spark-submit.sh silver --table {table.partition('.')[2]} --scope {scope}"
    remedy = f'If it is right: {again} --accept "reason". If it is wrong: the same with --discard "reason".'
    return ParkedError(
        f"the snapshot of {window.manifest.as_of:%Y-%m-%d %H:%M} is parked: {verdict.refusal}",
        where=f"{table} {scope}, manifest {window.manifest.id}",
        remedy=f'It cannot come in: {again} --discard "reason" lets the later ones go on.'
        if verdict.is_final
        else remedy,
    )


def _contradictory(load: EntityLoad, statements: Sequence[Row]) -> ParkedError:
    return ParkedError(
        f"{len(statements)} statements contradict others of the same key and moment and are left out",
        where=load.table, expected="one content per key, valid_from and sequence",
        remedy="ops.rejects has them under the rule `contradiction`. "
        f'Take a wrong one back: {taking_back(load.history.policy, load.contract.table, statements)} --reason "…"; '
        "or name a sequence or a tie-break column in the contract.",
    )  # fmt: skip


def taking_back(policy: Policy, entity: str, statements: Sequence[Row]) -> str:
    """The command that takes back the first of statements that contradict others."""
    first = statements[0]
    place = [*policy.identity, *policy.order]
    rivals = [row for row in statements[1:] if all(row[c] == first[c] for c in place)]
    differs = [c for c in ("op", *policy.payload) if any(row[c] != first[c] for row in rivals)]
    words = ["--table", entity, "--scope", str(Scope(*(first[c] for c in SCOPE_COLUMNS)))]
    words += [word for c in policy.keys for word in ("--key", f"{c}={first[c]}")]
    words += ["--at", utc(first["valid_from"]).isoformat()]
    words += [word for c in differs[:1] for word in ("--says", f"{c}={'null' if first[c] is None else first[c]}")]
    return shlex.join(["./spark-submit.sh", "restate", *words])
