"""The company's own modules: how they are found and imported, what is refused, what their digest covers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from in_process import PROJECT
from stranger import Stranger
from varve.config import Config, load
from varve.model.errors import ConfigError


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    monkeypatch.chdir(tmp_path)
    return Stranger(tmp_path)


def marts(config: Config) -> list[str]:
    return [mart.table for mart in config.transforms.marts]


def test_what_the_modules_declare_belongs_to_the_configuration(house: Stranger) -> None:
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "transforms"}
    found, ours = load(house.conf).transforms, load(PROJECT / "conf").transforms
    assert (list(found.conforming), [mart.table for mart in found.marts]) == (
        [("ticket", "shop_ticket")], ["sales", "best"],
    )  # fmt: skip
    assert found.conform("ticket", "shop_ticket") is not None
    assert found.conform("claim", "es_core_claim") is None
    assert ours.conform("claim", "es_core_claim") is not None
    assert [mart.table for mart in ours.marts] == ["fx_rate", "gdp_eur"]
    assert {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "transforms"} == before


def test_nothing_is_written_beside_the_modules(house: Stranger) -> None:
    load(house.conf)
    assert not list((house.root / "transforms").rglob("__pycache__"))


@pytest.mark.parametrize(
    ("settings", "moved_to", "expected"),
    [
        pytest.param("", "transforms", ["sales", "best"], id="not named, beside conf"),
        pytest.param("", "lib/transforms", ["sales", "best"], id="not named, below lib"),
        pytest.param("", "elsewhere", [], id="not named and not there: no error, and nothing of the project"),
        pytest.param("transforms: [transforms]", "lib/transforms", ["sales", "best"], id="named"),
        pytest.param("transforms: []", "transforms", [], id="named: none"),
    ],
)
def test_where_they_are_found(house: Stranger, settings: str, moved_to: str, expected: list[str]) -> None:
    (house.conf / "local.yml").write_text(settings)
    (house.root / "lib").mkdir()
    (house.root / "transforms").rename(house.root / moved_to)
    assert marts(load(house.conf)) == expected


def test_several_modules_import_each_other(house: Stranger) -> None:
    (house.conf / "local.yml").write_text("transforms: [transforms, more]")
    (house.root / "more.py").write_text(
        "from transforms.marts import names\n" + (house.root / "transforms/marts/best.py").read_text()
    )
    (house.root / "transforms/marts/best.py").unlink()
    assert marts(load(house.conf)) == ["sales", "best"]


def test_an_installed_module_is_found_last(house: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    (house.root / "site").mkdir()
    house.module("__init__.py", "")
    (house.root / "transforms").rename(house.root / "site" / "transforms")
    (house.conf / "local.yml").write_text("transforms: [transforms]")
    monkeypatch.syspath_prepend(str(house.root / "site"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "transforms"]:
        monkeypatch.delitem(sys.modules, name)
    assert marts(load(house.conf)) == ["sales", "best"]


SALES, BEST, TICKET = "marts/sales.py", "marts/best.py", "entities/ticket.py"
MISTAKES = [
    pytest.param(TICKET, "from transforms.money import euros", "from transforms.mony import euros", f"{TICKET}:3",
                 "the module cannot be imported; found ModuleNotFoundError: No module named 'transforms.mony'",
                 id="an import of what is not there"),
    pytest.param("money.py", "def euros(cents):", "1 / 0", "money.py:5",
                 "the module cannot be imported; found IndentationError: unexpected indent", id="no Python"),
    pytest.param("money.py", "def euros(cents):", "1 / 0\ndef euros(cents):", "money.py:4",
                 "the module cannot be imported; found ZeroDivisionError: division by zero",
                 id="what a module raises, once for all that import it"),
    pytest.param("money.py", "def euros(cents):", "raise SystemExit(1)\ndef euros(cents):", "money.py:4",
                 "the module cannot be imported; found SystemExit: 1", id="a module that ends the process"),
    pytest.param(TICKET, '"ticket", feed', '"tiket", feed', f"{TICKET}:7",
                 "no contract describes silver.tiket; expected one of ticket. Did you mean ticket?",
                 id="an unknown entity"),
    pytest.param(TICKET, '"shop_ticket"', '"shop_tickets"', f"{TICKET}:7",
                 "the contract of ticket has no such feed; found shop_tickets; expected one of shop_ticket. Did you "
                 "mean shop_ticket?", id="an unknown feed"),
    pytest.param(TICKET, "def tickets(bronze):", "def tickets(bronze, more):", f"{TICKET}:7",
                 "tickets cannot be called with what it is given; found missing a required argument: 'more'; expected "
                 "1 parameters: the bronze rows", id="a conform function of two parameters"),
    pytest.param(TICKET, '@conform("ticket", feed="shop_ticket")', '@conform("ticket")', f"{TICKET}:7",
                 "the module cannot be imported; found TypeError: conform() missing 1 required keyword-only argument: "
                 "'feed'", id="a decorator without its feed"),
    pytest.param(SALES, '"sales"', '"sale"', f"{SALES}:9",
                 "no contract describes gold.sale; expected one of best, sales. Did you mean sales?",
                 id="a mart without a contract"),
    pytest.param(SALES, '["silver.ticket"]', '["silver.tickets"]', f"{SALES}:9",
                 "the mart sales reads what is not there; found silver.tickets; expected one of silver.ticket, "
                 "gold.best, gold.sales. Did you mean silver.ticket?", id="an unknown input"),
    pytest.param(SALES, '["silver.ticket"]', '"silver.ticket"', f"{SALES}:9",
                 "the module cannot be imported; found TypeError: a list of names is expected, not 'silver.ticket'",
                 id="inputs that are no list"),
    pytest.param(SALES, '["silver.ticket"]', '["gold.best"]', f"{BEST}:7",
                 "marts read each other in a circle; found best -> sales -> best. Remove one of these inputs.",
                 id="a circle"),
    pytest.param(SALES, "def sales(ticket):", "def sales():", f"{SALES}:9",
                 "sales cannot be called with what it is given; found too many positional arguments; expected 1 "
                 "parameters: silver.ticket", id="a mart without parameters"),
    pytest.param(BEST, "def best(sales, regions):", "def best(region, sales):", f"{BEST}:7",
                 "best is given gold.sales as its parameter region; expected parameters in this order: gold.sales, "
                 "region",
                 id="parameters that are called like another input"),
    pytest.param(BEST, '["region"]', '["regions"]', f"{BEST}:7",
                 "the code list regions is not there; expected one of region. Did you mean region?",
                 id="an unknown code list"),
    pytest.param(BEST, "regions):\n", "regions):\n    from .names import shown\n", f"{BEST}:9",
                 "transforms.marts.names is imported within a function; expected modules of this package at the head "
                 "of the file", id="a module of the package imported when a function is called"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "where", "message"), MISTAKES)
def test_mistakes(house: Stranger, file: str, old: str, new: str, where: str, message: str) -> None:
    path = house.root / "transforms" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(house.conf)
    found = [str(error) for error in caught.value.errors if str(error).startswith(f"transforms/{where}: ")]
    assert found == [f"transforms/{where}: {message}"], str(caught.value)
    assert caught.value.exit_code == 2


def test_two_functions_for_one_thing(house: Stranger) -> None:
    for file, copy in ((TICKET, "entities/again.py"), (SALES, "marts/again.py")):
        house.module(copy, (house.root / "transforms" / file).read_text())
    with pytest.raises(ConfigError) as caught:
        load(house.conf)
    assert sorted(str(error) for error in caught.value.errors) == [
        "transforms/entities/ticket.py:7: ticket from shop_ticket has two functions; found first in "
        "transforms/entities/again.py:7",
        "transforms/marts/sales.py:9: gold.sales has two functions; found first in transforms/marts/again.py:9",
    ]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        pytest.param("[nowhere]", "conf/local.yml:1: the module nowhere is not there; expected nowhere, lib/nowhere "
                     "or an installed package", id="absent"),
        pytest.param("[json]", "conf/local.yml:1: json is no module of the company; found json", id="Python's own"),
        pytest.param("[../x]", "conf/local.yml:1: transforms[0] has a wrong value; found '../x'; expected the name of "
                     "a package or module, without dots", id="no name"),
    ],
)  # fmt: skip
def test_what_the_settings_cannot_name(house: Stranger, named: str, message: str) -> None:
    (house.conf / "local.yml").write_text(f"transforms: {named}")
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(house.conf)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param("marts/names.py", {"sales"}, id="what a mart imports"),
        pytest.param("money.py", set(), id="what no mart imports"),
        pytest.param("marts/best.py", {"best"}, id="the mart itself"),
        pytest.param("__init__.py", {"sales", "best"}, id="the package, which every import runs"),
        pytest.param("words.py", {"sales"}, id="what is imported by what a mart imports"),
    ],
)
def test_the_code_of_a_mart(house: Stranger, changed: str, expected: set[str]) -> None:
    house.module("__init__.py", "")
    house.module("words.py", "WORD = 1\n")
    names = house.root / "transforms/marts/names.py"
    names.write_text("from ..words import WORD\n" + names.read_text())
    before = {mart.table: mart.code for mart in load(house.conf).transforms.marts}
    file = house.root / "transforms" / changed
    file.write_text(file.read_text() + "\nSOMETHING = 1\n")
    after = {mart.table: mart.code for mart in load(house.conf).transforms.marts}
    assert {table for table in before if before[table] != after[table]} == expected


def test_a_change_within_the_second_and_of_the_same_size_counts(house: Stranger) -> None:
    for word in ("one", "two"):
        house.module("marts/names.py", f"def shown(name):\n    return '{word}'\n")
        mart = load(house.conf).transforms.marts[0]
        assert mart.function.__globals__["shown"]("x") == word


def test_check_tells_of_them(house: Stranger) -> None:
    house.module("marts/best.py", "from varve.transforms import mrt\n")
    command = [str(PROJECT / "spark-submit.sh"), "check", "--conf", str(house.conf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "transforms/marts/best.py:1: the module cannot be imported" in " ".join(done.stdout.split())
