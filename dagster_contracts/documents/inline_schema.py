"""A schema written out in a compact contract: ``fields`` by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dagster_contracts.core.contract import (
    ExtraColumns,
    LogicalType,
    QualityRule,
    Relationship,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.problem import did_you_mean
from dagster_contracts.documents.quality import mend_rule, read_rule
from dagster_contracts.documents.rule_name import name_rules
from dagster_contracts.documents.section import Section, describe
from dagster_contracts.documents.type_options import read_options
from dagster_contracts.documents.vocabulary import schema as words
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
)
from dagster_contracts.errors import SourceLocation

_TYPE_SYNONYMS = {
    "int": "integer",
    "bigint": "integer",
    "smallint": "integer",
    "long": "integer",
    "int64": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "numeric": "number",
    "float64": "number",
    "str": "string",
    "text": "string",
    "varchar": "string",
    "uuid": "string",
    "bool": "boolean",
    "datetime": "timestamp",
    "timestamptz": "timestamp",
    "struct": "object",
    "record": "object",
    "list": "array",
    "json": "object",
    "date-time": "timestamp",
    "datetime64": "timestamp",
    "bytes": "string",
    "binary": "string",
    "char": "string",
    "int32": "integer",
    "float32": "number",
    "real": "number",
    "dict": "object",
}
_SELDOM = words.FIELD.names - words.OPTION_NAMES - {"type", "description", "required", "unique"}
_TYPES = {logical_type.value: logical_type for logical_type in LogicalType}
_FIELD_SYNONYMS = {
    "nullable": "'required: true' for what may not be null",
    "not_null": "'required: true'",
    "optional": "'required: true' for what may not be missing",
    "min": "'minimum'",
    "max": "'maximum'",
    "regex": "'pattern'",
    "values": "'enum'",
    "allowed_values": "'enum'",
    "key": "'primary_key'",
    "logical_type": "'type'",
    "data_type": "'type'",
    "dtype": "'type'",
    "properties": "'fields'",
    "columns": "'fields'",
    "foreign_key": "'references'",
    "logical_type_options": "its keys beside 'type': minimum, pattern, max_length, ...",
}


def read_inline_schema(section: Section, name: str) -> SchemaObject:
    """``{fields: {...}, primary_key, extra_columns, ordered, relationships, quality, ...}``."""
    section.what = "a schema"
    references: list[Relationship] = []
    properties = _read_fields(section, "fields", references)
    if "fields" not in section:
        section.missing("fields", "add fields: {order_id: integer}")
    key = section.texts("primary_key")
    properties = _with_key(section, properties, key)
    references += [read_relationship(item) for item in section.sections("relationships")]
    names = ColumnNames.of(properties)
    for relationship in references:
        for column in relationship.columns:
            check_column(section, column, names)
    schema = SchemaObject(
        name=section.text("name") or name,
        properties=properties,
        physical_name=section.text("physical_name"),
        physical_type=section.text("physical_type"),
        id=section.text("id"),
        description=section.text("description"),
        extra_columns=section.choice("extra_columns", ExtraColumns, ExtraColumns.ALLOW),
        ordered=section.flag("ordered"),
        quality=read_rules(section, properties),
        relationships=tuple(references),
        tags=section.texts("tags"),
        location=section.location,
        extras=section.mapping("extras"),
    )
    section.finish(
        words.SCHEMA,
        synonyms={
            "columns": "'fields'",
            "properties": "'fields'",
            "strict": "'extra_columns: forbid'",
        },
    )
    return name_rules(schema, section)


def read_relationship(item: Section) -> Relationship:
    """``{columns: [...], to: [...]}``."""
    item.what = "a relationship"
    columns, to = item.texts("columns"), item.texts("to")
    if not columns:
        item.missing("columns")
    if len(columns) != len(to):
        item.findings.warning(
            item.place("to"),
            "relationship",
            f"{len(columns)} columns refer to {len(to)}: the relationship is not checked",
            "name one target for each column",
        )
    found = Relationship(columns=columns, to=to, extras=item.mapping("extras"))
    item.finish(words.RELATIONSHIP, synonyms={"from": "'columns'", "references": "'to'"})
    return found


def read_rules(section: Section, properties: tuple[SchemaProperty, ...]) -> tuple[QualityRule, ...]:
    """``quality``: rules about the whole object, or about the column that each names."""
    rules: list[QualityRule] = []
    names = ColumnNames.of(properties)
    physical = {prop.name: prop.column for prop in properties}
    for item in section.sections("quality", mend=mend_rule):
        rule = read_rule(item, column=None, strict=True)
        if rule is None:
            continue
        columns = [*rule.columns, *([rule.column] if rule.column else [])]
        for column in columns:
            check_column(item, column, names)
        rules.append(
            replace(
                rule,
                column=physical.get(rule.column, rule.column) if rule.column else None,
                columns=tuple(physical.get(column, column) for column in rule.columns),
            )
        )
    return tuple(rules)


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The names under which columns may be spoken of, and those that hold columns of their own."""

    known: frozenset[str]
    nested: frozenset[str]

    @classmethod
    def of(cls, properties: Iterable[SchemaProperty]) -> ColumnNames:
        """Those of a schema."""
        found = tuple(properties)
        return cls(
            frozenset(name for p in found for name in (p.name, p.physical_name) if name),
            frozenset(p.name for p in found if p.properties),
        )


