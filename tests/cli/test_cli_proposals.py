"""Proposals as edits of documents, and the publication of what came of them."""

from __future__ import annotations

import pytest

from dagster_contracts.core.contract import Contract
from dagster_contracts.documents.document import read_document
from dagster_contracts.monitoring.tuning import Proposal, record_proposals
from tests.cli.conftest import ORDERS, Project

COMMENTED = ORDERS.format(version="1.0.0").replace(
    "open_when: [schema_validation_errors > 5%]",
    "open_when:  # agreed in May\n        - schema_validation_errors>5%  # of the rows",
)


def propose(project: Project, old: str = "schema_validation_errors > 5%", version: str = "1.0.0"):
    store = project.store()
    record_proposals(
        store,
        [
            Proposal(
                contract="orders",
                version=version,
                path="resilience.circuit_breaker.open_when[0]",
                old=old,
                new=old.replace("5%", "2.5%"),
                why="too loose: 99% of 40 normal values are at most 2%",
            )
        ],
    )
    store.close()


@pytest.fixture
def proposed(project: Project) -> Project:
    """The project with one proposal on a document that has comments."""
    project.write("contracts/orders/1.0.0.yaml", COMMENTED)
    propose(project)
    return project


def read(project: Project, path: str) -> Contract:
    document = read_document(project.root / path, root=project.root / "contracts")
    assert document.contract is not None, document.errors
    return document.contract


def test_a_proposal_is_listed_and_shown_as_a_change_of_the_document(proposed: Project) -> None:
    listed = proposed.run("proposals", "list")
    shown = proposed.run("proposals", "show", "1")

    assert "schema_validation_errors > 5%  ->  schema_validation_errors > 2.5%" in listed.stdout
    assert "1 proposal\n" in listed.stdout
    assert "-        - schema_validation_errors>5%  # of the rows" in shown.stdout
    assert "+        - schema_validation_errors > 2.5%  # of the rows" in shown.stdout
    assert "-  version: 1.0.0" in shown.stdout


def test_accepting_prints_the_edited_contract_and_rewrites_nothing(proposed: Project) -> None:
    words = ["proposals", "accept", "1", "--reason", "fits", "--actor", "ada"]
    ran = proposed.run(*words)

    assert ran.code == 0
    assert (proposed.root / "contracts/orders/1.0.0.yaml").read_text() == COMMENTED
    assert "# agreed in May" in ran.stdout
    version = ran.stderr.partition("save it as contracts/orders/")[2].partition(".yaml")[0]
    edited = f"contracts/orders/{version}.yaml"
    proposed.write(edited, ran.stdout)
    assert read(proposed, edited).version == version
    published = proposed.run("publish", edited, "--reason", "fits", "--actor", "ada")
    assert published.code == 0, published.stderr
    assert published.stdout.startswith(f"orders@{version}: published by ada, ")
    again = proposed.run(*words)
    assert again.code == 2
    assert "was accepted by ada: fits" in again.stderr


def test_the_document_itself_is_not_written_over_and_then_nothing_is_decided(
    proposed: Project,
) -> None:
    own = "contracts/orders/1.0.0.yaml"

    ran = proposed.run("proposals", "accept", "1", "--reason", "x", "--output", own, "--force")

    assert ran.code == 2
    assert "is not written over" in ran.stderr
    (left,) = proposed.run("proposals", "list", "--format", "json").json["proposals"]
    assert left["state"] == "proposed"


def test_an_odcs_document_is_edited_where_it_says_so(project: Project) -> None:
    converted = project.run("convert", "orders").stdout
    project.write("contracts/orders/1.0.0.yaml", converted)
    propose(project)

    ran = project.run("proposals", "accept", "1", "--reason", "fits", "--actor", "ada")

    assert ran.code == 0, ran.stderr
    before, after = converted.splitlines(), ran.stdout.splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 2
    assert changed[0].startswith("version: ")
    assert "schema_validation_errors > 2.5%" in changed[1]


def test_a_proposal_that_the_document_has_outgrown_says_so(project: Project) -> None:
    propose(project, old="row_count < 5%")

    ran = project.run("proposals", "show", "1")

    assert ran.code == 2
    assert "the document says 'schema_validation_errors > 5%' there" in ran.stderr


def test_declining_keeps_who_and_why(proposed: Project) -> None:
    ran = proposed.run("proposals", "decline", "1", "--reason", "May is no habit", "--actor", "ada")

    assert ran.code == 0
    assert proposed.run("proposals", "list").stdout == "no proposal\n"
    assert "declined by ada: May is no habit" in proposed.run("proposals", "list", "--all").stdout
    assert proposed.run("proposals", "show", "7").code == 2


def test_a_version_that_is_too_small_for_its_changes_is_not_published(project: Project) -> None:
    project.run("db", "upgrade")
    assert project.run("publish", "orders@1.0.0", "--reason", "first", "--actor", "ada").code == 0
    smaller = ORDERS.format(version="1.0.1").replace("      discount: {type: number}\n", "")
    smaller = smaller.replace("    - {name: campaigns, columns: [discount]}\n", "")
    project.write("contracts/orders/1.0.1.yaml", smaller)

    ran = project.run("publish", "orders@1.0.1", "--reason", "smaller", "--actor", "ada")

    assert ran.code == 1
    assert "major" in ran.stderr
    assert project.run("publish", "orders@1.0.1", "--reason", " ", "--actor", "ada").code == 2
