"""Folders, globs and broken files: the same answer here and where only fsspec reaches."""

from __future__ import annotations

import gzip
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import polars as pl
import pytest

from dagster_contracts.core.contract import ExtraColumns
from dagster_contracts.core.outcome import OutcomeStatus
from dagster_contracts.engine import file_source
from dagster_contracts.engine.validation import validate
from tests.engine.builders import (
    DATE,
    INTEGER,
    STRING,
    column,
    contract,
    failed_rows,
    outcome,
)

MADE = contract(
    column("n", INTEGER, required=True, minimum=0),
    column("s", STRING),
    extra_columns=ExtraColumns.FORBID,
)
FRAME = pl.DataFrame({"n": [1, -1, None], "s": ["a", "b", "c"]})
EXPECTED = {"n.required": 1, "n.minimum": 1}


def here(folder: Path) -> str:
    return str(folder)


def by_url(folder: Path) -> str:
    return f"file://{folder}"


def in_memory(folder: Path) -> str:
    """The folder once more, in the memory of fsspec."""
    filesystem = fsspec.filesystem("memory")
    name = uuid.uuid4().hex
    filesystem.makedirs(f"/{name}")
    for path in folder.rglob("*"):
        if path.is_file():
            filesystem.pipe_file(f"/{name}/{path.relative_to(folder)}", path.read_bytes())
    return f"memory://{name}"


@pytest.fixture(params=[here, by_url, in_memory], ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest) -> Callable[[Path], str]:
    found: Callable[[Path], str] = request.param
    return found


def parquet(path: Path, frame: pl.DataFrame = FRAME) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)


def text(path: Path, written: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written)


def reason(path: str) -> str:
    report = validate(path, MADE)
    assert report.rows is None
    assert outcome(report, "schema").status is OutcomeStatus.FAILED
    return outcome(report, "schema").reason or ""


@pytest.mark.parametrize("named", ["", "/", "/*.parquet", "/**/*.parquet"])
def test_parquet_files_that_differ(tmp_path, place, named):
    parquet(tmp_path / "a.parquet")
    parquet(tmp_path / "b.parquet", FRAME.select("s", pl.col("n").cast(pl.Int8)))
    parquet(tmp_path / "c.parquet", FRAME.select("n"))
    report = validate(place(tmp_path) + named, MADE)
    assert failed_rows(report) == {"n.required": 3, "n.minimum": 3, "s.present": 9}
    assert outcome(report, "s.present").reason == "the column s is missing in c.parquet"


@pytest.mark.parametrize("named", ["", "/*.csv"])
def test_csv_files_that_differ(tmp_path, place, named):
    text(tmp_path / "a.csv", "n,s\n1,a\n")
    text(tmp_path / "b.csv", "s,n,z\nb,-1,1\n")
    text(tmp_path / "c.csv", "n\n-1\n")
    report = validate(place(tmp_path) + named, MADE)
    assert failed_rows(report) == {"n.minimum": 2, "s.present": 3}
    assert outcome(report, "s.present").reason == "the column s is missing in c.csv"
    assert outcome(report, "extra_columns").reason == "not in the contract: z"


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("named", ["", "/**/*.{}", "/code=*", "/code=*/*/*.{}"])
def test_partitions_are_columns(tmp_path, place, named, ending):
    rows = {"007": [1, -1], "008": [None]}
    for code, numbers in rows.items():
        path = tmp_path / "up=1" / f"code={code}" / "day=2024-01-01" / f"rows.{ending}"
        path.parent.mkdir(parents=True)
        frame = pl.DataFrame({"n": numbers, "s": "x"}, schema={"n": pl.Int64, "s": pl.String})
        frame.write_parquet(path) if ending == "parquet" else frame.write_csv(path)
    made = contract(
        column("n", INTEGER, required=True, minimum=0),
        column("s", STRING),
        column("code", STRING, enum=("007",)),
        column("day", DATE, required=True),
        extra_columns=ExtraColumns.FORBID,
    )
    report = validate(place(tmp_path / "up=1") + named.format(ending), made)
    assert failed_rows(report) == {**EXPECTED, "code.enum": 1}
    assert outcome(report, "extra_columns").reason is None


def test_what_writers_leave_beside_the_rows_is_passed_over(tmp_path, place):
    parquet(tmp_path / "rows.parquet")
    parquet(tmp_path / "_temporary" / "0" / "rows.parquet")
    text(tmp_path / "_SUCCESS", "")
    text(tmp_path / ".rows.parquet.crc", "x")
    assert failed_rows(validate(place(tmp_path), MADE)) == EXPECTED


def test_names_that_look_like_patterns(tmp_path, place):
    parquet(tmp_path / "[odd] name" / "rows*.parquet")
    for named in ("/[odd] name", "/[odd] name/rows*.parquet"):
        assert failed_rows(validate(place(tmp_path) + named, MADE)) == EXPECTED


def test_lines_of_json_in_several_files(tmp_path, place):
    text(tmp_path / "a.jsonl", '{"n": 1, "s": "a"}\n')
    text(tmp_path / "b.jsonl", '{"n": -1}\n{"s": "c"}\n')
    assert failed_rows(validate(place(tmp_path), MADE)) == EXPECTED


def test_arrow_files_in_a_folder(tmp_path, place):
    FRAME.head(2).write_ipc(tmp_path / "a.arrow")
    FRAME.tail(1).write_ipc(tmp_path / "b.arrow")
    assert failed_rows(validate(place(tmp_path), MADE)) == EXPECTED