def check_column(
    section: Section, column: str, names: ColumnNames, where: SourceLocation | None = None
) -> None:
    """Note a column that the schema does not have; a schema without any is not known."""
    if not names.known or column in names.known or column.partition(".")[0] in names.nested:
        return
    section.findings.error(
        where or section.place("column"),
        "unknown-column",
        f"there is no column {column!r}",
        did_you_mean(column, names.known),
    )


def _read_fields(
    section: Section, key: str, references: list[Relationship]
) -> tuple[SchemaProperty, ...]:
    node = section.take(key)
    if node is None:
        return ()
    named: list[tuple[str, YamlNode]] = []
    if isinstance(node, MappingNode):
        named = list(node.entries.items())
    elif isinstance(node, SequenceNode):
        for item in node.items:
            written = item.entries.get("name") if isinstance(item, MappingNode) else None
            if isinstance(written, ScalarNode):
                named.append((written.text, item))
            else:
                section.wrong(
                    item,
                    key,
                    "a mapping of names, or a list of mappings with a name",
                    _without_dash(item),
                )
    else:
        section.wrong(node, key, "a mapping of names to types")
    found: list[SchemaProperty] = []
    seen: set[str] = set()
    for name, child in named:
        if name in seen:
            section.findings.error(
                child.location, "duplicate-field", f"there are two fields named {name!r}"
            )
        seen.add(name)
        found.append(_read_field(section, name, child, references))
    return tuple(found)


def _without_dash(item: YamlNode) -> str | None:
    """How an item of a list of fields is written as a key of a mapping."""
    if isinstance(item, ScalarNode):
        return f"write {item.text}: string, without the '- '"
    if isinstance(item, MappingNode) and len(item.entries) == 1:
        ((name, inner),) = item.entries.items()
        written = inner.text if isinstance(inner, ScalarNode) else "{...}"
        return f"write {name}: {written}, without the '- '"
    return "give each item a 'name', or write the names as keys"


def _read_field(
    section: Section,
    name: str,
    node: YamlNode,
    references: list[Relationship],
    *,
    named: bool = True,
) -> SchemaProperty:
    """One field; the items of an array (``named=False``) may say a name of their own."""
    if isinstance(node, ScalarNode):
        return SchemaProperty(
            name=name, logical_type=_logical_type(section, node), location=node.location
        )
    if not isinstance(node, MappingNode):
        section.findings.error(
            node.location,
            "wrong-type",
            f"the field {name!r} must be a type or a mapping, not {describe(node)}",
            f"write {name}: string, or {name}: {{type: string, required: true}}",
        )
        return SchemaProperty(name=name, location=node.location)
    field = Section(node, section.reading, f"the field {name!r}")
    if not field.present(_SELDOM):
        return _plain_field(section, field, name)
    called = field.spelling("name")
    name = name if named or called is None else called
    type_node = field.take("type")
    logical_type = _logical_type(section, type_node) if type_node is not None else None
    nested: list[Relationship] = []
    children = _read_fields(field, "fields", nested)
    item_node = field.take("items")
    inner = "values" if logical_type is LogicalType.MAP else "items"
    items = None
    if item_node is not None:
        items = _read_field(field, inner, item_node, nested, named=False)
    if logical_type is None and "type" not in field:
        logical_type = LogicalType.OBJECT if children else LogicalType.ARRAY if items else None
    target = field.text("references")
    if target is not None:
        references.append(Relationship(columns=(name,), to=(target,)))
    extras = field.mapping("extras")
    if nested:
        # The engine follows the references of top-level columns; these are carried along.
        field.findings.warning(
            field.location,
            "relationship",
            f"what is nested in {name!r} refers to another object, and only columns are checked",
        )
        children, items = _carrying(children, nested), items and _carrying((items,), nested)[0]
    key_node = field.take("primary_key")
    key_position: int | None = None
    if isinstance(key_node, ScalarNode) and key_node.value is True:
        key_position = 0  # resolved to its place by _with_key
    elif isinstance(key_node, ScalarNode) and type(key_node.value) is int:
        key_position = key_node.value
    elif key_node is not None and not (
        isinstance(key_node, ScalarNode) and key_node.value is False
    ):
        field.wrong(key_node, "primary_key", "true, or its place in the key")
    rules = tuple(
        rule
        for item in field.sections("quality", mend=mend_rule)
        if (rule := read_rule(item, column=field.text("physical_name") or name, strict=True))
    )
    prop = SchemaProperty(
        name=name,
        logical_type=logical_type,
        physical_type=field.text("physical_type"),
        physical_name=field.text("physical_name"),
        id=field.text("id"),
        business_name=field.text("business_name"),
        description=field.text("description"),
        required=field.flag("required"),
        unique=field.flag("unique"),
        primary_key_position=key_position,
        partition_key_position=field.integer("partition_key", minimum=1),
        classification=field.text("classification"),
        unit=field.text("unit"),
        critical=field.flag("critical"),
        aliases=field.texts("aliases"),
        tags=field.texts("tags"),
        options=read_options(
            field, logical_type, required_properties=field.texts("required_properties")
        ),
        properties=children,
        items=items,
        quality=rules,
        location=field.location,
        extras=extras,
    )
    field.finish(words.FIELD, synonyms=_FIELD_SYNONYMS)
    return prop


