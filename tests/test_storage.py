"""One suite of properties for every store: a disk, a fake of S3, Azurite. The first two tests judge the judges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import AzureStore, S3Store

from conftest import PROJECT, PYTHONPATH
from losing_proxy import losing_proxy
from object_stores import Emulator
from varve.model.errors import ConfigError, StorageError
from varve.storage import Absent, Changed, Disk, Entry, Files, Holder, Lease, Leases, Lines, Numbers, Taken, open_files

WRITERS = 16
LARGE = 9 * 2**20  # bytes: goes up in parts


@pytest.fixture
def files(root: str) -> Files:
    return open_files(root)


@pytest.fixture(params=["s3", "azure"])
def emulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    emulator: Emulator = request.getfixturevalue(request.param)
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return emulator


def together(act: Callable[[int], Any], writers: int = WRITERS) -> list[Any]:
    """What the act returned in each of so many threads that begin at the same moment."""
    barrier = threading.Barrier(writers)

    def one(number: int) -> Any:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(writers) as pool:
        return list(pool.map(one, range(writers)))


# --- The judges: obstore alone, nothing of ours


def bare(emulator: Emulator) -> S3Store | AzureStore:
    once: Any = {"retry_config": {"max_retries": 0}}
    if emulator.root.startswith("s3a"):
        return S3Store("lake", **once)
    return AzureStore("lake", account_name="devstoreaccount1", **once)


def test_emulator_judges_put_if_absent(emulator: Emulator) -> None:
    store = bare(emulator)
    for key in (uuid.uuid4().hex for _ in range(50)):

        def put(number: int, key: str = key) -> int:
            try:
                obstore.put(store, key, str(number).encode(), mode="create")
            except AlreadyExistsError:
                return 0
            return 1

        assert sum(together(put)) == 1


def test_emulator_judges_replace_if_unchanged(emulator: Emulator) -> None:
    store, key = bare(emulator), uuid.uuid4().hex
    obstore.put(store, key, b"0")

    def increment(_: int) -> None:
        for _ in range(3):
            while True:
                got = obstore.get(store, key)
                content = str(int(bytes(got.bytes())) + 1).encode()
                try:
                    obstore.put(store, key, content, mode={"e_tag": str(got.meta["e_tag"])})
                    break
                except (AlreadyExistsError, PreconditionError):
                    continue

    together(increment)
    assert bytes(obstore.get(store, key).bytes()) == b"48"


# --- The acts


def test_of_all_who_put_one_key_exactly_one_wins(files: Files) -> None:
    def put(number: int) -> int | None:
        try:
            files.put(f"races/{race}", str(number).encode())
        except Taken:
            return None
        return number

    for race in range(5):
        [winner] = [number for number in together(put) if number is not None]
        assert files.read(f"races/{race}") == str(winner).encode()


def test_of_all_who_put_the_same_bytes_exactly_one_wins(files: Files) -> None:
    def put(_: int) -> bool:
        try:
            files.put("same", b"same")
        except Taken:
            return False
        return True

    assert sum(together(put)) == 1


def test_no_increment_is_lost(files: Files) -> None:
    files.put("counter", b"0")

    def increment(_: int) -> None:
        for _ in range(3):
            while True:
                content, tag = files.read_tagged("counter")
                try:
                    files.replace("counter", str(int(content) + 1).encode(), tag=tag)
                    break
                except Changed:
                    continue

    together(increment)
    assert files.read("counter") == b"48"


def test_what_was_written_is_read(files: Files) -> None:
    tag = files.put("a/b/c.json", b"first")
    assert files.read_tagged("a/b/c.json") == (b"first", tag)
    second = files.replace("a/b/c.json", b"second", tag=tag)
    assert second != tag
    assert files.read_tagged("a/b/c.json") == (b"second", second)
    assert files.size("a/b/c.json") == 6
    assert files.size("a/b/d.json") is None
    assert [files.put("empty", b""), files.read("empty"), files.size("empty")][1:] == [b"", 0]


@pytest.mark.parametrize("key", ["country=ES/entity=01/part-0.csv", "with space.csv", "señal ~[1]#%20+&.csv"])
def test_a_key_is_taken_as_it_is(files: Files, key: str) -> None:
    files.put(f"keys/{key}", b"content")
    assert files.read(f"keys/{key}") == b"content"
    assert list(files.list("keys")) == [Entry(f"keys/{key}", 7)]


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda files: files.read("none"), Absent, id="read of nothing"),
        pytest.param(lambda files: files.read("none", length=2), Absent, id="range of nothing"),
        pytest.param(lambda files: files.read("none", length=0), Absent, id="no bytes of nothing"),
        pytest.param(lambda files: files.read_tagged("none"), Absent, id="tag of nothing"),
        pytest.param(lambda files: files.put("there", b"new"), Taken, id="put over an object"),
        pytest.param(lambda files: files.replace("there", b"new", tag=other_tag(files)), Changed, id="another tag"),
        pytest.param(lambda files: files.replace("none", b"new", tag=other_tag(files)), Changed, id="object gone"),
        pytest.param(lambda files: files.replace("no/ne", b"new", tag=other_tag(files)), Changed, id="folder gone"),
    ],
)
def test_refusals(files: Files, act: Callable[[Files], object], error: type[StorageError]) -> None:
    files.put("there", b"old")
    with pytest.raises(error) as refused:
        act(files)
    assert refused.value.exit_code == 4
    assert files.root in str(refused.value)
    assert files.read("there") == b"old"


def other_tag(files: Files) -> str:
    return files.put("other", b"other")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        pytest.param(0, None, b"0123456789", id="all"),
        pytest.param(3, None, b"3456789", id="to the end"),
        pytest.param(3, 4, b"3456", id="middle"),
        pytest.param(8, 4, b"89", id="over the end"),
        pytest.param(10, 4, b"", id="at the end"),
        pytest.param(20, None, b"", id="behind the end"),
        pytest.param(3, 0, b"", id="nothing"),
    ],
)
def test_ranges(files: Files, start: int, length: int | None, expected: bytes) -> None:
    files.put("digits", b"0123456789")
    assert files.read("digits", start=start, length=length) == expected


def test_list_and_delete(files: Files) -> None:
    assert list(files.list("a")) == []
    for key in ("a/2", "a/1", "a/b/3", "ab/4", "5"):
        files.put(key, key.encode())
    assert list(files.list("a")) == [Entry("a/1", 3), Entry("a/2", 3), Entry("a/b/3", 5)]
    assert [entry.key for entry in files.list("")] == ["5", "a/1", "a/2", "a/b/3", "ab/4"]
    files.delete("a/1")
    files.delete("a/1")
    files.delete("nowhere/1")
    assert [entry.key for entry in files.list("a")] == ["a/2", "a/b/3"]
    files.put("a/1", b"again")
    assert files.read("a/1") == b"again"


def test_a_folder_is_cleared_of_what_no_listing_shows(files: Files) -> None:
    for key in ("a/1", "a/b/2", "a/.left.tmp", "ab/3"):
        files.put(key, b"")
    files.clear("a")
    files.clear("a")
    assert [entry.key for entry in files.list("")] == ["ab/3"]
    with pytest.raises(Absent):
        files.read("a/.left.tmp")


def test_what_is_made_in_a_workspace_is_put(files: Files) -> None:
    with files.workspace("raw/attempts/1") as place:
        (place / "part-0").write_bytes(b"content")
        files.put_file("raw/part-0", place / "part-0")
        (place / "left").write_bytes(b"")
    assert not place.exists()
    assert list(files.list("raw")) == [Entry("raw/part-0", 7)]


@pytest.mark.parametrize("size", [0, 1000, pytest.param(LARGE, id="in parts")])
def test_a_file_is_put_whole_and_once(files: Files, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)

    def put(number: int) -> bool:
        file = tmp_path / f"{number}"
        file.write_bytes(content if number == 0 else os.urandom(size))
        try:
            files.put_file("raw/part-0", file)
        except Taken:
            return False
        finally:
            assert not file.exists()
        return True

    assert put(0)
    assert not put(1)
    assert files.read("raw/part-0") == content
    assert list(files.list("raw")) == [Entry("raw/part-0", size)]
    (tmp_path / "race").mkdir()

    def race(number: int) -> bool:
        file = tmp_path / "race" / f"{number}"
        file.write_bytes(bytes([number]) * size)
        try:
            files.put_file("raw/race", file)
        except Taken:
            return False
        return True

    won = together(race, 4)
    assert sum(won) == 1
    assert files.read("raw/race") == bytes([won.index(True)]) * size


def test_numbers_have_no_gaps_under_eight_writers(files: Files) -> None:
    def put(writer: int) -> None:
        numbers, last = Numbers(files, "numbered"), 0
        for n in range(5):
            while True:
                last = numbers.last(last)
                try:
                    numbers.put(last + 1, f"{writer} {n}".encode())
                    break
                except Taken:
                    continue

    together(put, 8)
    numbers = Numbers(files, "numbered")
    assert list(numbers.listed()) == list(range(1, 41))
    assert numbers.last() == numbers.last(17) == 40
    assert {numbers.read(n) for n in range(1, 41)} == {f"{w} {n}".encode() for w in range(8) for n in range(5)}


def test_numbers_have_no_gaps_under_eight_processes(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    processes = [start("number", root, "20") for _ in range(8)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 8
    assert list(Numbers(open_files(root), "numbered").listed()) == list(range(1, 161))


# --- Lines


def test_lines_are_read_in_their_order_by_whoever_opens_them(files: Files) -> None:
    mine, log = Lines(files, "ops/log/r1.jsonl"), [f"{n}".encode() for n in range(12)]
    assert (mine.exists(), mine.read(), mine.last()) == (False, [], b"")
    for number, line in enumerate(log):
        if number % 4 == 3:
            mine.close()  # the next line opens it again
        mine.add(line)
        other = Lines(files, "ops/log/r1.jsonl")
        assert (other.exists(), other.read(), other.last()) == (True, log[: number + 1], line)
    mine.close()
    mine.close()
    later = Lines(files, "ops/log/r1.jsonl")
    later.add(b"later")
    later.close()
    assert mine.read() == [*log, b"later"]
    assert not Lines(files, "ops/log/r.jsonl").exists(), "the beginning of a key is another key"


@pytest.mark.parametrize("size", [2, 2**16 - 2, 2**16, 2**16 + 2, 2**18])
def test_the_last_line_of_any_length(files: Files, size: int) -> None:
    lines, line = Lines(files, "log"), os.urandom(size // 2).hex().encode()
    lines.add(b"first")
    lines.add(line)
    lines.close()
    assert lines.read() == [b"first", line]
    assert line.endswith(lines.last()), "of a long one its end"
    assert len(lines.last()) >= min(len(line), 2**16 - 1)


def test_lines_of_two_writers_are_whole(files: Files) -> None:
    """One of them was taken for dead, and woke up."""
    logs = [Lines(files, "log") for _ in range(2)]
    logs[0].add(b"a0")
    logs[1].add(b"b0")
    logs[0].add(b"a1")
    logs[1].add(b"b1")
    for log in logs:
        log.close()
    assert logs[0].read() == [b"a0", b"b0", b"a1", b"b1"]


@pytest.mark.parametrize("torn", [b"2", b"2\n3"])
def test_a_line_torn_by_a_kill_stands_by_itself(tmp_path: Path, torn: bytes) -> None:
    """Only on a disk: an object is there whole or not at all."""
    lines = Lines(Disk(tmp_path), "log")
    lines.add(b"1")
    lines.close()
    with (tmp_path / "log").open("ab") as file:
        file.write(torn)
    assert lines.last() == torn.rpartition(b"\n")[2]
    lines.add(b"next")
    lines.close()
    assert lines.read() == [b"1", *torn.split(b"\n"), b"next"]


# --- Answers that are lost, and errors


class Once:
    """Loses the answer to the first request that is chosen, in the way that is told."""

    def __init__(self, way: str, chosen: Callable[[str, str, Any], bool]) -> None:
        self.way, self.chosen, self.lost = way, chosen, 0

    def __call__(self, method: str, path: str, headers: Any) -> Any:
        if self.lost or not self.chosen(method, path, headers):
            return None
        self.lost += 1
        return self.way


@contextmanager
def behind(emulator: Emulator, once: Once, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """The store of an emulator, seen through a proxy that loses an answer."""
    with losing_proxy(emulator.port, once) as port:
        for name, value in emulator.environment.items():
            monkeypatch.setenv(name, value.replace(str(emulator.port), str(port)))
        yield open_files(f"{emulator.root}/{uuid.uuid4().hex[:8]}")
    assert once.lost == 1


LOSSES = pytest.mark.parametrize("way", ["dropped", "failed", "undone"])


@LOSSES
def test_a_put_whose_answer_is_lost_is_our_own(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    with behind(emulator, Once(way, lambda method, *_: method == "PUT"), monkeypatch) as files:
        tag = files.put("key", b"content")
        assert files.read_tagged("key") == (b"content", tag)
        with pytest.raises(Taken):
            files.put("key", b"content")


@LOSSES
def test_a_replacement_whose_answer_is_lost_is_our_own(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    chosen = Once(way, lambda method, _, headers: method == "PUT" and "If-Match" in headers)
    with behind(emulator, chosen, monkeypatch) as files:
        old = files.put("key", b"old")
        new = files.replace("key", b"new", tag=old)
        assert files.read_tagged("key") == (b"new", new)
        with pytest.raises(Changed):
            files.replace("key", b"new", tag=old)


@LOSSES
def test_a_large_file_whose_answer_is_lost_is_our_own(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    def is_last(method: str, path: str, headers: Any) -> bool:  # of the copy: S3's ends an upload of one part
        return "If-None-Match" in headers and (method == "POST" or "x-ms-copy-source" in headers)

    content = os.urandom(LARGE)
    with behind(emulator, Once(way, is_last), monkeypatch) as files:
        (tmp_path / "file").write_bytes(content)
        files.put_file("raw/part-0", tmp_path / "file")
        assert files.read("raw/part-0") == content
        left = obstore.list(files._patient, "raw").collect()  # type: ignore[attr-defined]
        assert [found["path"] for found in left] == ["raw/part-0"], "of the parts nothing is left"
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(Taken):
            files.put_file("raw/part-0", tmp_path / "file")


@pytest.mark.parametrize(
    ("root", "environment", "act", "expected"),
    [
        pytest.param("s3a://nowhere/lake", {}, "put", "absent", id="no such bucket"),
        pytest.param("s3a://nowhere/lake", {}, "read", "absent", id="no such bucket to read"),
        pytest.param("s3a://nowhere/lake", {}, "list", "absent", id="no such bucket to list"),
        pytest.param(
            "abfss://nowhere@devstoreaccount1.dfs.core.windows.net/lake", {}, "put", "absent", id="no container",
        ),
        pytest.param(
            "abfss://lake@devstoreaccount1.dfs.core.windows.net/lake", {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="},
            "put", "AZURE_STORAGE_ACCOUNT_KEY", id="wrong key",
        ),
        pytest.param("s3a://lake/lake", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "read", "reached", id="no net"),
    ],
)  # fmt: skip
def test_what_a_store_refuses_is_said_with_its_remedy(
    s3: Emulator, azure: Emulator, monkeypatch: pytest.MonkeyPatch,
    root: str, environment: dict[str, str], act: str, expected: str,
) -> None:  # fmt: skip
    for name, value in (*s3.environment.items(), *azure.environment.items(), *environment.items()):
        monkeypatch.setenv(name, value)
    files = open_files(root)
    acts: dict[str, Callable[[], object]] = {
        "put": lambda: files.put("key", b""),
        "read": lambda: files.read("key"),
        "list": lambda: list(files.list("")),
    }
    with pytest.raises(StorageError, match=expected) as failed:
        acts[act]()
    assert not isinstance(failed.value, Absent | Taken | Changed)
    assert failed.value.exit_code == 4
    assert failed.value.remedy
    assert root in str(failed.value)


@pytest.mark.parametrize(
    ("root", "options"),
    [
        pytest.param("ftp://host/lake", {}, id="unknown scheme"),
        pytest.param("s3://", {}, id="no bucket"),
        pytest.param("s3://lake", {"colour": "red"}, id="unknown setting"),
        pytest.param("az://lake/folder", {}, id="no account"),
    ],
)
def test_a_root_that_names_no_store_is_an_error_of_the_configuration(root: str, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as wrong:
        open_files(root, **options)
    assert wrong.value.exit_code == 2
    assert root in str(wrong.value)


def test_a_folder_is_a_disk(tmp_path: Path) -> None:
    assert open_files(str(tmp_path)) == open_files(f"file://{tmp_path}") == Disk(tmp_path)


# --- Leases


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROJECT / "tests" / "storage_process.py"), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": PYTHONPATH},
    )  # fmt: skip


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def held(root: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds bronze.claim, with a lease of one second."""
    with start("hold", root, "bronze.claim", "1", "0") as process:
        assert line(process) == "held"
        yield process
        process.kill()


