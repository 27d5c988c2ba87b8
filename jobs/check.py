"""Test the set-up, the configuration, the secrets, the sources and the lake; each problem comes with its remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varve.config import Config, Secret, load
from varve.connect import Finding, connector_of
from varve.model.errors import ConfigError, VarveError
from varve.run.cli import PROJECT, Parser, _common, _place
from varve.spark.jars import JARS
from varve.storage import open_files
from varve.storage.trial import folder_lacks, store_lacks

PINNED = ("pyspark", "delta-spark", "deltalake", "pyarrow")


def set_up() -> Iterator[Finding]:
    """Python, Java, packages, jars: what spark-submit.sh has put there."""
    yield Finding("Python", sys.version.split()[0])
    java = Path(os.environ["JAVA_HOME"]) / "bin" / "java" if os.environ.get("JAVA_HOME") else shutil.which("java")
    try:
        told = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=True).stderr.split('"')[1]
        fits = told.split(".")[0] in ("17", "21")
        yield Finding("Java", told, None if fits else "Set JAVA_HOME to a Java 17 or 21.")
    except (OSError, subprocess.CalledProcessError, IndexError):
        yield Finding("Java", "none", "Install Java 17 or 21, or set JAVA_HOME.")
    yield Finding("packages", ", ".join(f"{name} {version(name)}" for name in PINNED))
    folder = Path(os.environ.get("VARVE_JARS") or PROJECT / ".jars")
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


def main(argv: Sequence[str]) -> int:
    """Print what was found; 0 when all is well, else 2."""
    args = _common(Parser(description=__doc__, prog="./spark-submit.sh check")).parse_args(argv)
    findings = list(set_up())
    try:
        conf = Path(args.conf).absolute() if args.conf else PROJECT / "conf"
        findings += configuration(load(conf, env=args.env, lake=_place(args.lake)))
    except ConfigError as problem:
        findings += [Finding("configuration", str(error), "Correct it.") for error in problem.errors]
    table = Table("", "what", "found", "remedy", box=None)
    for finding in findings:
        mark = Text("ok", style="green") if finding.remedy is None else Text("problem", style="bold red")
        table.add_row(mark, Text(finding.what), Text(finding.found), Text(finding.remedy or ""))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    problems = sum(finding.remedy is not None for finding in findings)
    print("all is well" if not problems else f"{problems} {'problem' if problems == 1 else 'problems'}")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
