"""Framing: every record with its position and exact text, or a reason; every file that cannot be framed says why."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from varve.framing import Columns, Format, FramedRecord, FramingError, TypedRecords, framed, type_name

CSV = Format("csv")
NDJSON = Format("ndjson")
JSON = Format("json")


def frame(folder: Path, content: bytes, form: Format, name: str = "file") -> tuple[list[str], list[FramedRecord]]:
    path = folder / name
    path.write_bytes(content)
    columns = Columns()
    records = [record for record in framed(path, form, columns) if isinstance(record, FramedRecord)]
    return columns.names, records


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return out.getvalue()


DEEP = b"[" * 100_000 + b"]" * 100_000
WIDE = ",".join(f"c{i}" for i in range(1000)).encode()


@pytest.mark.parametrize(
    ("content", "form", "names", "rows"),
    [
        pytest.param(b"a,b\n1,2\n3,4\n", CSV, ["a", "b"], [["1", "2"], ["3", "4"]], id="lf"),
        pytest.param(b"a,b\r\n1,2\r\n3,4", CSV, ["a", "b"], [["1", "2"], ["3", "4"]], id="crlf and no last line end"),
        pytest.param(
            b'a,b\n"x\ny","say ""hi"""\n', CSV, ["a", "b"], [["x\ny", 'say "hi"']], id="quoted line end and quote"
        ),
        pytest.param(
            b"a,b,\n1,2,\n3,,\n", CSV, ["a", "b"], [["1", "2"], ["3", ""]], id="delimiter at every line's end"
        ),
        pytest.param(b"\xef\xbb\xbfa\n\xc3\xa9\n", CSV, ["a"], [["é"]], id="utf-8 byte order mark"),
        pytest.param(b"a,,c\n1,2,3\n", CSV, ["a", "column_2", "c"], [["1", "2", "3"]], id="a header without a name"),
        pytest.param(b"a,b\n", CSV, ["a", "b"], [], id="header only"),
        pytest.param(
            b"a,b\n1,2\n\n3,4\n\n", CSV, ["a", "b"], [["1", "2"], ["3", "4"]], id="blank lines are no records"
        ),
        pytest.param(b"Id,ID\n1,2\n", CSV, ["Id", "ID"], [["1", "2"]], id="case twins are two columns"),
        pytest.param(
            b"a;b\n1;'2;3'\n", Format("csv", delimiter=";", quote="'"), ["a", "b"], [["1", "2;3"]], id="dialect"
        ),
        pytest.param(b'a, b\n 1 , "x, y"\n', Format("csv", strip=True), ["a", "b"], [["1", "x, y"]], id="strip"),
        pytest.param(b"1,2\n", Format("csv", header=("a", "b")), ["a", "b"], [["1", "2"]], id="no header"),
        pytest.param(b"made by x\na,b\n1,2\n", Format("csv", skip_rows=1), ["a", "b"], [["1", "2"]], id="skip_rows"),
        pytest.param("a\nñ\n".encode("cp1252"), Format("csv", encoding="cp1252"), ["a"], [["ñ"]], id="cp1252"),
        pytest.param(
            "a,b\nñ,2\n".encode("utf-16"), Format("csv", encoding="utf-16"), ["a", "b"], [["ñ", "2"]], id="utf-16"
        ),
        pytest.param(gzip.compress(b"a\n1\n"), CSV, ["a"], [["1"]], id="gzip"),
        pytest.param(zipped(x_csv=b"a\n1\n"), CSV, ["a"], [["1"]], id="zip"),
        pytest.param(gzip.compress(gzip.compress(b"a\n1\n")), CSV, ["a"], [["1"]], id="gzip in gzip"),
        pytest.param(zipped(x_csv=gzip.compress(b"a\n1\n")), CSV, ["a"], [["1"]], id="gzip in zip"),
        pytest.param(zipped(x_zip=zipped(x_csv=b"a\n1\n")), CSV, ["a"], [["1"]], id="zip in zip"),
        pytest.param(
            WIDE + b"\n" + WIDE + b"\n", CSV, WIDE.decode().split(","), [WIDE.decode().split(",")], id="1,000 columns"
        ),
        pytest.param(
            b'{"a":1.10,"b":"x\\ny"}\n{"b":null,"c":1e5,"d":{"e": [1, 2.0]},"f":true}\n',
            NDJSON,
            ["a", "b", "c", "d", "f"],
            [["1.10", "x\ny"], [None, None, "1e5", '{"e": [1, 2.0]}', "true"]],
            id="ndjson keeps the text of numbers and nested values",
        ),
        pytest.param(b'{"a":1}\n{"a":2}', NDJSON, ["a"], [["1"], ["2"]], id="ndjson whole last line without end"),
        pytest.param(b' [{"a": 1}, {"a": "x"}] ', JSON, ["a"], [["1"], ["x"]], id="json array"),
        pytest.param(b'{"a": 1}', JSON, ["a"], [["1"]], id="json object"),
        pytest.param(b"[]", JSON, [], [], id="json without records"),
        pytest.param(b'[{"page":1},[{"a":1}]]', Format("json", records="1"), ["a"], [["1"]], id="array at an index"),
        pytest.param(b'{"d":{"r":[{"a":1}]}}', Format("json", records="d.r"), ["a"], [["1"]], id="array at a path"),
    ],
)
def test_records(tmp_path: Path, content: bytes, form: Format, names: list[str], rows: list[list[str | None]]) -> None:
    found, records = frame(tmp_path, content, form)
    assert found == names
    assert [r.reason for r in records] == [None] * len(rows)
    assert [list(r.values) for r in records] == rows
    assert [r.position for r in records] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("content", "form", "reason"),
    [
        pytest.param(b"a,b\n1\n", CSV, "expected 2 fields, found 1", id="a field is missing"),
        pytest.param(b"a,b\n1,2,3\n", CSV, "expected 2 fields, found 3", id="a field too many"),
        pytest.param(b"a,b,\n1,2,3\n", CSV, "a value stands beyond the last header", id="a value without header"),
        pytest.param(b"a,b,\n1,2\n", CSV, "expected 2 fields, found 1", id="the delimiter at the end is missing"),
        pytest.param(
            b'a,b\n"1\n2"\n', CSV, "expected 2 fields, found 1 in 2 lines: a torn quote?", id="lines swallowed"
        ),
        pytest.param(b'a,b\n"1"x,2\n', CSV, "malformed quotes", id="text after a quote"),
        pytest.param(b"a,b\n1,2\r3,4\n", CSV, "a carriage return without a line feed", id="a bare carriage return"),
        pytest.param(b"a,b\n1,\x002\n", CSV, "NUL", id="nul"),
        pytest.param(b'{"a":1}x\n', NDJSON, "malformed JSON", id="broken line"),
        pytest.param(b'{"a":1', NDJSON, "cut off", id="last line cut off"),
        pytest.param(b'{"a":1,"a":2}\n', NDJSON, "names 'a' twice", id="a key twice"),
        pytest.param(b'{"":1,"":2,"b":3,"c":4}\n', NDJSON, "names '' twice", id="a key twice, empty"),
        pytest.param(b'{"a" :1, "b":{"a":1}, "a":2}\n', NDJSON, "names 'a' twice", id="a key twice, with blanks"),
        pytest.param(b"[1]\n", NDJSON, "expected a JSON object, found array", id="no object"),
        pytest.param(b'{"a":"\\ud800"}\n', NDJSON, "malformed JSON", id="half a surrogate pair"),
        pytest.param(b'{"a":"\\u0000"}\n', NDJSON, "NUL", id="nul in json"),
        pytest.param(b"[7]", JSON, "expected a JSON object, found number", id="array of numbers"),
        pytest.param(b'{"a":' + DEEP + b"}\n", NDJSON, "nested too deeply", id="a value nested too deeply"),
        pytest.param(b'{"a":1, "b":' + DEEP + b"}\n", NDJSON, "nested too deeply", id="the same, with blanks"),
        pytest.param(b'{"a":' + DEEP[:-1] + b"}\n", NDJSON, "nested too deeply", id="the same, torn"),
    ],
)
def test_rejects(tmp_path: Path, content: bytes, form: Format, reason: str) -> None:
    _, records = frame(tmp_path, content, form)
    assert len(records) == 1
    assert reason in str(records[0].reason)
    assert records[0].text in content.decode(), "a reject keeps the exact text"