def leases(files: Files, **settings: Any) -> Leases:
    return Leases(files, holder=Holder.here(job="weekly", run_id="r2"), **{"seconds": 1.0, "wait": 10.0} | settings)


def elsewhere(files: Files, **settings: Any) -> Leases:
    """The leases of a process on another host."""
    here = Holder.here(job="weekly", run_id="r3")
    other = Holder(job="weekly", run_id="r3", host="elsewhere", pid=here.pid, boot="b", space="s", started="1")
    return Leases(files, holder=other, **{"seconds": 1.0, "wait": 10.0} | settings)


def test_a_lease_has_one_holder(files: Files) -> None:
    inside = []

    def work(number: int) -> None:
        mine = leases(files) if number % 2 else shared
        with mine.held("bronze.claim") as lease:
            inside.append(1)
            assert len(inside) == 1
            lease.check()
            time.sleep(0.02)
            inside.pop()

    shared = leases(files)
    together(work, 6)
    assert shared.holders() == []


def test_a_holder_that_lives_is_waited_for_beyond_its_seconds(files: Files, held: subprocess.Popen[str]) -> None:
    told: list[str] = []
    begun = time.monotonic()
    with pytest.raises(StorageError) as waited, leases(files, wait=2.0, tell=told.append).held("bronze.claim"):
        pass
    assert 2 <= time.monotonic() - begun < 4
    assert waited.value.exit_code == 4
    [lease] = leases(files).holders()
    holder = f"daily, process {held.pid} on {os.uname().nodename} since {lease.since:%Y-%m-%d %H:%M} UTC"
    assert told == [f"waiting for bronze.claim: held by {holder}"]
    assert holder in str(waited.value)
    assert "bronze.claim" in str(waited.value)
    assert lease.holder.run_id == "r1"
    assert held.stdin is not None
    print("check", file=held.stdin, flush=True)
    assert line(held) == "still held"


