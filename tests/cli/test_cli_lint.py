"""Lint in all its formats."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.cli.conftest import ORDERS, Project

MISTAKES = ORDERS.format(version="1.2.0").replace("owner:", "ownr:").replace("errors >", "erors >")


def test_good_contracts_have_no_findings(project: Project) -> None:
    ran = project.run("lint")

    assert ran.code == 0
    assert ran.stdout == "2 files: no problem\n"


def test_each_mistake_has_its_place_and_its_mend(project: Project) -> None:
    project.write("bad.yaml", MISTAKES)

    ran = project.run("lint", "bad.yaml")

    assert ran.code == 1
    assert "bad.yaml:4:3: error: data_contract has no key 'ownr' [unknown-key]" in ran.stdout
    assert "hint: did you mean 'owner'?" in ran.stdout
    assert "    schema_validation_erors > 5%\n    ^ column 1" in ran.stdout
    assert "hint: did you mean schema_validation_errors?" in ran.stdout


def test_the_json_is_as_documented(project: Project) -> None:
    project.write("bad.yaml", MISTAKES)

    ran = project.run("lint", "contracts", "bad.yaml", "--format", "json")

    assert ran.code == 1
    files = {file["path"]: file for file in ran.json["files"]}
    good = files["contracts/orders/1.0.0.yaml"]
    assert (good["ok"], good["contract"], good["version"]) == (True, "orders", "1.0.0")
    assert good["problems"] == []
    bad = files["bad.yaml"]
    assert (bad["ok"], bad["contract"], bad["version"]) == (False, None, None)
    assert bad["problems"][0] == {
        "line": 4,
        "column": 3,
        "severity": "error",
        "code": "unknown-key",
        "message": "data_contract has no key 'ownr'",
        "hint": "did you mean 'owner'?",
    }


def test_strict_counts_warnings(project: Project) -> None:
    project.write("doubtful.yaml", ORDERS.format(version="1.0.0") + "  status: deprecated\n")

    lenient = project.run("lint", "doubtful.yaml", "--format", "json")
    strict = project.run("lint", "doubtful.yaml", "--format", "json", "--strict")

    assert (lenient.code, lenient.json["files"][0]["ok"]) == (0, True)
    assert (strict.code, strict.json["files"][0]["ok"]) == (1, False)
    assert lenient.json["files"][0]["problems"][0]["code"] == "deprecated-without-end"


def test_a_contract_that_is_past_its_end_is_doubtful(project: Project) -> None:
    ends = "  status: deprecated\n  deprecated_until: {}\n"
    project.write("past.yaml", ORDERS.format(version="1.0.0") + ends.format("2020-01-31"))
    project.write("kept.yaml", ORDERS.format(version="1.1.0") + ends.format("9999-12-31"))

    past, kept = project.run("lint", "past.yaml"), project.run("lint", "kept.yaml")

    assert "warning: orders@1.0.0 was to be kept until 2020-01-31" in past.stdout
    assert "[past-end]" in past.stdout
    assert kept.stdout == "1 file: no problem\n"


def test_two_files_with_the_same_version_are_a_mistake(project: Project) -> None:
    project.write("contracts/copy.yaml", ORDERS.format(version="1.0.0"))

    ran = project.run("lint", "contracts")

    assert ran.code == 1
    assert "two documents carry orders@1.0.0" in ran.stdout


@pytest.mark.parametrize("git", ["folder", "file"])
def test_github_is_told_the_path_from_the_top_of_the_repository(
    project: Project, monkeypatch: pytest.MonkeyPatch, git: str
) -> None:
    project.write("shop/data/contracts/bad.yaml", MISTAKES)
    project.write("shop/.git" if git == "file" else "shop/.git/HEAD", "gitdir: elsewhere")
    monkeypatch.chdir(project.root / "shop" / "data")

    below = project.run("lint", "contracts", "--format", "github").stdout
    monkeypatch.chdir(project.root)
    above = project.run("lint", "shop/data/contracts", "--format", "github").stdout

    assert below.startswith("::error file=data/contracts/bad.yaml,line=4,")
    assert above == below


def test_github_is_told_the_path_as_it_is_outside_of_a_repository(project: Project) -> None:
    project.write("data/bad.yaml", MISTAKES)

    lines = project.run("lint", "data", "--format", "github").stdout

    assert lines.startswith("::error file=data/bad.yaml,line=4,")


def test_github_lines_cannot_be_broken_by_what_they_quote(project: Project) -> None:
    project.write("bad,file.yaml", MISTAKES.replace("5%", "5%%0A::error::x"))

    lines = project.run("lint", "bad,file.yaml", "--format", "github").stdout.splitlines()

    assert lines
    assert all(line.startswith(("::error file=bad%2Cfile.yaml,", "::warning ")) for line in lines)
    assert not any("::" in line.split("::", 2)[2] and "%0A::" in line for line in lines)


def test_junit_is_well_formed(project: Project) -> None:
    project.write("bad.yaml", MISTAKES + "  description: 'a ]]> \\x07 & <b>'\n")

    root = ET.fromstring(project.run("lint", "contracts", "bad.yaml", "--format", "junit").stdout)

    assert root.attrib["tests"] == "3"
    assert root.attrib["failures"] == "1"
    (failed,) = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert failed.attrib["name"] == "bad.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "\x00\x01",
        "- 1\n- 2\n",
        "data_contract: 7\n",
        "a: &a [*a]\n",
        "x: !!python/object:os.system {}\n",
        "k: " + "[" * 500,
    ],
)
def test_bad_input_is_a_finding_and_no_traceback(project: Project, text: str) -> None:
    (project.root / "odd.yaml").write_bytes(text.encode())

    ran = project.run("lint", "odd.yaml")

    assert ran.code == 1
    assert "odd.yaml" in ran.stdout
    assert "error" in ran.stdout


def test_a_missing_path_is_a_usage_error(project: Project) -> None:
    assert project.run("lint", "nope.yaml").code == 2
    assert project.run("lint", "nope").code == 2


def test_without_a_contracts_folder_the_hint_says_where_to_look(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root.parent)

    ran = project.run("lint")

    assert ran.code == 2
    assert "there is no contracts folder 'contracts'" in ran.stderr
    assert "--contracts" in ran.stderr


def test_the_contracts_folder_may_be_named_or_found_above(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project.root / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = project.run("list", "--format", "json")
    monkeypatch.chdir(project.root.parent)
    named = project.run("--contracts", "project/contracts", "list", "--format", "json")
    by_environment = project.run(
        "list", "--format", "json", DAGSTER_CONTRACTS_PATH=str(project.root / "contracts")
    )

    assert found.json == named.json == by_environment.json
    assert [contract["name"] for contract in found.json["contracts"]] == ["orders", "prices"]


def test_list_shows_the_readable_contracts_and_tells_of_the_others(project: Project) -> None:
    project.write("contracts/broken.yaml", MISTAKES)

    ran = project.run("list")

    assert ran.code == 1
    assert "orders" in ran.stdout
    assert "fallback to last_valid" in ran.stdout
    assert "broken.yaml:4:3" in ran.stderr


def test_show_tells_what_a_contract_promises(project: Project) -> None:
    ran = project.run("show", "orders")

    assert ran.code == 0
    for words in (
        "orders 1.0.0, active",
        "never missing, never repeats",
        "never missing, >= 0",
        "opens when schema_validation_errors > 5%",
        "tries again after 15min, at most 3 times",
        "1. last_valid: the last batch that passed",
        "campaigns reads discount",
    ):
        assert words in ran.stdout


def test_show_as_json_has_conditions_as_text(project: Project) -> None:
    found = project.run("show", "contracts/orders/1.0.0.yaml", "--format", "json").json

    assert found["resilience"]["circuit"]["open_when"] == ["schema_validation_errors > 5%"]
    assert found["objects"][0]["properties"][0]["name"] == "order_id"


def test_service_levels_are_shown_as_dates_and_times(project: Project) -> None:
    project.write(
        "contracts/odd.yaml",
        "data_contract:\n  name: odd\n  schema: {fields: {a: string, at: timestamp}}\n"
        "  sla:\n    generalAvailability: 2020-01-01\n    endOfSupport: 2032-05-12\n"
        '    timeOfAvailability: "08:30"\n    retention: {must: 3d, element: nope.at}\n',
    )

    lines = [line.strip() for line in project.run("show", "odd").stdout.splitlines()]

    assert "generalAvailability: generally available from 2020-01-01" in lines
    assert "endOfSupport: support ends 2032-05-12" in lines
    assert "timeOfAvailability: the data of the day is there by 08:30 UTC" in lines
    assert "retention: <= 3d (not evaluated: 'nope' is no object of the schema)" in lines


def test_text_that_would_steer_a_terminal_is_spelled(project: Project) -> None:
    project.write(
        "contracts/odd.yaml",
        'data_contract: {name: odd, description: "red \\e[31m bell \\a",\n'
        "  schema: {fields: {a: {type: string}}}}\n",
    )

    ran = project.run("show", "odd")

    assert "\x1b" not in ran.stdout
    assert "red \\x1b[31m bell \\x07" in ran.stdout