MANY = "".join(f"{i},value number {i}\n" for i in range(5000)).encode()


@pytest.mark.parametrize(
    ("content", "form", "reason"),
    [
        pytest.param(b"", CSV, "empty file: 0 bytes", id="empty"),
        pytest.param(gzip.compress(b""), CSV, "empty file: nothing inside", id="empty gzip"),
        pytest.param(gzip.compress(zipped(x_csv=b"a\n1\n")), CSV, "a zip inside a gzip", id="zip in gzip"),
        pytest.param(
            reduce(lambda inner, _: gzip.compress(inner), range(4), b"a\n1\n"),
            CSV,
            "packed more than 3 times",
            id="gzip four times",
        ),
        pytest.param(b'[{"a":' + DEEP + b"}]", JSON, "nested too deeply", id="a document nested too deeply"),
        pytest.param(b"\n\n", CSV, "empty file: blank lines only", id="blank"),
        pytest.param(gzip.compress(b"a,b\n" + MANY)[:-500], CSV, "cut off", id="truncated gzip"),
        pytest.param(
            gzip.compress(b"a,b\n" + MANY)[:-8] + b"\0" * 8, CSV, "damaged gzip", id="gzip with a wrong checksum"
        ),
        pytest.param(zipped(x_csv=MANY)[:-30], CSV, "zip, maybe cut off", id="truncated zip"),
        pytest.param(zipped(x_csv=b"a", y_csv=b"b"), CSV, "holds 2 files (x.csv, y.csv), expected 1", id="zip of two"),
        pytest.param(b'a,b\n1,2\n3,"x\n5,6\n', CSV, "opened in the record that begins on line 3", id="torn quote"),
        pytest.param(
            b'a,b\n1,"x\n3,"y"\n', CSV, "begins on line 2 and closes on line 3", id="torn quote, closed by the next"
        ),
        pytest.param(b"a,b\r1,2\r3,4\r", CSV, "line ends are CR only", id="CR only"),
        pytest.param(b'{"a":1}\r{"a":2}\r', NDJSON, "line ends are CR only", id="CR only, ndjson"),
        pytest.param(
            "a,b\n1,2\nñ,4\n".encode("cp1252"), CSV, "line 3 is not utf-8 (byte 0xf1 at offset 8)", id="wrong encoding"
        ),
        pytest.param("a\n1\n".encode("utf-16"), CSV, "that of UTF-16, declared is utf-8", id="utf-16 undeclared"),
        pytest.param(
            "a\n1\n".encode("utf-16")[:-1], Format("csv", encoding="utf-16"), "is not utf-16", id="half a character"
        ),
        pytest.param(b"a,b,a\n1,2,3\n", CSV, "duplicate headers: 'a'", id="duplicate headers"),
        pytest.param(b'"a,b\n', CSV, "torn quote", id="torn quote in the header"),
        pytest.param(
            b"a,b\n", Format("csv", skip_rows=3), "1 records, 3 were to be skipped", id="nothing after skip_rows"
        ),
        pytest.param(b'[{"a":1},{"a":', JSON, "cut off or malformed JSON", id="half-written json"),
        pytest.param(b'{"a":{"r":[]}}', Format("json", records="a.x"), "no array of records at a.x", id="no such path"),
        pytest.param(b'{"a":1}', Format("json", records="a"), "is number", id="no array there"),
        pytest.param(b"[\xff]", JSON, "not UTF-8 (byte 0xff at offset 1)", id="json in another encoding"),
        pytest.param(b"BZh91AY", CSV, "the file is bzip2", id="bzip2"),
        pytest.param(b"PAR1....PAR1", CSV, "the file is Parquet", id="parquet as csv"),
        pytest.param(b"PAR1....PAR1", Format("parquet"), "damaged Parquet", id="damaged parquet"),
        pytest.param(b"a,b\n", Format("parquet"), "damaged Parquet", id="csv as parquet"),
    ],
)
def test_unreadable(tmp_path: Path, content: bytes, form: Format, reason: str) -> None:
    with pytest.raises(FramingError) as caught:
        frame(tmp_path, content, form)
    assert reason in caught.value.reason


