"""What loads and is probably not meant: the checks that go beyond validity."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.coherence import lint_coherence, lint_sources
from dagster_contracts.documents.column_lint import lint_columns
from dagster_contracts.documents.condition_lint import lint_conditions
from dagster_contracts.documents.document import ENDINGS, read_document
from dagster_contracts.documents.fallback_graph import find_cycles
from dagster_contracts.documents.folder import read_documents, version_conflict
from dagster_contracts.documents.life_lint import lint_life
from dagster_contracts.documents.problem import Findings, Problem, ProblemSeverity, place_of
from dagster_contracts.documents.rule_lint import lint_rules
from dagster_contracts.documents.sla_lint import lint_service_levels
from dagster_contracts.errors import DocumentError, SourceLocation

__all__ = ["LintedFile", "Problem", "ProblemSeverity", "lint_contract", "lint_paths"]


@dataclass(frozen=True, slots=True)
class LintedFile:
    """One file and what was found in it; ``contract`` and ``version`` where it could be read."""

    path: str
    contract: str | None
    version: str | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing in it is an error."""
        return not any(p.severity is ProblemSeverity.ERROR for p in self.problems)


def lint_paths(
    paths: Iterable[str | Path], *, allowed_env: Collection[str] = (), today: date | None = None
) -> tuple[LintedFile, ...]:
    """Lint files and folders; never raises for what is in them.

    ``today`` is the day on which a deprecated contract may be past its end; without one no
    calendar is looked at. What spans several files (a version that two of them carry, a cycle of
    fallbacks) is looked for among all of them.
    """
    problems: dict[str, list[Problem]] = {}
    contracts: dict[str, Contract] = {}
    for path in map(Path, paths):
        try:
            documents = (
                [read_document(path, allowed_env=allowed_env)]
                if path.is_file() or (path.name.endswith(ENDINGS) and not path.is_dir())
                else list(read_documents(path, allowed_env=allowed_env))
            )
        except DocumentError as error:
            findings = Findings()
            findings.raised(error, SourceLocation(str(path)), "folder")
            problems.setdefault(str(path), []).extend(findings)
            continue
        for document in documents:
            found = problems.setdefault(document.path, [])
            found.extend(document.problems)
            if document.contract is not None:
                contracts[document.path] = document.contract
                found.extend(lint_contract(document.contract, today=today))
    across = Findings()
    _across_files(list(contracts.values()), across)
    for problem in across:
        problems.setdefault(problem.location.path, []).append(problem)
    return tuple(
        LintedFile(
            path,
            contracts[path].name if path in contracts else None,
            contracts[path].version if path in contracts else None,
            tuple(sorted(dict.fromkeys(found), key=lambda problem: problem.location)),
        )
        for path, found in problems.items()
    )


def lint_contract(contract: Contract, *, today: date | None = None) -> tuple[Problem, ...]:
    """Everything that is odd about one contract that loads, and about its end on ``today``."""
    findings = Findings()
    lint_conditions(contract, findings)
    lint_columns(contract, findings)
    lint_life(contract, findings, today=today)
    lint_service_levels(contract, findings)
    lint_coherence(contract, findings)
    lint_rules(contract, findings)
    return findings.sorted()


def _across_files(contracts: list[Contract], findings: Findings) -> None:
    known: dict[tuple[str, Version], Contract] = {}
    doubles: list[Contract] = []
    for contract in contracts:
        first = known.setdefault((contract.name, Version.parse(contract.version)), contract)
        if first is not contract:
            doubles.append(contract)
            findings.raised(version_conflict(first, contract), place_of(contract), "version")
    lint_sources(known.values(), findings)
    # A version that two files carry is looked at in both: either of them may be the one to keep.
    cycles = find_cycles(known.values())
    for double in doubles:
        others = [c for c in known.values() if c.name != double.name]
        told = {path for _, _, path in cycles}
        cycles += [cycle for cycle in find_cycles([double, *others]) if cycle[2] not in told]
    for contract, level, path in cycles:
        findings.error(
            level.location or place_of(contract),
            "fallback-cycle",
            f"the fallbacks go in a circle: {path}",
            "let one of them fall back on last_valid or on a source outside of the circle",
        )
