"""``dagster-contracts show``: a contract for people."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dagster_contracts.cli.contract_json import contract_json
from dagster_contracts.cli.output import format_option, print_json, print_line, print_table
from dagster_contracts.cli.places import Places, pass_places
from dagster_contracts.cli.sources import read_one
from dagster_contracts.cli.words import count, duration, near
from dagster_contracts.core.checks import PlannedRule, plan_checks
from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import (
    Contract,
    FallbackLevel,
    Resilience,
    SchemaObject,
    SlaProperty,
    SourceKind,
)
from dagster_contracts.core.level_element import why_nowhere
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.documents.export.condition_words import date_in_words, level_in_words
from dagster_contracts.engine.verdict import threshold_text


@click.command(
    epilog="""\
\b
Examples:
  dagster-contracts show orders
  dagster-contracts show orders@1.2.0
  dagster-contracts show git:main:contracts/orders/1.2.0.yaml --format json
"""
)
@click.argument("ref")
@format_option()
@pass_places
def show(places: Places, ref: str, output: str) -> None:
    """Show what a contract promises: schema, rules, service levels, resilience.

    REF is a reference (orders, orders@^1.2), a file, or a git revision.
    """
    contract = read_one(ref, places)
    if output == "json":
        print_json(contract_json(contract))
        return
    _header(contract)
    for schema_object in contract.objects:
        _schema(contract, schema_object)
    if contract.sla:
        _section("Service levels")
        for sla in contract.sla:
            print_line(f"  {_sla_sentence(sla, contract)}")
    if contract.resilience is not None:
        _resilience(contract.resilience)
    if contract.consumers:
        _section("Consumers")
        for consumer in contract.consumers:
            columns = f" reads {', '.join(consumer.columns)}" if consumer.columns else ""
            contact = f", {consumer.contact}" if consumer.contact else ""
            print_line(f"  {consumer.name}{contact}{columns}")


def _section(title: str) -> None:
    print_line()
    print_line(title, bold=True)


def _header(contract: Contract) -> None:
    print_line(f"{contract.name} {contract.version}, {contract.status.value}", bold=True)
    for line in (contract.description or "").splitlines():
        print_line(f"  {line}")
    facts = {
        "owner": contract.owner,
        "event time": contract.event_time,
        "deprecated until": str(contract.deprecated_until) if contract.deprecated_until else None,
        "successor": contract.successor,
        "document": near(contract.location.path) if contract.location else None,
    }
    for name, value in facts.items():
        if value:
            print_line(f"  {name}: {value}")


def _schema(contract: Contract, schema_object: SchemaObject) -> None:
    assets = " or ".join(contract.asset_names(schema_object))
    _section(f"Schema of {assets}: {count(len(schema_object.properties), 'column')}")
    if schema_object.primary_key:
        print_line(f"  primary key: {', '.join(schema_object.primary_key)}")
    plan = plan_checks(contract, schema_object)
    promises: dict[str | None, list[str]] = {}
    for rule in plan.rules:
        if rule.kind is OutcomeKind.SCHEMA and not rule.name.endswith((".present", ".type")):
            promise = rule.description.removeprefix(f"{rule.column} ").removeprefix("is ")
            promises.setdefault(rule.column, []).append(promise)
    print_table(
        ("column", "type", "promises", "description"),
        (
            (
                prop.column,
                prop.logical_type.value if prop.logical_type else prop.physical_type or "any",
                ", ".join(promises.get(prop.column, [])),
                prop.description or "",
            )
            for prop in schema_object.properties
        ),
    )
    quality = [check for check in plan.checks if check.kind is OutcomeKind.QUALITY]
    if quality:
        _section("Quality rules")
        print_table(
            ("check", "severity", "rule", "allowed"),
            (
                (check.name, check.severity.value, check.description, _limit(check.rules[0]))
                for check in quality
            ),
        )


def _limit(rule: PlannedRule) -> str:
    said = [threshold_text(limit) for limit in (rule.threshold,) if limit is not None]
    if rule.warn is not None:
        said.append(f"warns unless {threshold_text(rule.warn)}")
    return "; ".join(said)


def _sla_sentence(sla: SlaProperty, contract: Contract) -> str:
    judged = sla.condition is not None and why_nowhere(sla, contract) is None
    if sla.condition is None or not judged or date_in_words(sla) is not None:
        return f"{sla.property}: {level_in_words(sla, contract)}"
    return f"{sla.property}: {render(sla.condition)}"


def _resilience(resilience: Resilience) -> None:
    circuit = resilience.circuit
    _section(f"Circuit ({circuit.scope.value} scope, {circuit.mode.value.replace('_', ' ')})")
    for condition in circuit.open_when:
        print_line(f"  opens when {render(condition)}")
    for condition in circuit.close_when:
        print_line(f"  closes when {render(condition)}")
    recovery = circuit.recovery
    print_line(
        f"  tries again after {duration(recovery.retry_after)}, "
        f"at most {count(recovery.max_retries, 'time')}; "
        f"{count(recovery.probes, 'good probe')} to close"
    )
    _section("Levels of service")
    for line in _levels(resilience):
        print_line(f"  {line}")


def _levels(resilience: Resilience) -> Iterator[str]:
    for position, level in enumerate(resilience.levels):
        yield f"{position}. {level.name}: {_source(level)}"
        for condition in level.activation_conditions:
            verb = "only when" if level.only_when_active else "preferred when"
            yield f"   {verb} {render(condition)}"
        if level.max_age is not None:
            yield f"   no older than {duration(level.max_age)}"
    yield f"else: {'skip' if resilience.on_exhausted.value == 'skip' else 'fail'} the consumer"


def _source(level: FallbackLevel) -> str:
    schema = f", as {level.schema}" if level.schema else ""
    match level.source.kind:
        case SourceKind.PRIMARY:
            return (level.source.name or "the asset itself") + schema
        case SourceKind.LAST_VALID:
            return "the last batch that passed" + schema
        case SourceKind.SUBSET:
            return "the primary, cut down" + schema
        case SourceKind.ASSET:
            return f"the asset {level.source.name}" + schema
        case SourceKind.URI:
            return level.source.shown + schema
