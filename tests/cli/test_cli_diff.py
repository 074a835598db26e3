"""Whom a change breaks: files, folders, references and git revisions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import ORDERS, Project

NEXT = ORDERS.format(version="1.0.1").replace("      discount: {type: number}\n", "")
WIDER = ORDERS.format(version="1.1.0").replace(
    "      discount: {type: number}\n",
    "      discount: {type: number}\n      coupon: {type: string}\n",
)

STOCK = ORDERS.format(version="1.0.0").replace("name: orders", "name: stock", 1)


def git(project: Project, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org", *arguments],
        cwd=project.root,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(project: Project) -> Project:
    git(project, "init", "-b", "main")
    git(project, "add", "contracts")
    git(project, "commit", "-m", "contracts")
    return project


def test_a_removed_column_breaks_its_readers(project: Project) -> None:
    project.write("contracts/orders/1.0.1.yaml", NEXT)

    ran = project.run("diff", "orders@1.0.0", "orders@1.0.1")

    assert ran.code == 1
    assert "orders.discount was removed: whoever reads it will fail" in ran.stdout
    assert "the version bump is patch, but major is needed" in ran.stdout
    assert "campaigns breaks" in ran.stdout
    assert "revenue" not in ran.stdout


def test_the_json_has_the_verdict_and_every_change(project: Project) -> None:
    new = project.write("contracts/orders/1.0.1.yaml", NEXT)

    ran = project.run("diff", "orders@1.0.0", str(new), "--format", "json")

    assert ran.code == 1
    found = ran.json
    assert (found["consumer"], found["producer"]) == ("breaks", "fine")
    assert (found["bump"], found["declared_bump"], found["ok"]) == ("major", "patch", False)
    (change,) = found["changes"]
    assert change["path"] == "orders.discount"
    assert change["kind"] == "column_removed"
    assert change["message"] == "orders.discount was removed: whoever reads it will fail"
    assert {c["consumer"]: c["verdict"] for c in found["contracts"][0]["consumers"]} == {
        "revenue": "fine",
        "campaigns": "breaks",
    }


def test_an_optional_column_is_good_with_a_minor_version(project: Project) -> None:
    project.write("contracts/orders/1.1.0.yaml", WIDER)
    too_small = project.write("next.yaml", WIDER.replace("1.1.0", "1.0.1"))

    assert project.run("diff", "orders@1.0.0", "orders@1.1.0").code == 0
    ran = project.run("diff", "orders@1.0.0", str(too_small))

    assert ran.code == 1
    assert "the version bump is patch, but minor is needed" in ran.stdout


def test_the_same_contract_has_no_changes(project: Project) -> None:
    ran = project.run("diff", "orders", "orders@1.0.0")

    assert (ran.code, ran.stdout) == (0, "no changes\n")


def test_github_is_told_the_path_from_the_top_of_the_repository(
    repository: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("contracts/orders/1.0.1.yaml", NEXT)
    monkeypatch.chdir(repository.root / "contracts")

    ran = repository.run("diff", "git:HEAD:./orders", "orders", "--format", "github")

    assert ran.code == 1
    assert "file=contracts/orders/1.0.1.yaml," in ran.stdout


def test_a_folder_is_compared_with_a_git_revision(repository: Project) -> None:
    repository.write("contracts/orders/1.0.1.yaml", NEXT)

    ran = repository.run("diff", "git:main:contracts", "contracts", "--format", "json")

    assert ran.code == 1
    assert [pair["contract"] for pair in ran.json["contracts"]] == ["orders"]
    assert ran.json["contracts"][0]["old_version"] == "1.0.0"


def test_a_published_version_that_was_edited_is_found(repository: Project) -> None:
    repository.write("contracts/orders/1.0.0.yaml", NEXT.replace("1.0.1", "1.0.0"))

    ran = repository.run("diff", "git:main:contracts", "contracts")

    assert ran.code == 1
    assert "orders 1.0.0 → 1.0.0" in ran.stdout
    assert "the version bump is none, but major is needed" in ran.stdout


def test_a_removed_contract_breaks_and_a_new_one_does_not(repository: Project) -> None:
    (repository.root / "contracts/prices/1.0.0.yaml").unlink()
    repository.write(
        "contracts/stock/1.0.0.yaml",
        ORDERS.format(version="1.0.0").replace("name: orders", "name: stock", 1),
    )

    ran = repository.run("diff", "git:HEAD:contracts", "contracts", "--format", "json")

    kinds = {pair["contract"]: pair["changes"][0]["kind"] for pair in ran.json["contracts"]}
    assert kinds == {"prices": "contract_removed", "stock": "contract_added"}
    assert {pair["contract"]: pair["ok"] for pair in ran.json["contracts"]} == {
        "prices": False,
        "stock": True,
    }


def test_one_file_is_compared_with_what_it_was(repository: Project) -> None:
    repository.write("contracts/orders/1.0.1.yaml", NEXT)

    by_file = repository.run(
        "diff", "git:main:contracts/orders/1.0.0.yaml", "contracts/orders/1.0.1.yaml"
    )
    by_folder = repository.run("diff", "git:main:contracts", "contracts/orders/1.0.1.yaml")
    from_here = repository.run("diff", "git:main:./contracts", "orders@1.0.1")

    assert by_file.code == 1
    assert by_file.stdout == by_folder.stdout == from_here.stdout


def test_schemas_beside_a_document_are_read_from_the_revision(repository: Project) -> None:
    avro = '{"type": "record", "name": "stock", "fields": [{"name": "item", "type": "string"}]}'
    repository.write(
        "contracts/stock/1.0.0.yaml",
        'data_contract: {name: stock, version: 1.0.0, schema: "stock.avsc"}\n',
    )
    repository.write("contracts/stock/stock.avsc", avro)
    git(repository, "add", "contracts")
    git(repository, "commit", "-m", "stock")
    repository.write("contracts/stock/stock.avsc", avro.replace("item", "article"))

    ran = repository.run("diff", "git:main:contracts", "contracts", "--format", "json")

    assert ran.code == 1
    assert any("item" in change["message"] for change in ran.json["changes"])


def test_a_mistake_in_a_revision_is_shown_under_its_name(repository: Project) -> None:
    repository.write("contracts/orders/1.0.0.yaml", "data_contract: {name: orders, ownr: x}\n")
    git(repository, "commit", "-am", "broken")

    ran = repository.run("diff", "git:main:contracts", "contracts")

    assert ran.code == 1
    assert "git:main:contracts/orders/1.0.0.yaml:1:" in ran.stderr
    assert "/tmp" not in ran.stderr


@pytest.mark.parametrize(
    "source",
    [
        "git:nope:contracts",
        "git:main:nope",
        "git:main",
        "git:--help:contracts",
        "git::x",
        "git:main:../../x",
    ],
)
def test_a_revision_that_is_not_there_is_a_usage_error(repository: Project, source: str) -> None:
    ran = repository.run("diff", source, "contracts")

    assert ran.code == 2
    assert ran.stderr.startswith("error: ")


@pytest.mark.parametrize("revision", ["main", "HEAD"])
def test_the_first_contracts_have_nothing_to_break(project: Project, revision: str) -> None:
    git(project, "init", "-b", "main")
    if revision == "main":  # HEAD speaks of a repository without any commit
        git(project, "commit", "--allow-empty", "-m", "before contracts")

    first = project.run("diff", f"git:{revision}:contracts", "contracts")
    mistaken = project.run("diff", f"git:{revision}:contract", "contracts")

    assert first.code == 0
    assert "orders 1.0.0: added" in first.stdout
    assert mistaken.code == 2


def test_the_same_file_or_folder_may_be_new_or_gone(repository: Project) -> None:
    repository.write("contracts/stock.yaml", STOCK)
    prices = repository.root / "contracts/prices/1.0.0.yaml"
    prices.unlink()

    new = repository.run("diff", "git:main:./contracts/stock.yaml", "contracts/stock.yaml")
    gone = repository.run("diff", "git:main:contracts/prices/1.0.0.yaml", str(prices))
    shutil.rmtree(repository.root / "contracts")
    all_gone = repository.run("diff", "git:main:contracts", "contracts")

    assert (new.code, gone.code, all_gone.code) == (0, 1, 1)
    assert "stock 1.0.0: added" in new.stdout
    assert "prices was removed" in gone.stdout
    assert "orders was removed" in all_gone.stdout


def test_one_file_beside_a_folder_may_be_new_or_gone(repository: Project) -> None:
    repository.write("contracts/stock.yaml", STOCK)
    (repository.root / "contracts/prices/1.0.0.yaml").unlink()

    new = repository.run("diff", "git:main:contracts", "contracts/stock.yaml")
    gone = repository.run("diff", "git:main:contracts/prices/1.0.0.yaml", "contracts")

    assert (new.code, gone.code) == (0, 1)
    assert "stock 1.0.0: added" in new.stdout
    assert "prices was removed: nobody keeps its promises any more" in gone.stdout


def test_three_dots_compare_with_where_the_branch_began(repository: Project) -> None:
    git(repository, "switch", "-c", "wider")
    repository.write("contracts/orders/1.1.0.yaml", WIDER)
    git(repository, "add", "contracts")
    git(repository, "commit", "-m", "wider")
    git(repository, "switch", "main")
    repository.write(
        "contracts/prices/1.0.0.yaml",
        ORDERS.format(version="1.0.0").replace("name: orders", "name: prices", 1),
    )
    git(repository, "commit", "-am", "somebody else's change")
    git(repository, "switch", "wider")

    theirs = repository.run("diff", "git:main:contracts", "contracts", "--format", "json").json
    ours = repository.run("diff", "git:main...:contracts", "contracts", "--format", "json").json

    assert [pair["contract"] for pair in theirs["contracts"]] == ["orders", "prices"]
    assert [pair["contract"] for pair in ours["contracts"]] == ["orders"]


def test_a_revision_is_read_from_a_folder_below(
    repository: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("contracts/orders/1.0.1.yaml", NEXT)
    monkeypatch.chdir(repository.root / "contracts" / "orders")

    from_top = repository.run("diff", "git:main:contracts", "..", "--format", "json")
    from_here = repository.run("diff", "git:main:./1.0.0.yaml", "1.0.1.yaml", "--format", "json")

    assert (from_top.code, from_here.code) == (1, 1)
    assert from_top.json["changes"] == from_here.json["changes"]


def test_a_flat_file_that_was_renamed_is_the_same_contract(repository: Project) -> None:
    repository.write("contracts/stock.yaml", STOCK)
    git(repository, "add", "contracts")
    git(repository, "commit", "-m", "stock")
    (repository.root / "contracts/stock.yaml").rename(repository.root / "contracts/goods.yaml")

    ran = repository.run("diff", "git:main:contracts", "contracts")

    assert (ran.code, ran.stdout) == (0, "no changes\n")


def test_a_shallow_clone_says_how_to_fetch_the_revision(
    repository: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "commit", "--allow-empty", "-m", "second")
    shallow = repository.root.parent / "shallow"
    git(repository, "clone", "--depth", "1", f"file://{repository.root}", str(shallow))

    monkeypatch.chdir(shallow)

    ran = Project(shallow).run("diff", "git:HEAD~1:contracts", "contracts")

    assert ran.code == 2
    assert "fetch-depth: 0" in ran.stderr


def test_the_hooks_for_pre_commit_are_commands_that_judge(repository: Project) -> None:
    """As https://pre-commit.com calls them: the entry, its arguments, and perhaps the files."""
    path = Path(__file__).parents[2] / ".pre-commit-hooks.yaml"
    hooks = {hook["id"]: hook for hook in yaml.safe_load(path.read_text())}

    def code(hook: dict[str, Any], *files: str) -> int:
        assert all(re.search(hook["files"], file) for file in files)
        named = files if hook.get("pass_filenames", True) else ()
        program, *arguments = [*hook["entry"].split(), *hook.get("args", ())]
        assert program == "dagster-contracts"
        return repository.run(*arguments, *named).code

    lint, compare = hooks["dagster-contracts-lint"], hooks["dagster-contracts-diff"]
    wider, breaking = "contracts/orders/1.1.0.yaml", "contracts/orders/1.0.1.yaml"
    repository.write(wider, WIDER)
    assert (code(lint, wider), code(compare, wider)) == (0, 0)
    repository.write(breaking, NEXT)
    assert code(compare, breaking) == 1
    # The consumer that the contract names still reads the column.
    assert code(lint, breaking) == 1


