"""What in a contract contradicts itself, says a thing twice, or serves nothing: part of lint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from fractions import Fraction
from typing import Any

from dagster_contracts.core.compatibility.acceptance import Span, contains
from dagster_contracts.core.compatibility.quality import COUNTED, acceptance, describe, meaning
from dagster_contracts.core.contract import (
    Contract,
    LibraryMetric,
    LogicalType,
    QualityRule,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    SourceKind,
    Threshold,
    ThresholdUnit,
    TypeOptions,
)
from dagster_contracts.core.quantity import Dimension, Quantity, render_quantity
from dagster_contracts.core.uri import is_database_uri
from dagster_contracts.documents.problem import Findings, place_of
from dagster_contracts.errors import SourceLocation


def lint_coherence(contract: Contract, findings: Findings) -> None:
    """Rules that cannot fail or pass, rules said twice, values that are refused, leftovers."""
    for schema_object in contract.objects:
        _rules(contract, schema_object, findings)
        for prop in schema_object.properties:
            for where, found in _nested(prop):
                _allowed_values(contract, where, found, findings)
    _leftovers(contract, findings)
    _recovery(contract, findings)


def lint_sources(contracts: Iterable[Contract], findings: Findings) -> None:
    """Fallbacks on other contracts of the folder must have the columns that consumers read."""
    known = {contract.name: contract for contract in contracts}
    for contract in known.values():
        main = contract.objects[0]
        for level in contract.resilience.fallbacks if contract.resilience else ():
            source = known.get(level.source.name)
            if level.source.kind is not SourceKind.ASSET or source is None:
                continue
            served = contract.schemas.get(level.schema) if level.schema else main
            # What consumers read decides where they say it; else what the level promises does.
            needed = {column for consumer in contract.consumers for column in consumer.columns}
            wanted = [p for p in (served or main).properties if not needed or p.column in needed]
            has = {name for p in source.objects[0].properties for name in (p.name, p.column)}
            missing = [p.column for p in wanted if has and p.column not in has]
            if missing and len(source.objects) == 1:
                shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
                findings.warning(
                    level.location or place_of(contract),
                    "fallback-too-small",
                    f"the level {level.name!r} reads from {source.name!r}, which has no {shown}",
                    "name a smaller schema for the level, or the columns that consumers need",
                )


def _rules(contract: Contract, schema_object: SchemaObject, findings: Findings) -> None:
    nullable = {
        name: prop.name
        for prop in schema_object.properties
        if not prop.required and prop.primary_key_position is None
        for name in (prop.name, prop.column)
    }
    seen: dict[object, QualityRule] = {}
    for rule in schema_object.all_quality():
        where = rule.location or schema_object.location or place_of(contract)
        _prospects(rule, where, findings)
        key = (meaning(rule), rule.threshold, rule.valid_values, rule.pattern, rule.options)
        twin = seen.setdefault(key, rule)
        if twin is not rule:
            findings.warning(
                where,
                "duplicate-rule",
                f"the rule {rule.name!r} says what {twin.name!r} says already",
                "keep one of the two",
            )
        keys = [nullable[name] for name in rule.columns if name in nullable]
        if rule.metric is LibraryMetric.DUPLICATE_VALUES and keys:
            findings.note(
                where,
                "nullable-key",
                f"the rule {rule.name!r} finds no duplicate where "
                f"{' or '.join(map(repr, keys))} is null",
                "add required: true to the columns of the key, if it must identify each row",
            )


def _prospects(rule: QualityRule, where: SourceLocation, findings: Findings) -> None:
    """Thresholds that every measurement meets, or none."""
    for threshold in (rule.threshold, rule.warn):
        if threshold is None or rule.kind is RuleKind.TEXT:
            continue
        accepted, possible = acceptance(rule, threshold), _possible(rule, threshold)
        if not any(not span.empty for span in accepted):
            word, code = "never", "never-passes"
        elif possible is not None and contains(accepted, possible):
            word, code = "always", "always-passes"
        else:
            continue
        findings.warning(
            where,
            code,
            f"the rule {rule.name!r} {word} passes: it accepts {describe(threshold)}",
            "check the number and its unit: "
            + ("0 to 100 per cent" if possible and possible[0].high is not None else "counts"),
        )


def _possible(rule: QualityRule, threshold: Threshold) -> tuple[Span, ...] | None:
    """What a measurement can be; ``None`` where it can be any number."""
    if threshold.unit is ThresholdUnit.PERCENT:
        return (Span(Fraction(0), Fraction(100)),)
    if rule.metric in COUNTED:
        return (Span(Fraction(0), None),)
    return None


def _nested(prop: SchemaProperty) -> Iterator[tuple[str, SchemaProperty]]:
    yield prop.name, prop
    for inner in (*prop.properties, *((prop.items,) if prop.items else ())):
        for name, found in _nested(inner):
            yield f"{prop.name}.{name}", found


def _allowed_values(
    contract: Contract, name: str, prop: SchemaProperty, findings: Findings
) -> None:
    """An allowed value that another constraint of the same column refuses."""
    options = prop.options
    for value in options.enum:
        refused = _refusal(value, options, prop.logical_type)
        if refused:
            findings.warning(
                prop.location or place_of(contract),
                "value-refused",
                f"{name!r} allows {value!r}, and its {refused} refuses it",
                "remove the value, or mend the constraint",
            )


def _refusal(value: Any, options: TypeOptions, logical_type: LogicalType | None) -> str | None:
    checks: list[tuple[str, bool]] = []
    if isinstance(value, str) and logical_type in (None, LogicalType.STRING):
        low, high = options.min_length, options.max_length
        checks.append(("min_length", low is not None and len(value) < low))
        checks.append(("max_length", high is not None and len(value) > high))
        # Not the pattern: a hostile one could keep the reader busy for ever.
    for bound in ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum"):
        limit = getattr(options, bound)
        if limit is not None and type(limit) is type(value):
            beyond = value < limit if "min" in bound else value > limit
            checks.append((bound, beyond or ("exclusive" in bound and value == limit)))
    return next((name for name, refused in checks if refused), None)


def _leftovers(contract: Contract, findings: Findings) -> None:
    """A named schema that no level serves and that is not the contract's own."""
    levels = contract.resilience.levels if contract.resilience else ()
    served = {level.schema for level in levels}
    own = {schema_object.properties for schema_object in contract.objects}
    for name, schema in contract.schemas.items():
        if name not in served and schema.properties not in own:
            findings.warning(
                schema.location or place_of(contract),
                "unused-schema",
                f"no level serves the schema {name!r}",
                "name it in a fallback level, or remove it",
            )