def test_a_released_lease_is_taken_at_once(files: Files, held: subprocess.Popen[str]) -> None:
    watch = leases(files).watch("bronze.claim")
    assert not watch.is_dead()
    held.communicate()
    assert held.returncode == 0
    assert watch.is_dead()
    with leases(files, wait=0.0).held("bronze.claim"):
        assert not watch.is_dead()
        assert [lease.name for lease in leases(files).holders()] == ["bronze.claim"]


def test_a_lease_whose_process_was_killed_is_taken_at_once(files: Files, held: subprocess.Popen[str]) -> None:
    watch = leases(files).watch("bronze.claim")
    assert not watch.is_dead()
    held.kill()
    while not watch.is_dead():  # the kill itself takes a moment
        time.sleep(0.01)
    begun = time.monotonic()
    with leases(files, wait=0.0).held("bronze.claim"):
        assert time.monotonic() - begun < 1


def test_a_lease_of_another_host_expires_when_it_does_not_change(files: Files) -> None:
    mine = elsewhere(files)
    with mine.held("bronze.claim"):
        [lease] = mine.holders()
    tag = files.read_tagged("leases/bronze.claim.json")[1]
    files.replace(
        "leases/bronze.claim.json", msgspec.json.encode(lease), tag=tag
    )  # as a host that lost its power left it
    watch, begun = mine.watch("bronze.claim"), time.monotonic()
    assert not watch.is_dead()
    with leases(files).held("bronze.claim"):
        assert 1 <= time.monotonic() - begun < 3


