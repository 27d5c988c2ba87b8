"""Run a job graph of conf/jobs: `run.py daily --country ES`."""

from __future__ import annotations

import sys

from varve.run import graph

if __name__ == "__main__":
    sys.exit(graph.launch_graph(sys.argv[1:]))
