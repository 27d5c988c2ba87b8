"""`daily --conf` of a stranger's folder fills gold, and a mart is rebuilt when what it is made from has changed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from deltalake import DeltaTable

from in_process import PROJECT
from stranger import Stranger

MARTS = ("sales", "best")


def run(house: Stranger, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROJECT / "spark-submit.sh"), *words, "--conf", str(house.conf), "--lake", str(house.lake)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def gold(house: Stranger, mart: str) -> list[dict[str, object]]:
    return DeltaTable(str(house.lake / "gold" / mart)).to_pyarrow_table().to_pylist()


def versions(house: Stranger) -> dict[str, int]:
    return {mart: DeltaTable(str(house.lake / "gold" / mart)).version() for mart in MARTS}


def project() -> dict[str, int]:
    """Every file of the project that git would show, with the time of its last change; none in a bare copy."""
    if not (PROJECT / ".git").exists():
        return {}
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    files = [PROJECT / name for name in listed.splitlines()]
    return {str(file): file.stat().st_mtime_ns for file in files if file.exists()}


@pytest.mark.slow
def test_the_examples_of_the_readme(tmp_path: Path) -> None:
    blocks = re.findall(
        r"```(?:yaml|python)\n# my/(\S+).*?\n(.*?)```", (PROJECT / "README.md").read_text("utf-8"), re.DOTALL
    )
    for path, text in blocks:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming/customers_2026-03-01.csv").write_text("customer_id,City\n1,madrid \n2,Madrid\n3,VIGO\n")
    command = [
        str(PROJECT / "spark-submit.sh"),
        "daily",
        "--conf",
        str(tmp_path / "conf"),
        "--lake",
        str(tmp_path / "lake"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = DeltaTable(str(tmp_path / "lake/gold/city")).to_pyarrow_table().to_pylist()
    assert {row["city"]: row["customers"] for row in rows} == {"Madrid": 2, "Vigo": 1}


def test_a_strangers_day(tmp_path: Path) -> None:
    """One folder, one run after another: each costs the start of a session."""
    before = project()
    house = Stranger(tmp_path)
    house.deliver("2026-03-01", (1, "madrid", 1050), (2, "madrid", 200), (3, "vigo", 700))

    ran = run(house, "daily")  # the project's graph: the folder has none of its own
    assert ran.returncode == 0, ran.stdout + ran.stderr
    scope = {"scope_country": "ES", "scope_entity": "iberia1"}
    sales = {row["city"]: str(row["amount"]) for row in gold(house, "sales")}
    assert sales == {"Madrid": "12.5000", "Vigo": "7.0000"}
    (best,) = gold(house, "best")
    assert {**best, "amount": str(best["amount"])} == {
        **scope, "city": "Madrid", "amount": "12.5000", "region": "Centro",
    }  # fmt: skip
    assert versions(house) == {"sales": 0, "best": 0}
    assert not (tmp_path / "company").exists()

    (house.conf / "local.yml").write_text("spark: {master: 'no://session'}")  # whoever opens one fails
    again = run(house, "daily", "--run-id", "again")
    (house.conf / "local.yml").unlink()
    assert again.returncode == 0, again.stdout + again.stderr
    assert versions(house) == {"sales": 0, "best": 0}

    house.module("money.py", (tmp_path / "transforms/money.py").read_text() + "\n# no mart imports this\n")
    house.codes("Meseta")
    assert run(house, "gold").returncode == 0
    assert versions(house) == {"sales": 0, "best": 1}, "a code list: only the mart that reads it"
    assert gold(house, "best")[0]["region"] == "Meseta"

    names = tmp_path / "transforms/marts/names.py"
    names.write_text(names.read_text().replace("initcap", "upper"))
    assert run(house, "gold").returncode == 0
    assert versions(house) == {"sales": 1, "best": 2}, "a module that a mart imports: the mart, and what reads it"

    path = house.conf / "contracts/best.odcs.yaml"
    path.write_text(path.read_text().replace("decimal(29,4)", "decimal(30,4)"))
    assert run(house, "gold").returncode == 0
    assert versions(house) == {"sales": 1, "best": 3}, "the content of a contract, whatever its version says"
    assert project() == before
