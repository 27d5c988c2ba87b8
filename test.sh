#!/usr/bin/env bash
# Sets up on first use, then runs the tests. Arguments go to pytest; --all adds the slow ones and those on a cluster.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
"$root/spark-submit.sh" --set-up
cd "$root"
exec .venv/bin/python -m pytest "$@"
