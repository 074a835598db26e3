from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner, Result

from dagster_contracts.cli.main import cli
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.lint import lint_contract
from dagster_contracts.engine.sql_table import SqlTable
from dagster_contracts.engine.validation import validate

ROWS = [(n, ("new", "paid")[n % 2], n * 1.5, None if n % 10 else "gift") for n in range(150)]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    frame = pl.DataFrame(ROWS, schema=["order_id", "status", "amount", "note"], orient="row")
    frame.write_parquet("Orders 2026.parquet")
    frame.write_csv("orders.csv")
    frame.write_json("orders.json")
    return tmp_path


def test_a_file_becomes_a_contract_that_it_keeps(folder: Path) -> None:
    path = folder / "contracts" / "orders" / "1.1.0.yaml"

    result = run("infer", "Orders 2026.parquet", "--output", "contracts/orders/1.1.0.yaml")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "orders@1.1.0 in contracts/orders/1.1.0.yaml: 4 columns" in result.stderr
    assert "  key: order_id" in result.stderr
    assert "  closed sets: status" in result.stderr
    assert run("validate", "orders", "Orders 2026.parquet", "--strict").exit_code == 0
    assert "# guessed: never repeats in 150 rows" in path.read_text()


@pytest.mark.parametrize("form", ["compact", "odcs"])
@pytest.mark.parametrize("file", ["Orders 2026.parquet", "orders.csv", "orders.json", "*.csv"])
def test_stdout_is_the_document_alone(folder: Path, file: str, form: str) -> None:
    result = run("infer", file, "--form", form, "--name", "orders")

    document = read_document(Path("x.yaml"), text=result.stdout)
    assert document.problems == ()
    assert document.contract is not None
    assert document.contract.objects[0].primary_key == ("order_id",)
    assert "these are guesses" in result.stderr


def test_a_file_is_overwritten_only_by_force(folder: Path) -> None:
    (folder / "orders.yaml").write_text("mine")

    result = run("infer", "orders.csv", "--output", "orders.yaml")

    assert result.exit_code == 2
    assert "--force overwrites it" in result.stderr
    assert (folder / "orders.yaml").read_text() == "mine"

    assert run("infer", "orders.csv", "--output", "orders.yaml", "--force").exit_code == 0
    assert read_document(folder / "orders.yaml").contract is not None


def test_json_for_programs(folder: Path) -> None:
    shown = json.loads(run("infer", "Orders 2026.parquet", "--format", "json").stdout)

    assert shown["contract"] == "Orders_2026"
    assert shown["rows"] == 150
    assert shown["primary_key"] == ["order_id"]
    assert {
        "column": "status",
        "what": "enum",
        "because": "2 distinct values in 150 rows",
    } in shown["guesses"]
    assert shown["document"].startswith("# A first contract")


def databases(folder: Path) -> dict[str, str]:
    """URLs of databases that hold the rows in one table."""
    with sqlite3.connect(folder / "shop.db") as lite:
        lite.execute(
            "CREATE TABLE orders "
            "(order_id INTEGER, status TEXT, amount REAL, note TEXT, odd INTEGER)"
        )
        lite.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, 'x')", ROWS)
    lite.close()
    with duckdb.connect(str(folder / "shop.duckdb")) as duck:
        duck.execute(
            "CREATE TABLE orders AS "
            "SELECT order_id, status, amount, note, 1 AS odd FROM 'orders.csv'"
        )
    return {"sqlite": "sqlite:///shop.db", "duckdb": "duckdb:///shop.duckdb"}


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_table_in_a_database_becomes_a_contract_that_it_keeps(folder: Path, kind: str) -> None:
    url = databases(folder)[kind]

    result = run("infer", url)

    assert "inferred from orders in" in result.stdout
    contract = read_document(Path("x.yaml"), text=result.stdout).contract
    assert contract is not None
    assert lint_contract(contract) == ()
    assert contract.objects[0].primary_key == ("order_id",)
    assert contract.objects[0].properties[1].options.enum == ("new", "paid")
    report = validate(SqlTable(url, "orders"), contract, now=datetime.now(UTC))
    assert {str(outcome.status) for outcome in report.outcomes} == {"passed"}
    if kind == "sqlite":
        assert "values that are not of its type" in result.stdout


def test_a_database_of_several_tables_asks_which(folder: Path) -> None:
    url = databases(folder)["sqlite"]
    with sqlite3.connect("shop.db") as lite:
        lite.execute("CREATE TABLE customers (id INTEGER)")
    lite.close()

    assert "has customers, orders" in run("infer", url).stderr
    assert "4 columns" not in run("infer", url, "--table", "customers").stderr
    assert run("infer", f"{url}#customers").exit_code == 0
    assert run("infer", "orders.csv", "--table", "orders").exit_code == 2


