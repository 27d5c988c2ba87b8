"""The real vintages of the ECB and the World Bank through the real jobs, against plain Python over the same files."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from in_process import Jobs, job_module
from varve import config
from varve.model.errors import ParkedError
from varve.ops import tables

PROJECT = Path(__file__).resolve().parents[1]
FILES = ("2012-09-20", "2013-06-28", "2015-08-16", "2017-07-13")
RATES = ("2016-10-28", "2018-12-27", "2020-12-07", "2022-12-31", "2024-12-29")

Key = tuple[str, int]
State = tuple[str, Decimal]


@dataclass(frozen=True)
class Version:
    """A row of silver.gdp; days instead of times, because a vintage speaks for a day."""

    key: Key
    state: State
    valid_from: date
    valid_to: date | None
    is_deleted: bool

    @property
    def is_open(self) -> bool:
        return self.valid_to is None and not self.is_deleted


class Run(Jobs):
    """The jobs on the vintages."""

    def land(self, data: Path, *sources: str) -> None:
        for source, folder in (("ecb", "ecb-eurofxref"), ("worldbank", "worldbank-gdp")):
            if source in sources:
                self.run("extract", "--source", source, "--root", str(data / folder))
        self.run("bronze", *(word for source in sources for word in ("--source", source)))

    def gdp(self) -> list[Version]:
        columns = "country_code, year, country_name, value, valid_from, valid_to, is_deleted, is_current"
        versions = []
        for code, year, name, value, since, to, is_deleted, is_current in self.rows("silver.gdp", columns):
            assert is_current == (to is None and not is_deleted)
            versions.append(Version((code, year), (name, value), day(since), day(to) if to else None, is_deleted))
        return sorted(versions, key=lambda version: (version.key, version.valid_from))


def day(moment: datetime) -> date:
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    assert (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return moment.date()


def picture(data: Path, vintage: str) -> dict[Key, State]:
    """What one file of the World Bank says."""
    with (data / "worldbank-gdp" / f"gdp_{vintage}.csv").open(encoding="utf-8", newline="") as file:
        return {
            (r["Country Code"], int(r["Year"])): (r["Country Name"], Decimal(r["Value"])) for r in csv.DictReader(file)
        }


def timeline(pictures: Mapping[date, Mapping[Key, State]]) -> list[Version]:
    """The versions that the pictures give, by brute force."""
    versions = []
    for key in sorted({key for one in pictures.values() for key in one}):
        words: list[tuple[date, State | None]] = []
        for on, one in sorted(pictures.items()):
            if one.get(key) != (words[-1][1] if words else None):
                words.append((on, one.get(key)))
        last: State | None = None
        for (on, state), following in zip(words, [*words[1:], None], strict=True):
            last = state or last
            assert last is not None
            versions.append(Version(key, last, on, following[0] if following else None, state is None))
    return versions


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Path:
    return shared_data


@pytest.fixture(scope="module")
def pictures(data: Path) -> dict[date, dict[Key, State]]:
    return {date.fromisoformat(vintage): picture(data, vintage) for vintage in FILES}


@pytest.fixture(scope="module")
def run(data: Path, shared_spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """All vintages of both series, from the files to gold."""
    run = Run.at(tmp_path_factory.mktemp("vintages"), shared_spark, "first")
    run.land(data, "ecb", "worldbank")
    run.run("silver", "--table", "fx", "--table", "gdp")
    run.run("gold")
    yield run
    run.lake.ledger.close()


def test_gdp_is_what_the_files_say(run: Run, pictures: dict[date, dict[Key, State]]) -> None:
    assert run.gdp() == timeline(pictures)


def test_gdp_counts(run: Run) -> None:
    """The counts that the source of the data states: new, gone and changed keys per vintage."""
    versions = run.gdp()
    before = {(version.key, version.valid_to) for version in versions if not version.is_deleted}
    counts = []
    for vintage in map(date.fromisoformat, FILES):
        opened = [version for version in versions if version.valid_from == vintage and not version.is_deleted]
        changed = sum((version.key, vintage) in before for version in opened)
        gone = sum(version.valid_from == vintage and version.is_deleted for version in versions)
        counts.append((len(opened) - changed, gone, changed))
    assert counts == [(9745, 0, 0), (67, 0, 3984), (761, 194, 7276), (1378, 215, 7340)]
    assert sum(version.is_open for version in versions) == 11542


def test_who_left_and_came_back_has_a_tombstone_between(run: Run) -> None:
    by_key: dict[Key, list[Version]] = {}
    for version in run.gdp():
        by_key.setdefault(version.key, []).append(version)
    returned = [
        versions for versions in by_key.values() if any(v.is_deleted for v in versions) and versions[-1].is_open
    ]
    assert len(returned) == 16
    for versions in returned:
        gone = next(i for i, version in enumerate(versions) if version.is_deleted)
        assert versions[gone].state == versions[gone - 1].state, "a tombstone shows what was deleted"
        assert versions[gone + 1].valid_from == versions[gone].valid_to


def test_no_past_rate_was_ever_revised(run: Run, data: Path) -> None:
    rows = run.rows("silver.fx", "rate_date, currency, rate, valid_from, valid_to, is_current, is_deleted")
    assert {(to, current, deleted) for *_, to, current, deleted in rows} == {(None, True, False)}
    opened = [sum(day(since) == date.fromisoformat(vintage) for *_, since, _, _, _ in rows) for vintage in RATES]
    assert opened == [142458, 17342, 15904, 16841, 15270]
    with zipfile.ZipFile(data / "ecb-eurofxref" / "vintages" / f"eurofxref-hist_{RATES[-1]}.zip") as archive:
        lines = csv.DictReader(io.StringIO(archive.read("eurofxref-hist.csv").decode(), newline=""))
        last = {
            (line["Date"], currency): Decimal(rate)
            for line in lines
            for currency, rate in line.items()
            if currency not in ("Date", "") and rate not in ("N/A", "")
        }
    assert {(on.isoformat(), currency): rate for on, currency, rate, *_ in rows} == last


@pytest.mark.parametrize(
    ("currency", "on", "expected"),
    [
        pytest.param("USD", "2024-12-27", ("1.0435", "2024-12-27", False, False), id="the last day quoted"),
        pytest.param("USD", "2024-12-28", None, id="not beyond it"),
        pytest.param("JPY", "2024-04-01", ("163.45", "2024-03-28", True, False), id="Easter Monday"),
        pytest.param("USD", "2024-12-26", ("1.0395", "2024-12-24", True, False), id="Boxing Day"),
        pytest.param("HRK", "2022-12-31", ("7.5365", "2022-12-30", True, False), id="Croatia's last day"),
        pytest.param("HRK", "2024-01-10", ("7.5345", "2023-01-01", False, True), id="and its fixed rate since"),
        pytest.param("SIT", "2006-12-31", ("239.64", "2006-12-29", True, False), id="Slovenia before"),
        pytest.param("SIT", "2007-01-01", ("239.64", "2007-01-01", False, True), id="Slovenia from its first day on"),
        pytest.param("BGN", "2024-12-27", ("1.9558", "2024-12-27", False, False), id="Bulgaria was quoted still"),
        pytest.param("ITL", "1999-01-01", ("1936.27", "1999-01-01", False, True), id="a founder of the euro"),
        pytest.param("ROL", "2005-07-14", ("36030", "2005-06-30", True, False), id="replaced: fourteen days"),
        pytest.param("ROL", "2005-07-15", None, id="replaced: no more"),
        pytest.param("TRL", "2004-12-31", ("1836200", "2004-12-31", False, False), id="the old lira's last quotation"),
        pytest.param("RUB", "2022-03-15", ("117.201", "2022-03-01", True, False), id="suspended: fourteen days"),
        pytest.param("RUB", "2022-03-16", None, id="suspended: no more"),
        pytest.param("ISK", "2012-01-02", None, id="not quoted for nine years"),
        pytest.param("EUR", "2010-10-10", ("1", "1999-01-01", False, True), id="the euro itself"),
    ],
)  # fmt: skip
def test_exchange_rates(run: Run, currency: str, on: str, expected: tuple[str, str, bool, bool] | None) -> None:
    columns = "rate, rate_date, is_filled, is_fixed"
    found = run.rows("gold.fx_rate", columns, f"currency = '{currency}' and date = date '{on}'")
    shown = [(f"{rate.normalize():f}", str(quoted), filled, fixed) for rate, quoted, filled, fixed in found]
    assert shown == ([expected] if expected else [])


def test_every_currency_and_day_has_one_rate(run: Run) -> None:
    assert run.rows("gold.fx_rate", "count(*) = count(distinct currency || cast(date as string))") == [(True,)]


@pytest.mark.parametrize(
    ("country", "year", "known_at", "expected"),
    [
        pytest.param("ITA", 2010, "2012-12-31", ("2043639726121.05", "1.32571667", "1541535814074.8505"), id="first"),
        pytest.param("ITA", 2010, "2013-06-28", ("2043530529926.32", "1.32571667", "1541453446403.6874"), id="second"),
        pytest.param("ITA", 2010, "2017-07-12", ("2126747549668.87", "1.32571667", "1604224792367.4898"), id="third"),
        pytest.param("ITA", 2010, "2020-01-01", ("2125058270201.64", "1.32571667", "1602950553681.7607"), id="fourth"),
        pytest.param("ITA", 2016, "2016-12-31", None, id="not known yet"),
        pytest.param("DEU", 2016, "2018-01-01", ("3466756880460.62", "1.10690311", "3131942488137.5751"), id="2016"),
        pytest.param("ITA", 1998, "2018-01-01", ("1266309223820.68", None, None), id="before the euro"),
    ],
)  # fmt: skip
def test_gdp_in_euro(run: Run, country: str, year: int, known_at: str, expected: tuple[str, ...] | None) -> None:
    """The dollar figures stand in the files, the mean rates are the ECB's quotations of the year summed up by hand."""
    moment = f"timestamp '{known_at}T00:00:00Z'"
    known = f"known_from <= {moment} and (known_to is null or known_to > {moment})"
    found = run.rows(
        "gold.gdp_eur", "gdp_usd, usd_per_eur, gdp_eur", f"country_code = '{country}' and year = {year} and {known}"
    )
    assert found == ([tuple(None if v is None else Decimal(v) for v in expected)] if expected else [])


