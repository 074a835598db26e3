"""What loads and is probably not meant: the checks that go beyond validity."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_contracts.core.condition import (
    Comparison,
    ComparisonOperator,
    Condition,
    Either,
    comparisons_of,
    format_quantity,
    metrics_of,
    render,
)
from dagster_contracts.core.contract import (
    Contract,
    ContractStatus,
    LogicalType,
    SchemaObject,
    SlaProperty,
    SourceKind,
)
from dagster_contracts.core.metrics import spell_name
from dagster_contracts.core.reference import Version
from dagster_contracts.documents.coherence import lint_coherence, lint_sources
from dagster_contracts.documents.document import ENDINGS, read_document
from dagster_contracts.documents.fallback_graph import find_cycles
from dagster_contracts.documents.folder import read_documents, version_conflict
from dagster_contracts.documents.problem import (
    Findings,
    Problem,
    ProblemSeverity,
    did_you_mean,
    nearest,
)
from dagster_contracts.documents.rule_lint import lint_rules
from dagster_contracts.documents.satisfiability import Prospect, prospect
from dagster_contracts.documents.sla_lint import lint_service_levels
from dagster_contracts.errors import DocumentError, SourceLocation

__all__ = ["LintedFile", "Problem", "ProblemSeverity", "lint_contract", "lint_paths"]

_SEMANTIC_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+(?:[-+]|\Z)")
_BELOW = {ComparisonOperator.LT, ComparisonOperator.LE}
_ABOVE = {ComparisonOperator.GT, ComparisonOperator.GE}


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
    calendar is looked at.
    What spans several files (a version that two of them carry, a cycle of fallbacks) is looked for
    among all of them.
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
    for check in _CHECKS:
        check(contract, findings)
    if today is not None:
        _past_end(contract, today, findings)
    return findings.sorted()


def _across_files(contracts: list[Contract], findings: Findings) -> None:
    known: dict[tuple[str, Version], Contract] = {}
    for contract in contracts:
        first = known.setdefault((contract.name, Version.parse(contract.version)), contract)
        if first is not contract:
            findings.raised(version_conflict(first, contract), _place(contract), "version")
    lint_sources(known.values(), findings)
    # A version that two files carry is looked at in both: either of them may be the one to keep.
    cycles = find_cycles(known.values())
    doubles = [contract for contract in contracts if contract not in known.values()]
    for double in doubles:
        others = [c for c in known.values() if c.name != double.name]
        told = {path for _, _, path in cycles}
        cycles += [cycle for cycle in find_cycles([double, *others]) if cycle[2] not in told]
    for contract, level, path in cycles:
        findings.error(
            level.location or _place(contract),
            "fallback-cycle",
            f"the fallbacks go in a circle: {path}",
            "let one of them fall back on last_valid or on a source outside of the circle",
        )


def _conditions(contract: Contract) -> Iterator[tuple[Condition, SourceLocation, str]]:
    """Every condition, where it stands, and what it is there for."""
    place = _place(contract)
    if contract.resilience is not None:
        circuit = contract.resilience.circuit
        at = circuit.location or place
        groups = [
            (circuit.open_when, circuit.open_places, at, "open_when"),
            (circuit.close_when, circuit.close_places, at, "close_when"),
        ]
        for level in contract.resilience.fallbacks:
            whose, there = f"the level {level.name!r}", level.location or place
            groups.append((level.activation_conditions, level.condition_places, there, whose))
        for conditions, places, there, whose in groups:
            # A document that loads has a place for each; a policy made in Python has none.
            known = places if len(places) == len(conditions) else [there] * len(conditions)
            yield from ((c, own, whose) for c, own in zip(conditions, known, strict=True))
    for sla in contract.sla:
        if sla.condition is not None:
            yield sla.condition, sla.location or place, f"the service level {sla.property!r}"
    for action in contract.monitoring.actions:
        yield action.when, place, f"the action {action.kind.value!r}"


def _prospects(contract: Contract, findings: Findings) -> None:
    for condition, where, whose in _conditions(contract):
        match prospect(condition):
            case Prospect.NEVER:
                findings.warning(
                    where,
                    "never-holds",
                    f"the condition {render(condition)!r} of {whose} can never hold",
                    "check the number, its unit, and the direction of the comparison",
                )
            case Prospect.ALWAYS:
                findings.warning(
                    where,
                    "always-holds",
                    f"the condition {render(condition)!r} of {whose} always holds",
                    "check the number, its unit, and the direction of the comparison",
                )
            case Prospect.SOMETIMES:
                pass


def _members(contract: Contract, findings: Findings) -> None:
    """``null_ratio.<column>`` and ``failed_ratio.<rule>`` must name what exists."""
    columns = {name for o in contract.objects for p in o.properties for name in (p.name, p.column)}
    rules = {rule.name for o in contract.objects for rule in o.all_quality()}
    # A schema rule is named column.what: failed_ratio.tailnum.required.
    for condition, where, whose in _conditions(contract):
        for metric in sorted(metrics_of(condition)):
            measured = metric.removeprefix("anomaly_score.")
            family, _, member = measured.partition(".")
            if family == "null_ratio" and columns and member not in columns:
                findings.error(
                    where,
                    "unknown-column",
                    f"{whose} speaks of {spell_name(metric)}, and there is no column {member!r}",
                    did_you_mean(member, columns),
                )
            elif (
                family == "failed_ratio"
                and member not in rules
                and not any(member.startswith(f"{column}.") for column in columns)
            ):
                # A check that others report on the asset answers to its name too.
                alike = nearest(member, rules)
                said = findings.warning if alike else findings.note
                said(
                    where,
                    "unknown-rule",
                    f"{whose} speaks of {spell_name(metric)}, and the contract has no rule "
                    f"{member!r}",
                    did_you_mean(member, alike)
                    if alike
                    else "fine if another check of the asset has that name and reports it",
                )


def _thresholds(contract: Contract, findings: Findings) -> None:
    """A circuit that opens long after the service level is broken."""
    if contract.resilience is None:
        return
    promised = {
        sla.condition.metric: sla
        for sla in contract.sla
        if isinstance(sla.condition, Comparison) and sla.condition.hold is None
    }
    opening = [c for when in contract.resilience.circuit.open_when for c in _alternatives(when)]
    for condition in opening:
        if condition.metric not in promised:
            continue
        sla = promised[condition.metric]
        kept = sla.condition
        assert isinstance(kept, Comparison)
        limit, opens = kept.quantity.value, condition.quantity.value
        dimension = kept.quantity.dimension
        looser = (kept.operator in _BELOW and condition.operator in _ABOVE and opens > limit) or (
            kept.operator in _ABOVE and condition.operator in _BELOW and opens < limit
        )
        tighter = (kept.operator in _BELOW and condition.operator in _ABOVE and opens < limit) or (
            kept.operator in _ABOVE and condition.operator in _BELOW and opens > limit
        )
        shown = f"{format_quantity(limit, dimension)} and {format_quantity(opens, dimension)}"
        if looser:
            findings.note(
                sla.location or _place(contract),
                "looser-than-sla",
                f"between {shown} the service level {sla.property!r} is broken "
                "and the circuit stays closed",
                "fine if consumers should go on with such data; else lower the threshold",
            )
        elif tighter:
            findings.warning(
                sla.location or _place(contract),
                "tighter-than-sla",
                f"the circuit opens while the service level {sla.property!r} is still kept: "
                f"{render(condition)!r} against {render(kept)!r}",
                "raise the threshold of open_when, or tighten the service level",
            )


def _alternatives(condition: Condition) -> Iterator[Comparison]:
    """The comparisons each of which makes a condition true by itself."""
    match condition:
        case Comparison():
            yield condition
        case Either(left, right):
            yield from _alternatives(left)
            yield from _alternatives(right)
        case _:
            return


def _sla_columns(contract: Contract, findings: Findings) -> None:
    objects = {o.name: o for o in contract.objects} | {
        o.physical_name: o for o in contract.objects if o.physical_name
    }
    no_object: dict[str, list[SlaProperty]] = {}
    no_column: dict[str, list[SlaProperty]] = {}
    for sla in contract.sla:
        # An element may also be a whole object.
        if not sla.element or (sla.schema_object is None and sla.element in objects):
            continue
        if sla.schema_object is not None and sla.schema_object not in objects:
            no_object.setdefault(sla.schema_object, []).append(sla)
        elif sla.element not in _element_names(contract, objects, sla):
            no_column.setdefault(sla.element, []).append(sla)
    for name, levels in no_object.items():
        findings.warning(
            levels[0].location or _place(contract),
            "unknown-object",
            f"{_speaking(levels)} of {name!r}, which is no object of the schema",
            did_you_mean(name, {o.name for o in contract.objects}),
        )
    for name, levels in no_column.items():
        known = _element_names(contract, objects, levels[0])
        if known:
            findings.warning(
                levels[0].location or _place(contract),
                "unknown-column",
                f"{_speaking(levels)} of {name!r}, and there is no such column",
                did_you_mean(name, known),
            )


def _element_names(
    contract: Contract, objects: Mapping[str, SchemaObject], sla: SlaProperty
) -> set[str]:
    asked = [objects[sla.schema_object]] if sla.schema_object else contract.objects
    return {name for o in asked for name in _column_names(o)}


def _speaking(levels: list[SlaProperty]) -> str:
    """``the service level 'latency' and 4 others speak``: one mistake is told once."""
    first, others = f"the service level {levels[0].property!r}", len(levels) - 1
    if not others:
        return f"{first} speaks"
    return f"{first} and {'another' if others == 1 else f'{others} others'} speak"


def _end(contract: Contract, findings: Findings) -> None:
    if contract.status is ContractStatus.DEPRECATED and contract.deprecated_until is None:
        findings.warning(
            _place(contract),
            "deprecated-without-end",
            f"{contract.ref} is deprecated and does not say until when it is kept",
            "add deprecated_until: 2027-06-30, and successor: <name>@<version>",
        )


def _past_end(contract: Contract, today: date, findings: Findings) -> None:
    until = contract.deprecated_until
    if until is None or until >= today or contract.status is ContractStatus.RETIRED:
        return
    findings.warning(
        _place(contract),
        "past-end",
        f"{contract.ref} was to be kept until {until}, and that day is past",
        "write status: retired, or a later deprecated_until",
    )


def _life(contract: Contract, findings: Findings) -> None:
    """A version of another form, an own successor, fallbacks that nothing ever asks for."""
    if not _SEMANTIC_VERSION.match(contract.version):
        findings.note(
            _place(contract),
            "version-form",
            f"the version {contract.version!r} is not major.minor.patch",
            "write it like 1.0.0, so that a bump says how much has changed",
        )
    if contract.successor is not None:
        name, _, wanted = contract.successor.partition("@")
        if name == contract.name and (not wanted or wanted == contract.version):
            findings.warning(
                _place(contract),
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
                resilience.fallbacks[0].location or _place(contract),
                "never-opens",
                "nothing asks for the fallbacks but a person: no circuit breaker opens, and "
                "no level has activation_conditions",
                'add circuit_breaker: {open_when: ["schema_validation_errors > 5%"]}',
            )


def _event_time(contract: Contract, findings: Findings) -> None:
    main = contract.objects[0]
    if contract.event_time is not None:
        if main.properties and main.property_named(contract.event_time) is None:
            findings.error(
                _place(contract),
                "unknown-column",
                f"the event time {contract.event_time!r} is no column of {main.name!r}",
                did_you_mean(contract.event_time, {p.name for p in main.properties}),
            )
        return
    stamps = [p.name for p in main.properties if p.logical_type is LogicalType.TIMESTAMP]
    # A level that names its column has its event time, in its own object; or is told of above.
    objects = {o.name for o in contract.objects}
    named = {id(s.condition) for s in contract.sla if s.element and s.element not in objects}
    for condition, where, whose in _conditions(contract):
        if id(condition) in named:
            continue
        needs = metrics_of(condition) & {"data_freshness", "data_latency"}
        if not needs:
            continue
        metric = sorted(needs)[0]
        if len(stamps) > 1:
            message = (
                f"{whose} needs an event time, and the schema has several timestamps: "
                + ", ".join(stamps)
            )
            hint = "say which one: event_time: " + stamps[0]
        elif metric == "data_latency":
            message = f"{whose} needs an event time, and the schema has no timestamp"
            hint = "add a timestamp to the schema, or name one as event_time"
        else:
            message = (
                f"{whose} is measured from the last materialization, "
                "because the schema has no timestamp"
            )
            hint = "fine if that is meant; else add a timestamp, or use materialization_age"
        findings.warning(where, "event-time", message, hint)
        return


def _consumers(contract: Contract, findings: Findings) -> None:
    main = contract.objects[0]
    known = _column_names(main)
    for consumer in contract.consumers:
        unknown = [c for c in consumer.columns if known and c not in known]
        for column in unknown:
            findings.error(
                _place(contract),
                "unknown-column",
                f"the consumer {consumer.name!r} reads {column!r}, which the contract has not",
                did_you_mean(column, known),
            )
        for level in contract.resilience.fallbacks if contract.resilience else ():
            schema = contract.schemas.get(level.schema) if level.schema else None
            if schema is None or level.source.kind is SourceKind.LAST_VALID:
                continue
            missing = [c for c in consumer.columns if c in known and c not in _column_names(schema)]
            if missing:
                findings.warning(
                    level.location or _place(contract),
                    "fallback-too-small",
                    f"the level {level.name!r} cannot serve {consumer.name!r}: "
                    f"its schema {level.schema!r} has no {', '.join(map(repr, missing))}",
                    "add the columns to that schema, or let the consumer do without them",
                )


def _column_names(schema: SchemaObject) -> set[str]:
    return {name for prop in schema.properties for name in (prop.name, prop.column)}


def _subsets(contract: Contract, findings: Findings) -> None:
    """A subset must be a part of the primary."""
    known = _column_names(contract.objects[0])
    for level in contract.resilience.fallbacks if contract.resilience else ():
        schema = contract.schemas.get(level.schema) if level.schema else None
        if schema is None or level.source.kind is not SourceKind.SUBSET or not known:
            continue
        for prop in schema.properties:
            if prop.column not in known:
                findings.error(
                    prop.location or level.location or _place(contract),
                    "unknown-column",
                    f"the subset {level.schema!r} wants {prop.column!r}, which the primary has not",
                    did_you_mean(prop.column, known),
                )


def _place(contract: Contract) -> SourceLocation:
    return contract.location or SourceLocation(contract.ref)


def _comparisons(contract: Contract, findings: Findings) -> None:
    """Equality of measured numbers hardly ever holds."""
    for condition, where, whose in _conditions(contract):
        for comparison in comparisons_of(condition):
            exact = comparison.operator in (ComparisonOperator.EQ, ComparisonOperator.NE)
            if exact and comparison.quantity.value and comparison.metric.startswith("data_"):
                findings.note(
                    where,
                    "exact-time",
                    f"{whose} compares {comparison.metric} for equality, to the microsecond",
                    "write < or >",
                )


_CHECKS: tuple[Callable[[Contract, Findings], None], ...] = (
    _prospects,
    _members,
    _thresholds,
    _sla_columns,
    _end,
    _life,
    _event_time,
    _consumers,
    _subsets,
    _comparisons,
    lint_service_levels,
    lint_coherence,
    lint_rules,
)
