"""What is odd about the version of a contract, its end, and fallbacks that nothing asks for."""

from __future__ import annotations

import re
from datetime import date

from dagster_contracts.core.contract import Contract, ContractStatus
from dagster_contracts.documents.problem import Findings, place_of

_SEMANTIC_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:[-+]|\Z)")


def lint_life(contract: Contract, findings: Findings, *, today: date | None) -> None:
    """A version of another form, no end or one that is past, fallbacks that nobody asks for."""
    _end(contract, findings)
    if today is not None:
        _past_end(contract, today, findings)
    _life(contract, findings)


def _end(contract: Contract, findings: Findings) -> None:
    if contract.status is ContractStatus.DEPRECATED and contract.deprecated_until is None:
        findings.warning(
            place_of(contract),
            "deprecated-without-end",
            f"{contract.ref} is deprecated and does not say until when it is kept",
            "add deprecated_until: 2027-06-30, and successor: <name>@<version>",
        )


def _past_end(contract: Contract, today: date, findings: Findings) -> None:
    until = contract.deprecated_until
    if until is None or until >= today or contract.status is ContractStatus.RETIRED:
        return
    findings.warning(
        place_of(contract),
        "past-end",
        f"{contract.ref} was to be kept until {until}, and that day is past",
        "write status: retired, or a later deprecated_until",
    )


def _life(contract: Contract, findings: Findings) -> None:
    """A version of another form, an own successor, fallbacks that nothing ever asks for."""
    if not _SEMANTIC_VERSION.match(contract.version):
        findings.note(
            place_of(contract),
            "version-form",
            f"the version {contract.version!r} is not major.minor.patch",
            "write it like 1.0.0, so that a bump says how much has changed",
        )
    if contract.successor is not None:
        name, _, wanted = contract.successor.partition("@")
        if name == contract.name and (not wanted or wanted == contract.version):
            findings.warning(
                place_of(contract),
                "own-successor",
                f"{contract.ref} names itself as its successor",
                "name the contract or the version that follows: successor: <name>@<version>",
            )
    resilience = contract.resilience
    if resilience is not None and resilience.fallbacks and not resilience.circuit.open_when:
        active = any(level.activation_conditions for level in resilience.fallbacks)
        if resilience.circuit.location is None and not active:
            # A person may still open the circuit by hand.
            findings.note(
                resilience.fallbacks[0].location or place_of(contract),
                "never-opens",
                "nothing asks for the fallbacks but a person: no circuit breaker opens, and "
                "no level has activation_conditions",
                'add circuit_breaker: {open_when: ["schema_validation_errors > 5%"]}',
            )
