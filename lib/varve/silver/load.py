"""What one entity has to load, and how extracts come into its log.

What is to do: the extracts that bronze holds minus those that the log holds. Changes of several extracts go into the
log in one commit, a snapshot in one of its own; when one of its scopes has to wait, each of the others gets a commit of
its own. A parked snapshot makes later extracts of its entity and scope wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Final

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from varve.bronze.load import bronze_loaded
from varve.bronze.lost import lost_as
from varve.history import DELETE, UPSERT
from varve.history_table import HistoryTable, horizon, snapshots
from varve.history_table.snapshot_log import Snapshot
from varve.history_table.snapshots import Comparison, Counts
from varve.model.contract import Contract, Feed, Guard
from varve.model.scope import SCOPE_COLUMNS, Scope, in_scopes
from varve.ops import tables
from varve.privacy.pseudonyms import PseudonymKey
from varve.raw import RawDataset, index
from varve.raw.batch import FOLD_BATCH, Batch, Load, withdraw
from varve.raw.index import Loaded
from varve.raw.rejects import keep_rejects
from varve.rules import quality
from varve.rules.codes import CodeList
from varve.silver.conform import SEQUENCE, VALID_FROM, observations
from varve.silver.guard import Tally, Verdict, guarded
from varve.silver.rejects import contradiction, rejected_rows
from varve.silver.window import Window, bronze_rows, scopes_of
from varve.storage import Absent
from varve.storage.commits import Commit

if TYPE_CHECKING:
    from varve.run.run import Run

LAYER: Final = "silver"
BEFORE_HORIZON: Final = "before_horizon"  # the rule of rejects
_SAID_AS: Final = re.compile(r"[@#]")  # what follows the id of an extract in the log's `manifest`: a scope, how often


@dataclass(frozen=True, slots=True)
class ScopeLoad:
    """What one window did to one scope."""

    commit: Commit
    tally: Tally
    counts: Counts | None


class EntityLoad:
    """The load of one silver entity in one run. key: gives the pseudonym key when it is needed, not before."""

    def __init__(
        self, run: Run, contract: Contract, *, lists: Mapping[str, CodeList], key: Callable[[], PseudonymKey]
    ) -> None:
        self.run, self.contract = run, contract
        self.table = f"{LAYER}.{contract.table}"
        self.history = HistoryTable.of(run.store, contract, self._reject_contradictions)
        self._lists, self._key = lists, key
        self._loaded: Loaded | None = None
        self.lost: list[tuple[RawDataset, int]] = []  # what bronze holds, the log lacks and raw has no manifest of

    def loaded(self) -> Loaded:
        """What the log holds of extracts; followed while this load goes on."""
        if self._loaded is None:
            history = self.history
            self._loaded = index.loaded(
                self.run.store, self.run.files, history.layer, history.log_table, self._from_rows
            )
        return self._loaded

    def forget(self) -> None:
        """Ask again what is loaded: another run may have gone on meanwhile."""
        self._loaded = None

    def batch(self, *windows: Window) -> Batch:
        """The next batch of the log, that holds these windows."""
        return self.loaded().batch([window.load for window in windows], run=self.run.run_id)

    def _committed(self, batch: Batch) -> None:
        """Remember that a batch has been committed."""
        self.loaded().add_batch(batch)

    def datasets(self) -> list[tuple[Feed, RawDataset]]:
        """The feeds with the dataset that each is loaded from; a feed that no source delivers is left out."""
        known = {one.table: (one.source, one.name) for one in self.run.config.datasets()}
        return [(feed, self.run.raw(*known[feed.bronze])) for feed in self.contract.feeds if feed.bronze in known]

    def _from_rows(self) -> Iterator[Load]:
        """The extracts that the rows of the log are signed with."""
        numbers = {one.id: (one.table, one.number) for _, dataset in self.datasets() for one in dataset.catalog()}
        for row in self.history.records().select("manifest", *SCOPE_COLUMNS).distinct().collect():
            if row.manifest and (found := numbers.get(_SAID_AS.split(row.manifest)[0])):
                yield Load(*found, row.manifest, (str(Scope(row.scope_country, row.scope_entity)),))

    def windows(self, wanted: frozenset[Scope] = frozenset()) -> list[Window]:
        """What is to do, in the order of time; needs no session. wanted: only these scopes, empty = all."""
        log, found, self.lost = self.loaded(), [], []
        for feed, dataset in self.datasets():
            bronze = bronze_loaded(self.run, dataset)
            for number in log.open_numbers(dataset.table, bronze.last(dataset.table)):
                if not bronze.has(dataset.table, number):
                    continue
                try:
                    manifest = dataset.manifest(number)
                except Absent:
                    if self.run.ledger.decisions.discarded(*lost_as(dataset, number)) is None:
                        self.lost.append((dataset, number))
                    continue
                scopes = [
                    scope
                    for scope in scopes_of(manifest)
                    if (not wanted or scope in wanted)
                    and not log.has(dataset.table, number, scope)
                    and self.run.ledger.decisions.discarded(self.table, scope, manifest.id) is None
                ]
                if scopes:
                    found.append(Window(feed, manifest, tuple(scopes)))
        return sorted(found, key=lambda window: window.manifest.order)

    def conformed(self, *windows: Window) -> DataFrame:
        """What the windows say about the entity, good and bad rows, see `conform.observations`. Of snapshots one."""
        personal = any(column.personal is not None for column in self.contract.columns)
        frames = []
        for bronze, of_feed in groupby(sorted(windows, key=_bronze), key=_bronze):
            alike = list(of_feed)
            rows = self.run.store.read("bronze", bronze).where(bronze_rows(alike))
            frames.append(
                observations(
                    rows, self.contract, alike[0].feed, source=alike[0].manifest.source, lists=self._lists,
                    key=self._key() if personal else None, rules=self.run.config.bronze_contract(bronze).history,
                    conform=self.run.config.transforms.conform(self.contract.table, bronze),
                )
            )  # fmt: skip
        observed = reduce(DataFrame.unionByName, frames)
        return observed if windows[0].asserts_absence else self._within_the_horizon(observed)

    def _within_the_horizon(self, rows: DataFrame) -> DataFrame:
        """The rows, those before the horizon of the history being bad ones."""
        found = horizon.of(self.history)
        if found is None:
            return rows
        behind = found.hides(self.history.policy, valid_from=VALID_FROM, sequence=SEQUENCE)
        reason = F.lit(f"the history keeps nothing of before {found.moment:%Y-%m-%d %H:%M}")
        failed = quality.failed_when(behind, quality.failure(BEFORE_HORIZON, reason))
        return rows.withColumn(quality.FAILED, F.concat(quality.FAILED, failed))

    def load_changes(self, windows: Sequence[Window]) -> dict[Scope, ScopeLoad]:
        """Bring windows that assert no absence into the log, in one commit. Returns what was done to each scope."""
        rows = self.conformed(*windows).persist()
        try:
            tallies, batch = self.tallies(rows), self.batch(*windows)
            is_empty = all(tally.rows == tally.rejected for tally in tallies.values())
            with self._recorded(batch, rows, tallies):
                commit = self.history.append(self.changes(rows), batch, is_empty=is_empty)
        finally:
            rows.unpersist()
        scopes = {scope for window in windows for scope in window.scopes}
        found = {scope: tallies.get(scope, Tally()) for scope in {*scopes, *tallies}}
        return {s: ScopeLoad(_share(commit, t.rows - t.rejected), t, None) for s, t in found.items()}

    def load_snapshot(self, window: Window, *, judge: Callable[[Scope, Verdict], bool]) -> dict[Scope, ScopeLoad]:
        """Bring a snapshot into the log: all its scopes in one commit, or those that pass one by one.

        judge: given the guard's verdict on every scope, says whether it may come in.
        Returns what was done to each scope that came in.
        """
        if (final := self.final_verdict(window)) is not None:
            for scope in window.scopes:
                judge(scope, final)
            return {}
        rows = self.conformed(window).persist()
        try:
            tallies = self.tallies(rows, window)
            comparison = self.compare(window, rows, tallies)
            passed = [s for s in window.scopes if judge(s, self.verdict(comparison, s, tallies.get(s, Tally())))]
            if len(passed) == len(window.scopes):
                return self._append_snapshot(window, rows, tallies, comparison)
            snapshots.release(comparison)
        finally:
            rows.unpersist()
        done: dict[Scope, ScopeLoad] = {}
        for scope in passed:
            done |= self.load_snapshot(window.only([scope]), judge=lambda _scope, _verdict: True)
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
            manifest=name or window.name, scopes=window.scopes, as_of=manifest.as_of,
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
        """The verdict on a snapshot that nobody can let in: it is before the horizon of the history, or has no place
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

    def changes(self, rows: DataFrame) -> DataFrame:
        """The good rows as changes, in the shape that `history.timeline` takes."""
        policy = self.history.policy
        return quality.good(rows).select(
            *policy.identity, *policy.payload,
            F.when(F.col(quality.DELETED), DELETE).otherwise(UPSERT).alias("op"),
            F.col(VALID_FROM).alias("valid_from"), F.col(SEQUENCE).alias("sequence"),
            F.col("_landed_at").alias("recorded_at"), F.col("_manifest").alias("manifest"),
            F.lit(self.contract.version).alias("contract_version"),
        )  # fmt: skip

    def append(self, changes: DataFrame, rows: DataFrame, tallies: Mapping[Scope, Tally]) -> Commit:
        """Log changes that correct what extracts said that are in the log already; keep the bad ones of their rows."""
        batch = self.batch()
        with self._recorded(batch, rows, tallies):
            return self.history.append(changes, batch)

    def append_snapshot(
        self, window: Window | None, rows: DataFrame, tallies: Mapping[Scope, Tally], comparison: Comparison
    ) -> Commit:
        """Log a snapshot. window: what of it the log did not have before, None when it is said again."""
        batch = self.batch(*([] if window is None else [window]))
        with self._recorded(batch, rows, tallies):
            return self.history.append_snapshot(comparison, batch)

    def _append_snapshot(
        self, window: Window, rows: DataFrame, tallies: Mapping[Scope, Tally], comparison: Comparison
    ) -> dict[Scope, ScopeLoad]:
        commit = self.append_snapshot(window, rows, tallies, comparison)
        done = {}
        for scope in window.scopes:
            counts = comparison.counts[scope]
            written = _share(commit, counts.inserted + counts.changed + counts.deleted)
            done[scope] = ScopeLoad(written, tallies.get(scope, Tally()), counts)
        return done

    @contextmanager
    def _recorded(self, batch: Batch, rows: DataFrame, tallies: Mapping[Scope, Tally]) -> Iterator[None]:
        """Keep the bad rows before the good ones are logged in the block; when that fails, they are no rejects."""
        try:
            self._reject(batch, rows, tallies)
            yield
        except BaseException:
            if any(tally.rejected for tally in tallies.values()):
                withdraw(self.run.store, self.history.layer, self.history.log_table, batch, table_name=self.table)
            raise
        self._committed(batch)

    def _reject(self, batch: Batch, rows: DataFrame, tallies: Mapping[Scope, Tally]) -> None:
        """Keep the bad rows under the name of the batch that leaves them out."""
        if not any(tally.rejected for tally in tallies.values()):
            return
        keep_rejects(self.run.store, rejected_rows(quality.rejected(rows), self.contract, batch), batch)

    def _reject_contradictions(self, head: int, statements: Sequence[Row]) -> None:
        """Show what a fold sets aside: it stays in the log, where a retract or a higher sequence resolves it.

        A fold that died after it had reported reports again: once is enough."""
        batch = f"{FOLD_BATCH}{head}"
        where = f"table_name = '{self.table}' and batch = '{batch}'"
        if tables.rows(self.run.root, tables.REJECTS, columns=["batch"], where=where):
            return
        run_id, now = self.run.run_id, datetime.now(UTC)
        rows = [contradiction(one, table=self.table, batch=batch, run_id=run_id, at=now) for one in statements]
        tables.append(self.run.root, tables.REJECTS, rows)

    def tallies(self, rows: DataFrame, snapshot: Window | None = None) -> dict[Scope, Tally]:
        """Per scope, in one job: rows, rejected rows, and how often each rule was broken.

        snapshot: whose rows they are: records of it that bronze rejected are counted too."""
        rules = F.transform(quality.FAILED, lambda one: F.concat(F.lit("e:"), one["rule"]))
        warned = F.transform(quality.WARNED, lambda one: F.concat(F.lit("w:"), one))
        counted = rows.select(
            *SCOPE_COLUMNS, F.explode(F.concat(F.array(F.lit("rows")), _rejected_mark(), rules, warned)).alias("what")
        )
        found: dict[Scope, dict[str, int]] = {}
        for row in counted.groupBy(*SCOPE_COLUMNS, "what").count().collect():
            found.setdefault(Scope(row.scope_country, row.scope_entity), {})[row.what] = row["count"]
        unread = {} if snapshot is None else self._unread(snapshot)
        for scope in unread:
            found.setdefault(scope, {"rows": 0})
        return {
            scope: Tally(
                rows=what["rows"],
                rejected=what.get("rejected", 0),
                unread=unread.get(scope, 0),
                errors={rule[2:]: n for rule, n in sorted(what.items()) if rule.startswith("e:")},
                warnings={rule[2:]: n for rule, n in sorted(what.items()) if rule.startswith("w:")},
            )
            for scope, what in found.items()
        }

    def _unread(self, snapshot: Window) -> dict[Scope, int]:
        """Records of a snapshot that bronze rejected, per scope; one whose scope cannot be read may be of any."""
        found = tables.rows(
            self.run.root, tables.REJECTS, columns=SCOPE_COLUMNS,
            where=f"table_name = 'bronze.{snapshot.feed.bronze}' and manifest = '{snapshot.manifest.id}' "
            "and stage = 'bronze'",
        )  # fmt: skip
        scopes = [Scope(row["scope_country"], row["scope_entity"]) for row in found]
        anywhere = sum(scope not in snapshot.all_scopes for scope in scopes)
        counted = {scope: scopes.count(scope) + anywhere for scope in snapshot.scopes}
        return {scope: unread for scope, unread in counted.items() if unread}


def _bronze(window: Window) -> str:
    return window.feed.bronze


def _share(commit: Commit, rows: int) -> Commit:
    """What a commit did to one of its scopes."""
    return replace(commit, rows=rows, bytes=commit.bytes * rows // commit.rows if commit.rows else 0)


def _rejected_mark() -> Column:
    return F.when(F.size(quality.FAILED) > 0, F.array(F.lit("rejected"))).otherwise(F.array().cast("array<string>"))
