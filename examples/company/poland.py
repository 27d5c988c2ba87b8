"""Poland: NDJSON. Claims come per entity, the rest for both, with the company in each line; a delete shows the row.

From the fourth day on payments carry a field more.
"""

import json
from collections.abc import Mapping
from typing import Any

from examples.company.calendar import Delivery
from examples.company.world import Claim, Debtor, Payment, Portfolio, Statement

_STATUS: Mapping[str, str] = {
    "open": "O", "in_negotiation": "N", "paying": "R", "litigation": "S", "closed": "Z", "unmapped": "?",
}  # fmt: skip
_METHOD: Mapping[str, str] = {"transfer": "PRZELEW", "card": "KARTA", "direct_debit": "POLECENIE", "cash": "GOTOWKA"}
_KIND: Mapping[str, str] = {"person": "fizyczna", "company": "prawna"}
_ASSETS: Mapping[str, str] = {"consumer": "K", "sme": "F", "secured": "H"}


def lines(delivery: Delivery) -> str:
    """The text of a file."""
    texts = [_dumped(_object(record, delivery)) for record in delivery.records]
    texts += ['{"payment_no": "PA1-99999", "claim_no": "W1/20'] * delivery.torn
    return "".join(f"{text}\n" for text in texts)


def _object(record: Statement, delivery: Delivery) -> dict[str, Any]:
    row = _fields(record)
    if record.table != "claim":
        row["company"] = record.entity.name.upper()
    if delivery.feed.mode == "changes":
        operation = "D" if record.state is None else "I" if record.day == 1 else "U"
        updated = f"{record.at:%Y-%m-%dT%H:%M:%S}.000Z"
        row |= {"op": operation, "updated_at": updated, "seq": record.sequence}
    if record.table == "payment" and delivery.day >= 4:
        row["blik"] = False
    return row


def _fields(record: Statement) -> dict[str, Any]:
    match record.state or record.last:
        case Portfolio() as p:
            bought = p.purchased_on.isoformat()
            price = float(p.purchase_price)
            return {"portfolio_no": record.key, "name": p.name, "bought": bought, "price": price,
                    "currency": p.currency, "assets": _ASSETS[p.asset_class]}  # fmt: skip
        case Debtor() as d:
            return {"debtor_no": record.key, "name": d.name, "email": d.email, "iban": d.iban, "pesel": d.national_id,
                    "city": d.city, "person": _KIND[d.kind]}  # fmt: skip
        case Claim() as c:
            return {"claim_no": record.key, "portfolio_no": c.portfolio_id, "debtor_no": c.debtor_id,
                    "state": _STATUS[c.status], "principal": float(c.principal), "balance": f"{c.balance:.2f}",
                    "currency": c.currency, "opened": c.opened_on.isoformat()}  # fmt: skip
        case Payment() as p:
            return {"payment_no": record.key, "claim_no": p.claim_id, "posted": p.posted_on.isoformat(),
                    "amount": f"{p.amount:.2f}", "currency": p.currency, "channel": _METHOD[p.method]}  # fmt: skip
        case None:
            return {f"{record.table}_no": record.key}


def _dumped(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
