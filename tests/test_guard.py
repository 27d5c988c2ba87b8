"""The guard: what it lets in, and in which words it refuses."""

from __future__ import annotations

import pytest

from varve.history_table.snapshots import Counts
from varve.model.contract import Guard
from varve.silver.guard import Tally, guarded

BAD = Tally(rows=17, rejected=1, errors={"not_negative": 1})
UNREAD = Tally(rows=17, unread=3)
KEYLESS = Tally(rows=20, rejected=2, errors={"key:country": 1, "key:id": 2})

# guard, counts of a snapshot beside the state before it, tally of its records, what is refused
VERDICTS = [
    pytest.param(Guard(), Counts(rows=20), Tally(rows=20), None, id="nothing to say"),
    pytest.param(Guard(), Counts(rows=0, deleted=20), Tally(),
                 "it has 0 rows, fewer than 1 and it would delete 20 of 20 rows (100.0%, more than 10.0%)", id="empty"),
    pytest.param(Guard(), Counts(rows=19, deleted=1), Tally(rows=19), None, id="a few deletes"),
    pytest.param(Guard(), Counts(rows=17, deleted=3), Tally(rows=17),
                 "it would delete 3 of 20 rows (15.0%, more than 10.0%)", id="many deletes"),
    pytest.param(Guard(max_rejected_share=0.05), Counts(rows=16), BAD,
                 "1 of its 17 rows are bad (5.9%, more than 5.0%: not_negative 1)", id="bad rows"),
    pytest.param(Guard(), Counts(rows=17), UNREAD, None, id="unread keys, and none is missing"),
    pytest.param(Guard(), Counts(rows=17, inserted=2), UNREAD, None, id="unread keys beside new ones"),
    pytest.param(Guard(max_deleted_share=1.0), Counts(rows=17, deleted=1), UNREAD,
                 "it would delete 1 of 18 rows and the key of 3 of its records cannot be read, so that a missing key "
                 "proves nothing", id="unread keys, and one is missing"),
    pytest.param(Guard(), Counts(rows=17, deleted=3), UNREAD,
                 "it would delete 3 of 20 rows (15.0%, more than 10.0%) and the key "
                 "of 3 of its records cannot be read, "
                 "so that a missing key proves nothing", id="unread keys, and many are missing"),
    pytest.param(Guard(max_rejected_share=0.01), Counts(rows=17), UNREAD,
                 "3 of its 20 rows are bad (15.0%, more than 1.0%: key 3)", id="unread keys count as rejected"),
    pytest.param(Guard(max_rejected_share=0.15), Counts(rows=17), UNREAD, None, id="of all that was received"),
    pytest.param(Guard(min_rows=20), Counts(rows=17), UNREAD, None, id="and as received"),
    pytest.param(Guard(), Counts(rows=18, deleted=1), KEYLESS,
                 "it would delete 1 of 19 rows and the key of 2 of its records cannot be read, so that a missing key "
                 "proves nothing", id="keys that conforming left empty"),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "counts", "tally", "refusal"), VERDICTS)
def test_the_verdict(guard: Guard, counts: Counts, tally: Tally, refusal: str | None) -> None:
    assert guarded(guard, counts, tally).refusal == refusal


def test_the_facts_count_every_record_received() -> None:
    facts = guarded(Guard(), Counts(rows=16, deleted=2), Tally(rows=17, rejected=1, unread=3)).facts
    assert (facts["rows"], facts["rejected"], facts["unidentified"], facts["deleted"]) == (20, 4, 3, 2)
