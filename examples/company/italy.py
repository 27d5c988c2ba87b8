"""Italy: CSV with semicolons, Italian words, dates day first; changes say I, U or D, and a delete says its key only.

From the fourth day on claims carry a column more, and on the fifth a score that no longer fits its type.
"""

import csv
import io
from collections.abc import Mapping
from datetime import date

from examples.company.calendar import Delivery
from examples.company.world import Claim, Debtor, Payment, Portfolio, Statement

_HEADERS: Mapping[str, tuple[str, ...]] = {
    "portfolio": ("Codice", "Denominazione", "Data_Acquisto", "Prezzo", "Valuta", "Classe"),
    "debtor": ("Codice_Debitore", "Nominativo", "Email", "IBAN", "Codice_Fiscale", "Comune", "Tipo"),
    "claim": (
        "Codice_Pratica", "Portafoglio", "Debitore", "Stato", "Capitale", "Residuo", "Valuta", "Data_Apertura", "Score",
        "Operazione", "Aggiornato_Il", "Progressivo",
    ),
    "payment": (
        "Codice_Pagamento", "Pratica", "Data_Valuta", "Importo", "Valuta", "Canale", "Operazione",
        "Aggiornato_Il", "Progressivo",
    ),
}  # fmt: skip
_STATUS: Mapping[str, str] = {
    "open": "APERTA", "in_negotiation": "TRATTATIVA", "paying": "PIANO", "litigation": "LEGALE", "closed": "CHIUSA",
    "unmapped": "BOH",
}  # fmt: skip
_METHOD: Mapping[str, str] = {"transfer": "BONIFICO", "card": "CARTA", "direct_debit": "SDD", "cash": "CONTANTI"}
_KIND: Mapping[str, str] = {"person": "PF", "company": "PG"}
_ASSETS: Mapping[str, str] = {"consumer": "CONSUMO", "sme": "PMI", "secured": "IPOTECA"}
_WIDE_SCORE = 3_000_000_000  # does not fit an int


def table(delivery: Delivery) -> str:
    """The text of a file."""
    name = delivery.feed.table
    drifted = name == "claim" and delivery.day >= 4
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow((*_HEADERS[name], *(("Provenienza",) if drifted else ())))
    for record in delivery.records:
        row = _row(record, delivery)
        writer.writerow((*row, *(("FILIALE",) if drifted else ())))
    for number in range(delivery.torn):
        writer.writerow((f"RM-TORN{number}", "riga", "spezzata"))
    return out.getvalue()


def _row(record: Statement, delivery: Delivery) -> tuple[object, ...]:
    width = len(_HEADERS[record.table])
    changes = delivery.feed.mode == "changes"
    fields = _fields(record, delivery.day) if record.state is not None else ("",) * (width - 4)
    if not changes:
        return (record.key, *fields)
    operation = "D" if record.state is None else "I" if record.day == 1 else "U"
    return (record.key, *fields, operation, f"{record.at:%Y-%m-%d %H:%M:%S}", record.sequence)


def _fields(record: Statement, day: int) -> tuple[object, ...]:
    match record.state:
        case Portfolio() as p:
            return (p.name, _day(p.purchased_on), f"{p.purchase_price:.2f}", p.currency, _ASSETS[p.asset_class])
        case Debtor() as d:
            return (d.name, d.email or "", d.iban or "", d.national_id, d.city, _KIND[d.kind])
        case Claim() as c:
            score = _WIDE_SCORE + record.sequence if day == 5 else record.sequence % 100
            money = (f"{c.principal:.2f}", f"{c.balance:.2f}")
            return (c.portfolio_id, c.debtor_id, _STATUS[c.status], *money, c.currency, _day(c.opened_on), score)
        case Payment() as p:
            return (p.claim_id, _day(p.posted_on), f"{p.amount:.2f}", p.currency, _METHOD[p.method])
        case None:
            return ()


def _day(value: date) -> str:
    return f"{value:%d/%m/%Y}"
