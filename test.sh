#!/usr/bin/env bash
# Sets up on first use, then runs the tests. Arguments go to pytest; --all adds the slow ones and those on a cluster.
#
# Without arguments two processes share the work: one keeps little more than one core busy, since planning takes longer
# than the data of a test. The half of the history is printed when it has ended. Each half names its slowest tests, the
# last line says how long both took.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
"$root/spark-submit.sh" --set-up
cd "$root"
[[ $# == 0 ]] || exec .venv/bin/python -m pytest "$@"

SECONDS=0
printed=$(mktemp)
.venv/bin/python -m pytest --durations=10 tests/history >"$printed" 2>&1 &
history=$!
trap 'kill "$history" 2>/dev/null || true; rm -f "$printed"' EXIT
code=0
.venv/bin/python -m pytest --durations=10 tests --ignore=tests/history || code=$?
wait "$history" || code=$?
cat "$printed"
printf 'both halves: %d min %02d s, exit %d\n' $((SECONDS / 60)) $((SECONDS % 60)) "$code"
exit "$code"