@pytest.mark.parametrize("words", [(), ("--table", "sales.orders")])
def test_a_password_is_never_shown(folder: Path, words: tuple[str, ...]) -> None:
    url = "postgresql://reader:hunter2@localhost:1/shop?password=hunter3"

    result = run("infer", url, *words)

    assert result.exit_code == 2
    assert "localhost" in result.stderr
    assert "hunter" not in result.output


@pytest.mark.parametrize("file", ["none.parquet", "latin.csv", "text.txt"])
def test_what_cannot_be_read_is_said(folder: Path, file: str) -> None:
    (folder / "latin.csv").write_bytes("stadt\nZürich\n".encode("latin-1"))
    (folder / "text.txt").write_text("a")

    result = run("infer", file)

    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_times_that_sqlite_keeps_as_text(folder: Path) -> None:
    shop = sqlite3.connect("shop.db")
    shop.execute("CREATE TABLE visits (id INT, at TEXT, day TEXT, said TEXT, late TEXT)")
    rows = [
        (n, f"2024-01-01T10:{n % 60:02}:00Z", f"2024-01-{n % 28 + 1:02}", f"at {n}",
         "2024-01-01 10:00:00" if n < 24_999 else "later")
        for n in range(25_000)
    ]  # fmt: skip
    shop.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?)", rows)
    shop.commit()
    shop.close()

    result = run("infer", "sqlite:///shop.db")

    contract = read_document(Path("x.yaml"), text=result.stdout).contract
    assert contract is not None
    types = {prop.column: prop.logical_type for prop in contract.objects[0].properties}
    assert [str(types[name]) for name in ("at", "day", "said", "late")] == [
        "timestamp", "date", "string", "string",
    ]  # fmt: skip
    assert contract.event_time == "at"
    report = validate(SqlTable("sqlite:///shop.db", "visits"), contract)
    assert not [o for o in report.outcomes if o.failed_rows]


def test_types_of_duckdb_that_no_contract_has_a_word_for(folder: Path) -> None:
    with duckdb.connect("shop.duckdb") as shop:
        shop.execute("CREATE TABLE visits (id UUID, stay INTERVAL, bits BIT, stays INTERVAL[])")
        shop.execute(
            "INSERT INTO visits SELECT uuid(), INTERVAL 1 DAY, '101'::BIT, [INTERVAL 1 DAY]"
            " FROM range(50)"
        )

    result = run("infer", "duckdb:///shop.duckdb", "--output", "visits.yaml")

    assert result.exit_code == 0, result.stderr
    contract = read_document(Path("visits.yaml")).contract
    assert contract is not None
    identity, stay, bits, _ = contract.objects[0].properties
    assert str(identity.logical_type) == "string"
    assert identity.options.format == "uuid"
    assert stay.logical_type is bits.logical_type is None
    assert (
        run("validate", "visits.yaml", "duckdb:///shop.duckdb", "--table", "visits").exit_code == 0
    )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a;b\n1;2,5\n", "a.csv: its first line has semicolons and no commas"),
        ("a.csv", "a,b\n1,x\n2,\u00fc\n".encode("latin-1"), "a.csv:3:3: byte 0xfc is no UTF-8"),
        ("a.csv", b'a,b\n"1\n",x\n2,y,z\n', "a.csv:4: 3 fields, and the first line names 2"),
        ("a.tsv", b"a,b\n1,2\n", "a.tsv: its first line has commas and no tabs"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xfc"}\n', "a.jsonl:2:8: byte 0xfc is no UTF-8"),
        ("a.txt", b"x", "a.txt is no file that can be read by its name"),
        ("empty/readme.md", b"x", "the folder empty holds no Parquet, CSV, JSON or Arrow file"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_line(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)

    result = run("infer", name.partition("/")[0])

    assert result.exit_code == 2
    assert words in result.stderr
    assert "hint: " in result.stderr


def test_words_for_missing_values_are_pointed_out(folder: Path) -> None:
    rows = (f"{n % 9},{'NA' if n % 5 == 0 else n},{'N/A' if n % 2 else 'x'},+4179123456{n % 10}"
            for n in range(200))  # fmt: skip
    (folder / "w.csv").write_text("\n".join(["n,amount,state,phone", *rows]))

    guesses = json.loads(run("infer", "w.csv", "--format", "json").stdout)
    remarks = {g["column"]: g["because"] for g in guesses["guesses"] if g["what"] == "column"}
    contract = read_document(Path("w.yaml"), text=guesses["document"]).contract

    assert remarks == {
        "amount": "'NA' looks like a missing value and counts as text: all else is of type integer",
        "state": "'N/A' looks like a missing value and counts as text",
    }
    assert contract is not None
    assert [str(p.logical_type) for p in contract.objects[0].properties] == [
        "integer", "string", "string", "string",
    ]  # fmt: skip
