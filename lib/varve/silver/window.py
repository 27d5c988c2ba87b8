"""What is to be loaded of one extract into one entity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyspark.sql import Column
from pyspark.sql import functions as F

from varve.model.contract import Feed
from varve.model.scope import Scope, in_scopes
from varve.raw import Manifest
from varve.raw.batch import Load


@dataclass(frozen=True, slots=True)
class Window:
    """One manifest of one feed, and those of its scopes that the log does not have yet."""

    feed: Feed
    manifest: Manifest
    scopes: tuple[Scope, ...]

    @property
    def all_scopes(self) -> tuple[Scope, ...]:
        """Those that the manifest speaks for."""
        return scopes_of(self.manifest)

    def only(self, scopes: Sequence[Scope]) -> Window:
        """The window for some of its scopes."""
        return replace(self, scopes=tuple(scopes))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the extract."""
        return set(self.scopes) == set(self.all_scopes)

    @property
    def name(self) -> str:
        """What its statements are signed with in the log, and the record of the snapshot with them: the extract's id;
        where it comes in scope by scope, also the scope."""
        return self.manifest.id if self.is_whole else f"{self.manifest.id}@{self.scopes[0]}"

    @property
    def load(self) -> Load:
        """What a commit says that holds it."""
        scopes = () if self.is_whole else tuple(map(str, self.scopes))
        return Load(self.manifest.table, self.manifest.number, self.manifest.id, scopes)

    @property
    def asserts_absence(self) -> bool:
        """Whether a row that is not there is a row that was deleted."""
        return self.manifest.mode == "snapshot" and self.manifest.complete


def scopes_of(manifest: Manifest) -> tuple[Scope, ...]:
    """The scopes that the manifest speaks for, sorted."""
    if not manifest.mixed:
        return (manifest.scope,)
    return tuple(sorted(Scope.parse(text) for text in manifest.scopes))


def bronze_rows(windows: Sequence[Window]) -> Column:
    """The rows of windows of one feed in its bronze table, so that only the files are read that may have them."""
    whole = [window.manifest.id for window in windows if window.is_whole]
    landed = [window.manifest.landed_at for window in windows]
    wanted = F.col("_manifest").isin(whole)
    for window in windows:
        if not window.is_whole:
            wanted |= (F.col("_manifest") == window.manifest.id) & F.expr(in_scopes(window.scopes))
    return F.col("_landed_at").between(F.lit(min(landed)), F.lit(max(landed))) & wanted
