"""Raw to bronze: what waits for a table, in as few commits as its size allows. The rules are `bronze`'s; here they meet
the storage.

Rejects and drift of a batch are written before it, under its name: what a batch recorded that was never committed is
removed by the next run. Records of tables with personal columns are withheld from ops.rejects (file and position stay)
until they can be encrypted there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby
from typing import TYPE_CHECKING, Final

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from varve import raw
from varve.bronze.lost import lost_as, lost_error
from varve.bronze.provenance import of_extracts
from varve.bronze.recording import Recording, described
from varve.bronze.typing import ScopeColumn, Typing, rows_of, typed, typing_of
from varve.config import Dataset, FromColumn, FromPath
from varve.model.contract import Contract
from varve.model.errors import DefectError, OvertakenError, ParkedError, StorageError, VarveError
from varve.model.scope import Scope
from varve.ops import tables
from varve.ops.scope_tasks import ScopeTasks
from varve.privacy.pseudonyms import statistics_columns
from varve.raw import Manifest, Published, RawDataset, index
from varve.raw.batch import Load, transaction, withdraw
from varve.raw.index import Loaded
from varve.storage import Absent
from varve.storage.commits import Commit

if TYPE_CHECKING:
    from varve.run.run import Run

LAYER: Final = "bronze"
MOST_SHAPES: Final = 16  # sets of columns in one batch: each is a branch of its plan


@dataclass(frozen=True, slots=True)
class WaitingExtracts:
    """What waits for a table. free: may be loaded now, in the order of their numbers; parked: of each scope the first
    that waits for a person, and how many wait after it; lost: numbers of which raw has no manifest any more."""

    free: tuple[Manifest, ...] = ()
    parked: Mapping[Scope, tuple[Manifest, int]] = field(default_factory=dict)
    lost: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.free or self.parked or self.lost)


def load_table(run: Run, dataset: Dataset) -> None:
    """Bring one bronze table up to date. Whether anything waits is asked before the lease, and again under it."""
    load = BronzeLoad(run, dataset)
    table = f"bronze.{load.table}"
    if not load.pending(load.loaded()):
        with run.ledger.task("bronze", table) as task:
            task.skip()
        return
    with run.lease(table):
        loaded = load.loaded()
        load.load(load.pending(loaded), loaded)


class BronzeLoad:
    """Loads the extracts of one dataset into its bronze table."""

    def __init__(self, run: Run, dataset: Dataset) -> None:
        self.run, self.store = run, run.store
        self.contract: Contract = dataset.contract
        self.dataset: RawDataset = run.raw(dataset.source, dataset.name)
        self.table = dataset.table
        self._recording = Recording(run, dataset.contract, dataset.table)
        self._null_values = dataset.options.null_values
        self._scope = tuple(_scope_column(part) for part in (dataset.scope.country, dataset.scope.entity))
        self._typings: dict[tuple[tuple[str, ...], tuple[str, ...]], Typing] = {}

    # --- what waits -------------------------------------------------------------------------------------------

    def loaded(self) -> Loaded:
        """What the table holds."""
        return bronze_loaded(self.run, self.dataset)

    def pending(self, loaded: Loaded) -> WaitingExtracts:
        """What waits, by number; opens the manifests that are not loaded, and no other."""
        found, lost = [], []
        for number in loaded.open_numbers(self.table, self.dataset.numbers.last(loaded.last(self.table))):
            try:
                found.append(self.dataset.manifest(number))
            except Absent:
                lost.append(number)
        if lost:
            remembered = self.dataset.catalog().published
            lost = [number for number in lost if not self._is_let_go(number, remembered.get(number))]
        table = f"{LAYER}.{self.table}"
        found = [m for m in found if self.run.ledger.decisions.discarded(table, m.scope, m.id) is None]
        parks = {m.number for m in found if m.status == "parked" or self._recording.drift(m).parks}
        if parks:
            catalog = self.dataset.catalog()
            gone = {m.number for m in found if m.number in parks and raw.replaced(m, catalog)}
            found = [m for m in found if m.number not in gone]
        free: list[Manifest] = []
        parked: dict[Scope, tuple[Manifest, int]] = {}
        for scope, extracts in _by_scope(found):
            waits = next((i for i, m in enumerate(extracts) if m.number in parks), len(extracts))
            free += extracts[:waits]
            if waits < len(extracts):
                parked[scope] = extracts[waits], len(extracts) - waits - 1
        return WaitingExtracts(tuple(sorted(free, key=lambda m: m.number)), parked, tuple(lost))

    # --- loading ----------------------------------------------------------------------------------------------

    def load(self, pending: WaitingExtracts, loaded: Loaded) -> None:
        """Load what is free in batches, and record what waits. One scope that fails does not stop the others."""
        with ScopeTasks(self.run.ledger, LAYER, f"{LAYER}.{self.table}") as tasks:
            failed: set[Scope] = set()
            for manifests in self._batches(pending.free):
                self._load(tasks, manifests, loaded, failed)
            for scope, (manifest, behind) in pending.parked.items():
                if scope not in failed:
                    self._park(tasks, scope, manifest, behind)
        self._tell_lost(pending.lost)
        self.loaded()  # the index knows it now, for whoever asks next

    def _batches(self, manifests: Sequence[Manifest]) -> Iterator[list[Manifest]]:
        """The manifests in their order, cut where a commit would become too large."""
        limits = self.run.config.settings.batch
        batch: list[Manifest] = []
        size, shapes = 0, set[tuple[tuple[str, ...], tuple[str, ...]]]()
        for manifest in manifests:
            is_full = len(batch) >= limits.manifests or size + manifest.bytes > limits.bytes
            if batch and (is_full or len(shapes | {_shape(manifest)}) > MOST_SHAPES):
                yield batch
                batch, size, shapes = [], 0, set()
            batch.append(manifest)
            size += manifest.bytes
            shapes.add(_shape(manifest))
        if batch:
            yield batch

    def _load(self, tasks: ScopeTasks, manifests: list[Manifest], loaded: Loaded, failed: set[Scope]) -> None:
        """One batch; one that fails is split, down to the extract that is to blame: its scope waits."""
        manifests = [m for m in manifests if m.scope not in failed]
        if not manifests:
            return
        try:
            self._commit(tasks, manifests, loaded)
        except (DefectError, OvertakenError) as error:
            for scope in {m.scope for m in manifests}:
                tasks.failed(scope, error)
            raise  # the rows are in; or another run loads this table, and whatever is tried next is too late as well
        except Exception as error:
            if len(manifests) == 1:
                failed.add(manifests[0].scope)
                tasks[manifests[0].scope].input(manifests[0].id)
                tasks.failed(manifests[0].scope, self._explained(error, manifests[0]))
            else:
                middle = len(manifests) // 2
                self._load(tasks, manifests[:middle], loaded, failed)
                self._load(tasks, manifests[middle:], loaded, failed)

    def _explained(self, error: Exception, manifest: Manifest) -> Exception:
        """The error; a StorageError of ours where a file of the extract is not what was landed."""
        if isinstance(error, VarveError) or (file := raw.spoiled(self.run.files, manifest)) is None:
            return error
        found = StorageError(
            "a file of raw is not what was landed", where=f"{LAYER}.{self.table}, extract {manifest.id}",
            found=f"{manifest.folder}/{file.name}", expected=f"{file.bytes} bytes, sha256 {file.sha256}",
            remedy=_remedy(manifest),
        )  # fmt: skip
        found.__cause__ = error
        return found

    def _commit(self, tasks: ScopeTasks, manifests: Sequence[Manifest], loaded: Loaded) -> None:
        batch = loaded.batch([Load(self.table, m.number, m.id) for m in manifests], run=self.run.run_id)
        frame = self._typed(manifests)
        counts = self._counted(frame, manifests)
        try:
            self._recording.record_drift(batch, manifests)
            self._recording.record_rejects(batch, frame, manifests, counts)
            commit = self.store.append(
                rows_of(frame), LAYER, self.table,
                txn=transaction(LAYER, self.table), version=batch.number, is_fenced=True,
                properties=self._properties(), note={"kind": "load", **batch.note()},
            )  # fmt: skip
        except BaseException:
            withdraw(self.store, LAYER, self.table, batch, table_name=f"{LAYER}.{self.table}")
            raise
        loaded.add_batch(batch)
        rows = sum(good for good, _ in counts.values())
        if commit.rows != rows:
            raise DefectError(
                "records were lost or invented on the way to bronze", where=f"{LAYER}.{self.table} {batch.name}",
                found=f"{commit.rows} rows", expected=f"{rows}",
            )  # fmt: skip
        for scope, extracts in _by_scope(manifests):
            self._tell(tasks, scope, extracts, counts, commit)

    def _tell(
        self, tasks: ScopeTasks, scope: Scope, extracts: Sequence[Manifest], counts: Mapping[str, tuple[int, int]],
        commit: Commit,
    ) -> None:  # fmt: skip
        task = tasks[scope]
        rows = sum(counts[m.id][0] for m in extracts)
        task.input(*(m.id for m in extracts))
        task.read(sum(m.rows + m.rejected for m in extracts))
        size = commit.bytes * rows // commit.rows if commit.rows else 0
        rejected = sum(counts[m.id][1] + m.rejected for m in extracts)
        task.wrote(replace(commit, rows=rows, bytes=size), rejected=rejected)
        for manifest in extracts:
            if difference := self._recording.drift(manifest):
                task.drift(described(manifest, difference))

    # --- one batch --------------------------------------------------------------------------------------------

    def _typed(self, manifests: Sequence[Manifest]) -> DataFrame:
        """All records of the manifests, typed, see `typing.typed`."""
        frames = []
        for shape, alike in groupby(sorted(manifests, key=_shape), key=_shape):
            extracts = list(alike)
            received = raw.read(self.store.spark, self.run.files, extracts)  # opens the session that a column needs
            if shape not in self._typings:
                columns, types = shape
                typing = typing_of(columns, self.contract, self._null_values, self._scope, types)
                self._typings[shape] = typing
            records = of_extracts(self.store, received, extracts)
            frames.append(typed(records, self.contract, self._typings[shape]))
        return reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)

    def _counted(self, frame: DataFrame, manifests: Sequence[Manifest]) -> dict[str, tuple[int, int]]:
        """Per manifest the rows and the rejects that its records become, checked: nothing is lost or invented."""
        found = {m.id: (0, 0) for m in manifests}
        by_manifest = frame.groupBy("_manifest").agg(
            F.count(F.when(F.col("_reason").isNull(), 1)).alias("good"), F.count("_reason").alias("bad")
        )
        for row in by_manifest.collect():
            found[row["_manifest"]] = row.good, row.bad
        for manifest in manifests:
            good, bad = found[manifest.id]
            if good + bad != manifest.rows:
                raise StorageError(
                    "raw does not hold the records that the manifest lists",
                    where=f"{LAYER}.{self.table}, extract {manifest.id}", found=f"{good + bad} records",
                    expected=f"{manifest.rows}", remedy=_remedy(manifest),
                )  # fmt: skip
        return found

    def _properties(self) -> dict[str, str]:
        """Of the files' statistics: what shows where an extract's rows are, and the keys."""
        listed = statistics_columns(self.contract)
        names = ["_manifest", "_landed_at", "_as_of", *(key for key in self.contract.keys if key in listed)]
        return {"delta.dataSkippingStatsColumns": ",".join(names)}

    # --- what waits for a person ------------------------------------------------------------------------------

    def refusal(self, manifest: Manifest) -> ParkedError:
        """Why an extract waits for a person, and the ways on."""
        return raw.parked_error([manifest]) if manifest.status == "parked" else self._missing(manifest)

    def lost(self, numbers: Collection[int]) -> Iterator[tuple[Scope | None, ParkedError]]:
        """What the table should hold and raw has no more: nothing can make it again."""
        remembered = self.dataset.catalog().published if numbers else {}
        for number in numbers:
            one = remembered.get(number)
            scope, path = (one.scope, one.origin.path) if one else (None, None)
            yield scope, lost_error(self.dataset, number, f"{LAYER}.{self.table}", expected=path)

    def _park(self, tasks: ScopeTasks, scope: Scope, manifest: Manifest, behind: int) -> None:
        tasks[scope].input(manifest.id)
        if manifest.status != "parked":
            difference = self._recording.drift(manifest)
            tasks[scope].drift(described(manifest, difference))
            known = f"table_name = '{LAYER}.{self.table}' and manifest = '{manifest.id}'"
            if not tables.rows(self.run.root, tables.DRIFT, columns=["manifest"], where=known):
                tables.append(self.run.root, tables.DRIFT, list(self._recording.drift_rows(manifest, difference, None)))
        tasks[scope].parked(_waiting(self.refusal(manifest), behind))

    def _is_let_go(self, number: int, remembered: Published | None) -> bool:
        """Whether a person has discarded an extract that raw has lost, by its number or by its id."""
        discarded = self.run.ledger.decisions.discarded
        if discarded(*lost_as(self.dataset, number)) is not None:
            return True
        return (
            remembered is not None and discarded(f"{LAYER}.{self.table}", remembered.scope, remembered.id) is not None
        )

    def _tell_lost(self, lost: Collection[int]) -> None:
        for scope, error in self.lost(lost):
            with self.run.ledger.task(LAYER, f"{LAYER}.{self.table}", scope, keep_going=True) as task:
                task.parked(error)

    def _missing(self, manifest: Manifest) -> ParkedError:
        difference = self._recording.drift(manifest)
        if difference.unclear:
            what, expected = "two of its columns could be one of the contract", difference.unclear
        else:
            what, expected = "required columns are missing", difference.required
        return ParkedError(
            f"{manifest.origin.path} is parked: {what}", where=f"{LAYER}.{self.table}",
            found=f"{', '.join(manifest.columns[:30])}", expected=", ".join(expected),
            remedy="Correct the contract, have it delivered again under the same name, or go on without it: "
            f'./spark-submit.sh bronze --discard {manifest.id} --reason "…"',
        )  # fmt: skip


def bronze_loaded(run: Run, dataset: RawDataset) -> Loaded:
    """What the bronze table of a dataset holds; an extract without any row is not in its rows: it loads again."""

    def from_rows() -> Iterator[Load]:
        numbers = {one.id: one.number for one in dataset.catalog()}
        for row in run.store.read(LAYER, dataset.table).select("_manifest").distinct().collect():
            if row[0] in numbers:
                yield Load(dataset.table, numbers[row[0]], row[0])

    return index.loaded(run.store, run.files, LAYER, dataset.table, from_rows)


def _remedy(manifest: Manifest) -> str:
    """What to do about an extract whose files are lost or spoiled."""
    discard = f'./spark-submit.sh bronze --discard {manifest.id} --reason "…"'
    return f"Restore {manifest.folder} from a backup, or go on without it: {discard}"


def _by_scope(manifests: Iterable[Manifest]) -> Iterator[tuple[Scope, list[Manifest]]]:
    for scope, extracts in groupby(sorted(manifests, key=lambda m: (m.scope, m.order)), key=lambda m: m.scope):
        yield scope, list(extracts)


def _shape(manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What decides how its records are read and typed."""
    return manifest.columns, manifest.types


def _scope_column(part: str | FromPath | FromColumn) -> ScopeColumn | None:
    """What a column holds; of what the path or the configuration says, the manifest has the result."""
    return ScopeColumn(part.column, part.map) if isinstance(part, FromColumn) else None


def _waiting(error: ParkedError, later: int) -> ParkedError:
    """The same, with how many extracts wait after the parked one."""
    if not later:
        return error
    what = f"{error.what} ({later} later extracts of this scope wait)"
    return ParkedError(what, where=error.where, found=error.found, expected=error.expected, remedy=error.remedy)
