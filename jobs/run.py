"""Run a job graph of conf/jobs: `run.py daily --country ES`."""

from __future__ import annotations

import sys

from varve import workflow

if __name__ == "__main__":
    sys.exit(workflow.launch(sys.argv[1:]))
