"""A contract as a page for people, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from dagster_contracts.core.checks import SCHEMA_CHECK, CheckPlan, PlannedRule, plan_checks
from dagster_contracts.core.contract import (
    Contract,
    ContractStatus,
    ExtraColumns,
    FallbackLevel,
    Json,
    OnExhausted,
    QualityRule,
    Resilience,
    SchemaObject,
    SchemaProperty,
    SourceKind,
    Threshold,
    ThresholdOperator,
    ThresholdUnit,
)
from dagster_contracts.core.level_element import why_nowhere
from dagster_contracts.core.outcome import OutcomeKind
from dagster_contracts.documents.compact_writer import write_duration, write_number
from dagster_contracts.documents.export.condition_words import in_words, level_in_words

# An underscore within a word is one: no emphasis begins there.
_SPECIAL = re.compile(r"([\\`*\[\]<|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
_BEGINNING = re.compile(r"^(\d*)([.)#>+=-])")
_OPERATORS = {
    ThresholdOperator.MUST_BE: "exactly {}",
    ThresholdOperator.MUST_NOT_BE: "not {}",
    ThresholdOperator.MUST_BE_GREATER_THAN: "more than {}",
    ThresholdOperator.MUST_BE_GREATER_OR_EQUAL_TO: "at least {}",
    ThresholdOperator.MUST_BE_LESS_THAN: "less than {}",
    ThresholdOperator.MUST_BE_LESS_OR_EQUAL_TO: "at most {}",
    ThresholdOperator.MUST_BE_BETWEEN: "between {} and {}",
    ThresholdOperator.MUST_NOT_BE_BETWEEN: "not between {} and {}",
}
_STATUS = {
    ContractStatus.PROPOSED: "It is proposed: nobody may rely on it yet.",
    ContractStatus.DRAFT: "It is a draft: it may still change without notice.",
    ContractStatus.ACTIVE: "It is active.",
    ContractStatus.DEPRECATED: "It is deprecated.",
    ContractStatus.RETIRED: "It is retired: nobody keeps it any more.",
}
#: What a server says of itself, in the order of a reader's questions.
_SERVER_NAMES = ("server", "type", "environment", "description")
#: What ODCS says of people and money: the heading, and the keys in a reader's order.
_PEOPLE: dict[str, tuple[str, dict[str, str]]] = {
    "team": (
        "Team",
        {
            "username": "Who",
            "name": "Name",
            "role": "Role",
            "dateIn": "From",
            "dateOut": "To",
            "description": "Description",
        },
    ),
    "roles": (
        "Roles",
        {
            "role": "Role",
            "access": "Access",
            "firstLevelApprovers": "Approved by",
            "secondLevelApprovers": "Then by",
            "description": "Description",
        },
    ),
    "support": (
        "Support",
        {
            "channel": "Channel",
            "url": "Where",
            "tool": "Tool",
            "scope": "For",
            "description": "Description",
        },
    ),
    "price": (
        "Price",
        {"priceAmount": "Amount", "priceCurrency": "Currency", "priceUnit": "For each"},
    ),
}
_SECRET = re.compile(r"pass|secret|token|credential|private|apikey|api_key", re.IGNORECASE)


def to_markdown(contract: Contract, schema_object: SchemaObject | None = None) -> str:
    """The page of a contract; of one of its objects where one is given.

    Names and texts of the contract stand on it as text: none of them is Markdown or HTML. Values of
    servers that look like secrets are left out.
    """
    chosen = (schema_object,) if schema_object is not None else contract.objects
    blocks = [*_head(contract), *_promises(contract, chosen)]
    for found in chosen:
        blocks += _object(contract, found, alone=len(contract.objects) == 1)
    blocks += _service_levels(contract)
    if contract.resilience is not None:
        blocks += _resilience(contract.resilience)
    blocks += _consumers(contract)
    blocks += _people(contract)
    blocks += _servers(contract)
    return "\n\n".join(blocks) + "\n"


def _head(contract: Contract) -> Iterator[str]:
    yield f"# {text(contract.name)} {text(contract.version)}"
    if contract.description:
        yield paragraphs(contract.description)
    facts = [
        ("Status", contract.status.value),
        ("Owner", contract.owner),
        ("Asset", contract.asset),
        (
            "Kept until",
            contract.deprecated_until.isoformat() if contract.deprecated_until else None,
        ),
        ("Successor", contract.successor),
        ("Event time", contract.event_time),
        ("Tags", ", ".join(contract.tags)),
    ]
    yield table(("", ""), [(name, value) for name, value in facts if value])


def _promises(contract: Contract, objects: Sequence[SchemaObject]) -> Iterator[str]:
    yield "## What it promises"
    said = [_STATUS[contract.status]]
    for found in objects:
        plan = plan_checks(contract, found)
        columns = _count(len(found.properties), "column")
        rules = len([c for c in plan.checks if c.kind is OutcomeKind.QUALITY])
        words = f"{text(found.name)} has {columns}"
        if rules:
            words += f" and keeps {_count(rules, 'quality rule')}"
        said.append(words + ".")
        if found.primary_key:
            key = ", ".join(map(text, found.primary_key))
            said.append(f"No two rows of {text(found.name)} share the key ({key}).")
        if found.extra_columns is ExtraColumns.FORBID:
            said.append(f"{text(found.name)} has no other columns.")
    said += [
        _sentence(level_in_words(level, contract))
        for level in contract.sla
        if (level.condition is not None or level.moment is not None)
        and why_nowhere(level, contract) is None
    ]
    said.append(
        "When the data is bad, consumers get a fallback."
        if contract.has_fallback
        else "When the data is bad, consumers get no fallback."
    )
    yield "\n".join(f"- {words}" for words in said)


def _object(contract: Contract, schema: SchemaObject, *, alone: bool) -> Iterator[str]:
    yield "## Columns" if alone else f"## {text(schema.name)}"
    if schema.description and schema.description != contract.description:
        yield paragraphs(schema.description)
    plan = plan_checks(contract, schema)
    if schema.properties:
        yield table(
            ("Column", "Type", "Promises", "Description"),
            [row for prop in schema.properties for row in _rows(prop, "", plan)],
        )
    else:
        yield "The contract declares no columns."
    if schema.relationships:
        yield "\n".join(
            f"- {text(', '.join(found.columns))} refers to {text(', '.join(found.to))}"
            for found in schema.relationships
        )
    rules = [check.rules[0] for check in plan.checks if check.kind is OutcomeKind.QUALITY]
    if rules:
        yield "## Quality" if alone else "### Quality"
        declared = list(schema.all_quality())
        yield table(
            ("Rule", "What", "Allowed", "Severity"),
            [
                (rule.name, rule.description, _allowed(rule, found), rule.severity.value)
                for rule, found in zip(rules, declared, strict=True)
            ],
        )


def _rows(prop: SchemaProperty, above: str, plan: CheckPlan) -> Iterator[tuple[str, ...]]:
    """A column and what is nested in it, below it."""
    label = f"{above}{prop.column}"
    promises = [
        rule.description.removeprefix(f"{label} ").removeprefix("is ")
        for rule in plan.check(SCHEMA_CHECK).rules
        if rule.name.startswith(f"{label}.")
        and rule.description.startswith(f"{label} ")
        and not rule.name.endswith((".present", ".type"))
    ]
    facts = [
        *promises,
        *(["part of the key"] if prop.primary_key_position is not None else []),
        *([f"in {prop.unit}"] if prop.unit else []),
        *([f"classified {prop.classification}"] if prop.classification else []),
        *(["a critical data element"] if prop.critical else []),
    ]
    names = [name for name in (prop.business_name, prop.description) if name]
    yield label, _kind(prop), "; ".join(dict.fromkeys(facts)), ". ".join(names)
    for inner in prop.properties:
        yield from _rows(inner, f"{label}.", plan)
    if prop.items is not None and prop.items.properties:
        for inner in prop.items.properties:
            yield from _rows(inner, f"{label}[].", plan)


def _kind(prop: SchemaProperty) -> str:
    kind = prop.logical_type.value if prop.logical_type else "any"
    if prop.items is not None:
        kind += f" of {_kind(prop.items)}"
    return f"{kind} ({prop.physical_type})" if prop.physical_type else kind


def _allowed(rule: PlannedRule, declared: QualityRule) -> str:
    said = [_limit(rule.threshold)] if rule.threshold else []
    if rule.warn:
        said.append(f"warns unless {_limit(rule.warn)}")
    if declared.filter:
        said.append(f"of the rows where {declared.filter}")
    return "; ".join(said)


def _limit(threshold: Threshold) -> str:
    percent = "%" if threshold.unit is ThresholdUnit.PERCENT else ""
    numbers = [f"{write_number(value)}{percent}" for value in threshold.values]
    return _OPERATORS[threshold.operator].format(*numbers)


def _service_levels(contract: Contract) -> Iterator[str]:
    levels = contract.sla
    if not levels:
        return
    yield "## Service levels"
    yield table(
        ("Level", "What", "Severity", "Why"),
        [
            (
                level.property,
                level_in_words(level, contract),
                level.severity.value,
                ". ".join(part for part in (level.driver, level.description) if part),
            )
            for level in levels
        ],
    )


def _resilience(resilience: Resilience) -> Iterator[str]:
    circuit, recovery = resilience.circuit, resilience.circuit.recovery
    yield "## When the data is bad"
    said = [f"The circuit opens when {text(in_words(found))}." for found in circuit.open_when]
    said += [f"It closes when {text(in_words(found))}." for found in circuit.close_when]
    said.append(
        f"It is tried again after {write_duration(recovery.retry_after)}, "
        f"at most {_count(recovery.max_retries, 'time')}; "
        f"{_count(recovery.probes, 'good probe')} closes it."
    )
    yield "\n".join(f"- {words}" for words in said)
    if resilience.levels:
        yield "Consumers then read the first of these that is usable:"
        yield table(
            ("", "Level", "What it is", "When"),
            [
                (str(number), level.name, _source(level), _when(level))
                for number, level in enumerate(resilience.levels)
            ],
        )
    skip = resilience.on_exhausted is OnExhausted.SKIP
    yield f"If none is usable, a consumer {'is skipped' if skip else 'fails'}."


def _source(level: FallbackLevel) -> str:
    schema = f", with the columns of {level.schema}" if level.schema else ""
    match level.source.kind:
        case SourceKind.PRIMARY:
            return "the data itself" + schema
        case SourceKind.LAST_VALID:
            return "the last batch that passed" + schema
        case SourceKind.SUBSET:
            return "the part of the data that is good" + schema
        case SourceKind.ASSET | SourceKind.URI:
            return level.source.shown + schema


def _when(level: FallbackLevel) -> str:
    verb = "only when" if level.only_when_active else "preferred when"
    said = [f"{verb} {in_words(found)}" for found in level.activation_conditions]
    if level.max_age is not None:
        said.append(f"no older than {write_duration(level.max_age)}")
    return "; ".join(said)


def _consumers(contract: Contract) -> Iterator[str]:
    if not contract.consumers:
        return
    yield "## Consumers"
    yield table(
        ("Consumer", "Asset", "Reads", "Contact"),
        [
            (
                consumer.name,
                consumer.asset or "",
                ", ".join(consumer.columns) or "everything",
                consumer.contact or "",
            )
            for consumer in contract.consumers
        ],
    )


def _people(contract: Contract) -> Iterator[str]:
    """Who stands behind the data, who may read it, where to ask, and what it costs."""
    for key, (title, columns) in _PEOPLE.items():
        found = contract.extras.get(key)
        if isinstance(found, dict):
            # A team of ODCS 3.1 has a name and members; a price is one mapping.
            members = found.get("members")
            found = members if isinstance(members, list) else [found]
        rows = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
        shown = [c for c in columns if any(_plain(row.get(c)) for row in rows)]
        if shown:
            yield f"## {title}"
            yield table(
                [columns[c] for c in shown], [[_plain(row.get(c)) for c in shown] for row in rows]
            )


def _plain(value: Json) -> str:
    """A value for a cell; of a list its items, and nothing of what is nested."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_plain, value)))
    return "" if isinstance(value, dict) else _word(value)


