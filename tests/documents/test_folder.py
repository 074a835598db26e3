"""The folder of contracts: layouts, references, conflicts, hashes, the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_contracts.documents.document import clear_cache, read_document
from dagster_contracts.documents.folder import ContractFolder, load_contract, read_folder
from dagster_contracts.errors import (
    DocumentError,
    SourceLocation,
    UnknownContractError,
    VersionConflictError,
)


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = ["schema: {fields: {x: string}}", *lines]
    path.write_text("data_contract:\n" + "".join(f"  {line}\n" for line in body), encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "contracts"
    for version in ("0.9.0", "1.0.0", "1.2.0", "1.10.0"):
        write(root / "orders" / f"{version}.yaml", "name: orders")
    write(root / "orders" / "2.0.0.yaml", "status: draft")
    write(root / "orders" / "3.0.0-rc.1.yaml", "status: proposed")
    write(root / "flat.yaml", "name: weather", "version: 2.1")
    write(root / "more" / "planes.yml", "name: planes")
    write(root / ".hidden" / "x.yaml", "not: read")
    (root / "notes.txt").write_text("not a contract")
    return root


def test_both_layouts_are_read(store: Path) -> None:
    folder = read_folder(store)
    assert folder.names() == ("orders", "planes", "weather")
    assert folder.versions("orders") == (
        "0.9.0",
        "1.0.0",
        "1.2.0",
        "1.10.0",
        "2.0.0",
        "3.0.0-rc.1",
    )
    assert folder.versions("weather") == ("2.1",)
    assert folder.versions("planes") == ("1.0.0",)
    assert len(folder) == 8
    assert next(iter(folder)).ref == "orders@0.9.0"


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("orders", "1.10.0"),
        ("orders@1", "1.10.0"),
        ("orders@1.2", "1.2.0"),
        ("orders@^1.0", "1.10.0"),
        ("orders@~1.2", "1.2.0"),
        ("orders@1.2.0", "1.2.0"),
        ("orders@^0.9", "0.9.0"),
        ("orders@2", "2.0.0"),
        ("orders@3.0.0-rc.1", "3.0.0-rc.1"),
        ("weather@2", "2.1"),
        ("weather@2.1", "2.1"),
    ],
)
def test_a_reference_finds_the_highest_active_version(
    store: Path, reference: str, version: str
) -> None:
    assert read_folder(store).resolve(reference).version == version


def test_get_takes_a_name_and_a_version(store: Path) -> None:
    assert read_folder(store).get("orders", "1.0.0").version == "1.0.0"


def test_what_nothing_answers_to_names_what_there_is(store: Path) -> None:
    folder = read_folder(store)
    with pytest.raises(UnknownContractError) as caught:
        folder.resolve("oders@^1")
    assert "'orders'" in (caught.value.hint or "")
    with pytest.raises(UnknownContractError) as caught:
        folder.resolve("orders@^7")
    assert "1.10.0" in (caught.value.why or "")
    with pytest.raises(DocumentError):
        folder.resolve("orders@!")
    with pytest.raises(UnknownContractError, match="no contract"):
        folder.versions("nothing")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    with pytest.raises(DocumentError) as caught:
        read_folder(tmp_path / "contract")
    assert "does not exist" in caught.value.what
    assert "'contracts'" in (caught.value.hint or "")
    (tmp_path / "file").write_text("")
    with pytest.raises(DocumentError, match="is a file"):
        read_folder(tmp_path / "file")


def test_an_empty_folder_is_a_warning(tmp_path: Path) -> None:
    folder = read_folder(tmp_path)
    assert folder.names() == ()
    assert [problem.code for problem in folder.warnings] == ["empty-folder"]


def test_two_files_with_one_version_name_both_places(tmp_path: Path) -> None:
    write(tmp_path / "orders" / "1.0.0.yaml", "name: orders")
    write(tmp_path / "orders.yaml", "name: orders", "version: 1.0")
    with pytest.raises(VersionConflictError) as caught:
        read_folder(tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "orders" / "1.0.0.yaml") in text
    assert str(tmp_path / "orders.yaml") in text


def test_a_place_that_contradicts_its_document_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "orders" / "1.0.0.yaml", "name: order")
    with pytest.raises(DocumentError, match="stands in the folder 'orders'"):
        load_contract(path)
    path = write(tmp_path / "orders" / "1.0.0.yaml", "name: orders", "version: 1.1.0")
    with pytest.raises(DocumentError, match=r"says version 1\.1\.0 and its file 1\.0\.0"):
        load_contract(path)


def test_all_broken_documents_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "name: a", "qualty: []")
    write(tmp_path / "b.yaml", "name: b b")
    write(tmp_path / "c.yaml", "name: c")
    with pytest.raises(DocumentError) as caught:
        read_folder(tmp_path)
    assert "a.yaml:4:3" in str(caught.value)
    assert "b.yaml:3:9" in str(caught.value)


def test_fallbacks_in_a_circle_are_refused_with_their_path(tmp_path: Path) -> None:
    for name, source in (("a", "b"), ("b", "feed_of_c"), ("c", "a")):
        write(
            tmp_path / f"{name}.yaml",
            f"name: {name}",
            "resilience: {fallback_modes: ["
            f"{{level: primary, source: feed_of_{name}}}, {{level: f, source: {source}}}]}}",
        )
    with pytest.raises(DocumentError) as caught:
        read_folder(tmp_path)
    assert "a -> b -> c -> a" in caught.value.what
    assert isinstance(caught.value.where, SourceLocation)
    assert caught.value.where.line == 4


def test_a_chain_of_fallbacks_is_fine(tmp_path: Path) -> None:
    for name, source in (("a", "b"), ("b", "c"), ("c", "last_valid")):
        write(
            tmp_path / f"{name}.yaml",
            f"name: {name}",
            f"resilience: {{fallback_modes: [{{level: f, source: {source}}}]}}",
        )
    assert read_folder(tmp_path).names() == ("a", "b", "c")


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside.yaml", "name: outside")
    root = tmp_path / "contracts"
    root.mkdir()
    (root / "link.yaml").symlink_to(outside)
    with pytest.raises(DocumentError, match="a link that leaves"):
        read_folder(root)


def test_the_content_hash_covers_the_schema_files_and_the_semantic_hash_the_meaning(
    tmp_path: Path,
) -> None:
    record = '{"type": "record", "name": "r", "fields": [{"name": "x", "type": "%s"}]}'
    schema = tmp_path / "s.avsc"
    path = tmp_path / "c.yaml"
    path.write_text("data_contract: {name: c, schema: s, description: one}\n")
    schema.write_text(record % "string")
    first = load_contract(path)
    schema.write_text(record % "long")
    second = load_contract(path)
    assert first.content_hash != second.content_hash
    assert first.semantic_hash != second.semantic_hash
    path.write_text("# a comment\ndata_contract: {name: c, schema: s, description: two}\n")
    third = load_contract(path)
    assert second.content_hash != third.content_hash
    assert second.semantic_hash == third.semantic_hash
    schema.write_text("\n" + record % "long")
    assert load_contract(path).semantic_hash == third.semantic_hash


def test_a_document_is_parsed_once_and_again_when_it_changes(tmp_path: Path) -> None:
    clear_cache()
    path = write(tmp_path / "c.yaml", "name: c")
    first = read_document(path)
    assert read_document(path) is first
    path.write_text(path.read_text() + "  owner: me\n")
    second = read_document(path)
    assert second is not first
    assert second.contract is not None
    assert second.contract.owner == "me"


def test_versions_are_looked_up_in_memory_too() -> None:
    contract = load_contract("x.yaml", text="data_contract: {name: a, schema: {fields: {x: date}}}")
    assert ContractFolder([contract]).resolve("a@^1").name == "a"
