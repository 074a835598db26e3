"""A proposal as an edit of its contract's document: the text, comments and all, with a new limit.

Nothing is written here, and nothing but the condition and the version changes: what is not found
where the reader saw it is an error, and the result is read again before anybody sees it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dagster_contracts.cli.places import Places
from dagster_contracts.core.changes import VersionBump
from dagster_contracts.core.compatibility import diff
from dagster_contracts.core.condition import comparisons_of, parse_condition, render
from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.document import expected_of, read_document
from dagster_contracts.documents.problem import as_error
from dagster_contracts.errors import PolicyError
from dagster_contracts.monitoring.tuning import Proposal

_PLACE = re.compile(r"resilience\.circuit_breaker\.open_when\[(\d+)\]")
_PLAIN = re.compile(r"[A-Za-z_][\w.:%<>=!() -]*")


@dataclass(frozen=True, slots=True)
class ProposedEdit:
    """The document as it is and as it would be; ``version`` is the one that the edit needs."""

    path: Path
    before: str
    after: str
    version: str


def proposed_edit(proposal: Proposal, contract: Contract, places: Places) -> ProposedEdit:
    """The edit of ``contract`` that ``proposal`` asks for; ``PolicyError`` where it is outdated."""
    path = Path(contract.location.path) if contract.location else None
    if path is None or contract.resilience is None:
        raise _outdated(proposal, "its document is not here")
    place = _PLACE.fullmatch(proposal.path)
    circuit = contract.resilience.circuit
    index = int(place[1]) if place else len(circuit.open_when)
    if index >= min(len(circuit.open_when), len(circuit.open_places)):
        raise _outdated(proposal, f"the document has no {proposal.path}")
    condition = circuit.open_when[index]
    if proposal.old not in [render(each) for each in comparisons_of(condition)]:
        raise _outdated(proposal, f"the document says {render(condition)!r} there")
    text = path.read_bytes().decode("utf-8-sig")
    wanted = render(condition).replace(proposal.old, proposal.new, 1)
    where = circuit.open_places[index]
    scalars = {(n.start_mark.line + 1, n.start_mark.column + 1): n for n in _scalars(text)}
    limit = scalars.get((where.line or 0, where.column or 0))
    if limit is None or parse_condition(str(limit.value)) != condition:
        raise _outdated(proposal, "the condition does not stand in the document as one text")
    edited = _replaced(text, limit, wanted)
    changed = _read(edited, path, places)
    if changed.resilience is None or render(changed.resilience.circuit.open_when[index]) != wanted:
        raise _outdated(proposal, "the edit would be read as something else")
    version = next_version(contract, changed)
    own = next(
        (
            n
            for n in _scalars(edited)
            if str(n.value) == contract.version and _is_version(edited, n)
        ),
        None,
    )
    if own is not None:
        edited = _replaced(edited, own, version)
    return ProposedEdit(path, text, edited, version)


def next_version(old: Contract, new: Contract) -> str:
    """The lowest version that admits the changes; the old one's own text where it is no number."""
    version = Version.parse(old.version)
    bump = diff(old, new).needed_bump(old.compatibility.protects)
    if bump is VersionBump.MAJOR and version.release[:1] == (0,):
        bump = VersionBump.MINOR  # below 1.0 a minor version may break
    return bump.after(version) or old.version


def _read(text: str, path: Path, places: Places) -> Contract:
    root = path.parent.parent if expected_of(path).version is not None else path.parent
    document = read_document(path, root=root, text=text, allowed_env=places.allowed_env)
    if document.contract is None:
        raise as_error(document.errors)
    return document.contract


def _scalars(text: str) -> Iterator[yaml.ScalarNode]:
    pending = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        match node:
            case yaml.ScalarNode():
                yield node
            case yaml.MappingNode():
                pending += [part for pair in node.value for part in pair]
            case yaml.SequenceNode():
                pending += node.value


def _is_version(text: str, node: yaml.ScalarNode) -> bool:
    """Whether the scalar is the value of the contract's own key ``version``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    owner = _value_of(root, "data_contract") or root
    version = _value_of(owner, "version")
    return version is not None and version.start_mark.index == node.start_mark.index


def _value_of(mapping: yaml.Node | None, name: str) -> yaml.Node | None:
    if not isinstance(mapping, yaml.MappingNode):
        return None
    return next((value for key, value in mapping.value if key.value == name), None)


def _replaced(text: str, node: yaml.ScalarNode, wanted: str) -> str:
    plain = node.style is None and (_PLAIN.fullmatch(wanted) or re.fullmatch(r"[\d.]+", wanted))
    quoted = wanted if plain and ": " not in wanted else "'" + wanted.replace("'", "''") + "'"
    return text[: node.start_mark.index] + quoted + text[node.end_mark.index :]


def _outdated(proposal: Proposal, why: str) -> PolicyError:
    return PolicyError(
        f"{proposal.old} -> {proposal.new} no longer fits {proposal.contract}",
        where=f"{proposal.contract}@{proposal.version}, {proposal.path}",
        why=why,
        hint="decline it; the next one will be about the present document",
    )
