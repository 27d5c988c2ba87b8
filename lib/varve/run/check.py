"""Whether set-up, configuration, secrets, sources and the lake are as a run needs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from varve.config import Config, Secret
from varve.connect import Finding, connector_of
from varve.model.errors import ConfigError, VarveError
from varve.run.cli import PROJECT
from varve.spark.jars import JARS, jars_folder
from varve.storage import open_files
from varve.storage.trial import folder_lacks, store_lacks

PINNED: Final = ("pyspark", "delta-spark", "deltalake", "pyarrow")


def set_up() -> Iterator[Finding]:
    """Python, Java, packages, jars: what spark-submit.sh has put there."""
    yield Finding("Python", sys.version.split()[0])
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else shutil.which("java")
    try:
        found = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True).stderr.split('"')[1]
        fits = found.split(".")[0] in ("17", "21")
        yield Finding("Java", found, None if fits else "Set JAVA_HOME to a Java 17 or 21.")
    except (OSError, subprocess.CalledProcessError, IndexError):
        yield Finding("Java", "none", "Install Java 17 or 21, or set JAVA_HOME.")
    yield Finding("packages", ", ".join(f"{name} {version(name)}" for name in PINNED))
    folder = jars_folder()
    bad = [jar.file for jar in JARS if not jar.is_at(folder / jar.file)]
    remedy = f"Delete {folder} and {PROJECT / '.venv'}, then run ./spark-submit.sh --set-up." if bad else None
    yield Finding("Delta's jars", f"not as pinned: {', '.join(bad)}" if bad else f"{len(JARS)} in {folder}", remedy)


def configuration(config: Config) -> Iterator[Finding]:
    """What the configuration names: sources, secrets, the lake."""
    counts = f"{len(config.sources)} sources, {len(config.contracts)} contracts, {len(config.graphs)} job graphs"
    yield Finding("configuration", f"{config.directory}: {counts}")
    for name, source in sorted(config.sources.items()):
        yield from connector_of(config, name).check(source)
    found = config.transforms
    functions = f"{len(found.conforming)} conform functions, {len(found.marts)} marts"
    folders = sorted({Path(one.place.file).parent for one in found.declared})
    yield Finding("transforms", f"{functions}: {', '.join(map(str, folders))}" if folders else functions)
    pseudonyms = config.settings.pseudonyms
    for name, secret in sorted(pseudonyms.keys.items()) if pseudonyms else ():
        yield _secret(f"secret {name}", secret)
    yield from storage(config.settings.lake)


def _secret(what: str, secret: Secret) -> Finding:
    if secret.kind == "local":
        return Finding(what, f"{secret.reference}: made in the lake on first use")
    try:
        secret.reveal()
    except ConfigError as error:
        return Finding(what, f"{secret.reference}: {error.found}", error.remedy or "Provide it.")
    return Finding(what, secret.reference)


def storage(lake: str) -> Iterator[Finding]:
    """What the lake's folder or store cannot do, found by trying each act there."""
    try:
        if "://" in lake:
            lacks, elsewhere = list(store_lacks(open_files(lake))), "choose another object store"
        else:
            folder = Path(lake)
            nearest = next(place for place in (folder, *folder.parents) if place.exists())
            lacks, elsewhere = list(folder_lacks(nearest)), "choose a local disk or an object store"
    except VarveError as error:
        yield Finding("lake", str(error), error.remedy or "Give a place that can be written: --lake DIR.")
        return
    for lack in lacks:
        remedy = f"Without it {lack.loses}: {elsewhere} for --lake."
        yield Finding("lake", f"{lake}: {lack.act}: {lack.found}", remedy)
    if not lacks:
        yield Finding("lake", lake)
