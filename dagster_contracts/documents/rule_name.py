"""The names of quality rules: each unique in its object, and valid for a Dagster check."""

from __future__ import annotations

import re
from dataclasses import replace

from dagster_contracts.core.contract import QualityRule, SchemaObject, SchemaProperty
from dagster_contracts.documents.section import Section, snake

#: Names that Dagster checks of our own carry.
RESERVED_CHECK_NAMES = frozenset({"schema", "circuit"})


def name_rules(schema: SchemaObject, section: Section | None = None) -> SchemaObject:
    """Give every rule of an object a name that is unique in it and valid for a Dagster check."""
    used: dict[str, int] = {}
    quality = tuple(_named(rule, rule.column, used, section) for rule in schema.quality)
    properties = tuple(_named_within(p, p.column, used, section) for p in schema.properties)
    return replace(schema, quality=quality, properties=properties) if used else schema


def _named_within(
    prop: SchemaProperty, path: str, used: dict[str, int], section: Section | None
) -> SchemaProperty:
    if not prop.quality and not prop.properties and prop.items is None:
        return prop
    before = len(used)
    quality = tuple(_named(rule, path, used, section) for rule in prop.quality)
    properties = tuple(
        _named_within(inner, f"{path}.{inner.column}", used, section) for inner in prop.properties
    )
    items = prop.items and _named_within(prop.items, f"{path}.{prop.items.column}", used, section)
    if len(used) == before:
        return prop
    return replace(prop, quality=quality, properties=properties, items=items)


def _named(
    rule: QualityRule, column: str | None, used: dict[str, int], section: Section | None
) -> QualityRule:
    base = check_name(rule.name)
    if not base:
        what = snake(rule.metric.value) if rule.metric else rule.kind.value
        base = check_name(f"{column}_{what}" if column else what)
    if base in RESERVED_CHECK_NAMES or base.startswith("sla_"):
        base = f"rule_{base}"
    # ``used`` counts how often each name was wanted, so that a thousand namesakes take no longer.
    count = used.get(base, 0) + 1
    name = base if count == 1 else f"{base}_{count}"
    while name in used:
        count += 1
        name = f"{base}_{count}"
    used[base] = count
    used[name] = max(used.get(name, 0), 1)
    collided = count > 1
    # In ODCS a name is free text: there only a name that is taken is worth a word.
    if rule.name and name != rule.name and section and (collided or section.reading.strict):
        section.findings.warning(
            rule.location or section.location,
            "check-name",
            f"the rule {rule.name!r} is shown as the check {name!r}"
            + (", because another rule has that name" if collided else ""),
            "give it a name of its own"
            if collided
            else "use another name: schema, circuit and sla_... are checks of ours"
            if name == f"rule_{check_name(rule.name)}"
            else "use letters, digits and '_' in its name",
        )
    extras = {**rule.extras, "name": rule.name} if rule.name and rule.name != name else rule.extras
    return replace(rule, name=name, extras=extras)


def check_name(text: str) -> str:
    """``text`` cut down to what a Dagster check may be called."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:100]
