"""Schema objects, fields and quality rules as ODCS writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from dagster_contracts.core.contract import (
    Contract,
    ExtraColumns,
    Json,
    LogicalType,
    QualityRule,
    Relationship,
    RuleKind,
    SchemaObject,
    SchemaProperty,
    SlaProperty,
    ThresholdOperator,
    TypeOptions,
)
from dagster_contracts.documents.compact_writer import (
    Written,
    write_options,
    write_relationship,
    write_rule,
    write_scalar,
    write_threshold,
)
from dagster_contracts.documents.quality import OWN_ENGINE, STANDARD_METRICS
from dagster_contracts.documents.vocabulary.key import OWN_PROPERTY

# Keys of the standard that the model carries along; what else it carries is not ODCS's.
_ELEMENT_KEYS = {"businessName", "deprecated", "synonyms", "authoritativeDefinitions", "context"}
_OBJECT_KEYS = _ELEMENT_KEYS | {"dataGranularityDescription"}
_PROPERTY_KEYS = _ELEMENT_KEYS | {
    "logicalType", "logicalTypeOptions", "map", "enum", "examples", "encryptedName", "semanticType",
    "transformSourceObjects", "transformLogic", "transformDescription", "relationships",
    "partitioned", "primaryKeyPosition",
}  # fmt: skip
_RULE_KEYS = {
    "name", "severity", "metric", "rule", "arguments", "authoritativeDefinitions", "businessImpact",
    "method",
    "schedule", "scheduler", "tags", "unit", *(operator.value for operator in ThresholdOperator),
}  # fmt: skip
_RELATIONSHIP_KEYS = {"id", "customProperties", "level"}
_DIMENSIONS = {
    "accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness",
}  # fmt: skip
_STABLE_ID = re.compile(r"[A-Za-z0-9_-]+")
_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)+")
_ENUM = "enum"
_TYPE = "logicalType"
#: What stands for no type at all where the standard's schema insists on one (3.2.0 takes a
#: property without ``logicalType`` for a map); the word is kept in our own custom property.
UNTYPED = "unknown"
_PHYSICAL = (
    (re.compile(r"(?i)(?:big|small|tiny)?int\d*|integer|long|serial"), LogicalType.INTEGER),
    (re.compile(r"(?i)num|dec|float|double|real"), LogicalType.NUMBER),
    (re.compile(r"(?i)bool"), LogicalType.BOOLEAN),
    (re.compile(r"(?i)timestamp|datetime"), LogicalType.TIMESTAMP),
    (re.compile(r"(?i)date"), LogicalType.DATE),
)
_OPTIONS = "logicalTypeOptions"
_RELATIONSHIPS = "relationships"
_PLAIN = "type"

Element: TypeAlias = Contract | SchemaObject | SchemaProperty | QualityRule | SlaProperty


class Places:
    """Where the parts of one contract may stand in its document, and where they do.

    A part that the standard refuses at the place of its name is carried in a custom property of
    ours; :meth:`refuse` learns that from the places that a validator complains of.
    """

    def __init__(self, *, explicit: bool) -> None:
        self.explicit = explicit
        self._refused: set[tuple[int, str]] = set()
        self._written: dict[int, tuple[Written, Element]] = {}

    def begin(self) -> None:
        """Forget what was written before; what was refused is remembered."""
        self._written.clear()

    def note(self, written: Written, element: Element) -> Written:
        """Remember that ``written`` is the mapping of ``element``."""
        self._written[id(written)] = (written, element)
        return written

    def may_stand(self, element: Element, key: str) -> bool:
        """Whether nobody has refused ``key`` of this element."""
        return (id(element), key) not in self._refused

    def split(self, element: Element, known: set[str]) -> tuple[Written, Written]:
        """The extras that stand under their own keys, and those that must be carried."""
        standing: Written = {}
        carried: Written = {}
        for key, value in element.extras.items():
            if key == "customProperties":
                ours = isinstance(value, list) and bool(value)
            else:
                ours = key in known and not self.explicit
            fits = ours and self.may_stand(element, key)
            (standing if fits else carried)[key] = value
        return standing, carried

    def refuse(self, document: Written, path: Sequence[str | int]) -> bool:
        """Carry what stands at ``path`` from now on; whether anything could be moved."""
        node: Json = document
        found: list[tuple[Element, str | None]] = []
        for key in (*path, None):
            if isinstance(node, dict) and id(node) in self._written:
                found.append((self._written[id(node)][1], None if key is None else str(key)))
            if isinstance(node, dict) and isinstance(key, str):
                node = node.get(key)
            elif isinstance(node, list) and isinstance(key, int):
                node = node[key]
            else:
                break
        return any(self._move(element, key) for element, key in reversed(found))

    def _move(self, element: Element, key: str | None) -> bool:
        movable = set(element.extras)
        match element:
            case SchemaObject():
                movable.add(_RELATIONSHIPS)
            case SchemaProperty():
                movable |= {_OPTIONS, _ENUM, *([_TYPE] if _is_untyped(element) else [])}
            case QualityRule():
                movable.add(_PLAIN)
            case _:
                pass
        wanted = {key} if key in movable else {_PLAIN} & movable if key is not None else movable
        new = {(id(element), name) for name in wanted} - self._refused
        self._refused |= new
        return bool(new)


class SchemaWriter:
    """The ``schema`` of a document."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def object(self, schema: SchemaObject) -> Written:
        """One schema object."""
        extras, carried = self.places.split(schema, _OBJECT_KEYS)
        others = extras.pop("customProperties", None)
        by_column: dict[str, list[Json]] = {}
        composite: list[Json] = []
        own: list[Json] = []
        names = {prop.name for prop in schema.properties}
        for found in schema.relationships:
            near = [f"{schema.name}.{column}" for column in found.columns]
            if not self._is_standard(found, near) or not self.places.may_stand(
                schema, _RELATIONSHIPS
            ):
                own.append(write_relationship(found))
            elif found.extras.get("level") != "property":
                path: Json = [*near] if len(near) > 1 else near[0]
                composite.append({**_relationship(found), "from": path})
            elif len(found.columns) == 1 and found.columns[0] in names:
                by_column.setdefault(found.columns[0], []).append(_relationship(found))
            else:
                own.append(write_relationship(found))
        element_id, own_id = stable_id(schema.id)
        extra = schema.extra_columns
        written = short(
            {
                "name": schema.name,
                "id": element_id,
                "logicalType": "object",
                "physicalName": schema.physical_name,
                "physicalType": schema.physical_type,
                "description": schema.description,
                "properties": [self.property(p, by_column) for p in schema.properties],
                "relationships": composite,
                "quality": [self.rule(rule, None) for rule in schema.quality],
                "tags": list(schema.tags),
                "customProperties": custom(
                    others,
                    {
                        "asset": schema.asset,
                        "extraColumns": None if extra is ExtraColumns.ALLOW else extra.value,
                        "ordered": schema.ordered or None,
                        OWN_PROPERTY: short(
                            {"id": own_id, "relationships": own, "extras": carried}
                        ),
                    },
                ),
                **extras,
            },
            keep=tuple(extras),
        )
        return self.places.note(written, schema)

    def property(
        self,
        prop: SchemaProperty,
        relationships: Mapping[str, Sequence[Json]],
        *,
        default_name: str | None = None,
    ) -> Written:
        """One property; the items of an array leave out the name that all items have."""
        extras, carried = self.places.split(prop, _PROPERTY_KEYS)
        others = extras.pop("customProperties", None)
        logical_type = prop.logical_type
        element_id, own_id = stable_id(prop.id)
        written_options = write_options(prop.options)
        enum: Json = [{"value": write_scalar(value)} for value in prop.options.enum]
        own_options: Written = {}
        options: Json = _write_options(prop.options)
        refused = {key for key in (_OPTIONS, _ENUM) if not self.places.may_stand(prop, key)}
        if refused - extras.keys():
            own_options, options, enum = written_options, None, None
        # The standard's map must say what it holds.
        written_type: str | None = logical_type.value if logical_type else None
        own_type: str | None = None
        if logical_type is not None and _is_untyped(prop):
            written_type, own_type = None, logical_type.value
        if written_type is None and not self.places.may_stand(prop, _TYPE):
            written_type, own_type = _guess(prop), own_type or UNTYPED
        written: Written = {
            "name": None if prop.name == default_name else prop.name,
            "id": element_id,
            "businessName": prop.business_name,
            _TYPE: written_type,
            _OPTIONS: options,
            "physicalType": prop.physical_type,
            "physicalName": prop.physical_name,
            "description": prop.description,
            "required": prop.required or None,
            "unique": prop.unique or None,
            "primaryKey": True if prop.primary_key_position is not None else None,
            "primaryKeyPosition": prop.primary_key_position,
            "partitioned": True if prop.partition_key_position is not None else None,
            "partitionKeyPosition": prop.partition_key_position,
            "classification": prop.classification,
            "criticalDataElement": prop.critical or None,
            _ENUM: enum,
            "properties": [self.property(inner, {}) for inner in prop.properties],
            "relationships": list(relationships.get(prop.name, ())),
            "quality": [self.rule(rule, prop.column) for rule in prop.quality],
            "tags": list(prop.tags),
            "customProperties": custom(
                others,
                {
                    "unit": prop.unit,
                    "aliases": list(prop.aliases),
                    OWN_PROPERTY: short(
                        {
                            "id": own_id,
                            "type": own_type,
                            "options": own_options,
                            "extras": carried,
                        }
                    ),
                },
            ),
        }
        if prop.items is not None and logical_type is LogicalType.MAP:
            values = self.property(prop.items, {}, default_name="values")
            written["map"] = {"key": {"logicalType": "string"}, "value": values}
        elif prop.items is not None:
            written["items"] = self.property(prop.items, {}, default_name="items")
        # The standard's object must have properties, and may have none.
        nested = ("properties",) if logical_type is LogicalType.OBJECT else ()
        return self.places.note(short({**written, **extras}, keep=(*extras, *nested)), prop)

    def rule(self, rule: QualityRule, column: str | None) -> Written:
        """One quality rule; ``column`` is the one that its place already names."""
        extras, carried = self.places.split(rule, _RULE_KEYS)
        others = extras.pop("customProperties", None)
        arguments = extras.pop("arguments", None)
        # Aggregates and expressions are ours: to other tools they are a custom engine's business.
        foreign = not _is_standard_rule(rule) or not self.places.may_stand(rule, _PLAIN)
        element_id, own_id = stable_id(rule.id)
        dimension = rule.dimension if rule.dimension in _DIMENSIONS else None
        common: Written = {
            "name": extras.pop("name", rule.name),
            "id": element_id,
            "type": RuleKind.CUSTOM.value if foreign else rule.kind.value,
            "description": rule.description,
            "dimension": dimension,
            "severity": extras.pop("severity", rule.severity.value),
        }
        own: Written = {
            "id": own_id,
            "dimension": None if dimension else rule.dimension,
            "extras": carried,
        }
        ours: Written = {"column": None if rule.column == column else rule.column}
        if foreign:
            body = write_rule(rule, column=column)
            for key in ("name", "id", "description", "dimension", "severity", "extras", "column"):
                body.pop(key, None)
            if arguments is not None:
                own["extras"] = {**carried, "arguments": arguments}
            common |= {"engine": OWN_ENGINE, "implementation": body}
        else:
            if arguments is None:
                arguments = short(
                    {
                        "validValues": [write_scalar(value) for value in rule.valid_values],
                        "missingValues": [write_scalar(value) for value in rule.missing_values],
                        "pattern": rule.pattern,
                        "properties": list(rule.columns),
                    }
                )
            common |= {
                # ODCS 3.0 called it 'rule'; that is among the extras.
                "metric": rule.metric.value if rule.metric and "rule" not in extras else None,
                "arguments": arguments,
                "query": rule.query,
                "engine": rule.engine,
                "implementation": rule.implementation,
                **{
                    key if key == "unit" else _camel(key): value
                    for key, value in write_threshold(rule.threshold).items()
                },
            }
            ours |= {"warn": write_threshold(rule.warn), "filter": rule.filter}
        common["customProperties"] = custom(others, {**ours, OWN_PROPERTY: short(own)})
        return self.places.note(short({**common, **extras}, keep=tuple(extras)), rule)

    def _is_standard(self, found: Relationship, near: Sequence[str]) -> bool:
        return (
            len(found.columns) == len(found.to) > 0
            and not found.extras.keys() - _RELATIONSHIP_KEYS
            and found.extras.get("level") in (None, "property")
            and all(_REFERENCE.fullmatch(path) for path in (*near, *found.to))
            and all("." not in column for column in found.columns)
            and not self.places.explicit
        )


