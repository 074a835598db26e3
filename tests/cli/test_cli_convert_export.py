"""``convert`` and ``export``: what they print, what they write, and what they refuse."""

from __future__ import annotations

import sqlite3

import pytest

from dagster_contracts.documents.folder import load_contract
from tests.cli.conftest import Project

SHOP = """\
data_contract:
  name: shop
  owner: ${env:TEAM}
  objects:
    orders: {schema: {fields: {id: {type: integer, primary_key: true}}}}
    lines: {schema: {fields: {order: {type: integer, references: orders.id}}}}
"""


def test_compact_becomes_odcs_on_stdout(project: Project) -> None:
    before = (project.root / "contracts/orders/1.0.0.yaml").read_bytes()
    ran = project.run("convert", "orders")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("apiVersion: v3.2.0\nkind: DataContract\n")
    again = load_contract("x.yaml", text=ran.stdout)
    assert again.objects == project.contract().objects
    assert (project.root / "contracts/orders/1.0.0.yaml").read_bytes() == before


def test_there_and_back_through_files(project: Project) -> None:
    assert project.run("convert", "orders@1.0.0", "--output", "o.odcs.yaml").code == 0
    assert project.run("convert", "o.odcs.yaml", "-o", "o.yaml").code == 0
    assert (project.root / "o.yaml").read_text().startswith("data_contract:\n")
    assert load_contract("o.yaml").semantic_hash == project.contract().semantic_hash
    same = project.run("convert", "o.yaml", "--to", "compact")
    assert same.stdout == (project.root / "o.yaml").read_text()


def test_a_file_is_only_overwritten_by_force_and_never_the_contract(project: Project) -> None:
    project.write("o.yaml", "mine")
    ran = project.run("convert", "orders", "--output", "o.yaml")
    assert ran.code == 2
    assert "--force" in ran.stderr
    assert (project.root / "o.yaml").read_text() == "mine"
    assert project.run("convert", "orders", "--output", "o.yaml", "--force").code == 0
    own = "contracts/orders/1.0.0.yaml"
    ran = project.run("convert", own, "--output", own, "--force")
    assert ran.code == 2
    assert "not written over" in ran.stderr
    assert "data_contract" in (project.root / own).read_text()
    assert project.run("convert", "orders", "--output", "no/such/folder.yaml").code == 2
    assert not [path for path in project.root.iterdir() if path.name.startswith(".")]


def test_references_are_left_as_they_are(project: Project) -> None:
    project.write("shop.yaml", SHOP)
    ran = project.run("convert", "shop.yaml", TEAM="hunter2", DAGSTER_CONTRACTS_ALLOW_ENV="TEAM")
    assert ran.code == 0
    assert "${env:TEAM}" in ran.stdout
    assert "hunter2" not in ran.stdout
    assert ran.stderr == "${env:TEAM} is left as it is written\n"
    page = project.run("export", "shop.yaml", "--format", "markdown", TEAM="hunter2")
    assert page.code == 0
    assert "hunter2" not in page.stdout


def test_mistakes_have_the_usual_exit_codes(project: Project) -> None:
    project.write("bad.yaml", "data_contract: {name: x, ownr: y, schema: {fields: {}}}")
    ran = project.run("convert", "bad.yaml")
    assert ran.code == 1
    assert "bad.yaml:1" in ran.stderr
    assert project.run("convert", "nothing").code == 2
    assert project.run("convert", "no.yaml").code == 2
    assert project.run("convert", "contracts").code == 2


@pytest.mark.parametrize("kind", ["odcs", "json-schema", "avro", "pandera", "markdown"])
def test_every_format_is_written(project: Project, kind: str) -> None:
    ran = project.run("export", "orders", "--format", kind)
    assert (ran.code, ran.stderr) == (0, "")
    assert "orders" in ran.stdout
    assert ran.stdout.endswith("\n")


def test_sql_runs(project: Project) -> None:
    project.write("shop.yaml", SHOP)
    target = ("--dialect", "sqlite", "--output", "shop.sql")
    assert project.run("export", "shop.yaml", "--format", "sql", *target).code == 0
    database = sqlite3.connect(":memory:")
    database.executescript((project.root / "shop.sql").read_text())
    found = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert {name for (name,) in found} == {"orders", "lines"}


def test_a_file_that_cannot_be_written_is_told_with_why_and_what_to_do(project: Project) -> None:
    ran = project.run("export", "orders", "--format", "markdown", "--output", "no/such/x.md")

    assert ran.code == 2
    assert "error: the file no/such/x.md cannot be read or written" in ran.stderr
    assert "why:  No such file or directory" in ran.stderr
    assert "hint: there is no folder no/such: create it" in ran.stderr


def test_one_of_several_objects_must_be_named_where_a_format_holds_one(project: Project) -> None:
    project.write("shop.yaml", SHOP)
    ran = project.run("export", "shop.yaml", "--format", "avro")
    assert ran.code == 2
    assert "--object (orders, lines)" in ran.stderr
    ran = project.run("export", "shop.yaml", "--format", "avro", "--object", "line")
    assert ran.code == 2
    assert "did you mean 'lines'?" in ran.stderr
    assert project.run("export", "shop.yaml", "--format", "avro", "--object", "lines").code == 0
    assert project.run("export", "shop.yaml", "--format", "json-schema").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "sql"), "needs --dialect"),
        (("--format", "avro", "--dialect", "sqlite"), "--dialect belongs to --format sql"),
        (("--format", "sql", "--dialect", "sqlite", "--engine", "polars"), "--engine belongs"),
        (("--format", "odcs", "--object", "orders"), "leave --object out"),
        ((), "Missing option '--format'"),
    ],
)
def test_options_that_do_not_fit(project: Project, options: tuple[str, ...], message: str) -> None:
    ran = project.run("export", "orders", *options)
    assert ran.code == 2
    assert message in ran.stderr