def test_outside_of_a_repository_git_says_why(project: Project) -> None:
    ran = project.run("diff", "git:main:contracts", "contracts", GIT_CEILING_DIRECTORIES="/")

    assert ran.code == 2
    assert "not a git repository" in ran.stderr


@pytest.mark.parametrize("missing", ["nope.yaml", "no/such/folder"])
def test_a_missing_file_is_a_usage_error(project: Project, missing: str) -> None:
    ran = project.run("diff", missing, "contracts")

    assert ran.code == 2
    assert f"there is no file or folder '{missing}'" in ran.stderr


def test_files_are_compared_without_a_contracts_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = project.root.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "old.yaml").write_text(ORDERS.format(version="1.0.0"))
    (elsewhere / "new.yaml").write_text(NEXT)

    assert project.run("diff", "old.yaml", "new.yaml").code == 1


def test_who_is_protected_decides_what_is_a_finding(project: Project) -> None:
    project.write(
        "contracts/orders/1.1.0.yaml",
        ORDERS.format(version="1.1.0").replace("minimum: 0", "minimum: 1"),
    )
    command = ["diff", "orders@1.0.0", "orders@1.1.0"]

    assert project.run(*command).code == 1
    assert project.run(*command, "--protects", "consumer").code == 0
    assert project.run(*command, "--protects", "producer").code == 1