def _is_standard_rule(rule: QualityRule) -> bool:
    """Whether ODCS has words for all that the rule says."""
    argued = bool(rule.valid_values or rule.missing_values or rule.pattern or rule.columns)
    called = rule.engine is not None or rule.implementation is not None
    if rule.expression is not None or rule.quantile is not None:
        return False
    match rule.kind:
        case RuleKind.LIBRARY:
            # What 3.0 let people write as a rule is kept in their words.
            known = rule.metric in STANDARD_METRICS or bool(rule.extras.keys() & {"rule", "metric"})
            return known and rule.query is None and not called
        case RuleKind.SQL:
            return not argued and not called
        case RuleKind.CUSTOM:
            own = rule.engine == OWN_ENGINE and isinstance(rule.implementation, dict)
            return not argued and rule.query is None and not own
        case RuleKind.TEXT:
            return not argued and not called and rule.query is None and rule.threshold is None
        case RuleKind.EXPRESSION:
            return False


def _is_untyped(prop: SchemaProperty) -> bool:
    """Whether nothing is written that says the type: a map of nothing is such a property too."""
    bare_map = prop.logical_type is LogicalType.MAP and prop.items is None
    return prop.logical_type is None or bare_map


def _guess(prop: SchemaProperty) -> str:
    physical = prop.physical_type or ""
    found = (kind for known, kind in _PHYSICAL if known.match(physical))
    return next(found, LogicalType.STRING).value


