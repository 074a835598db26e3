"""The compact form: a document whose root key is ``data_contract``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from dagster_contracts.core.contract import (
    AlertPolicy,
    CompatibilityPolicy,
    Contract,
    ContractStatus,
    LogicalType,
    MonitoringPolicy,
    SchemaObject,
    SlaProperty,
)
from dagster_contracts.core.level_element import NO_MOMENT
from dagster_contracts.core.reference import Version, is_name
from dagster_contracts.documents.compact_sla import read_compact_sla
from dagster_contracts.documents.inline_schema import ColumnNames, check_column, read_rules
from dagster_contracts.documents.named_schemas import NamedSchemas, read_levels_and_breaker
from dagster_contracts.documents.policy_sections import (
    read_alerts,
    read_compatibility,
    read_consumers,
    read_metrics,
    read_monitoring,
)
from dagster_contracts.documents.rule_name import name_rules
from dagster_contracts.documents.schema_files import SchemaFiles
from dagster_contracts.documents.section import Reading, Section
from dagster_contracts.documents.vocabulary.contract import CONTRACT, OBJECT
from dagster_contracts.documents.yaml_text import MappingNode, SequenceNode, YamlNode
from dagster_contracts.errors import DocumentError

ROOT_KEY = "data_contract"
DEFAULT_VERSION = "1.0.0"

_SYNONYMS = {
    "rules": "'quality'",
    "checks": "'quality'",
    "fields": "'schema: {fields: {...}}'",
    "columns": "'schema: {fields: {...}}'",
    "fallback_modes": "'fallback_modes' under 'resilience'",
    "circuit_breaker": "'circuit_breaker' under 'resilience'",
    "id": "'name'",
    "slas": "'sla'",
    "team": "'owner'",
    "api_version": "'version' for the contract's own; 'apiVersion' begins documents of ODCS",
    "kind": "no 'kind': it belongs to documents of ODCS",
    "sla_properties": "'sla'",
    "service_levels": "'sla'",
    "custom_properties": "its values as keys of 'data_contract', such as 'resilience'",
    "servers": "it below 'extras', or the contract in ODCS, which has servers",
    "properties": "'schema: {fields: {...}}'",
    "fallback": "'fallback_modes' under 'resilience'",
    "open_when": "'open_when' under 'resilience: {circuit_breaker: ...}'",
    "freshness": "'freshness' under 'sla'",
    "models": "'objects'",
    "tables": "'objects'",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the place of a document says about it: ``contracts/<name>/<version>.yaml``."""

    name: str | None = None
    version: str | None = None


def read_compact(
    root: MappingNode, reading: Reading, files: SchemaFiles, expected: Expected
) -> Contract:
    """Read the whole document; mistakes are noted, and their values left at the defaults."""
    for key in root.entries:
        if key != ROOT_KEY:
            reading.findings.error(
                root.key_location(key),
                "unknown-key",
                f"the document has no key {key!r} beside {ROOT_KEY!r}",
                f"indent it below {ROOT_KEY!r}, or remove it",
            )
    body = root.entries[ROOT_KEY]
    if not isinstance(body, MappingNode):
        raise DocumentError(
            f"{ROOT_KEY!r} must be a mapping",
            where=root.key_location(ROOT_KEY),
            hint="indent 'name', 'schema' and the rest below it",
        )
    section = Section(body, reading, ROOT_KEY)
    name = _read_name(section, expected)
    version = _read_version(section, expected)
    metrics_section = section.section("metrics")
    metrics = () if metrics_section is None else read_metrics(metrics_section)
    schemas = NamedSchemas(section, files)
    objects = _read_objects(section, schemas, name)
    main = objects[0]
    sla = read_compact_sla(section)
    names = ColumnNames.of(prop for found in objects for prop in found.properties)
    for level in sla:
        # An element with its object in front is looked up by lint, among all the objects.
        # It may also speak of a whole object.
        whole = level.element in {found.name for found in objects}
        named = level.schema_object is not None or whole
        if level.element and level.location is not None and not named:
            check_column(section, level.element, names, level.location)
    resilience = read_levels_and_breaker(section, schemas)
    event_time = section.text("event_time")
    if event_time is not None and not _is_timestamp(main, event_time):
        check_column(section, event_time, ColumnNames.of(main.properties))
    alerts, monitoring, compatibility = (
        section.section(key) for key in ("alerts", "monitoring", "compatibility")
    )
    contract = Contract(
        name=name,
        version=version,
        objects=objects,
        status=section.choice("status", ContractStatus, ContractStatus.ACTIVE),
        owner=section.text("owner"),
        description=section.text("description"),
        asset=section.text("asset"),
        schemas=schemas.named,
        sla=sla,
        metrics=metrics,
        resilience=resilience,
        consumers=read_consumers(section),
        alerts=AlertPolicy() if alerts is None else read_alerts(alerts),
        monitoring=MonitoringPolicy() if monitoring is None else read_monitoring(monitoring),
        compatibility=CompatibilityPolicy()
        if compatibility is None
        else read_compatibility(compatibility),
        deprecated_until=section.date("deprecated_until"),
        successor=section.text("successor"),
        tags=section.texts("tags"),
        event_time=_column_of(main, event_time) or infer_event_time(main, sla),
        location=body.location,
        extras=section.mapping("extras"),
    )
    section.finish(CONTRACT, synonyms=_SYNONYMS)
    return contract


