"""A process of its own that works on a store: `python storage_process.py number|hold ROOT …`."""

from __future__ import annotations

import os
import sys
import uuid

from varve.model.errors import StorageError
from varve.storage import Holder, Leases, Numbers, Taken, open_files


def number(root: str, count: str) -> None:
    """Put that many objects under the next free number each."""
    numbers, last = Numbers(open_files(root), "numbered"), 0
    for _ in range(int(count)):
        while True:
            last = numbers.last(last)
            try:
                numbers.put(last + 1, f"{os.getpid()} {uuid.uuid4()}".encode())
                break
            except Taken:
                continue


def hold(root: str, name: str, seconds: str, wait: str) -> None:
    """Hold a lease until standard input ends; each line of it asks for a check."""
    holder = Holder.here(job="daily", run_id="r1")
    leases = Leases(open_files(root), holder=holder, seconds=float(seconds), wait=float(wait), tell=say)
    try:
        with leases.held(name) as lease:
            say("held")
            for _ in sys.stdin:
                lease.check()
                say("still held")
    except StorageError as error:
        say(str(error))
        sys.exit(error.exit_code)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    {"number": number, "hold": hold}[sys.argv[1]](*sys.argv[2:])
