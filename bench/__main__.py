"""`python -m bench <name>`, from the project folder."""

from __future__ import annotations

import importlib
import sys

from bench.arguments import parse
from bench.bench import Bench


def main(argv: list[str]) -> int:
    """Run one benchmark; 0 also when an aim was missed: the figures say so."""
    arguments = parse(argv)
    benchmark = importlib.import_module(f"bench.{arguments.name}")
    if unknown := set(arguments.only) - set(benchmark.PARTS):
        print(f"{arguments.name} has no part {', '.join(sorted(unknown))}; it has {', '.join(benchmark.PARTS)}")
        return 2
    bench = Bench(arguments)
    benchmark.run(bench)
    bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
