"""The load of one entity as the ledger shows it: scope by scope, what was done, parked or failed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pyspark.sql import Row

from varve.bronze.lost import lost_error
from varve.config.settings import BatchLimits
from varve.history import Policy
from varve.model.clock import utc
from varve.model.errors import OvertakenError, ParkedError
from varve.model.scope import SCOPE_COLUMNS, Scope
from varve.ops.scope_tasks import ScopeTasks
from varve.silver.guard import Verdict
from varve.silver.load import EntityLoad, ScopeLoad
from varve.silver.window import Window
from varve.storage.commits import Commit

STEP: Final = "silver"
FOLD: Final = "fold"


@dataclass(frozen=True, slots=True)
class SnapshotDecision:
    """What a person says about the oldest parked snapshot of each scope."""

    verdict: Literal["accept", "discard"]
    reason: str


def load_entity(
    load: EntityLoad, *, wanted: frozenset[Scope], decision: SnapshotDecision | None, folds: bool = True
) -> None:
    """Load everything that bronze has for the entity, and fold it; under the entity's lease, when there is anything.

    A scope that fails or is parked stops there and does not stop the others.
    folds: otherwise the versions stay as they are, until a run that folds brings all of it in at once.
    """
    if not load.windows(wanted) and not load.lost and (not folds or is_idle(load)):
        with load.run.ledger.task(STEP, load.table, keep_going=True) as task:
            task.skip()
        return
    with load.run.lease(load.table):
        load.forget()
        windows = load.windows(wanted)
        # Rebuilt first, so that the ledger shows it: append() would rebuild silently when it widens the log.
        if windows and load.history.reason_to_rebuild():
            fold_entity(load)
        with ScopeTasks(load.run.ledger, STEP, load.table) as tasks:
            run = _Run(load, tasks, decision)
            for group in in_commits(windows, load.run.config.settings.batch):
                run.load(group)
        for dataset, number in load.lost:
            with load.run.ledger.task(STEP, load.table, keep_going=True) as task:
                task.parked(lost_error(dataset, number, load.table))
        if folds:
            fold_entity(load)
        tasks.raise_unkept()


def is_idle(load: EntityLoad) -> bool:
    """Whether there is nothing to fold; no session."""
    return not load.run.store.exists(load.history.layer, load.history.log_table) or load.history.is_folded()


def in_commits(windows: Sequence[Window], limits: BatchLimits) -> list[list[Window]]:
    """The windows by the commits that they may come in with: each snapshot by itself, changes together.

    windows: in the order of time. Changes are taken as early as no snapshot of their scopes comes before them: what is
    earlier than a snapshot of a scope is in a commit before it, and the law does not care about the rest."""
    commits: list[list[Window]] = []
    after: dict[Scope, int] = {}  # the commit that the last snapshot of a scope is in
    for window in windows:
        if window.asserts_absence:
            after |= dict.fromkeys(window.scopes, len(commits))
            commits.append([window])
            continue
        first = max((after.get(scope, -1) for scope in window.scopes), default=-1) + 1
        for commit in commits[first:]:
            size = sum(one.manifest.bytes for one in commit) + window.manifest.bytes
            if not commit[0].asserts_absence and len(commit) < limits.manifests and size <= limits.bytes:
                commit.append(window)
                break
        else:
            commits.append([window])
    return commits


class _Run:
    """One load: which scopes wait, and what a person has decided so far."""

    def __init__(self, load: EntityLoad, tasks: ScopeTasks, decision: SnapshotDecision | None) -> None:
        self.entity, self.tasks, self.decision = load, tasks, decision
        self.ledger = load.run.ledger
        self._waiting: set[Scope] = set()
        self._decided: set[Scope] = set()

    def load(self, windows: Sequence[Window]) -> None:
        """The windows of one commit, without the scopes that wait."""
        if windows[0].asserts_absence:
            for part in self._free(windows):
                self._load([part])
        else:
            self._load(windows)

    def _free(self, windows: Sequence[Window]) -> list[Window]:
        """The windows without the scopes that wait: whole, or scope by scope."""
        parts: list[Window] = []
        for window in windows:
            free = [scope for scope in window.scopes if scope not in self._waiting]
            is_whole = set(free) == set(window.all_scopes)
            parts += [window.only(part) for part in ([free] if is_whole else [[scope] for scope in free]) if part]
        return parts

    def _load(self, windows: Sequence[Window]) -> None:
        """One commit; one that fails is split, down to the extract and scope that is to blame."""
        windows = self._free(windows)
        if not windows:
            return
        first = windows[0]
        try:
            if first.asserts_absence:
                done = self.entity.load_snapshot(first, judge=self._judge(first))
            else:
                done = self.entity.load_changes(windows)
        except OvertakenError as error:
            for scope in {scope for window in windows for scope in window.scopes}:
                self.tasks.failed(scope, error)
            raise  # another run loads this entity: whatever is tried next is too late as well
        except Exception as error:
            if len(windows) > 1:
                middle = len(windows) // 2
                self._load(windows[:middle])
                self._load(windows[middle:])
            elif len(first.scopes) > 1:  # the rows of one scope may be the reason: let the others in
                for scope in first.scopes:
                    self._load([first.only([scope])])
            else:
                self._waiting.update(first.scopes)
                self.tasks[first.scopes[0]].input(first.manifest.id)
                self.tasks.failed(first.scopes[0], error)
            return
        for window in windows:
            for scope in window.scopes:
                self.tasks[scope].input(window.manifest.id)
        for scope, loaded in done.items():
            self._record(scope, loaded)

    def _record(self, scope: Scope, loaded: ScopeLoad) -> None:
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
            accepted = self.ledger.decisions.accepted(table, scope, manifest)
            discarded = self.ledger.decisions.discarded(table, scope, manifest)
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
        if verdict.is_final or self.ledger.decisions.accepted(self.entity.table, scope, manifest) is None:
            self._decided.add(scope)
            said = self.decision
            self.ledger.decisions.decide(self.entity.table, scope, manifest, verdict=said.verdict, reason=said.reason)


def fold_entity(load: EntityLoad) -> None:
    """Bring the versions up to the log; contradictions in it end the run with exit code 3. Under the entity's lease."""
    history, ledger = load.history, load.run.ledger
    if not load.run.store.exists(history.layer, history.log_table):
        return
    with ledger.task(FOLD, load.table, keep_going=True) as task:
        fold = history.fold()
        if fold.version is not None:
            task.wrote(Commit(version=fold.version, rows=fold.inserted))
        elif not fold.quarantined:
            task.skip("nothing that changes a version")
        if fold.rebuilt:
            task.note(f"rebuilt: {fold.rebuilt}")
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
