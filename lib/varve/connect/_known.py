"""What was extracted of a dataset before: decided by manifests, never by a counter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from varve.model.scope import Scope
from varve.raw import Manifest, Origin, Published

Identity = tuple[str, str | None, Scope]  # digest, declared date and scope of a delivery
Written = tuple[str, int, Scope]  # digest, mtime [ns] and scope of one without a date

_RACY_NS: Final = 2_000_000_000  # a file changed this shortly before it was read may change again in the same tick


@dataclass(frozen=True, slots=True)
class Stamp:
    """What `stat` says of a file. bytes: its size; times in nanoseconds since 1970 UTC."""

    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """What the file system says of a file now. Raises OSError when it is gone."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def origin(self, path: str, sha256: str) -> Origin:
        """Where the extract is from, as its manifest says it."""
        return Origin(
            path=path,
            sha256=sha256,
            bytes=self.bytes,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            inode=self.inode,
        )


@dataclass(slots=True)
class Known:
    """The extracts of one dataset: every delivery once, the last one of each path, the last window of each scope.

    A delivery is what came at one time under one path; it is identified by digest, declared date and scope."""

    last: dict[str, Published] = field(default_factory=dict)
    identities: set[Identity] = field(default_factory=set)
    windows: dict[Scope, Published] = field(default_factory=dict)  # incremental: the last one of each scope
    undated: dict[Written, str] = field(default_factory=dict)  # files without a date -> path
    newest: dict[Scope, Published] = field(default_factory=dict)  # the last one of these

    @classmethod
    def of(cls, published: Iterable[Published]) -> Known:
        """What these extracts make known. published: in the order of their numbers."""
        known = cls()
        for one in published:
            known.add(one)
        return known

    def add(self, manifest: Published) -> None:
        """Remember one more delivery, the last one of its path from now on."""
        self.last[manifest.origin.path] = manifest
        self.identities.add(_identity(manifest))
        if manifest.declared is None:
            self.undated[_written(manifest)] = manifest.origin.path
            self.newest[manifest.scope] = manifest
        if manifest.bounds is not None and manifest.status == "landed":
            self.windows[manifest.scope] = manifest

    def is_unchanged(self, path: str, stamp: Stamp) -> bool:
        """Whether this very file was extracted as it is, by what `stat` says; it need not be read then.

        A change of any kind shows in ctime, which nobody can set; a file that changed within two seconds before it was
        read may have changed again."""
        last = self.last.get(path)
        if last is None or not self.looks_unchanged(path, stamp):
            return False
        return max(stamp.mtime_ns, stamp.ctime_ns) < last.started_at.timestamp() * 1e9 - _RACY_NS

    def looks_unchanged(self, path: str, stamp: Stamp) -> bool:
        """Whether `stat` says of the file what it said when it was extracted: worth a digest before it is copied."""
        last = self.last.get(path)
        return last is not None and last.origin == stamp.origin(path, last.origin.sha256)

    def has_digest(self, path: str, digest: str) -> bool:
        """Whether the last extract of that path has this digest."""
        return path in self.last and self.last[path].origin.sha256 == digest

    def is_known(self, delivery: Manifest) -> bool:
        """Whether this delivery was extracted before, so that there is nothing to land.

        The same bytes for the same date under another name are a copy. Under their old name after others had come
        (A, B, A) they are a delivery of their own.
        """
        last = self.last.get(delivery.origin.path)
        same = _identity(delivery)
        return same in self.identities if last is None else same == _identity(last)

    def is_copy(self, delivery: Manifest) -> bool:
        """Whether a file is a copy of one that was extracted: the same bytes for the same date, see `is_known`.

        Without dates those are copies that were written at the same time. The same bytes written later are a delivery:
        what was closed may be open again."""
        if delivery.declared is not None:
            return self.is_known(delivery)
        last = self.last.get(delivery.origin.path)
        return _written(delivery) in self.undated if last is None else _written(delivery) == _written(last)

    def came_earlier(self, delivery: Manifest) -> str | None:
        """The path under which the bytes of a file without a date came before the last delivery; None when they did
        not, or are those of the last one."""
        last, digest = self.newest.get(delivery.scope), delivery.origin.sha256
        if delivery.declared is not None or last is None or last.origin.sha256 == digest:
            return None
        return next(
            (p for (one, _, scope), p in self.undated.items() if (one, scope) == (digest, delivery.scope)), None
        )

    def has_same_bytes(self, delivery: Manifest) -> bool:
        """Whether the same bytes came before for the same date, under whatever name."""
        return _identity(delivery) in self.identities

    def last_id(self, path: str) -> str | None:
        """The id of the last extract of that path, None before the first."""
        last = self.last.get(path)
        return None if last is None else last.id


def _identity(delivery: Published) -> Identity:
    return (delivery.origin.sha256, delivery.declared, delivery.scope)


def _written(delivery: Published) -> Written:
    return (delivery.origin.sha256, delivery.origin.mtime_ns, delivery.scope)


def sha256(path: Path) -> str:
    """The sha256 of the bytes that the file has now (hexadecimal). Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
