"""What one entity has to load, and how one manifest comes into its log.

What is to do: the manifests that bronze has loaded minus those that the log's own transactions name. A manifest of
several scopes goes into the log in one commit named after it; when one of its scopes has to wait, each of the others
gets a commit of its own, named `<manifest>@<scope>`. A parked manifest makes later ones of its entity and scope wait.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from varve import ops, quality, raw
from varve.codes import CodeList
from varve.contract import Contract, Feed, Guard
from varve.entities import SEQUENCE, VALID_FROM, observations
from varve.history import DELETE, UPSERT
from varve.history_table import HistoryTable, horizon, snapshots
from varve.history_table.snapshots import Comparison, Counts, Snapshot
from varve.privacy import PseudonymKey
from varve.raw import Manifest
from varve.scope import SCOPE_COLUMNS, Scope, in_scopes
from varve.silver.guard import Tally, Verdict, guarded
from varve.store import Commit

if TYPE_CHECKING:
    from varve.lake import Lake

LAYER: Final = "silver"
BEHIND_HORIZON: Final = "behind_horizon"  # the rule of rejects
_OPS: Final = threading.Lock()  # entities load side by side and share ops.rejects


@dataclass(frozen=True, slots=True)
class Window:
    """One manifest of one feed, and those of its scopes that the log does not have yet."""

    feed: Feed
    manifest: Manifest
    scopes: tuple[Scope, ...]

    @property
    def all_scopes(self) -> tuple[Scope, ...]:
        return scopes_of(self.manifest)

    def only(self, scopes: Sequence[Scope]) -> Window:
        """The window for some of its scopes."""
        return replace(self, scopes=tuple(scopes))

    @property
    def transaction(self) -> str:
        """What the commit of these scopes is named: all of the manifest, or exactly one."""
        whole = set(self.scopes) == set(self.all_scopes)
        return self.manifest.id if whole else f"{self.manifest.id}@{self.scopes[0]}"

    @property
    def asserts_absence(self) -> bool:
        """Whether a row that is not there is a row that was deleted."""
        return self.manifest.mode == "snapshot" and self.manifest.complete


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one window did to one scope."""

    commit: Commit
    tally: Tally
    counts: Counts | None


