"""Storage as a few acts: put if absent, replace if unchanged, read, list, delete. Nothing above knows which store it is.

files.py      the acts, and the errors that they raise
disk.py       a folder: sync, link and lock
numbers.py    objects numbered from 1 without gaps: whoever puts the next number first has it
"""

from varve.storage.disk import Disk
from varve.storage.files import Absent, Changed, Entry, Files, Taken
from varve.storage.numbers import Numbers

__all__ = ["Absent", "Changed", "Disk", "Entry", "Files", "Numbers", "Taken"]
