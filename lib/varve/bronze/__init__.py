"""Raw to bronze: rows with the types of their contract; what does not fit is kept beside them or rejected.

* `load.py`: what waits for a table, in as few commits as its size allows
* `typing.py`, `exact.py`: PURE: from texts, or from typed values, to the types of the contract
* `provenance.py`: the columns that say where a row came from
* `recording.py`: rejects and drift of a batch
* `lost.py`: extracts that raw no longer has
"""