class EntityLoad:
    """The load of one silver entity in one run. key: gives the pseudonym key when it is needed, not before."""

    def __init__(
        self, lake: Lake, contract: Contract, *, lists: Mapping[str, CodeList], key: Callable[[], PseudonymKey]
    ) -> None:
        self.lake, self.contract = lake, contract
        self.table = f"{LAYER}.{contract.table}"
        self.history = HistoryTable.of(lake.store, contract, self._reject_contradictions)
        self._lists, self._key = lists, key

    def windows(self, wanted: frozenset[Scope] = frozenset()) -> list[Window]:
        """What is to do, in the order of time; needs no session. wanted: only these scopes, empty = all."""
        log = self.history.loaded()
        found = []
        for feed in self.contract.feeds:
            bronze = self.lake.store.loaded("bronze", feed.bronze)
            for manifest in self.manifests(feed):
                if manifest.status != "landed" or manifest.id not in bronze or manifest.id in log:
                    continue
                scopes = [
                    scope
                    for scope in scopes_of(manifest)
                    if (not wanted or scope in wanted)
                    and f"{manifest.id}@{scope}" not in log
                    and self.lake.ledger.discarded(self.table, scope, manifest.id) is None
                ]
                if scopes:
                    found.append(Window(feed, manifest, tuple(scopes)))
        return sorted(found, key=lambda window: window.manifest.order)

    def conformed(self, window: Window) -> DataFrame:
        """What the window says about the entity, good and bad rows, see `entities.observations`."""
        rows = self.lake.store.read("bronze", window.feed.bronze).where(F.col("_manifest") == window.manifest.id)
        if set(window.scopes) != set(window.all_scopes):
            rows = rows.where(in_scopes(window.scopes))
        personal = any(column.personal is not None for column in self.contract.columns)
        observed = observations(
            rows, self.contract, window.feed, source=window.manifest.source, lists=self._lists,
            key=self._key() if personal else None,
            rules=self.lake.config.bronze_contract(window.feed.bronze).history,
        )  # fmt: skip
        return observed if window.asserts_absence else self._within_the_horizon(observed)

    def _within_the_horizon(self, rows: DataFrame) -> DataFrame:
        """The rows, those behind the horizon of the history being bad ones."""
        found = horizon.of(self.history)
        if found is None:
            return rows
        behind = found.hides(self.history.policy, valid_from=VALID_FROM, sequence=SEQUENCE)
        reason = F.lit(f"the history keeps nothing of before {found.moment:%Y-%m-%d %H:%M}")
        failed = quality.failed_when(behind, quality.failure(BEHIND_HORIZON, reason))
        return rows.withColumn(quality.FAILED, F.concat(quality.FAILED, failed))

    def load(self, window: Window, *, judge: Callable[[Scope, Verdict], bool]) -> dict[Scope, Loaded]:
        """Bring the window into the log: all its scopes in one commit, or those that pass one by one.

        judge: told the guard's verdict on every scope of a snapshot, says whether it may come in.
        Returns what was done to each scope that came in.
        """
        if (final := self.final_verdict(window)) is not None:
            for scope in window.scopes:
                judge(scope, final)
            return {}
        rows = self.conformed(window).persist()
        try:
            tallies = self.tallies(rows)
            if not window.asserts_absence:
                return self._append(window, rows, tallies)
            comparison = self.compare(window, rows, tallies)
            passed = [s for s in window.scopes if judge(s, self.verdict(comparison, s, tallies.get(s, Tally())))]
            if len(passed) == len(window.scopes):
                return self._append_snapshot(window, rows, tallies, comparison)
            snapshots.release(comparison)
        finally:
            rows.unpersist()
        done: dict[Scope, Loaded] = {}
        for scope in passed:
            done |= self.load(window.only([scope]), judge=lambda _scope, _verdict: True)
        return done

    def compare(
        self,
        window: Window,
        rows: DataFrame,
        tallies: Mapping[Scope, Tally],
        *,
        name: str | None = None,
        sequence: int | None = None,
        recorded_at: datetime | None = None,
    ) -> Comparison:
        """A snapshot beside the state before it; keys of rejected rows are there, though nothing is known of them.

        name, sequence, recorded_at: of a snapshot that is said again, see `restate`.
        """
        policy, manifest = self.history.policy, window.manifest
        stated = quality.good(rows).where(in_scopes(window.scopes)).where(~F.col(quality.DELETED))
        unclear = quality.rejected(rows).dropna(subset=list(policy.keys)).select(*policy.identity).distinct()
        snapshot = Snapshot(
            manifest=name or window.transaction, scopes=window.scopes, as_of=manifest.as_of,
            recorded_at=recorded_at or manifest.landed_at, sequence=sequence, contract_version=self.contract.version,
        )  # fmt: skip
        any_rejected = any(tally.rejected for tally in tallies.values())
        return self.history.compare(
            stated.select(*policy.identity, *policy.payload), snapshot, unclear if any_rejected else None
        )

    def verdict(self, comparison: Comparison, scope: Scope, tally: Tally) -> Verdict:
        """Whether this scope of the snapshot may come in: by the contract's guard, and as the first of its moment."""
        verdict = guarded(self.contract.guard or Guard(), comparison.counts[scope], tally)
        snapshot = comparison.snapshot
        is_first = snapshot.sequence is not None or scope not in comparison.twins
        if is_first or verdict.refusal or not comparison.counts[scope].differs:
            return verdict
        again = f"restate --table {self.contract.table} --day {snapshot.as_of:%Y-%m-%d} --scope {scope} --reason …"
        return replace(
            verdict,
            refusal=f"the scope has another snapshot of that very moment, which ./spark-submit.sh {again} replaces",
        )

    def final_verdict(self, window: Window) -> Verdict | None:
        """The verdict on a snapshot that nobody can let in: it lies behind the horizon of the history, or has no place
        in its order; None of every other window."""
        if not window.asserts_absence:
            return None
        if self.history.policy.domain == "sequence":
            return Verdict({}, f"{self.table} is ordered by a sequence, and a snapshot has none", is_final=True)
        found = horizon.of(self.history)
        if found is None or window.manifest.as_of >= found.moment:
            return None
        refusal = f"it is from before {found.moment:%Y-%m-%d %H:%M}, of which the history keeps nothing"
        return Verdict({"horizon": found.moment.isoformat()}, refusal, is_final=True)

    def changes(self, window: Window, rows: DataFrame) -> DataFrame:
        """The good rows as changes, in the shape that `history.timeline` takes."""
        policy, manifest = self.history.policy, window.manifest
        return quality.good(rows).select(
            *policy.identity, *policy.payload,
            F.when(F.col(quality.DELETED), DELETE).otherwise(UPSERT).alias("op"),
            F.col(VALID_FROM).alias("valid_from"), F.col(SEQUENCE).alias("sequence"),
            F.lit(manifest.landed_at).alias("recorded_at"), F.lit(manifest.id).alias("manifest"),
            F.lit(self.contract.version).alias("contract_version"),
        )  # fmt: skip

    def _append(self, window: Window, rows: DataFrame, tallies: Mapping[Scope, Tally]) -> dict[Scope, Loaded]:
        self.reject(window, rows, tallies, txn=window.transaction)
        is_empty = all(tally.rows == tally.rejected for tally in tallies.values())
        commit = self.history.append(self.changes(window, rows), txn=window.transaction, is_empty=is_empty)
        found = {scope: tallies.get(scope, Tally()) for scope in {*window.scopes, *tallies}}
        return {s: Loaded(replace(commit, rows=t.rows - t.rejected), t, None) for s, t in found.items()}

    def _append_snapshot(
        self, window: Window, rows: DataFrame, tallies: Mapping[Scope, Tally], comparison: Comparison
    ) -> dict[Scope, Loaded]:
        self.reject(window, rows, tallies, txn=window.transaction)
        commit = self.history.append_snapshot(comparison)
        done = {}
        for scope in window.scopes:
            counts = comparison.counts[scope]
            written = replace(commit, rows=counts.inserted + counts.changed + counts.deleted)
            done[scope] = Loaded(written, tallies.get(scope, Tally()), counts)
        return done

    def reject(self, window: Window, rows: DataFrame, tallies: Mapping[Scope, Tally], *, txn: str) -> None:
        """Keep the bad rows before the good ones are logged under the name `txn`; one commit, once."""
        if not any(tally.rejected for tally in tallies.values()):
            return
        rejects = rejects_of(quality.rejected(rows), self.contract, run_id=self.lake.run_id, at=datetime.now(UTC))
        name = f"{self.table}/{window.feed.bronze}/{txn}"
        with _OPS:
            self.lake.store.append(rejects, "ops", ops.REJECTS, txn=name, partition_by=())

    def _reject_contradictions(self, head: int, statements: Sequence[Row]) -> None:
        """Show what a fold sets aside: it stays in the log, where a retract or a higher sequence resolves it."""
        rows = [
            {
                "table_name": self.table, "scope_country": row["scope_country"], "scope_entity": row["scope_entity"],
                "stage": LAYER, "rule": "contradiction",
                "reason": f"another content at {row['valid_from']}, sequence {row['sequence']}",
                "record": json.dumps(row.asDict(), default=str), "run_id": self.lake.run_id,
                "rejected_at": datetime.now(UTC),
            }
            for row in statements
        ]  # fmt: skip
        names = ops.COLUMNS[ops.REJECTS]
        frame = self.lake.store.frame([tuple(row.get(c) for c in names) for row in rows], ops.ddl(ops.REJECTS))
        with _OPS:
            name = f"{self.table}/contradictions/{head}"
            self.lake.store.append(frame, "ops", ops.REJECTS, txn=name, partition_by=())

    def tallies(self, rows: DataFrame) -> dict[Scope, Tally]:
        """Per scope, in one job: rows, rejected rows, and how often each rule was broken."""
        rules = F.transform(quality.FAILED, lambda one: F.concat(F.lit("e:"), one["rule"]))
        warned = F.transform(quality.WARNED, lambda one: F.concat(F.lit("w:"), one))
        counted = rows.select(
            *SCOPE_COLUMNS, F.explode(F.concat(F.array(F.lit("rows")), _rejected_mark(), rules, warned)).alias("what")
        )
        found: dict[Scope, dict[str, int]] = {}
        for row in counted.groupBy(*SCOPE_COLUMNS, "what").count().collect():
            found.setdefault(Scope(row.scope_country, row.scope_entity), {})[row.what] = row["count"]
        return {
            scope: Tally(
                rows=what["rows"],
                rejected=what.get("rejected", 0),
                errors={rule[2:]: n for rule, n in sorted(what.items()) if rule.startswith("e:")},
                warnings={rule[2:]: n for rule, n in sorted(what.items()) if rule.startswith("w:")},
            )
            for scope, what in found.items()
        }

    def manifests(self, feed: Feed) -> list[Manifest]:
        """What raw has of a feed, in the order of time."""
        for dataset in self.lake.config.datasets():
            if dataset.table == feed.bronze:
                return raw.manifests(self.lake.root, dataset.source, dataset.name)
        return []


