"""Storage as a few acts: put if absent, replace if unchanged, read, list, delete. Nothing above knows which store.

* `files.py`: the acts, and the errors that they raise
* `disk.py`: a folder: sync, link and lock
* `objects.py`: an object store: S3, Azure, GCS, by conditional requests
* `read_only.py`: a store that is only looked at
* `opening.py`: the store that a root names
* `lines.py`: lines that are added one by one
* `numbers.py`: objects numbered from 1 without gaps: whoever puts the next number first has it
* `lease.py`: who works on what, so that two do not do the same work
* `trial.py`: what a store cannot do, found by trying
* `delta.py`: the Delta tables of the lake, by Spark; `delta_log.py`: what their logs say, without Spark
* `commits.py`: what a commit of a table says of itself; `small_tables.py`: the tables of layer `ops`
"""

from varve.storage.disk import Disk
from varve.storage.files import Absent, Changed, Entry, Files, Taken
from varve.storage.lease import HeldLeases, Holder, Lease, Leases, Watch
from varve.storage.lines import Lines
from varve.storage.numbers import Numbers
from varve.storage.opening import open_files
from varve.storage.read_only import ReadOnly

__all__ = [
    "Absent",
    "Changed",
    "Disk",
    "Entry",
    "Files",
    "HeldLeases",
    "Holder",
    "Lease",
    "Leases",
    "Lines",
    "Numbers",
    "ReadOnly",
    "Taken",
    "Watch",
    "open_files",
]