def test_whoever_wakes_up_learns_that_another_has_taken_over(files: Files, held: subprocess.Popen[str]) -> None:
    os.kill(held.pid, signal.SIGSTOP)
    with leases(files).held("bronze.claim") as lease:
        os.kill(held.pid, signal.SIGCONT)
        assert held.stdin is not None
        print("check", file=held.stdin, flush=True)
        assert "another run has taken over" in line(held)
        held.wait(10)
        assert held.returncode == 4
        time.sleep(0.5)  # its end takes nothing away
        lease.check()


def test_whoever_was_stopped_goes_on_if_nobody_has_taken_over(held: subprocess.Popen[str]) -> None:
    os.kill(held.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(held.pid, signal.SIGCONT)
    assert held.stdin is not None
    print("check", file=held.stdin, flush=True)
    assert line(held) == "still held"


def test_names_are_taken_in_order_so_that_none_waits_for_ever(files: Files) -> None:
    def work(number: int) -> None:
        names = ("bronze.a", "bronze.b", "bronze.c")
        with leases(files, wait=30.0).held(*(names if number % 2 else reversed(names))):
            time.sleep(0.01)

    together(work, 4)
    assert leases(files).holders() == []


def test_of_names_that_cannot_all_be_had_none_is_kept(files: Files, held: subprocess.Popen[str]) -> None:
    with pytest.raises(StorageError), leases(files, wait=0.1).held("bronze.a", "bronze.claim", "bronze.d"):
        pass
    assert [lease.name for lease in leases(files).holders()] == ["bronze.claim"]


def test_a_beat_of_our_own_whose_answer_was_lost_loses_no_lease(files: Files) -> None:
    mine = leases(files, seconds=0.6)
    with mine.held("bronze.claim") as lease:
        [written] = mine.holders()
        while True:  # what the store has done and could not say
            content, tag = files.read_tagged("leases/bronze.claim.json")
            written = msgspec.json.decode(content, type=Lease)
            unheard = msgspec.structs.replace(written, beat=written.beat + 1, since=written.since.replace(year=2000))
            with suppress(Changed):
                files.replace("leases/bronze.claim.json", msgspec.json.encode(unheard), tag=tag)
                break
        time.sleep(0.5)
        lease.check()
        [now] = mine.holders()
        assert now.since == written.since  # written by the holder again
    assert mine.holders() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, False, id="this process"),
        pytest.param({"started": "1"}, True, id="its number is another process's now"),
        pytest.param({"pid": 2**22 + 1}, True, id="no such process"),
        pytest.param({"host": "elsewhere", "started": "1"}, False, id="another host"),
        pytest.param({"boot": "other", "started": "1"}, False, id="another boot: perhaps a host of the same name"),
        pytest.param({"space": "other", "started": "1"}, False, id="another container of this host"),
        pytest.param({"boot": None, "started": "1"}, False, id="a host that cannot tell its boots apart"),
        pytest.param({"started": None}, False, id="a process whose start is not known"),
    ],
)
def test_only_a_process_that_can_be_looked_at_is_provably_gone(changes: dict[str, Any], expected: bool) -> None:
    holder = msgspec.structs.replace(Holder.here(job="daily", run_id="r1"), **changes)
    assert holder.is_gone() is expected


def test_a_lease_that_cannot_be_read_is_said_with_its_remedy(files: Files) -> None:
    files.put("leases/bronze.a.json", b"{}")
    with pytest.raises(StorageError, match=r"leases/bronze\.a\.json.*Remove it"), leases(files).held("bronze.a"):
        pass