def _write_options(options: TypeOptions) -> Written:
    written = write_options(options)
    written.pop("enum", None)
    required = written.pop("required_properties", None)
    found = {_camel(key): value for key, value in written.items()}
    if required is not None:
        found["required"] = required
    return found


def _relationship(found: Relationship) -> Written:
    extras = {key: value for key, value in found.extras.items() if key != "level"}
    to: Json = list(found.to) if len(found.to) > 1 else found.to[0]
    return {"type": found.type, "to": to, **extras}


def stable_id(written: str | None) -> tuple[str | None, str | None]:
    """The id at its own place, or as a custom property where it is no id of the standard."""
    fits = written is None or _STABLE_ID.fullmatch(written)
    return (written, None) if fits else (None, written)


def custom(others: Json, ours: Mapping[str, Json]) -> list[Json]:
    """The custom properties of other people, and then our own."""
    named: list[Json] = [
        {"property": key, "value": value}
        for key, value in ours.items()
        if value is not None and value != [] and value != {}
    ]
    return [*(others if isinstance(others, list) else ()), *named]


def short(written: Mapping[str, Json], keep: Sequence[str] = ()) -> Written:
    """Without what says nothing: null, and empty lists and mappings."""
    return {
        key: value
        for key, value in written.items()
        if key in keep or (value is not None and value != [] and value != {})
    }


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)
