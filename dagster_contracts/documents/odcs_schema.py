"""The schema objects and properties of an ODCS document."""

from __future__ import annotations

from dataclasses import replace

from dagster_contracts.core.contract import (
    ExtraColumns,
    Json,
    LogicalType,
    QualityRule,
    Relationship,
    SchemaObject,
    SchemaProperty,
)
from dagster_contracts.documents.inline_schema import read_relationship
from dagster_contracts.documents.quality import read_rule
from dagster_contracts.documents.rule_name import name_rules
from dagster_contracts.documents.section import Section, snake
from dagster_contracts.documents.type_options import (
    default_zone,
    is_flag_of_3_0,
    read_enum,
    read_options,
)
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)

#: Our own names among the custom properties of an object and of a property.
_OBJECT_EXTENSIONS = frozenset({"asset", "extra_columns", "ordered", "dagster_contracts"})
_PROPERTY_EXTENSIONS = frozenset({"unit", "aliases", "dagster_contracts"})


def read_schema_object(section: Section) -> SchemaObject:
    """One item of the root's ``schema``."""
    extras: dict[str, Json] = {}
    custom = _custom(section, _OBJECT_EXTENSIONS, extras)
    relationships: list[Relationship] = []
    properties = _number_keys(
        tuple(
            _read_property(item, relationships, top=True) for item in section.sections("properties")
        )
    )
    _refuse_doubles(section, properties)
    names = {prop.column: prop.name for prop in properties}
    for item in section.sections("relationships"):
        near = tuple(path.rpartition(".")[2] for path in item.texts("from"))
        relationships.append(_relationship(item, tuple(names.get(n, n) for n in near)))
    own = custom.section("dagster_contracts")
    if own is not None:
        relationships += [read_relationship(item) for item in own.sections("relationships")]
    schema = SchemaObject(
        name=section.spelling("name") or "",
        properties=properties,
        physical_name=section.text("physical_name"),
        physical_type=section.text("physical_type"),
        id=own.text("id") if own and "id" in own else section.text("id"),
        asset=custom.text("asset"),
        description=section.text("description"),
        extra_columns=custom.choice("extra_columns", ExtraColumns, ExtraColumns.ALLOW),
        ordered=custom.flag("ordered"),
        quality=_rules(section, None),
        relationships=tuple(relationships),
        tags=section.texts("tags"),
        location=section.location,
    )
    section.take("logical_type")
    extras.update(section.rest())
    extras.update(own.mapping("extras") if own else {})
    return name_rules(replace(schema, extras=extras), section)


def _refuse_doubles(section: Section, properties: tuple[SchemaProperty, ...]) -> None:
    """Note columns that are declared twice; no table has two of one name."""
    seen: set[str] = set()
    for prop in properties:
        if prop.column and prop.column in seen:
            section.findings.error(
                prop.location or section.location,
                "duplicate-field",
                f"there are two properties for the column {prop.column!r}",
                "keep one of them; what the database calls a column goes to 'physicalName'",
            )
        seen.add(prop.column)


def _read_property(
    section: Section, relationships: list[Relationship], *, top: bool, default_name: str = ""
) -> SchemaProperty:
    extras: dict[str, Json] = {}
    custom = _custom(section, _PROPERTY_EXTENSIONS, extras)
    name = section.spelling("name") or default_name
    physical_name = section.text("physical_name")
    own = custom.section("dagster_contracts")
    logical_type = _logical_type(section, extras)
    if own is not None and "type" in own:
        kind = own.text("type")
        known = kind in LogicalType.__members__.values()
        logical_type = LogicalType(kind) if kind is not None and known else None
    own_options = own.section("options") if own else None
    options_section = own_options or section.section("logical_type_options")
    required_properties: tuple[str, ...] = ()
    if own_options is not None:
        required_properties = own_options.texts("required_properties")
    elif options_section is not None and logical_type is LogicalType.OBJECT:
        required_properties = options_section.texts("required")
    nested: list[Relationship] = []
    children = tuple(
        _read_property(item, nested, top=False) for item in section.sections("properties")
    )
    _refuse_doubles(section, children)
    items = _items(section, nested, extras)
    if top:
        # A property's references are its object's: the engine follows them all in one place.
        # Those of nested properties are carried along among the extras.
        near = [_relationship(item, (name,)) for item in section.sections("relationships")]
        relationships.extend(replace(x, extras={**x.extras, "level": "property"}) for x in near)
    enum_node = section.take("enum")
    if isinstance(enum_node, SequenceNode) and any(
        isinstance(item, MappingNode) and len(item.entries) > 1 for item in enum_node.items
    ):
        extras["enum"] = to_json(enum_node)
    options = read_options(
        options_section,
        logical_type,
        required_properties=required_properties,
        enum=read_enum(section, logical_type, default_zone(options_section))
        if enum_node is not None
        else (),
    )
    if options_section is not None and (
        options_section.rest()
        or is_flag_of_3_0(options_section, "exclusive_minimum")
        or is_flag_of_3_0(options_section, "exclusive_maximum")
    ):
        extras["logicalTypeOptions"] = to_json(options_section.node)
    partitioned = section.flag("partitioned")
    partition = section.integer("partition_key_position")
    position = section.integer("primary_key_position")
    is_key = section.flag("primary_key")
    # What says half of it has no place in the model.
    if partitioned and (partition is None or partition < 1):
        extras["partitioned"] = True
    if position is not None and position > 0 and not is_key:
        extras["primaryKeyPosition"] = position
    return SchemaProperty(
        name=name,
        logical_type=logical_type,
        physical_type=section.text("physical_type"),
        physical_name=physical_name,
        id=own.text("id") if own and "id" in own else section.text("id"),
        business_name=section.text("business_name"),
        description=section.text("description"),
        required=section.flag("required"),
        unique=section.flag("unique"),
        primary_key_position=(max(position or 0, 0) if is_key else None),
        partition_key_position=partition if partition is not None and partition > 0 else None,
        classification=section.text("classification"),
        unit=custom.text("unit"),
        critical=section.flag("critical_data_element"),
        aliases=custom.texts("aliases"),
        tags=section.texts("tags"),
        options=options,
        properties=children,
        items=items,
        quality=_rules(section, physical_name or name),
        location=section.location,
        # Last: by now every key that the model has a place for is taken.
        extras={**extras, **section.rest(), **(own.mapping("extras") if own else {})},
    )