WHOLE = b"n,s\n1,a\n"
BROKEN = [
    ("empty.csv", b"", "it is empty, and 0 bytes are no CSV file"),
    ("empty.parquet", b"", "it is empty, and 0 bytes are no Parquet file"),
    ("empty.jsonl", b"", "it is empty, and 0 bytes are no JSON file"),
    ("empty.arrow", b"", "it is empty, and 0 bytes are no Arrow file"),
    ("blank.csv", b"\n\n", "it is empty but for blank lines"),
    ("torn.parquet", b"PAR1 and no end", "it is cut off; a Parquet file ends with b'PAR1'"),
    ("text.parquet", b"a,b\n1,2\n", "it is no Parquet file, for it begins with b'a,b"),
    ("ragged.csv", b"n,s\n1,a\n2,b,c\n", "ragged.csv:3: 3 fields, and the first line names 2"),
    (
        "ragged.csv.gz",
        gzip.compress(b"n,s\n1,a\n2,b,c\n"),
        "ragged.csv.gz:3: 3 fields, and the first line names 2",
    ),
    ("torn.csv.gz", gzip.compress(WHOLE * 999)[:-20], "its compressed bytes are cut off"),
    ("latin.csv", "n,s\n1,é\n".encode("latin-1"), "latin.csv:2:3: byte 0xe9 is no UTF-8"),
    ("quote.csv", b'n,s\n1,a\n2,"b\n3,c\n', "quote.csv:3: a quote is opened and not closed"),
    ("lines.jsonl", b'{"n": 1}\n{"n": \n', "lines.jsonl:2:6: no JSON: Expecting value"),
    ("array.json", b'[{"n": 1},\n{"n" 1}]', "array.json:2:6: no JSON: Expecting ':' delimiter"),
    ("twice.csv", b"n,s,n\n1,a,2\n", "the column 'n' occurs more than once"),
]


@pytest.mark.parametrize(("name", "held", "said"), BROKEN, ids=[each[0] for each in BROKEN])
def test_a_broken_file_says_which_it_is_and_why(tmp_path, place, name, held, said):
    (tmp_path / name).write_bytes(held)
    assert said in reason(f"{place(tmp_path)}/{name}")
    # And among others that are whole.
    ending = name.partition(".")[2]
    if ending == "parquet":
        parquet(tmp_path / "a.parquet")
    elif ending == "arrow":
        FRAME.write_ipc(tmp_path / "a.arrow")
    else:
        packed = gzip.compress(WHOLE) if ending == "csv.gz" else WHOLE
        (tmp_path / f"a.{ending}").write_bytes(packed if "csv" in ending else b'{"n": 1}\n')
    found = reason(place(tmp_path))
    assert said in found
    assert name in found


def test_a_line_with_too_many_fields_is_found_beyond_the_columns_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    path.write_text("n,s,t\n1,a,x\n2,b,y,z\n")
    for limit in (file_source._SMALL_FILES, 0):
        monkeypatch.setattr(file_source, "_SMALL_FILES", limit)
        assert "rows.csv:3: 4 fields, and the first line names 3" in reason(str(path))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("/nowhere.csv", "there is no file"),
        ("/no*.csv", "there is no file"),
        ("/notes.txt", ".parquet, .csv"),
        ("/", "holds no Parquet, CSV, JSON or Arrow file"),
    ],
)
def test_where_there_is_nothing_to_read(tmp_path, place, named, said):
    text(tmp_path / "notes.txt", "x")
    found = reason(place(tmp_path) + named)
    assert said in found


@pytest.fixture
def nobody(tmp_path) -> Iterator[Path]:
    """A folder that everybody may enter, for one who may read no more than others."""
    # What is imported late is so now: the interpreter may be where only its owner may enter.
    text(tmp_path / "torn.parquet", "PAR1")
    for place in ("absent.parquet", "torn.parquet", ""):
        reason(str(tmp_path / place))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        was = os.geteuid()
        yield Path(folder)
        os.seteuid(was)


def test_a_file_that_may_not_be_read(nobody):
    parquet(nobody / "rows.parquet")
    assert validate(nobody / "rows.parquet", MADE).rows
    (nobody / "rows.parquet").chmod(0)
    (nobody / "shut").mkdir(mode=0)
    if os.geteuid() == 0:
        os.seteuid(65534)  # the superuser may read everything
    assert "may not be read: Permission denied" in reason(str(nobody / "rows.parquet"))
    assert "may not be read: Permission denied" in reason(str(nobody))


def test_large_text_files_are_read_once_into_a_file_that_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(file_source, "_SMALL_FILES", 0)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    text(tmp_path / "rows.csv", "n,s\n1,a\nx,b\n,c\n1,d\n")
    text(tmp_path / "rows.jsonl", '{"n": 1, "s": "a"}\n{"n": -1, "s": "b"}\n{"n": null}\n')
    made = contract(column("n", INTEGER, required=True, unique=True), column("s", STRING))
    report = validate(tmp_path / "rows.csv", made)
    assert failed_rows(report) == {"n.type": 1, "n.required": 1, "n.unique": 1}
    assert outcome(report, "n.type").samples == ({"row": 1, "n": "x"},)
    assert failed_rows(validate(tmp_path / "rows.jsonl", MADE)) == EXPECTED
    assert list(folder.iterdir()) == []


def test_what_was_fetched_is_removed(tmp_path, monkeypatch):
    parquet(tmp_path / "rows.parquet")
    text(tmp_path / "rows.csv", "n\nx,y\n")
    url = in_memory(tmp_path)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert failed_rows(validate(f"{url}/rows.parquet", MADE)) == EXPECTED
    assert "rows.csv:2" in reason(f"{url}/rows.csv")
    assert list(folder.iterdir()) == []


def test_a_password_in_a_url_is_not_shown():
    assert "secret" not in reason("sftp://reader:secret@nowhere.invalid/rows.parquet")
