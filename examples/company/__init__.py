"""The embedded company: a small living business whose data and whose right answers are both known.

It buys and services loan portfolios in three countries through five investment entities, and delivers what such a
company delivers: nightly database copies (Spain), CSV change files (Italy), NDJSON (Poland), event files. Beside the
deliveries it writes the answer book: what bronze must count, what must be rejected, what silver must hold.

    world.py     the words: entities, states, statements, the books of an entity
    people.py    debtors: names, bank accounts, national identifiers
    chance.py    what an ordinary day does                life.py     and the cases that chance might miss
    calendar.py  which feed delivers on which day, and what that delivery holds
    spain.py italy.py poland.py events.py                  how each system writes it down
    answers.py   the answer book, by brute force
    company.py   all of it in one folder

Nothing here imports varve: the answers would be worth nothing if the code under test had computed them.
"""

from examples.company.company import Company, Made, existing, make

__all__ = ["Company", "Made", "existing", "make"]
