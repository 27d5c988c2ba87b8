"""Fetches Delta's jars, once, into a folder of the project: `python -m tools.fetch_jars <folder>`.

Where a jar comes from, first hit wins: the local Maven repository; then by HTTP from DEFAULT_ARTIFACT_REPOSITORY
(Spark's own variable), a mirror of the user's Maven settings.xml, or Maven Central; then `mvn`, which knows what we do
not (encrypted passwords). Proxies and certificates of the environment hold. The sum makes the origin irrelevant.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from varve.model.errors import StorageError
from varve.spark.jars import JARS, Jar

CENTRAL = "https://repo1.maven.org/maven2"
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Repository:
    """Where jars can be fetched by HTTP; user and password only where settings.xml names them."""

    url: str
    user: str | None = None
    password: str | None = None


def fetch(folder: Path) -> None:
    """Put every jar into `folder`; a jar that is there and whole stays. A killed run leaves no half jar behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for jar in JARS:
        if not jar.is_at(folder / jar.file):
            _fetch_one(jar, folder)
    for stale in set(folder.glob("*.jar")) - {folder / jar.file for jar in JARS}:
        stale.unlink()  # two versions of Delta on one class path are neither


def repositories(home: Path) -> tuple[Repository, ...]:
    """The repositories to ask, in order. With a mirror of everything or of Central, nothing else is asked."""
    if url := os.environ.get("DEFAULT_ARTIFACT_REPOSITORY"):
        return (Repository(url.rstrip("/")),)
    settings = home / ".m2" / "settings.xml"
    mirrors = tuple(_mirrors(settings)) if settings.is_file() else ()
    return mirrors or (Repository(CENTRAL),)


def _fetch_one(jar: Jar, folder: Path) -> None:
    home = Path.home()
    tried: list[str] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        draft = Path(scratch) / jar.file
        if jar.is_at(local := home / ".m2" / "repository" / jar.path):
            shutil.copyfile(local, draft)
            draft.replace(folder / jar.file)
            return
        for remote in repositories(home):
            found = _download(remote, jar, draft)
            if jar.is_at(draft):
                draft.replace(folder / jar.file)
                return
            tried.append(f"{remote.url}: {found}")
        if mvn := shutil.which("mvn"):
            found = _copy_with_maven(mvn, jar, draft)
            if jar.is_at(draft):
                draft.replace(folder / jar.file)
                return
            tried.append(f"mvn: {found}")
    raise StorageError(
        f"{jar.file} could not be fetched",
        found="; ".join(tried),
        expected=f"a file with sha256 {jar.sha256}",
        remedy=f"Set https_proxy, or DEFAULT_ARTIFACT_REPOSITORY to a Maven mirror, or put the file into {folder}.",
    )


def _download(repository: Repository, jar: Jar, draft: Path) -> str:
    request = urllib.request.Request(f"{repository.url}/{jar.path}", headers={"User-Agent": "varve"})
    if repository.user is not None:
        login = base64.b64encode(f"{repository.user}:{repository.password or ''}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer, draft.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (OSError, ValueError) as error:  # no route, refused, certificate, 404, a mirror that is no URL
        return str(error)
    return "another file under this name (its sha256 differs)"


def _copy_with_maven(mvn: str, jar: Jar, draft: Path) -> str:
    coordinates = f"{jar.group}:{jar.artifact}:{jar.version}:jar"
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
    command = [mvn, "-B", "-q", goal, f"-Dartifact={coordinates}", f"-DoutputDirectory={draft.parent}"]
    result = subprocess.run([*command, *_proxy_flags()], capture_output=True, text=True, cwd=draft.parent, check=False)
    lines = (result.stdout + result.stderr).strip().splitlines()
    return lines[0] if lines else "nothing"


def _proxy_flags() -> Iterator[str]:
    """Java reads no proxy from the environment; it is told by properties."""
    for scheme, url in urllib.request.getproxies().items():
        proxy = urlsplit(url if "//" in url else f"//{url}")
        if scheme in ("http", "https") and proxy.hostname:
            yield f"-D{scheme}.proxyHost={proxy.hostname}"
            yield f"-D{scheme}.proxyPort={proxy.port or 80}"


def _mirrors(settings: Path) -> Iterator[Repository]:
    """The mirrors in settings.xml that stand for Maven Central, with the login of the server of the same id."""
    try:
        root = ElementTree.parse(settings).getroot()
    except (ElementTree.ParseError, OSError):
        return
    logins = {_text(server, "id"): server for server in root.iterfind("{*}servers/{*}server")}
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        patterns = [pattern.strip() for pattern in _text(mirror, "mirrorOf").split(",")]
        if "!central" in patterns or not {"*", "central", "external:*"} & set(patterns):
            continue
        login = logins.get(_text(mirror, "id"))
        user = _text(login, "username") if login is not None else ""
        url = _text(mirror, "url").rstrip("/")
        yield Repository(url, user or None, _text(login, "password") if login is not None and user else None)


def _text(element: ElementTree.Element | None, tag: str) -> str:
    found = element.findtext(f"{{*}}{tag}") if element is not None else None
    # ${env.NAME} is Maven's spelling of a variable
    return os.path.expandvars(found.strip().replace("${env.", "${")) if found else ""


def main(argv: list[str]) -> int:
    try:
        fetch(Path(argv[0]))
    except StorageError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
