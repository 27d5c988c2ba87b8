"""Spain: one database for both its entities, copied at night. Numbers as keys and codes, claims in cents, no times."""

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from examples.company.world import Claim, Debtor, Payment, Portfolio, State, Statement

_TABLES = {
    "portfolio": """Portfolio (PortfolioId INTEGER PRIMARY KEY, company_id INTEGER NOT NULL, Name TEXT,
                    PurchasedOn TEXT, PurchasePrice TEXT, Currency TEXT, AssetClass TEXT)""",
    "debtor": """Debtor (DebtorId INTEGER PRIMARY KEY, company_id INTEGER NOT NULL, FullName TEXT, Email TEXT,
                 Iban TEXT, Nif TEXT, City TEXT, Kind TEXT)""",
    "claim": """Claim (ClaimId INTEGER PRIMARY KEY, company_id INTEGER NOT NULL, PortfolioId INTEGER, DebtorId INTEGER,
                StatusCode INTEGER, PrincipalCents INTEGER, BalanceCents INTEGER, OpenDate TEXT)""",
    "payment": """Payment (PaymentId INTEGER PRIMARY KEY, company_id INTEGER NOT NULL, ClaimId INTEGER, PostedOn TEXT,
                  Amount TEXT, Currency TEXT, Method INTEGER)""",
}
_STATUS: Mapping[str, int] = {
    "open": 1, "in_negotiation": 2, "paying": 3, "litigation": 4, "closed": 9, "unmapped": 77,
}  # fmt: skip
_METHOD: Mapping[str, int] = {"transfer": 1, "card": 2, "direct_debit": 3, "cash": 4}
_KIND: Mapping[str, str] = {"person": "F", "company": "J"}
_ASSETS: Mapping[str, str] = {"consumer": "CONS", "sme": "PYME", "secured": "HIP"}


def write_copy(path: Path, tables: Mapping[str, Sequence[Statement]]) -> None:
    """Write the database as it stood at one midnight."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA page_size = 4096")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("BEGIN")
        for table, records in tables.items():
            database.execute(f"CREATE TABLE {_TABLES[table]}")
            rows = [(int(r.key), r.entity.number, *_row(r.state)) for r in records]
            for row in rows:
                database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        database.execute("COMMIT")
    finally:
        database.close()


def _row(state: State | None) -> tuple[object, ...]:
    match state:
        case Portfolio():
            bought = state.purchased_on.isoformat()
            return (state.name, bought, f"{state.purchase_price:.2f}", state.currency, _ASSETS[state.asset_class])
        case Debtor():
            return (state.name, state.email, state.iban, state.national_id, state.city, _KIND[state.kind])
        case Claim():
            opened = state.opened_on.strftime("%Y%m%d")
            money = (_cents(state.principal), _cents(state.balance))
            return (int(state.portfolio_id), int(state.debtor_id), _STATUS[state.status], *money, opened)
        case Payment():
            posted = state.posted_on.isoformat()
            return (int(state.claim_id), posted, f"{state.amount:.2f}", state.currency, _METHOD[state.method])
        case None:
            raise ValueError("a picture holds no deleted rows")


def _cents(amount: Decimal) -> int:
    return int(amount * 100)