# (name, values, the name of the type that they are kept in, as they are kept)
ARROW = [
    ("integers", pa.array([2**53 + 1, None]), "bigint", [2**53 + 1, None]),
    ("small ones", pa.array([1], pa.int8()), "tinyint", [1]),
    ("unsigned ones", pa.array([2**64 - 1], pa.uint64()), "decimal(20,0)", [Decimal(2**64 - 1)]),
    ("decimals", pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)), "decimal(10,2)", [Decimal("1.10"), None]),
    ("wide decimals", pa.array([Decimal("1.10")], pa.decimal256(50, 2)), "string", ["1.10"]),
    ("doubles", pa.array([0.1, 1e300]), "double", [0.1, 1e300]),
    ("floats", pa.array([0.5], pa.float32()), "float", [0.5]),
    ("booleans", pa.array([True, None]), "boolean", [True, None]),
    ("bytes", pa.array([b"\x00\xff", None]), "binary", [b"\x00\xff", None]),
    ("bytes of one length", pa.array([b"ab"], pa.binary(2)), "binary", [b"ab"]),
    ("dictionary", pa.array(["a", "a"]).dictionary_encode(), "string", ["a", "a"]),
    ("dates", pa.array([date(2026, 1, 1)]), "date", [date(2026, 1, 1)]),
    ("local times", pa.array([datetime(2026, 1, 1, 10)], pa.timestamp("ms")), "timestamp_ntz",  # noqa: DTZ001
     [datetime(2026, 1, 1, 10)]),  # noqa: DTZ001
    ("moments", pa.array([datetime(2026, 1, 1, 10, tzinfo=UTC)], pa.timestamp("us", "Europe/Madrid")), "timestamp",
     [datetime(2026, 1, 1, 10, tzinfo=UTC)]),
    ("nanoseconds", pa.array([1_750_000_000_123_456_789], pa.timestamp("ns")), "string",
     ["2025-06-15 15:06:40.123456789"]),
    ("times of a day", pa.array([time(10)], pa.time64("us")), "string", ["10:00:00.000000"]),
    ("lists", pa.array([[1, 2], None]), "string", ["[1,2]", None]),
    ("nanoseconds in a struct", pa.array([{"t": 1_750_000_000_123_456_789}], pa.struct([("t", pa.timestamp("ns"))])),
     "string", ['{"t":"2025-06-15 15:06:40.123456789"}']),
    ("nothing", pa.nulls(2), "string", [None, None]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "kind", "kept"), [pytest.param(*case[1:], id=case[0]) for case in ARROW])
