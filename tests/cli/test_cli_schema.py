"""The schemas for editors, from the command line."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest

from dagster_contracts.documents.yaml_text import parse_yaml, to_json
from tests.cli.conftest import ORDERS, Project


def test_the_compact_schema_is_printed_and_judges_a_contract(project: Project) -> None:
    ran = project.run("schema")

    assert ran.code == 0
    judge = jsonschema_rs.Draft7Validator(json.loads(ran.stdout))
    assert judge.is_valid(to_json(parse_yaml(ORDERS.format(version="1.0.0"), "f.yaml")))
    assert not judge.is_valid({"data_contract": {"nam": "orders"}})


@pytest.mark.parametrize("form", ["compact", "odcs"])
def test_a_schema_is_written_to_a_file_in_a_new_folder(project: Project, form: str) -> None:
    ran = project.run("schema", form, "--output", f"schemas/{form}.json")

    assert (ran.code, ran.stdout) == (0, f"wrote schemas/{form}.json\n")
    written = (project.root / "schemas" / f"{form}.json").read_text()
    assert written == project.run("schema", form).stdout


def test_a_place_that_cannot_be_written_is_told(project: Project) -> None:
    ran = project.run("schema", "--output", "contracts")

    assert ran.code == 2
    assert "contracts" in ran.stderr


def test_a_form_that_is_not_known_is_told(project: Project) -> None:
    ran = project.run("schema", "avro")

    assert ran.code == 2
    assert "'compact', 'odcs'" in ran.stderr
