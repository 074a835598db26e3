"""The command as it is installed: help, exit codes, start-up and what it imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dagster_contracts.cli.main import COMMANDS, cli
from tests.cli.conftest import Project

COMMAND = Path(sys.executable).parent / "dagster-contracts"


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_lists_every_command() -> None:
    ran = run("--help")

    assert ran.returncode == 0
    assert all(name in ran.stdout for name in COMMANDS)


def test_an_option_of_all_commands_after_the_command_is_told_its_place() -> None:
    late = CliRunner().invoke(cli, ["status", "--store", "x"])
    unknown = CliRunner().invoke(cli, ["status", "--nothing"])

    assert late.exit_code == unknown.exit_code == 2
    assert "before the command: dagster-contracts --store ... status ..." in late.stderr
    assert "before the command" not in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"dagster", "pandas", "polars", "pyarrow", "sqlalchemy", "yaml", "rich"}),
        (["status"], {"dagster", "pandas", "polars", "pyarrow", "narwhals", "alembic"}),
        (["force-open", "orders", "--reason", "x"], {"dagster", "pandas", "polars", "pyarrow"}),
        (["lint"], {"dagster", "pandas", "polars", "pyarrow", "sqlalchemy"}),
    ],
)
def test_a_command_imports_only_what_it_needs(
    project: Project, arguments: list[str], heavy: set[str]
) -> None:
    project.evaluate("good.csv")
    script = (
        "import sys\n"
        "from dagster_contracts.cli.main import main\n"
        f"sys.argv = {['dagster-contracts', *arguments]!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stderr.splitlines()[-1] == "[]"


def test_exit_codes_are_0_good_1_findings_2_usage(project: Project) -> None:
    project.write("broken.yaml", "data_contract: {nme: x}\n")

    good = run("lint", "contracts", cwd=project.root)
    findings = run("lint", "broken.yaml", cwd=project.root)
    usage = run("lint", "nope.yaml", cwd=project.root)

    assert [ran.returncode for ran in (good, findings, usage)] == [0, 1, 2]
    assert "Traceback" not in findings.stderr + usage.stderr


def test_a_reader_that_goes_away_is_no_error(project: Project) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{COMMAND} show orders | head -n 1; exit ${{PIPESTATUS[0]}}"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Traceback" not in ran.stderr
    assert ran.stdout == "orders 1.0.0, active\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_has_colours_and_wrapped_lines_and_a_pipe_has_neither(project: Project) -> None:
    import pty

    project.evaluate("bad.csv")
    ours, theirs = pty.openpty()
    subprocess.run(
        [str(COMMAND), "status", "orders"],
        cwd=project.root,
        env={**os.environ, "COLUMNS": "60"},
        stdout=theirs,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    piped = run("status", "orders", cwd=project.root).stdout

    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    assert "\x1b[" in shown
    assert max(map(len, plain)) <= 60
    assert any(line.startswith(" " * 15) and line.strip() for line in plain)
    assert "\x1b[" not in piped
    assert "which is > 5%\n" in piped


def every_command() -> list[tuple[list[str], click.Command]]:
    found = []
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [([name, sub], command.commands[sub]) for sub in command.commands]
        else:
            found.append(([name], command))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_the_command_s_own(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.help is not None
    assert command.help.startswith(COMMANDS[name].help.rstrip("."))


@pytest.mark.parametrize(("names", "command"), every_command(), ids=lambda value: str(value))
def test_every_command_has_help_and_json(names: list[str], command: click.Command) -> None:
    ran = CliRunner().invoke(cli, [*names, "--help"], catch_exceptions=False)

    assert ran.exit_code == 0
    assert command.help
    # What writes a document says so by the document itself.
    assert "json" in ran.output or names in (["convert"], ["proposals", "accept"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    ran = CliRunner().invoke(cli, [name, "--help"], catch_exceptions=False)

    examples = ran.output.partition("Examples:")[2].splitlines()
    assert any(line.split()[:1] == ["dagster-contracts"] and name in line for line in examples)


def test_a_mistyped_command_names_the_nearest() -> None:
    ran = CliRunner().invoke(cli, ["statsu"])

    assert ran.exit_code == 2
    assert "Did you mean 'status'?" in ran.output