def _read_objects(section: Section, schemas: NamedSchemas, name: str) -> tuple[SchemaObject, ...]:
    """The object that the root describes, or those under ``objects``."""
    node = section.take("objects")
    if node is None:
        return (_with_rules(section, replace(schemas.main(section, name), asset=None)),)
    for key in ("schema", "quality"):
        if section.take(key) is not None:
            section.findings.error(
                section.place(key),
                "wrong-place",
                f"{key!r} stands beside 'objects': nothing says which of them it speaks of",
                f"move it below one of the objects: objects: {{{name}: {{{key}: ...}}}}",
            )
    found: list[SchemaObject] = []
    for written, item in _named_items(section, node):
        inner = Section(item, section.reading, f"the object {written!r}")
        called = inner.spelling("name")
        if called is None and "name" in inner:
            inner.missing("name")
        named = called if called is not None else written
        if any(named == other.name for other in found):
            section.findings.error(
                item.location, "duplicate-object", f"there are two objects named {named!r}"
            )
        schema_object = _with_rules(inner, schemas.main(inner, named))
        found.append(replace(schema_object, name=named, asset=inner.text("asset") or None))
        inner.finish(OBJECT, synonyms={**_SYNONYMS, "id": "'id' under 'schema'"})
    if not found:
        section.findings.error(
            node.location,
            "missing-key",
            "'objects' names no object",
            "write objects: {orders: {schema: {fields: {...}}}}",
        )
        return (SchemaObject(name=name, location=section.location),)
    schemas.know(found)
    return tuple(found)


def _named_items(section: Section, node: YamlNode) -> Iterator[tuple[str, MappingNode]]:
    """The objects of a mapping by name, or of a list whose items carry a name."""
    items: list[tuple[str, YamlNode]] = []
    if isinstance(node, MappingNode):
        items = list(node.entries.items())
    elif isinstance(node, SequenceNode):
        items = [("", item) for item in node.items]
    else:
        section.wrong(node, "objects", "a mapping of names to objects")
    for name, item in items:
        if not isinstance(item, MappingNode):
            section.wrong(item, "objects", "a mapping of names to objects: {schema: ..., ...}")
        elif isinstance(node, SequenceNode) and "name" not in item.entries:
            section.findings.error(
                item.location, "missing-key", "an item of 'objects' needs a 'name'", "add name: ..."
            )
        else:
            yield name, item


def _with_rules(section: Section, schema_object: SchemaObject) -> SchemaObject:
    rules = read_rules(section, schema_object.properties)
    quality = (*schema_object.quality, *rules)
    return name_rules(replace(schema_object, quality=quality), section)