def test_parquet_stays_typed(tmp_path: Path, values: pa.Array, kind: str, kept: list[object]) -> None:
    pq.write_table(pa.table({"v": values}), tmp_path / "x.parquet")
    columns = Columns()
    [batch] = framed(tmp_path / "x.parquet", Format("parquet"), columns)
    assert isinstance(batch, TypedRecords)
    assert columns.names == ["v"]
    assert (type_name(batch.fields[0].type), batch.fields[0].to_pylist()) == (kind, kept)
    assert batch.positions.to_pylist() == list(range(1, len(kept) + 1))


def test_old_times_of_96_bits_lose_no_year_and_no_digit(tmp_path: Path) -> None:
    years = pa.array([datetime(9999, 12, 31, 23, 59, 59), datetime(1, 1, 1), None], pa.timestamp("us"))  # noqa: DTZ001
    digits = pa.array([1_750_000_000_123_456_789, None, 0], pa.timestamp("ns"))
    table = pa.table({"years": years, "digits": digits, "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    [batch] = framed(tmp_path / "x.parquet", Format("parquet"), Columns())
    assert isinstance(batch, TypedRecords)
    assert [field.to_pylist() for field in batch.fields] == [
        ["9999-12-31 23:59:59.000000", "0001-01-01 00:00:00.000000", None],
        ["2025-06-15 15:06:40.123456789", None, "1970-01-01 00:00:00.000000000"],
        [1, 2, 3],
    ]


def test_a_parquet_file_without_rows_has_its_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": pa.array([], pa.int32())}), tmp_path / "x.parquet")
    [batch] = framed(tmp_path / "x.parquet", Format("parquet"), Columns())
    assert isinstance(batch, TypedRecords)
    assert [type_name(field.type) for field in batch.fields] == ["int"]


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.integers(2, 5).flatmap(lambda n: st.lists(st.lists(FIELD, min_size=n, max_size=n), min_size=1, max_size=6)),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_csv_wrote_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str, quoting: int
) -> None:
    out = io.StringIO(newline="")
    if quoting == csv.QUOTE_MINIMAL:  # Python's writer does not quote a lone carriage return
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    writer.writerow([f"column {i}" for i in range(len(rows[0]))])
    writer.writerows(rows)
    names, records = frame(tmp_path_factory.mktemp("csv"), out.getvalue().encode(), CSV)
    assert [list(r.values) for r in records] == rows
    header = end.join([",".join(f'"{n}"' if quoting == csv.QUOTE_ALL else n for n in names), ""])
    assert header + "".join(r.text + end for r in records) == out.getvalue(), "the texts are the file"


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | FIELD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(objects=st.lists(st.dictionaries(FIELD, JSON_VALUE, max_size=4), min_size=1, max_size=5), blanks=st.booleans())
def test_what_json_wrote_comes_back(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, object]], blanks: bool
) -> None:
    texts = [json.dumps(o, separators=None if blanks else (",", ":")) for o in objects]
    content = "\n".join(texts).encode() + b"\n"
    names, records = frame(tmp_path_factory.mktemp("json"), content, NDJSON)
    assert [r.text for r in records] == texts
    for record, expected in zip(records, objects, strict=True):
        assert record.reason is None
        found = dict(zip(names, record.values, strict=False))
        for name, value in expected.items():
            text = found[name]
            assert text == value if isinstance(value, str) else json.loads(text or "null") == value
