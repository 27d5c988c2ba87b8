"""Test the set-up, the configuration, the secrets, the sources and the lake; each problem comes with its remedy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from varve.config import load
from varve.connect import Finding
from varve.model.errors import ConfigError
from varve.run.check import configuration, set_up
from varve.run.cli import PROJECT, Parser, common, place
from varve.run.console import in_words


def main(argv: Sequence[str]) -> int:
    """Print what was found; 0 when all is well, else 2."""
    args = common(Parser(description=__doc__, prog="./spark-submit.sh check")).parse_args(argv)
    findings = list(set_up())
    try:
        conf = Path(args.conf).absolute() if args.conf else PROJECT / "conf"
        findings += configuration(load(conf, env=args.env, lake=place(args.lake)))
    except ConfigError as problem:
        said = [in_words(error) for error in problem.errors]
        findings += [Finding("configuration", what, remedy or "Correct it.") for what, remedy in said]
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