def _servers(contract: Contract) -> Iterator[str]:
    servers = contract.extras.get("servers")
    found = (
        [server for server in servers if isinstance(server, dict)]
        if isinstance(servers, list)
        else []
    )
    if not found:
        return
    yield "## Servers"
    yield table(
        ("Server", "Type", "Environment", "Description", "Where"),
        [
            (*(_word(server.get(name)) for name in _SERVER_NAMES), _where(server))
            for server in found
        ],
    )


def _where(server: dict[str, Json]) -> str:
    said = {
        key: value
        for key, value in server.items()
        if key not in (*_SERVER_NAMES, "id") and not _SECRET.search(key)
    }
    return ", ".join(
        f"{key}: {_word(value)}"
        for key, value in said.items()
        if not isinstance(value, dict | list)
    )


def _word(value: Json) -> str:
    return "" if value is None else str(value)


def table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    """A table; whatever stands in a cell stays in it."""
    lines = [head, ["---"] * len(head)]
    cells = [[text(cell or "") for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*lines, *cells])


def text(written: str) -> str:
    """Text of one line in which nothing is Markdown or HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in written).split())
    return _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;"))


def paragraphs(written: str) -> str:
    """The paragraphs of a text, each as one line that begins no list, quote or heading."""
    lines = (text(part) for part in re.split(r"\n\s*\n", written))
    return "\n\n".join(_BEGINNING.sub(r"\1\\\2", line) for line in lines if line)


def _sentence(words: str) -> str:
    escaped = text(words)
    return f"{escaped[:1].upper()}{escaped[1:]}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else noun + 's'}"
