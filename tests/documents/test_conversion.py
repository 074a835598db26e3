"""A contract that is converted is an equal contract, there and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.conversion import Form, write_form
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.odcs_validation import find_breaches
from dagster_contracts.documents.yaml_text import parse_yaml, to_json
from dagster_contracts.documents.yaml_writer import write_yaml
from tests.documents.rich_documents import Fields, compact_documents

ROOT = Path(__file__).parents[2]


def read(text: str) -> Contract:
    document = read_document(Path("x.yaml"), text=text, keep_references=True)
    assert document.contract is not None, (document.errors[:3], text)
    return document.contract


def same(one: Contract, other: Contract) -> bool:
    return replace(one, content_hash=other.content_hash) == other


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(compact_documents())
def test_a_compact_document_survives_odcs(document: Fields) -> None:
    contract = read(write_yaml(document))
    text = write_form(contract, Form.ODCS)
    assert find_breaches(to_json(parse_yaml(text, "x"))) == []
    assert same(read(text), contract)
    again = write_form(read(text), Form.COMPACT)
    assert same(read(again), contract)
