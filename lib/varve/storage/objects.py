"""An object store as a store: S3, Azure and GCS by conditional requests, through obstore.

A put names the condition (If-None-Match: *, on GCS generation 0), a replace the tag that was read (If-Match, on GCS the
generation); the store decides, and tells every other writer no.

**An answer may be lost** after the store has done what it was asked: the same request again is then refused because of
ourselves. So obstore may not repeat a conditional request unseen (it repeats after a server's error): it is repeated
here, and every act leaves a mark of its own on the object (metadata `attempt`, a fresh uuid). An object with our mark
is ours, whatever its bytes are; equal bytes alone would make winners of two writers that both count from 5 to 6.

**A large file** goes up in parts under a hidden key beside its own and is then copied to its own if that has no object:
obstore cannot make the end of an upload in parts conditional, one request for all would hold the file in memory and
begin anew with every break of a thin line. On S3 the copy is itself an upload of one part that ends with
If-None-Match: * (as a plain copy older S3-compatible stores ignore the condition and overwrite); on Azure and GCS it is
a copy with the condition, within one account or bucket, which moves no bytes through here. S3 copies up to 5 GiB so.
Its copy has no mark: when the answer to it was lost, and only then, equal bytes count as ours, since a file's key bears
the id of what it was taken for. Azure may go on copying after its answer: a file is there when it has its size.
A killed upload leaves a hidden key, or parts that are billed unseen: let the bucket's own rules expire both.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from varve.model.errors import ConfigError, StorageError
from varve.storage.disk import disk_errors
from varve.storage.files import Absent, Changed, Entry, Taken

if TYPE_CHECKING:
    from obstore import PutMode, PutResult
    from obstore.store import ObjectStore

_ATTEMPT: Final = "attempt"
_AT_ONCE: Final = 8 * 2**20  # bytes: up to here a file goes in one request
_LARGEST: Final = 5 * 2**30  # bytes: what S3 copies in one request; Azure and GCS copy more
_PARTS_AT_ONCE: Final = 4
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between the attempts of a conditional request
_COPYING: Final = 600.0  # seconds that a copy may go on after its answer
_CLIENT: Final = {"timeout": "2 minutes", "connect_timeout": "5 seconds"}
_AZURE: Final = re.compile(r"(?P<container>[^@/]+)@(?P<account>[^./]+)\.(?:dfs|blob)\.[^/]+")
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION",
    "azure": "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class ObjectFiles:
    """The objects below a URL.

    vendor: s3, azure or gs. _patient repeats by itself what may be repeated; _once asks one time only.
    """

    root: str
    vendor: str
    _patient: ObjectStore
    _once: ObjectStore

    def put(self, key: str, content: bytes) -> str:
        def refused(now: str | None) -> StorageError | None:
            return None if now is None else self._taken(key)  # nothing there: two were in each other's way (S3's 409)

        return self._settled(key, content, "create", refused)

    def put_file(self, key: str, path: Path) -> None:
        with disk_errors(path):
            size = path.stat().st_size
            content = path.read_bytes() if size <= _AT_ONCE else None
        try:
            if content is None:
                self._put_large(key, path, size)
            else:
                self.put(key, content)
        finally:
            path.unlink(missing_ok=True)

    def replace(self, key: str, content: bytes, *, tag: str) -> str:
        def refused(now: str | None) -> StorageError | None:
            if now == tag:
                return None  # two were in each other's way, neither has done it
            return Changed("another writer has replaced it meanwhile", where=self._where(key), found="another content")

        e_tag, version = json.loads(tag)
        mode: PutMode = {"e_tag": e_tag} if version is None else {"e_tag": e_tag, "version": version}
        return self._settled(key, content, mode, refused)

    def read(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        with self._storage_errors(key):
            try:
                if length is not None:
                    # A range of nothing cannot be asked for; one byte says whether the object is there.
                    return bytes(obstore.get_range(self._patient, key, start=start, length=max(length, 1)))[:length]
                options: Any = {"range": {"offset": start}} if start else None
                return bytes(obstore.get(self._patient, key, options=options).bytes())
            except BaseError:
                size = self.size(key) if start or length is not None else None
                if size is not None and start >= size:  # stores call that an error, each in its own words
                    return b""
                raise

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        with self._storage_errors(key):
            got = obstore.get(self._patient, key)
            return bytes(got.bytes()), _tag(got.meta)

    def size(self, key: str) -> int | None:
        try:
            with self._storage_errors(key):
                return obstore.head(self._patient, key)["size"]
        except Absent:
            return None

    def list(self, prefix: str) -> Iterator[Entry]:
        with self._storage_errors(prefix):
            entries = [
                Entry(found["path"], found["size"])
                for chunk in obstore.list(self._patient, prefix or None)
                for found in chunk
                if not found["path"].rpartition("/")[2].startswith(".")
            ]
        yield from sorted(entries, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        with suppress(Absent), self._storage_errors(key):
            obstore.delete(self._patient, key)

    def clear(self, folder: str) -> None:
        with self._storage_errors(folder):
            for chunk in obstore.list(self._patient, folder):
                for found in chunk:
                    self.delete(found["path"])

    @contextmanager
    def workspace(self, folder: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="varve-", ignore_cleanup_errors=True) as place:
            yield Path(place)

    def _settled(
        self, key: str, content: bytes, mode: PutMode, refused: Callable[[str | None], StorageError | None]
    ) -> str:
        """Put until it is known what became of it, and return the object's tag.

        refused: says what a refusal means, given the tag that the object has now; None: ask again.
        """
        mark = uuid.uuid4().hex

        def attempt() -> str:
            try:
                done = obstore.put(
                    self._once, key, content, mode=mode, attributes={_ATTEMPT: mark}, use_multipart=False
                )
                return _tag(done)
            except (AlreadyExistsError, PreconditionError):
                marked, now = self._marked(key)
                if now is not None and marked == mark:
                    return now
                if problem := refused(now):
                    raise problem from None
                raise

        with self._storage_errors(key):
            return _repeated(attempt)

    def _marked(self, key: str) -> tuple[str | None, str | None]:
        """The mark and the tag of an object, two times None if there is none."""
        try:
            got = obstore.get(self._patient, key, options={"head": True})
        except FileNotFoundError:
            return None, None
        return got.attributes.get(_ATTEMPT), _tag(got.meta)

    def _put_large(self, key: str, path: Path, size: int) -> None:
        if size > _LARGEST and self.vendor == "s3":
            raise StorageError(
                "the file is too large for this store", where=self._where(key), found=f"{size} bytes",
                expected=f"at most {_LARGEST}", remedy="Deliver it in several files, or compressed.",
            )  # fmt: skip
        folder, slash, name = key.rpartition("/")
        hidden = f"{folder}{slash}.{name}.{uuid.uuid4().hex[:8]}.tmp"
        with self._storage_errors(key):
            try:
                obstore.put(self._patient, hidden, path, chunk_size=_AT_ONCE, max_concurrency=_PARTS_AT_ONCE)
                self._copy(hidden, key, path)
                self._await(key, size)
            finally:
                with suppress(BaseError, FileNotFoundError):
                    obstore.delete(self._patient, hidden)

    def _copy(self, hidden: str, key: str, path: Path) -> None:
        in_doubt = False

        def attempt() -> None:
            nonlocal in_doubt
            try:
                obstore.copy(self._once, hidden, key, overwrite=False)
            except (AlreadyExistsError, PreconditionError):
                if self.size(key) is None:
                    raise
                if not (in_doubt and self._holds(key, path)):
                    raise self._taken(key) from None
            except BaseError:
                in_doubt = True
                raise

        _repeated(attempt)

    def _holds(self, key: str, path: Path) -> bool:
        """Whether the object has the bytes of the file."""
        if self.size(key) != path.stat().st_size:
            return False
        with path.open("rb") as file:
            return all(bytes(block) == file.read(len(block)) for block in obstore.get(self._patient, key).stream())

    def _await(self, key: str, size: int) -> None:
        until = time.monotonic() + _COPYING
        while (found := self.size(key)) != size:
            if time.monotonic() > until:
                raise StorageError(
                    "the store did not finish its copy of the file", where=self._where(key), found=f"{found} bytes",
                    expected=f"{size} bytes", remedy="Remove the object and run again.",
                )  # fmt: skip
            time.sleep(0.5)

    def _taken(self, key: str) -> Taken:
        return Taken(
            "another writer was here first", where=self._where(key), found="the object exists",
            remedy="Nothing was overwritten; run again to go on from what it left.",
        )  # fmt: skip

    def _where(self, key: str) -> str:
        return f"{self.root}/{key}"

    @contextmanager
    def _storage_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            raise _explained(error, self.vendor, self._where(key)) from error


def object_files(url: str, **options: Any) -> ObjectFiles:
    """The store that a URL names: s3 (s3a), az, abfs (abfss), gs.

    options: obstore's settings of the vendor (endpoint, access_key_id, account_key, …); what is not given comes from
    the vendor's environment variables (AWS_…, AZURE_…, GOOGLE_…). Raises ConfigError for another scheme or setting.
    """
    scheme, _, rest = url.rstrip("/").partition("://")
    place, _, prefix = rest.partition("/")
    settings = {**_CLIENT, **({"allow_http": True} if str(options.get("endpoint")).startswith("http://") else {})}
    if not place:
        raise ConfigError("the URL names no bucket", where=url, expected=f"{scheme}://bucket/folder")
    make: Callable[..., ObjectStore]
    match scheme:
        case "s3" | "s3a":
            # One object a request: the request for many is missing from some S3-compatible stores.
            settings |= {"copy_if_not_exists": "multipart", "disable_bulk_delete": True}
            vendor, make = "s3", S3Store
        case "gs":
            vendor, make = "gs", GCSStore
        case "az" | "abfs" | "abfss":
            vendor, make = "azure", AzureStore
            if named := _AZURE.fullmatch(place):
                place, settings["account_name"] = named["container"], named["account"]
        case _:
            raise ConfigError(
                "no store is known by this scheme", where=url, found=f"{scheme}://",
                expected="a folder, or s3://, s3a://, abfss://, abfs://, az://, gs://",
            )  # fmt: skip
    config: Any = settings | options
    try:
        patient, once = (
            make(place, prefix=prefix or None, config=config, retry_config={"max_retries": retries})
            for retries in (5, 0)
        )
    except BaseError as error:
        raise ConfigError("the store cannot be opened", where=url, found=_first_line(error)) from error
    return ObjectFiles(url.rstrip("/"), vendor, patient, once)


def _repeated(attempt: Callable[[], _Answer]) -> _Answer:
    """Attempt until the store has answered; what it refuses for good (rights, no bucket) is not asked again."""
    for pause in _PAUSES:
        try:
            return attempt()
        except (PermissionDeniedError, UnauthenticatedError):
            raise
        except BaseError:
            time.sleep(pause * random.uniform(0.5, 1.5))
    return attempt()


def _tag(meta: PutResult | Any) -> str:
    """What `replace` must name: Azure and S3 compare the e_tag, GCS the version."""
    return json.dumps([meta["e_tag"], meta["version"]])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def _explained(error: Exception, vendor: str, where: str) -> StorageError:
    """What a person can do about it."""
    message = str(error).partition("Debug source")[0]
    names = _CREDENTIALS[vendor]
    if "NoSuchBucket" in message or "ContainerNotFound" in message or "bucket does not exist" in message:
        return StorageError("the bucket or container is absent", where=where, remedy="Create it, or correct the URL.")
    if isinstance(error, FileNotFoundError):
        return Absent("there is no such object", where=where)
    if "169.254.169.254" in message or "metadata.google.internal" in message:
        return StorageError(
            "no credentials were found", where=where, found="none of the machine's own either", remedy=f"Set {names}."
        )
    code = re.search(r"status code: (\d{3} [A-Z][a-z]+(?: [A-Z][a-z]+)*)", message)
    reason = re.search(r"<Code>(\w+)</Code>", message)
    found = " ".join(match[1] for match in (code, reason) if match) or _first_line(error)
    of_credentials = reason is not None and "Token" in reason[1]  # one that has expired is a bad request on S3
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or of_credentials:
        return StorageError(
            "the store refuses these credentials", where=where, found=found,
            remedy=f"Correct {names}, or let them read, write, list and delete there.",
        )  # fmt: skip
    if code is None:
        return StorageError(
            "the store could not be reached", where=where, found=found,
            remedy="Is the endpoint right and the network up? Then run again.",
        )  # fmt: skip
    return StorageError(
        "the store could not do it", where=where, found=found, remedy="Run again; what was done is skipped."
    )