def test_agreed_changes_do_not_count_until_they_expire(project: Project) -> None:
    project.write("contracts/orders/1.0.1.yaml", NEXT)
    command = ["diff", "orders@1.0.0", "orders@1.0.1", "--ignore", "agreed.yaml"]
    entry = "- {{path: orders.discount, reason: nobody reads it, until: {until}}}\n"

    project.write("agreed.yaml", entry.format(until="2999-01-01"))
    agreed = project.run(*command)
    project.write("agreed.yaml", entry.format(until="2020-01-01"))
    expired = project.run(*command)

    assert agreed.code == 0
    assert "(agreed: nobody reads it)" in agreed.stdout
    assert expired.code == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path: x\n", "a list"),
        ("- {path: x}\n", "reason"),
        ("- {path: x, reason: y, kindd: z}\n", "did you mean 'kind'?"),
    ],
)
def test_a_malformed_list_of_agreed_changes_is_explained(
    project: Project, text: str, said: str
) -> None:
    project.write("agreed.yaml", text)

    ran = project.run("diff", "orders", "orders", "--ignore", "agreed.yaml")

    assert ran.code == 2
    assert said in ran.stderr
    assert "agreed.yaml:1" in ran.stderr


def test_an_empty_list_of_agreed_changes_agrees_to_nothing(project: Project) -> None:
    project.write("agreed.yaml", "# nothing at the moment\n")

    assert project.run("diff", "orders", "orders", "--ignore", "agreed.yaml").code == 0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("path: orders.discount, until: 2020-01-01", "until 2020-01-01, which is over"),
        ("path: orders.discuont", "orders.discuont is not among the changes"),
        ("path: orders.discount, kind: column_remvd", "what changed there is column_removed"),
    ],
)
def test_an_agreement_that_ignores_nothing_is_pointed_out(
    project: Project, entry: str, said: str
) -> None:
    project.write("contracts/orders/1.0.1.yaml", NEXT)
    project.write("agreed.yaml", f"\n- {{{entry}, reason: nobody reads it}}\n")
    command = ["diff", "orders@1.0.0", "orders@1.0.1", "--ignore", "agreed.yaml"]

    text = project.run(*command).stdout
    github = project.run(*command, "--format", "github").stdout
    (idle,) = project.run(*command, "--format", "json").json["idle_ignores"]

    assert said in text
    assert "agreed.yaml:2:3: warning:" in text
    assert "::warning file=agreed.yaml,line=2,col=3,title=agreed changes::" in github
    assert said in f"{idle['path']} {idle['why']}"
    assert said in project.run(*command, "--format", "markdown").stdout


