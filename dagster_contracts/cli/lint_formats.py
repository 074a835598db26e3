"""Findings of lint for people, for programs and for the pages of CI systems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dagster_contracts.cli.github import ERROR, NOTICE, WARNING, annotation
from dagster_contracts.cli.junit import JunitCase, JunitSuite, junit_xml
from dagster_contracts.cli.output import Style
from dagster_contracts.cli.words import count
from dagster_contracts.core.contract import Json
from dagster_contracts.documents.lint import LintedFile
from dagster_contracts.documents.problem import Problem, ProblemSeverity

_COLOURS = {
    ProblemSeverity.ERROR: "red",
    ProblemSeverity.WARNING: "yellow",
    ProblemSeverity.NOTE: None,
}
_LEVELS = {
    ProblemSeverity.ERROR: ERROR,
    ProblemSeverity.WARNING: WARNING,
    ProblemSeverity.NOTE: NOTICE,
}


def lint_json(files: Sequence[LintedFile], *, strict: bool) -> dict[str, Json]:
    """Every file with its problems, in the order in which they stand in it."""
    return {
        "files": [
            {
                "path": file.path,
                "ok": not _findings(file, strict=strict),
                "contract": file.contract,
                "version": file.version,
                "problems": [_problem_json(problem) for problem in file.problems],
            }
            for file in files
        ]
    }


def text_lines(files: Sequence[LintedFile]) -> Iterator[tuple[str, Style]]:
    """Lines for a terminal: each problem at its place, and a sum."""
    problems = [problem for file in files for problem in file.problems]
    for problem in problems:
        severity = problem.severity.value
        yield (
            f"{problem.location}: {severity}: {problem.message} [{problem.code}]",
            {"fg": _COLOURS[problem.severity]},
        )
        if problem.error is not None and (excerpt := _excerpt(problem)):
            for line in excerpt:
                yield line, {}
        if problem.hint:
            yield f"  hint: {problem.hint}", {}
    said = [
        count(number, severity.value)
        for severity in ProblemSeverity
        if (number := sum(problem.severity is severity for problem in problems))
    ]
    yield f"{count(len(files), 'file')}: {', '.join(said) or 'no problem'}", {"bold": True}


def github_lines(files: Sequence[LintedFile]) -> Iterator[str]:
    """Workflow commands of GitHub Actions."""
    for file in files:
        for problem in file.problems:
            text = f"{problem.message}\nhint: {problem.hint}" if problem.hint else problem.message
            yield annotation(
                _LEVELS[problem.severity], text, at=problem.location, title=problem.code
            )


def junit(files: Sequence[LintedFile], *, strict: bool) -> str:
    """One test case for each file."""
    return junit_xml(
        [
            JunitSuite(
                "dagster-contracts lint",
                tuple(
                    JunitCase(
                        file.path,
                        failures=tuple(
                            (problem.message, str(problem))
                            for problem in _findings(file, strict=strict)
                        ),
                        output="\n".join(
                            str(problem)
                            for problem in file.problems
                            if problem not in _findings(file, strict=strict)
                        ),
                    )
                    for file in files
                ),
            )
        ]
    )


def _findings(file: LintedFile, *, strict: bool) -> tuple[Problem, ...]:
    counted = (
        (ProblemSeverity.ERROR, ProblemSeverity.WARNING) if strict else (ProblemSeverity.ERROR,)
    )
    return tuple(problem for problem in file.problems if problem.severity in counted)


def _excerpt(problem: Problem) -> list[str]:
    """The caret of a condition, which only its error can draw."""
    return [
        line
        for line in str(problem.error).splitlines()[1:]
        if line.startswith("    ") and not line.lstrip().startswith(("why:", "hint:"))
    ]


def _problem_json(problem: Problem) -> dict[str, Json]:
    return {
        "line": problem.location.line,
        "column": problem.location.column,
        "severity": problem.severity.value,
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
    }
