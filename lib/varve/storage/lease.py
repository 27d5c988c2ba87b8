"""Leases: who works on what, so that a second writer waits and does not do the same work.

**A lease saves work and never protects data.** It may have two holders: one that was stopped for a while, and the one
that took over. Every effect must be safe with two; the number of a commit or a publication is the fence.

A lease is an object, `leases/<name>.json`, that is replaced only if it is the one that was read. Its holder counts a
beat up in it every third of its `seconds`; it has expired when a waiter saw the same content for `seconds`, by the
waiter's own monotonic clock: no clocks are compared. Released is a mark in it, since a delete cannot tell whose it
deletes. On the host of the holder a process that is gone is seen at once, by its number and its start.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from varve.model.errors import OvertakenError, StorageError
from varve.storage.files import Absent, Changed, Files, Taken

LEASES_FOLDER: Final = "leases"
_BEATS: Final = 3  # in the time after which a lease has expired
_LOOKS: Final = 10  # of a waiter in that time, at least one a second


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever works: a process of one run. pid means something within (host, boot, space); started: since boot."""

    job: str
    run_id: str
    host: str
    pid: int
    boot: str | None  # the id of the host's boot, None where it has none (no Linux)
    space: str | None  # what numbers processes: containers of one host number their own
    started: str | None  # the ticks from boot to the start of the process: numbers are used again

    @classmethod
    def here(cls, *, job: str, run_id: str) -> Holder:
        """This process."""
        return cls(
            job=job, run_id=run_id, host=socket.gethostname(), pid=os.getpid(),
            boot=_boot(), space=_space(), started=_started(os.getpid()),
        )  # fmt: skip

    def is_gone(self) -> bool:
        """Whether its process has provably ended: only a process of this host, boot and numbering can be known."""
        if self.boot is None or (self.host, self.boot, self.space) != (socket.gethostname(), _boot(), _space()):
            return False
        return self.started is not None and _started(self.pid) != self.started

    def __str__(self) -> str:
        return f"{self.job}, process {self.pid} on {self.host}"


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What the object of a lease says. No two are alike: every taking has its token, every renewal its beat."""

    name: str
    holder: Holder
    since: datetime  # UTC, for people only
    seconds: float  # after so many without a new beat it has expired
    token: str
    beat: int = 0
    released: bool = False

    def is_free(self) -> bool:
        """Whether nobody holds it: released, or its process is provably gone."""
        return self.released or self.holder.is_gone()

    def __str__(self) -> str:
        return f"{self.holder} since {self.since:%Y-%m-%d %H:%M} UTC"


class Watch:
    """Asks again and again whether the holder of one lease is dead."""

    def __init__(self, files: Files, name: str) -> None:
        self._files = files
        self._name = name
        self._since = 0.0  # monotonic [seconds], when `lease` was first seen as it is
        self.lease: Lease | None = None
        self.tag: str | None = None

    def is_dead(self) -> bool:
        """True: no lease, released, its process gone, or unchanged for its seconds since this watch first saw it so.

        False: it may be alive; ask again later. Leaves in `lease` and `tag` what was read, None if nothing is there.
        """
        lease, self.tag = _read(self._files, self._name)
        if lease != self.lease:
            self.lease, self._since = lease, time.monotonic()
        return lease is None or lease.is_free() or time.monotonic() - self._since >= lease.seconds


@dataclass(slots=True)
class _Held:
    """A lease that this process took; `lock` keeps its renewal and its release apart."""

    lease: Lease
    tag: str
    lost: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class HeldLeases:
    """What `Leases.held` gives."""

    _files: Files
    _held: tuple[_Held, ...]

    @property
    def is_lost(self) -> bool:
        """Whether it was noticed that another run has taken over one of these."""
        return any(held.lost for held in self._held)

    def check(self) -> None:
        """Raise OvertakenError if another run has taken over one of these, for instance while this process was stopped.

        Asks the store: to be called before what is costly or cannot be taken back, not for every row.
        """
        for held in self._held:
            name = held.lease.name
            now, _ = _read(self._files, name)
            if held.lost or now is None or now.token != held.lease.token:
                held.lost = True
                raise OvertakenError(
                    "another run has taken over, since this one gave no sign of life for too long",
                    where=f"{self._files.root}/{_key(name)}", found=now,
                    remedy="What this run had not committed is left to the other; run again when that has ended.",
                )  # fmt: skip


class Leases:
    """The leases that one run takes on a store. Threads may share it; they exclude each other, as processes do.

    seconds: after so many without a sign of life the leases taken here may be taken over. wait: how long to wait for
    others [seconds], for all the names of one `held` together. tell: called once for every holder that is waited for.
    """

    def __init__(
        self,
        files: Files,
        *,
        holder: Holder,
        seconds: float = 30.0,
        wait: float = 3600.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._files = files
        self._holder = holder
        self._seconds = seconds
        self._wait = wait
        self._tell = tell
        self._lock = threading.Lock()  # of the two below
        self._held: list[_Held] = []
        self._renewer: threading.Thread | None = None

    @contextmanager
    def held(self, *names: str, wait: float | None = None) -> Iterator[HeldLeases]:
        """Hold these leases, taken in sorted order, so that two who want the same ones never wait for each other.

        wait: other than what is set [seconds]. Raises StorageError, which names the holder, when one is not free after
        so long. A lease that is held already is waited for, also by the thread that holds it.
        """
        until = time.monotonic() + (self._wait if wait is None else wait)
        with ExitStack() as stack:
            taken = []
            for name in sorted(set(names)):
                held = self._taken(name, until)
                stack.callback(self._release, held)
                taken.append(held)
            yield HeldLeases(self._files, tuple(taken))

    def holders(self) -> list[Lease]:
        """What is held by whom since when, sorted by name; who was killed on another host is still among them."""
        leases = [_read(self._files, name)[0] for name in self.names()]
        return [lease for lease in leases if lease is not None and not lease.is_free()]

    def names(self) -> list[str]:
        """Every lease that there is, held or not, sorted."""
        return [
            entry.key.removeprefix(f"{LEASES_FOLDER}/").removesuffix(".json")
            for entry in self._files.list(LEASES_FOLDER)
        ]

    def watch(self, name: str) -> Watch:
        """For the question whether the holder of this name is dead."""
        return Watch(self._files, name)

    def _taken(self, name: str, until: float) -> _Held:
        """Take the lease of this name as soon as nobody else has it."""
        watch, informed = self.watch(name), None
        while True:
            if watch.is_dead():
                lease = Lease(
                    name=name, holder=self._holder, since=datetime.now(UTC), seconds=self._seconds,
                    token=uuid.uuid4().hex,
                )  # fmt: skip
                with suppress(Taken, Changed):  # another waiter was faster: its lease is looked at next
                    return self._renewed(_Held(lease, self._put(lease, watch.tag)))
                continue
            assert watch.lease is not None
            if time.monotonic() >= until:
                raise StorageError(
                    f"{name} is being worked on by another run", where=f"{self._files.root}/{_key(name)}",
                    found=f"{watch.lease} (run {watch.lease.holder.run_id}), after waiting {self._wait:g} s",
                    remedy="Run again when that has ended, or stop it: what it did not finish is done then.",
                )  # fmt: skip
            if informed != watch.lease.token:
                informed = watch.lease.token
                self._tell(f"waiting for {name}: held by {watch.lease}")
            time.sleep(max(0.01, min(1.0, watch.lease.seconds / _LOOKS, until - time.monotonic())))

    def _put(self, lease: Lease, tag: str | None) -> str:
        content = msgspec.json.encode(lease)
        if tag is None:
            return self._files.put(_key(lease.name), content)
        return self._files.replace(_key(lease.name), content, tag=tag)

    def _renewed(self, held: _Held) -> _Held:
        """From here on its beat is counted up, by the one thread that does so for all of them."""
        with self._lock:
            self._held.append(held)
            if self._renewer is None:
                self._renewer = threading.Thread(target=self._renew, name="leases", daemon=True)
                self._renewer.start()
        return held

    def _renew(self) -> None:
        while True:
            time.sleep(self._seconds / _BEATS)
            with self._lock:
                alive = [held for held in self._held if not held.lost]
                if not self._held:
                    self._renewer = None
                    return
            for held in alive:
                with suppress(StorageError):  # out of reach: perhaps at the next beat, else others take over
                    self._write(held, released=False)

    def _release(self, held: _Held) -> None:
        with self._lock:
            self._held.remove(held)
        with suppress(StorageError):  # the work is done; without beats the lease expires by itself
            self._write(held, released=True)

    def _write(self, held: _Held, *, released: bool) -> None:
        """The next beat, or the mark of release; marks the lease lost if it has another holder."""
        with held.lock:
            if held.lost or held.lease.released:
                return
            lease = msgspec.structs.replace(held.lease, beat=held.lease.beat + 1, released=released)
            try:
                held.tag = self._put(lease, held.tag)
            except Changed:
                # Perhaps by ourselves: an error left open whether the last beat was written.
                now, tag = _read(self._files, held.lease.name)
                if now is None or now.token != held.lease.token:
                    held.lost = True
                    return
                held.tag = self._put(lease, tag)
            held.lease = lease


def _key(name: str) -> str:
    return f"{LEASES_FOLDER}/{name}.json"


def _read(files: Files, name: str) -> tuple[Lease | None, str | None]:
    """The lease of this name and its tag, two times None if there is none."""
    try:
        content, tag = files.read_tagged(_key(name))
        return msgspec.json.decode(content, type=Lease), tag
    except Absent:
        return None, None
    except msgspec.MsgspecError as error:
        raise StorageError(
            "this is no lease", where=f"{files.root}/{_key(name)}", found=error,
            remedy="Remove it if no run is at work, and run again.",
        ) from error  # fmt: skip


def _boot() -> str | None:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None


def _space() -> str | None:
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return None


def _started(pid: int) -> str | None:
    """When the process started, in ticks since boot; None if it has ended, also before its parent took note of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
