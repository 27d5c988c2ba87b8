"""How a lake is and who loaded what: answered from the index, the ledger and the leases, without a session.

* `facts.py`: what there is to know
* `asked.py`: what somebody asks about
* `past.py`: what runs have left in the ledger
* `looking.py`: a look at a lake
* `one_run.py`: what one run did
* `next_step.py`: the one thing to do next
* `telling.py`: all this for people and programs
"""

from varve.status.looking import look
from varve.status.next_step import next_step, verdict
from varve.status.one_run import one_run
from varve.status.telling import page, run_page, run_records, status_records

__all__ = ["look", "next_step", "one_run", "page", "run_page", "run_records", "status_records", "verdict"]