def test_a_second_run_does_nothing(run: Run, data: Path) -> None:
    before = {table: run.lake.store.version(*table) for table in run.lake.store.tables() if table[0] != "ops"}
    done = len(run.lake.ledger.rows)
    run.land(data, "ecb", "worldbank")
    run.run("silver", "--table", "fx", "--table", "gdp")
    run.run("gold")
    assert {table: run.lake.store.version(*table) for table in before} == before
    assert {row.status for row in run.lake.ledger.rows[done:]} == {"skipped"}


def test_half_a_vintage_is_parked_until_a_person_accepts_it(run: Run, data: Path, tmp_path: Path) -> None:
    lines = (data / "worldbank-gdp" / f"gdp_{FILES[-1]}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    folder = tmp_path / "worldbank-gdp"
    folder.mkdir()
    (folder / "gdp_2018-01-01.csv").write_text("".join(lines[: len(lines) // 2]), encoding="utf-8")
    run.land(tmp_path, "worldbank")
    before, version = run.gdp(), run.lake.store.version("silver", "gdp_changes")
    with pytest.raises(ParkedError, match=r"it would delete 57\d\d of 11542 rows \(50.0%, more than 5.0%\)") as parked:
        run.run("silver", "--table", "gdp")
    assert parked.value.exit_code == 3
    assert run.lake.store.version("silver", "gdp_changes") == version
    assert run.gdp() == before, "nothing changes"

    run.run("silver", "--table", "gdp", "--accept", "the Bank really dropped them")
    after = run.gdp()
    kept = len(lines) // 2 - 1
    assert sum(v.is_open for v in after) == kept
    assert sum(v.is_deleted and v.valid_from == date(2018, 1, 1) for v in after) == 11542 - kept
    decisions = tables.rows(run.lake.root, tables.DECISIONS, columns=("table_name", "scope", "verdict", "reason"))
    assert [tuple(d.values()) for d in decisions] == [
        ("silver.gdp", "_all/_all", "accept", "the Bank really dropped them")
    ]


@pytest.mark.parametrize("order", [pytest.param((2, 0, 3, 1), id="2015, 2012, 2017, 2013")])
def test_another_order_gives_the_same_rows(
    data: Path, pictures: dict[date, dict[Key, State]], shared_spark: SparkSession, tmp_path: Path, order: Sequence[int]
) -> None:
    run = Run.at(tmp_path / "lake", shared_spark, "another_order")
    folder = tmp_path / "data" / "worldbank-gdp"
    folder.mkdir(parents=True)
    seen: dict[date, dict[Key, State]] = {}
    for index in order:
        shutil.copy(data / "worldbank-gdp" / f"gdp_{FILES[index]}.csv", folder)
        seen[date.fromisoformat(FILES[index])] = pictures[date.fromisoformat(FILES[index])]
        run.land(tmp_path / "data", "worldbank")
        run.run("silver", "--table", "gdp")
    assert run.gdp() == timeline(seen)
    run.lake.ledger.close()


def test_the_job_graph_names_jobs_and_options_that_exist() -> None:
    graph = config.load(PROJECT / "conf").graphs["vintages"]
    assert [task.task_key for task in graph.tasks] == ["extract_ecb", "extract_worldbank", "bronze", "silver", "gold"]
    values = {parameter.name: parameter.default for parameter in graph.parameters}
    for task in graph.tasks:
        assert task.spark_python_task is not None
        words = [
            word.replace("{{job.parameters.", "{").replace("}}", "}") for word in task.spark_python_task.parameters
        ]
        job_module(Path(task.spark_python_task.python_file).stem).parser().parse_args(
            [w.format(**values) for w in words]
        )