def _recovery(contract: Contract, findings: Findings) -> None:
    """Levels that can never serve: too old before the circuit is first tried again, or ageless."""
    if contract.resilience is None:
        return
    for level in contract.resilience.fallbacks:
        if level.max_age is not None and is_database_uri(level.source.name):
            findings.warning(
                level.location or place_of(contract),
                "age-unknown",
                f"the level {level.name!r} may be at most {_shown(level.max_age)} old, and nobody "
                "knows how old a table of a database is: it never serves",
                "leave out max_age, or make the table an asset and name that",
            )
    if not contract.resilience.circuit.open_when:
        return
    circuit = contract.resilience.circuit
    recovery, where = circuit.recovery, circuit.location or place_of(contract)
    for level in contract.resilience.fallbacks:
        kept = level.source.kind is SourceKind.LAST_VALID
        if kept and level.max_age is not None and level.max_age < recovery.retry_after:
            findings.note(
                level.location or where,
                "fallback-expires-first",
                f"the level {level.name!r} serves what is at most {_shown(level.max_age)} old, and "
                f"the first probe comes after {_shown(recovery.retry_after)}: the last batch is "
                "too old by then",
                "raise max_age, or lower retry_after",
            )


def _shown(duration: timedelta) -> str:
    seconds = Fraction(duration // timedelta(microseconds=1), 1_000_000)
    return render_quantity(Quantity(seconds, Dimension.DURATION))
