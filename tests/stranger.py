"""A folder of somebody who touches nothing of the project: sources, contracts and transforms of their own."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Final

from written_conf import write, write_contract

KEY: Final = {"primaryKey": True, "primaryKeyPosition": 1, "required": True}
CONFORM: Final = """
    from pyspark.sql import functions as F

    from transforms.money import euros
    from varve.transforms import CARRIED, conform


    @conform("ticket", feed="shop_ticket")
    def tickets(bronze):
        return bronze.select("ticket_id", "city", euros("cents").alias("amount"), *CARRIED)
"""
BY_CITY: Final = """
    from pyspark.sql import functions as F

    from varve.model.scope import SCOPE_COLUMNS
    from varve.transforms import mart

    from .names import shown


    @mart("sales", reads=["silver.ticket"])
    def sales(ticket):
        current = ticket.where("is_current").groupBy(*SCOPE_COLUMNS, "city")
        return current.agg(F.sum("amount").alias("amount")).withColumn("city", shown("city"))
"""
BEST: Final = """
    from pyspark.sql import functions as F

    from varve.model.scope import SCOPE_COLUMNS
    from varve.transforms import mart


    @mart("best", reads=["gold.sales"], codes=["region"])
    def best(sales, regions):
        first = [F.max_by("city", "amount").alias("city"), F.max("amount").alias("amount")]
        region = {code.source_code: code.group_code for code in regions.codes}
        return sales.groupBy(*SCOPE_COLUMNS).agg(*first).withColumn("region", F.lit(region["Madrid"]))
"""
MONEY: Final = """
    from pyspark.sql import functions as F


    def euros(cents):
        return (F.col(cents) / 100).cast("decimal(19,4)")
"""
NAMES: Final = """
    from pyspark.sql import functions as F


    def shown(name):
        return F.initcap(name)
"""


class Stranger:
    """The folder: `conf`, `incoming` and `transforms` below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.conf, self.lake = root, root / "conf", root / "lake"
        dataset = {
            "contract": "shop_ticket", "path": "*.csv", "format": "csv", "declared_date": r"(\d{4}-\d{2}-\d{2})",
        }  # fmt: skip
        scope = {"country": "ES", "entity": "iberia1"}
        source = {
            "source": "shop",
            "kind": "files",
            "root": "incoming",
            "scope": scope,
            "datasets": {"ticket": dataset},
        }
        write(self.conf, "sources/shop.yml", source)
        ticket = {"name": "ticket_id", "physicalType": "bigint", **KEY}
        city = {"name": "city", "physicalType": "string"}
        amount = {"name": "amount", "physicalType": "decimal(19,4)"}
        cents = {"name": "cents", "physicalType": "bigint"}
        write_contract(self.conf, "shop_ticket", {"layer": "bronze"}, [ticket, city, cents])
        silver = {
            "layer": "silver",
            "history": {},
            "feeds": [{"bronze": "shop_ticket"}],
            "guard": {"max_deleted_share": 1.0},
        }
        write_contract(self.conf, "ticket", silver, [ticket, city, amount])
        total = {"name": "amount", "physicalType": "decimal(29,4)"}
        write_contract(self.conf, "sales", {"layer": "gold"}, [{**city, **KEY}, total])
        write_contract(
            self.conf, "best", {"layer": "gold"}, [{**city, **KEY}, total, {"name": "region", "physicalType": "string"}]
        )
        self.codes("Centro")
        self.module("entities/ticket.py", CONFORM)
        self.module("marts/sales.py", BY_CITY)
        self.module("marts/best.py", BEST)
        self.module("marts/names.py", NAMES)
        self.module("money.py", MONEY)

    def module(self, path: str, text: str) -> Path:
        """A file of the transforms; none of their folders has an `__init__.py` unless it is written."""
        file = self.root / "transforms" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    def codes(self, region: str) -> None:
        file = self.conf / "codes" / "region.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"source,source_code,group_code,valid_from,valid_to\n*,Madrid,{region},,\n", encoding="utf-8")

    def deliver(self, day: str, *rows: tuple[int, str, int]) -> None:
        """The shop's tickets as of a day: (id, city, cents)."""
        file = self.root / "incoming" / f"tickets_{day}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("ticket_id,city,cents\n" + "".join(f"{i},{city},{n}\n" for i, city, n in rows))
