"""`python -m bench <name>`, from the project folder."""

from __future__ import annotations

import importlib
import sys
from dataclasses import asdict

from bench.arguments import parse
from bench.bench import Bench


def main(argv: list[str]) -> int:
    """Run one benchmark; 0 also when an aim was missed: the figures say so."""
    arguments = parse(argv)
    bench = Bench(arguments, {name: value for name, value in asdict(arguments).items() if name != "work"})
    importlib.import_module(f"bench.{arguments.name}").run(bench)
    bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
