"""Avro schemas (``.avsc``) as schemas of contracts.

``fastavro`` judges whether the schema is valid Avro; what it means is read from the text itself, so
that every message has a line and a column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import cast

from dagster_contracts.core.contract import (
    Json,
    LogicalType,
    SchemaObject,
    SchemaProperty,
    TypeOptions,
)
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.documents.json_text import parse_json
from dagster_contracts.documents.problem import Findings, did_you_mean
from dagster_contracts.documents.section import Reading, Section, describe
from dagster_contracts.documents.type_options import read_options
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import DocumentError, SourceLocation

_PRIMITIVES = {
    "boolean": LogicalType.BOOLEAN,
    "int": LogicalType.INTEGER,
    "long": LogicalType.INTEGER,
    "float": LogicalType.NUMBER,
    "double": LogicalType.NUMBER,
    "bytes": LogicalType.STRING,
    "string": LogicalType.STRING,
}
#: Logical type: what it stands on, our type, and whether it is an instant (True) or a local time.
_LOGICAL: dict[str, tuple[tuple[str, ...], LogicalType, bool | None]] = {
    "date": (("int",), LogicalType.DATE, None),
    "time-millis": (("int",), LogicalType.TIME, None),
    "time-micros": (("long",), LogicalType.TIME, None),
    "timestamp-millis": (("long",), LogicalType.TIMESTAMP, True),
    "timestamp-micros": (("long",), LogicalType.TIMESTAMP, True),
    "timestamp-nanos": (("long",), LogicalType.TIMESTAMP, True),
    "local-timestamp-millis": (("long",), LogicalType.TIMESTAMP, False),
    "local-timestamp-micros": (("long",), LogicalType.TIMESTAMP, False),
    "local-timestamp-nanos": (("long",), LogicalType.TIMESTAMP, False),
    "decimal": (("bytes", "fixed"), LogicalType.NUMBER, None),
    "uuid": (("string", "fixed"), LogicalType.STRING, None),
    "duration": (("fixed",), LogicalType.STRING, None),
}
_FIELD_KEYS = {"name", "type", "doc", "default", "order", "aliases"}
#: The attribute in which our export says what Avro has no words for, and its keys.
NOTES = "contract"
_NOTE_KEYS = {"name", "type", "options", "aliases"}
_MAX_NESTING = 30
_PLACE = re.compile(r"\W+")


@dataclass(slots=True)
class _Type:
    """An Avro type as a property needs it."""

    logical_type: LogicalType | None
    physical_type: str
    nullable: bool = False
    options: TypeOptions = field(default_factory=TypeOptions)
    properties: tuple[SchemaProperty, ...] = ()
    items: SchemaProperty | None = None


def read_avro(content: bytes | str, path: str, name: str, findings: Findings) -> SchemaObject:
    """The record of an ``.avsc`` file as a schema object called ``name``.

    A field is required unless its union has ``null``. Several branches besides null are refused:
    no column has two types. Raises :class:`DocumentError` where the file cannot be read at all.
    """
    node = parse_json(content, path)
    _validate(node)
    if not isinstance(node, MappingNode) or _text(node, "type") != "record":
        raise DocumentError(
            f"the Avro schema of a contract is a record, not {describe(node)}",
            where=node.location,
            hint='write {"type": "record", "name": "...", "fields": [...]}',
        )
    if not isinstance(node.entries.get("fields"), SequenceNode):
        raise DocumentError(
            "this is not an Avro schema: the record has no list of fields",
            where=node.location,
            hint='add "fields": [{"name": "...", "type": "..."}]',
        )
    reader = _Reader(findings)
    properties = reader.record(node, "", 0)
    namespace = _text(node, "namespace")
    record = _text(node, "name") or name
    extras: dict[str, Json] = {"avroName": f"{namespace}.{record}" if namespace else record}
    return SchemaObject(
        name=name,
        properties=properties,
        description=_text(node, "doc"),
        location=node.location,
        extras=extras,
    )


def _validate(node: YamlNode) -> None:
    from fastavro.schema import SchemaParseException, UnknownType, parse_schema  # late: heavy

    try:
        parse_schema(cast("dict[str, object]", to_json(node)))
    except UnknownType as error:
        unknown = str(getattr(error, "name", error))
        raise DocumentError(
            f"the Avro schema uses a type {unknown!r} that it does not define",
            where=_find(node, unknown) or node.location,
            hint=did_you_mean(
                unknown.rpartition(".")[2], [*_PRIMITIVES, "record", "enum", "array"]
            ),
        ) from None
    except (SchemaParseException, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = str(error) if isinstance(error, SchemaParseException) else f"{error!r} in its text"
        raise DocumentError(
            "this is not an Avro schema", where=node.location, why=what[:300]
        ) from None
    except ValueError as error:
        raise DocumentError(
            "this is not an Avro schema", where=node.location, why=str(error)[:300]
        ) from None


class _Reader:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._named: dict[str, MappingNode] = {}
        self._within: list[str] = []

    def record(self, node: MappingNode, namespace: str, depth: int) -> tuple[SchemaProperty, ...]:
        namespace = self._remember(node, namespace)
        full = _full_name(node, namespace)
        if full in self._within or depth > _MAX_NESTING:
            self._findings.warning(
                node.location,
                "recursive-type",
                f"the record {full!r} contains itself; only its first level is checked",
            )
            return ()
        self._within.append(full)
        fields = node.entries.get("fields")
        found = [
            self._field(item, namespace, depth)
            for item in (fields.items if isinstance(fields, SequenceNode) else [])
            if isinstance(item, MappingNode)
        ]
        self._within.pop()
        names = [prop.column for prop in found]
        for number, prop in enumerate(found):
            if prop.column in names[:number]:
                self._findings.error(
                    prop.location or node.location,
                    "duplicate-field",
                    f"the record {full!r} has two fields named {prop.column!r}",
                    "keep one of them",
                )
        return tuple(found)

    def _field(self, node: MappingNode, namespace: str, depth: int) -> SchemaProperty:
        name = _text(node, "name") or ""
        if "logicalType" in node.entries:
            self._findings.warning(
                node.key_location("logicalType"),
                "avro-logical-type",
                f"the logicalType of {name!r} stands beside its type, where Avro ignores it",
                f'write "type": {{"type": {_shown(node)}, '
                f'"logicalType": "{_text(node, "logicalType")}"}}',
            )
        for key in node.entries:
            near = near_names(key, _FIELD_KEYS, count=1) if key not in _FIELD_KEYS else []
            if near:
                self._findings.warning(
                    node.key_location(key),
                    "unknown-key",
                    f"Avro gives the key {key!r} of a field no meaning",
                    meant_one_of(near),
                )
        found = self.type(node.entries["type"], namespace, depth)
        extras: dict[str, Json] = {}
        if "default" in node.entries:
            extras["avroDefault"] = to_json(node.entries["default"])
        notes = _notes(node)
        known = _FIELD_KEYS | {"logicalType"} | ({NOTES} if notes else set())
        extras.update({k: to_json(v) for k, v in node.entries.items() if k not in known})
        prop = SchemaProperty(
            name=name,
            logical_type=found.logical_type,
            physical_type=found.physical_type,
            description=_text(node, "doc"),
            required=not found.nullable,
            aliases=_texts(node, "aliases"),
            options=found.options,
            properties=found.properties,
            items=found.items,
            location=node.location,
            extras=extras,
        )
        return prop if notes is None else self._noted(prop, notes)

    def _noted(self, prop: SchemaProperty, notes: MappingNode) -> SchemaProperty:
        """The property with what an export of ours noted beside its type."""
        section = Section(notes, Reading(notes.path, findings=self._findings), "'contract'")
        if "name" in section:
            prop = replace(prop, name=section.text("name") or prop.name, physical_name=prop.name)
        if "type" in section:
            kind = section.text("type")
            known = kind in LogicalType.__members__.values()
            prop = replace(prop, logical_type=LogicalType(kind) if kind and known else None)
        if "options" in section or "type" in section:
            options = section.section("options")
            required = options.texts("required_properties") if options else ()
            read = read_options(options, prop.logical_type, required_properties=required)
            prop = replace(prop, options=read)
        return replace(prop, aliases=section.texts("aliases") or prop.aliases)

    def type(self, node: YamlNode, namespace: str, depth: int) -> _Type:
        """The meaning of a type: a name, a definition or a union."""
        if depth > _MAX_NESTING:
            raise DocumentError(
                f"the Avro types are nested more than {_MAX_NESTING} deep", where=node.location
            )
        if isinstance(node, ScalarNode):
            if node.text in _PRIMITIVES:
                return _Type(_PRIMITIVES[node.text], node.text)
            if node.text == "null":
                return _Type(None, "null", nullable=True)
            named = self._named.get(node.text) or self._named.get(f"{namespace}.{node.text}")
            if named is None:
                return _Type(None, node.text)
            return self.type(named, namespace, depth + 1)
        if isinstance(node, SequenceNode):
            return self._union(node, namespace, depth)
        return self._definition(node, namespace, depth)

    def _union(self, node: SequenceNode, namespace: str, depth: int) -> _Type:
        branches = [self.type(item, namespace, depth + 1) for item in node.items]
        values = [branch for branch in branches if branch.physical_type != "null"]
        if len(values) > 1:
            kinds = ", ".join(branch.physical_type for branch in values)
            raise DocumentError(
                f"a union of several types cannot be a column: {kinds}",
                where=node.location,
                why="a column has one type; only a union of one type with null can be checked",
                hint="split the field, or make it a record with one nullable field for each type",
            )
        if not values:
            return _Type(None, "null", nullable=True)
        values[0].nullable = values[0].nullable or len(values) < len(branches)
        return values[0]

    def _definition(self, node: MappingNode, namespace: str, depth: int) -> _Type:
        inner = node.entries.get("type")
        if isinstance(inner, MappingNode | SequenceNode):
            return self.type(inner, namespace, depth + 1)
        kind = _text(node, "type") or ""
        logical = _text(node, "logicalType")
        if logical is not None:
            found = self._logical(node, kind, logical)
            if found is not None:
                self._remember(node, namespace)
                return found
        match kind:
            case "record" | "error":
                properties = self.record(node, namespace, depth + 1)
                return _Type(LogicalType.OBJECT, "record", properties=properties)
            case "enum":
                self._remember(node, namespace)
                symbols = _texts(node, "symbols")
                return _Type(LogicalType.STRING, "enum", options=TypeOptions(enum=symbols))
            case "array":
                return _Type(
                    LogicalType.ARRAY, "array", items=self._item(node, "items", namespace, depth)
                )
            case "map":
                return _Type(
                    LogicalType.MAP, "map", items=self._item(node, "values", namespace, depth)
                )
            case "fixed":
                self._remember(node, namespace)
                return _Type(LogicalType.STRING, "fixed")
            case _:
                assert inner is not None
                return self.type(inner, namespace, depth + 1)

    def _item(self, node: MappingNode, key: str, namespace: str, depth: int) -> SchemaProperty:
        found = self.type(node.entries[key], namespace, depth + 1)
        prop = SchemaProperty(
            name=key,
            logical_type=found.logical_type,
            physical_type=found.physical_type,
            required=not found.nullable,
            options=found.options,
            properties=found.properties,
            items=found.items,
            location=node.entries[key].location,
        )
        branches = node.entries[key]
        types = branches.items if isinstance(branches, SequenceNode) else [branches]
        notes = next((noted for branch in types if (noted := _notes(branch))), None)
        return prop if notes is None else self._noted(prop, notes)

    def _logical(self, node: MappingNode, kind: str, logical: str) -> _Type | None:
        known = _LOGICAL.get(logical)
        where = node.key_location("logicalType")
        if known is None:
            self._findings.warning(
                where,
                "avro-logical-type",
                f"Avro knows no logicalType {logical!r}, and reads a plain {kind}",
                meant_one_of(near_names(logical, _LOGICAL, count=1)),
            )
            return None
        bases, logical_type, instant = known
        if kind not in bases:
            self._findings.warning(
                where,
                "avro-logical-type",
                f"the logicalType {logical!r} stands on {' or '.join(bases)}, not on {kind}, "
                "and Avro ignores it",
                f'write "type": "{bases[0]}"',
            )
            return None
        physical, options = logical, TypeOptions(timezone=instant)
        if logical == "decimal":
            precision, scale = _number(node, "precision"), _number(node, "scale") or 0
            physical = f"decimal({precision},{scale})"
        if logical == "uuid":
            options = TypeOptions(format="uuid")
        return _Type(logical_type, physical, options=options)

    def _remember(self, node: MappingNode, namespace: str) -> str:
        """Note a named type, and give the namespace that holds inside it."""
        name = _text(node, "name")
        namespace = _text(node, "namespace") or namespace
        if name:
            if "." in name:
                namespace = name.rpartition(".")[0]
            self._named[_full_name(node, namespace)] = node
            self._named.setdefault(name.rpartition(".")[2], node)
        return namespace


def _notes(node: YamlNode) -> MappingNode | None:
    found = node.entries.get(NOTES) if isinstance(node, MappingNode) else None
    ours = isinstance(found, MappingNode) and found.entries.keys() <= _NOTE_KEYS
    return found if ours and isinstance(found, MappingNode) else None


def _full_name(node: MappingNode, namespace: str) -> str:
    name = _text(node, "name") or ""
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _text(node: MappingNode, key: str) -> str | None:
    found = node.entries.get(key)
    return found.value if isinstance(found, ScalarNode) and isinstance(found.value, str) else None


def _number(node: MappingNode, key: str) -> int | None:
    found = node.entries.get(key)
    return found.value if isinstance(found, ScalarNode) and type(found.value) is int else None


def _texts(node: MappingNode, key: str) -> tuple[str, ...]:
    found = node.entries.get(key)
    items = found.items if isinstance(found, SequenceNode) else []
    return tuple(i.value for i in items if isinstance(i, ScalarNode) and isinstance(i.value, str))


def _shown(node: MappingNode) -> str:
    found = node.entries.get("type")
    return f'"{found.text}"' if isinstance(found, ScalarNode) else "..."


def _find(node: YamlNode, text: str) -> SourceLocation | None:
    if isinstance(node, ScalarNode):
        return node.location if node.text in (text, _PLACE.split(text)[-1]) else None
    children = node.items if isinstance(node, SequenceNode) else node.entries.values()
    return next((place for child in children if (place := _find(child, text))), None)
