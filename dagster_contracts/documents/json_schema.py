"""JSON Schema files as schemas of contracts: the part of it that speaks of tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dagster_contracts.core.contract import (
    ExtraColumns,
    Json,
    LogicalType,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.json_text import parse_json
from dagster_contracts.documents.section import Reading, Section, describe
from dagster_contracts.documents.type_options import read_options, read_scalar
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
)
from dagster_contracts.errors import DocumentError, SourceLocation

_TYPES = {
    "string": LogicalType.STRING,
    "integer": LogicalType.INTEGER,
    "number": LogicalType.NUMBER,
    "boolean": LogicalType.BOOLEAN,
    "object": LogicalType.OBJECT,
    "array": LogicalType.ARRAY,
}
_FORMATS = {
    "date": LogicalType.DATE,
    "date-time": LogicalType.TIMESTAMP,
    "time": LogicalType.TIME,
    "local-date-time": LogicalType.TIMESTAMP,
}
#: The bounds of texts that have an order of their own, as ajv writes them.
_FORMAT_BOUNDS = {
    "format_minimum": "minimum",
    "format_maximum": "maximum",
    "format_exclusive_minimum": "exclusive_minimum",
    "format_exclusive_maximum": "exclusive_maximum",
}
#: Words that say nothing about the values, or that are read elsewhere.
_SILENT = {
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
    "$id",
    "$schema",
    "$comment",
    "$anchor",
    "definitions",
    "$defs",
    "read_only",
    "write_only",
}
_MAX_NESTING = 30
_MOST_PROPERTIES = 10_000


def read_json_schema(content: bytes | str, path: str, name: str, reading: Reading) -> SchemaObject:
    """A JSON Schema of an object (or of an array of them: the rows) as a schema object.

    What it says and a contract cannot check (``if``, ``allOf`` of conditions, ...) is a warning.
    """
    root = parse_json(content, path)
    reader = _Reader(reading, root)
    node = reader.resolve(root)
    if isinstance(node, MappingNode) and _word(node, "type") == "array" and "items" in node.entries:
        node = reader.resolve(node.entries["items"])
    if not isinstance(node, MappingNode) or "properties" not in node.entries:
        raise DocumentError(
            "the JSON Schema of a contract describes an object with properties",
            where=node.location,
            hint='write {"type": "object", "properties": {...}, "required": [...]}',
        )
    section = Section(node, reading, "the JSON Schema")
    properties, extra = reader.columns(section)
    for key in ("type", *_SILENT):
        section.take(key)
    for word in section.rest():
        if not word.startswith(("x-", "$")):
            reader.unchecked(section, word)
    return SchemaObject(
        name=name,
        properties=properties,
        description=_word(node, "description"),
        extra_columns=extra,
        location=node.location,
    )


class _Reader:
    def __init__(self, reading: Reading, root: YamlNode) -> None:
        self._reading = reading
        self._root = root
        self._within: list[YamlNode] = []
        self._cut: set[SourceLocation] = set()
        self._unfolded = 0

    def resolve(self, node: YamlNode) -> YamlNode:
        """Follow ``$ref`` within the file."""
        followed = 0
        while isinstance(node, MappingNode) and "$ref" in node.entries:
            followed += 1
            target = node.entries["$ref"]
            text = target.text if isinstance(target, ScalarNode) else ""
            if followed > _MAX_NESTING:
                raise DocumentError(f"the reference {text!r} leads to itself", where=node.location)
            if not text.startswith("#"):
                raise DocumentError(
                    f"the reference {text!r} leaves the file",
                    where=target.location,
                    hint="put the definition under $defs of this file",
                )
            found: YamlNode | None = self._root
            for part in text.lstrip("#").strip("/").split("/"):
                part = part.replace("~1", "/").replace("~0", "~")
                if part:
                    found = found.entries.get(part) if isinstance(found, MappingNode) else None
            if found is None:
                raise DocumentError(f"the reference {text!r} leads nowhere", where=target.location)
            node = found
        return node

    def columns(self, section: Section) -> tuple[tuple[SchemaProperty, ...], ExtraColumns]:
        """The properties of the whole schema, which may refer to itself too."""
        self._within.append(section.node)
        found = self.properties(section, 0)
        self._within.pop()
        return found

    def properties(
        self, section: Section, depth: int
    ) -> tuple[tuple[SchemaProperty, ...], ExtraColumns]:
        """The properties of an object, and whether it may have others."""
        required = set(section.texts("required"))
        node = section.take("properties")
        found: list[SchemaProperty] = []
        if isinstance(node, MappingNode):
            for name, child in node.entries.items():
                found.append(self.property(name, child, name in required, depth + 1))
        missing = required - {prop.name for prop in found}
        found.extend(
            SchemaProperty(name=name, required=True, location=section.place("required"))
            for name in sorted(missing)
        )
        additional = section.take("additional_properties")
        forbids = isinstance(additional, ScalarNode) and additional.value is False
        return tuple(found), ExtraColumns.FORBID if forbids else ExtraColumns.ALLOW

    def property(self, name: str, node: YamlNode, required: bool, depth: int) -> SchemaProperty:
        """One property; ``null`` among its types, or ``nullable: true``, makes it optional."""
        if depth > _MAX_NESTING:
            raise DocumentError(
                f"the JSON Schema is nested more than {_MAX_NESTING} deep", where=node.location
            )
        self._unfolded += 1
        if self._unfolded > _MOST_PROPERTIES:
            raise DocumentError(
                f"the JSON Schema has more than {_MOST_PROPERTIES:,} properties with all that "
                "its references lead to",
                where=node.location,
                hint="leave out what is nested deep, or write its type alone",
            )
        place = node.location
        node, nullable = self._without_null(self.resolve(node))
        if not isinstance(node, MappingNode):
            if isinstance(node, ScalarNode) and node.value is False:
                self._reading.findings.warning(
                    node.location,
                    "not-evaluated",
                    f"the property {name!r} is false: no value is allowed, which is not checked",
                    'leave the property out, and write "additionalProperties": false',
                )
            return SchemaProperty(name=name, required=required, location=node.location)
        if any(node is outer for outer in self._within):
            self._note_recursion(name, place)
            return SchemaProperty(
                name=name,
                logical_type=_TYPES.get(_word(node, "type") or ""),
                required=required and not nullable,
                location=node.location,
            )
        self._within.append(node)
        prop = self._property(name, node, required, nullable, depth)
        self._within.pop()
        return prop

    def _note_recursion(self, name: str, place: SourceLocation) -> None:
        if place in self._cut:
            return
        self._cut.add(place)
        self._reading.findings.warning(
            place,
            "recursive-type",
            f"{name!r} is of a type that contains itself; only its first level is checked",
        )

    def _property(
        self, name: str, node: MappingNode, required: bool, nullable: bool, depth: int
    ) -> SchemaProperty:
        section = Section(node, self._reading, f"the property {name!r}")
        kinds = [kind for kind in section.texts("type") if kind != "null"]
        nullable = nullable or len(kinds) < len(section.texts("type"))
        nullable = nullable or section.flag("nullable")
        logical_type = self._logical_type(section, name, kinds)
        form = _word(node, "format")
        properties, extra = self.properties(section, depth)
        items: SchemaProperty | None = None
        value_node = node.entries.get("additionalProperties")
        if logical_type is LogicalType.OBJECT and not properties and value_node is not None:
            logical_type, items = self._map(logical_type, value_node, depth)
        item_node = section.take("items")
        if isinstance(item_node, MappingNode):
            items = self.property("items", item_node, False, depth + 1)
        enum = [
            value
            for child in self._allowed(section)
            if isinstance(child, ScalarNode) and child.value is not None
            if (value := read_scalar(section, "enum", child, logical_type)) is not None
        ]
        extras: dict[str, Json] = {}
        if properties and extra is ExtraColumns.FORBID:
            extras["additionalProperties"] = False
        self._refuse_draft_4(section)
        options = read_options(section, logical_type, enum=tuple(enum))
        if form in _FORMATS:
            zones = {"date-time": True, "local-date-time": False}
            options = replace(options, format=None, timezone=zones.get(form or ""))
            for word, bound in _FORMAT_BOUNDS.items():
                limit = section.take(word)
                if limit is not None:
                    value = read_scalar(section, word, limit, logical_type)
                    changed: dict[str, Any] = {bound: value}
                    options = replace(options, **changed)
        prop = SchemaProperty(
            name=name,
            logical_type=logical_type,
            description=section.text("description"),
            required=required and not nullable,
            options=options,
            properties=properties,
            items=items,
            location=node.location,
            extras=extras,
        )
        for word in _SILENT:
            section.take(word)
        for word in section.rest():
            if not word.startswith(("x-", "$")):
                self.unchecked(section, word)
        return prop

    def _refuse_draft_4(self, section: Section) -> None:
        """Draft 4 said by a truth value that a bound is excluded; later drafts write the bound."""
        for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            node = section.node.entries.get(key)
            if isinstance(node, ScalarNode) and isinstance(node.value, bool):
                limit = section.node.entries.get(bound)
                shown = limit.text if isinstance(limit, ScalarNode) else "0"
                raise DocumentError(
                    f"{key!r} is a truth value, as in draft 4 of JSON Schema",
                    where=node.location,
                    why="draft 6 and later write the limit itself, and these are read here",
                    hint=f'write "{key}": {shown} in place of "{bound}"'
                    if node.value
                    else f'remove it: "{bound}" alone says it',
                )

    def _map(
        self, kind: LogicalType, node: YamlNode, depth: int
    ) -> tuple[LogicalType, SchemaProperty | None]:
        """An object of any properties, all of one schema, is a map."""
        if not isinstance(node, MappingNode):
            return kind, None
        values = self.property("values", node, False, depth + 1) if node.entries else None
        return LogicalType.MAP, values

    def unchecked(self, section: Section, word: str) -> None:
        """Warn that a keyword is read and not checked."""
        section.findings.warning(
            section.node.key_location(word),
            "not-evaluated",
            f"the keyword {word!r} of {section.what} is not checked",
            "write it as a quality rule if it matters",
        )

    def _without_null(self, node: YamlNode) -> tuple[YamlNode, bool]:
        """``anyOf`` or ``oneOf`` of one schema and null is that schema, nullable."""
        if not isinstance(node, MappingNode):
            return node, False
        for key in ("anyOf", "oneOf"):
            branches = node.entries.get(key)
            if not isinstance(branches, SequenceNode):
                continue
            found = [self.resolve(branch) for branch in branches.items]
            values = [branch for branch in found if _word(branch, "type") != "null"]
            if len(values) != 1:
                raise DocumentError(
                    f"{key} of several types cannot be a column",
                    where=branches.location,
                    hint="a column has one type; only one type and null can be checked",
                )
            return values[0], len(values) < len(found)
        return node, False

    def _logical_type(self, section: Section, name: str, kinds: list[str]) -> LogicalType | None:
        if len(kinds) > 1:
            raise DocumentError(
                f"{name!r} has several types: {', '.join(kinds)}",
                where=section.place("type"),
                hint="a column has one type; only one type and null can be checked",
            )
        if not kinds:
            return None
        if kinds[0] not in _TYPES:
            section.findings.error(
                section.place("type"),
                "unknown-type",
                f"JSON Schema knows no type {kinds[0]!r}",
                "known: " + ", ".join(_TYPES),
            )
            return None
        form = _word(section.node, "format")
        if kinds[0] == "string" and form in _FORMATS:
            return _FORMATS[form]
        return _TYPES[kinds[0]]

    def _allowed(self, section: Section) -> list[YamlNode]:
        constant = section.take("const")
        node = section.take("enum")
        if constant is not None:
            return [constant]
        if node is None or isinstance(node, SequenceNode):
            return [] if node is None else node.items
        section.findings.error(
            node.location, "wrong-type", f"'enum' must be a list, not {describe(node)}"
        )
        return []


def _word(node: YamlNode, key: str) -> str | None:
    found = node.entries.get(key) if isinstance(node, MappingNode) else None
    return found.value if isinstance(found, ScalarNode) and isinstance(found.value, str) else None