def test_github_annotations_stand_at_the_changed_element(project: Project) -> None:
    project.write(
        "contracts/orders/2.0.0.yaml",
        ORDERS.format(version="2.0.0").replace("minimum: 0", "minimum: -1"),
    )

    ran = project.run("diff", "orders@1.0.0", "contracts/orders/2.0.0.yaml", "--format", "github")

    assert ran.code == 1
    assert ran.stdout.startswith("::error file=contracts/orders/2.0.0.yaml,line=9,col=")
    assert len(ran.stdout.splitlines()) == 1


def test_markdown_is_a_comment_for_a_pull_request(project: Project) -> None:
    project.write("contracts/orders/1.0.1.yaml", NEXT)

    ran = project.run("diff", "orders@1.0.0", "orders@1.0.1", "--format", "markdown")

    assert ran.stdout.startswith("### ❌ orders 1.0.0 → 1.0.1: consumers break")
    assert "| breaks | fine | major | orders.discount was removed" in ran.stdout
    assert "1 consumer concerned: **campaigns** (breaks)" in ran.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_a_link_in_a_revision_is_not_followed(repository: Project) -> None:
    (repository.root / "contracts/secret.yaml").symlink_to("/etc/hostname")
    git(repository, "add", "contracts")
    git(repository, "commit", "-m", "link")

    assert repository.run("diff", "git:main:contracts", "git:main:contracts").code == 0