def infer_event_time(
    main: SchemaObject, sla: tuple[SlaProperty, ...], others: Collection[SchemaObject] = ()
) -> str | None:
    """When a row happened: the column that the SLA names, else the only timestamp.

    What it says of ``others``, the contract's further objects, says nothing of this one.
    """
    elsewhere = {name for o in others for name in (o.name, o.physical_name)}
    elsewhere -= {main.name, main.physical_name, None}
    for property_name in ("freshness", "latency"):
        for level in sla:
            spoken_of = level.property == property_name and level.schema_object not in elsewhere
            if not level.element or not spoken_of:
                continue
            if not main.properties:
                return level.element
            prop = main.property_named(level.element)
            if prop is not None and prop.logical_type not in NO_MOMENT:
                return prop.column
    stamps = [p for p in main.properties if p.logical_type is LogicalType.TIMESTAMP]
    return stamps[0].column if len(stamps) == 1 else None


def _read_name(section: Section, expected: Expected) -> str:
    written = section.text("name")
    if written is None:
        if expected.name is None and "name" not in section:
            section.missing("name")
        return expected.name or "unnamed"
    if not is_name(written):
        section.findings.error(
            section.place("name"),
            "name",
            f"{written!r} cannot name a contract",
            "use letters, digits, '_', '-' and '.'; what people should read goes to 'description'",
        )
    elif expected.name is not None and written != expected.name:
        section.findings.error(
            section.place("name"),
            "name",
            f"the contract is named {written!r} and stands in the folder {expected.name!r}",
            f"rename one of them: contracts/{written}/<version>.yaml",
        )
    return written


def _read_version(section: Section, expected: Expected) -> str:
    # `version: 1.10` is a number to YAML; its spelling is what the author means.
    written = section.spelling("version")
    if written is None:
        return expected.version or DEFAULT_VERSION
    try:
        parsed = Version.parse(written)
    except DocumentError as error:
        section.findings.raised(error, section.place("version"), "version")
        return written
    if expected.version is not None and parsed != Version.parse(expected.version):
        section.findings.error(
            section.place("version"),
            "version",
            f"the document says version {written} and its file {expected.version}",
            "make the two agree, or leave 'version' out",
        )
    return written


def _is_timestamp(schema: SchemaObject, column: str) -> bool:
    found = schema.property_named(column)
    return found is not None and found.logical_type in (LogicalType.TIMESTAMP, LogicalType.DATE)


def _column_of(schema: SchemaObject, name: str | None) -> str | None:
    found = schema.property_named(name) if name else None
    return found.column if found else name


def no_contract(root: YamlNode) -> DocumentError:
    """The error for a document that is neither form."""
    for key in root.entries if isinstance(root, MappingNode) else ():
        if key.replace("-", "_").lower() in (ROOT_KEY, "datacontract", "contract"):
            return DocumentError(
                f"the root key {key!r} is not known",
                where=root.location,
                hint=f"write '{ROOT_KEY}:'",
            )
        if key == "dataContractSpecification":
            return DocumentError(
                "the document is a contract of the Data Contract Specification, an older standard",
                where=root.key_location(key) if isinstance(root, MappingNode) else root.location,
                why="it was given up for ODCS, which is what is read here",
                hint="convert it: datacontract export --format odcs <this file>; or by hand: "
                "'models' become 'schema', 'fields' become 'properties', "
                "'servicelevels' become 'slaProperties'",
            )
    if isinstance(root, MappingNode) and "name" in root.entries and "schema" in root.entries:
        return DocumentError(
            "the document has no root key: 'name' and 'schema' stand at its left edge",
            where=root.location,
            hint=f"write '{ROOT_KEY}:' above, and indent everything below it",
        )
    if isinstance(root, MappingNode) and "dataContractSpecification" in root.entries:
        return DocumentError(
            "the document is of the Data Contract Specification, which is not read",
            where=root.key_location("dataContractSpecification"),
            hint="bring it to ODCS: 'models' become 'schema', 'fields' become 'properties', "
            "'servicelevels' become 'slaProperties', 'info' stands at the root",
        )
    return DocumentError(
        "the document is no contract: it has neither 'data_contract' nor 'apiVersion'",
        where=root.location,
        hint=f"begin it with '{ROOT_KEY}:', or with ODCS's 'apiVersion' and 'kind: DataContract'",
    )