def _logical_type(section: Section, extras: dict[str, Json]) -> LogicalType | None:
    written = section.text("logical_type")
    if written == "vector":
        # ODCS 3.2: a list of numbers of one length; the word itself is kept for the export.
        extras["logicalType"] = written
        return LogicalType.ARRAY
    return LogicalType(written) if written is not None else None


def _items(
    section: Section, nested: list[Relationship], extras: dict[str, Json]
) -> SchemaProperty | None:
    items = section.section("items")
    if items is not None:
        return _read_property(items, nested, top=False, default_name="items")
    mapping = section.take("map")
    if isinstance(mapping, MappingNode):
        key, value = mapping.entries.get("key"), mapping.entries.get("value")
        plain_key = key is None or to_json(key) == {"logicalType": "string"}
        if not plain_key or not isinstance(value, MappingNode) or len(mapping.entries) > 2:
            extras["map"] = to_json(mapping)
        if isinstance(value, MappingNode):
            inner = Section(value, section.reading, "the values of a map")
            return _read_property(inner, nested, top=False, default_name="values")
    return None


def _number_keys(properties: tuple[SchemaProperty, ...]) -> tuple[SchemaProperty, ...]:
    """A key column without a position comes after those that have one, in document order."""
    used = {p.primary_key_position for p in properties if p.primary_key_position}
    following = max((position for position in used if position), default=0)
    numbered: list[SchemaProperty] = []
    for prop in properties:
        if prop.primary_key_position == 0:
            following += 1
            numbered.append(replace(prop, primary_key_position=following))
        else:
            numbered.append(prop)
    return tuple(numbered)


def _relationship(section: Section, columns: tuple[str, ...]) -> Relationship:
    to = section.texts("to")
    section.take("from")
    kind = section.text("type") or "foreignKey"
    if len(columns) != len(to):
        section.findings.warning(
            section.place("to"),
            "relationship",
            f"{len(columns)} properties refer to {len(to)}: the relationship is not checked",
            "name one target for each property",
        )
    return Relationship(columns=columns, to=to, type=kind, extras=section.rest())


def _rules(section: Section, column: str | None) -> tuple[QualityRule, ...]:
    return tuple(
        rule
        for item in section.sections("quality")
        if (rule := read_rule(item, column=column, strict=False)) is not None
    )


def _custom(section: Section, ours: frozenset[str], extras: dict[str, Json]) -> Section:
    """Our custom properties as a section; the others go to ``extras`` as they are."""
    found = MappingNode(section.node.path, section.node.line, section.node.column)
    others: list[Json] = []
    node: YamlNode | None = section.take("custom_properties")
    for item in node.items if isinstance(node, SequenceNode) else []:
        if not isinstance(item, MappingNode):
            continue
        # ODCS 3.0 asks for neither of the two.
        named, value = item.entries.get("property"), item.entries.get("value")
        key = snake(named.text) if isinstance(named, ScalarNode) else ""
        if named and value and key in ours and key not in found.entries:
            found.entries[key] = value
            found.keys[key] = (named.line, named.column)
        else:
            others.append(to_json(item))
    if others:
        extras["customProperties"] = others
    return Section(found, section.reading, "customProperties")