def rejects_of(rejected: DataFrame, contract: Contract, *, run_id: str, at: datetime) -> DataFrame:
    """Bad rows as rows of ops.rejects. They are pseudonymised: the clear record is where file and position say."""
    record = F.to_json(F.struct(*(F.col(f"`{name}`") for name in contract.names)), {"ignoreNullFields": "false"})
    values: dict[str, Column] = {
        "table_name": F.lit(f"{LAYER}.{contract.table}"),
        "stage": F.lit(LAYER),
        "manifest": F.col("_manifest"),
        "file": F.col("_file"),
        "position": F.col("_position"),
        "rule": F.array_join(F.transform(quality.FAILED, lambda one: one["rule"]), ", "),
        "reason": F.array_join(F.transform(quality.FAILED, lambda one: one["reason"]), "; "),
        "record": record,
        "run_id": F.lit(run_id),
        "rejected_at": F.lit(at),
    }
    columns = ops.COLUMNS[ops.REJECTS]
    return rejected.select(*(values.get(c, F.col(c)).cast(kind).alias(c) for c, kind in columns.items()))


def scopes_of(manifest: Manifest) -> tuple[Scope, ...]:
    """The scopes that the manifest speaks for, sorted."""
    if not manifest.mixed:
        return (manifest.scope,)
    return tuple(sorted(Scope.parse(text) for text in manifest.scopes))


def _rejected_mark() -> Column:
    return F.when(F.size(quality.FAILED) > 0, F.array(F.lit("rejected"))).otherwise(F.array().cast("array<string>"))