def _plain_field(section: Section, field: Section, name: str) -> SchemaProperty:
    """A field of a type, a description and constraints, as nearly all are.

    One look tells that nothing else is written: a folder has tens of thousands of columns.
    """
    type_node = field.take("type")
    logical_type = _logical_type(section, type_node) if type_node is not None else None
    prop = SchemaProperty(
        name=name,
        logical_type=logical_type,
        description=field.text("description"),
        required=field.flag("required"),
        unique=field.flag("unique"),
        options=read_options(field, logical_type),
        location=field.location,
    )
    field.finish(words.FIELD, synonyms=_FIELD_SYNONYMS)
    return prop


def _carrying(
    fields: tuple[SchemaProperty, ...], references: list[Relationship]
) -> tuple[SchemaProperty, ...]:
    """The fields with their references among the extras, in the words of ODCS."""
    return tuple(
        replace(
            field,
            extras={
                **field.extras,
                "relationships": [
                    {"type": found.type, "to": found.to[0]}
                    for found in references
                    if found.columns == (field.name,)
                ],
            },
        )
        if any(found.columns == (field.name,) for found in references)
        else field
        for field in fields
    )


def _logical_type(section: Section, node: YamlNode) -> LogicalType | None:
    if isinstance(node, ScalarNode) and node.value is not None:
        known = _TYPES.get(node.text)
        if known is not None:
            return known
        hint = did_you_mean(node.text, [member.value for member in LogicalType])
        section.findings.error(
            node.location,
            "unknown-type",
            f"there is no type {node.text!r}",
            _type_hint(node.text) or hint,
        )
    elif isinstance(node, ScalarNode):
        return None
    else:
        section.findings.error(
            node.location,
            "wrong-type",
            f"a type is one word, not {describe(node)}",
            "write the type alone: whatever is not 'required: true' may be null",
        )
    return None


def meant_type(word: str) -> str | None:
    """The logical type that a database's or a language's word for one means."""
    return _TYPE_SYNONYMS.get(word.lower().partition("(")[0])


def _type_hint(word: str) -> str | None:
    meant = meant_type(word)
    if meant is not None:
        return f"write {meant!r}; the database's own type goes to physical_type"
    lower = word.lower()
    if lower.endswith("[]") or lower.startswith(("array<", "list<", "list[", "array(")):
        item = re.split(r"[<(\[]", lower.removesuffix("[]"))[-1].rstrip(">)]")
        item = meant_type(item) or (item if item in _TYPES else "string")
        return f"write {{type: array, items: {item}}}"
    return None


def _with_key(
    section: Section, properties: tuple[SchemaProperty, ...], key: tuple[str, ...]
) -> tuple[SchemaProperty, ...]:
    """Number the columns of the primary key, from the list or from the fields' own marks."""
    if key:
        names = ColumnNames.of(properties)
        for column in key:
            check_column(section, column, names, section.place("primary_key"))
        place = {column: position for position, column in enumerate(key, start=1)}
        return tuple(replace(p, primary_key_position=place.get(p.name)) for p in properties)
    position = 0
    numbered: list[SchemaProperty] = []
    for prop in properties:
        if prop.primary_key_position == 0:
            position += 1
            prop = replace(prop, primary_key_position=position)
        numbered.append(prop)
    return tuple(numbered)
