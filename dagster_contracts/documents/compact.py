"""The compact form: a document whose root key is ``data_contract``."""

from __future__ import annotations

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
from dagster_contracts.core.reference import Version, is_name
from dagster_contracts.documents.inline_schema import check_column, read_rules
from dagster_contracts.documents.named_schemas import NamedSchemas, read_levels_and_breaker
from dagster_contracts.documents.policy_sections import (
    read_alerts,
    read_compatibility,
    read_consumers,
    read_metrics,
    read_monitoring,
)
from dagster_contracts.documents.quality import name_rules
from dagster_contracts.documents.schema_files import SchemaFiles
from dagster_contracts.documents.section import Reading, Section
from dagster_contracts.documents.sla import read_compact_sla
from dagster_contracts.documents.yaml_text import MappingNode, YamlNode
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
    main = schemas.main(name)
    main = replace(main, quality=(*main.quality, *read_rules(section, main.properties)))
    main = name_rules(main, section)
    sla = read_compact_sla(section)
    for level in sla:
        if level.element and level.location is not None:
            check_column(section, level.element, main.properties, level.location)
    resilience = read_levels_and_breaker(section, schemas)
    event_time = section.text("event_time")
    if event_time is not None and not _is_timestamp(main, event_time):
        check_column(section, event_time, main.properties)
    alerts, monitoring, compatibility = (
        section.section(key) for key in ("alerts", "monitoring", "compatibility")
    )
    contract = Contract(
        name=name,
        version=version,
        objects=(replace(main, asset=None),),
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
    section.finish(synonyms=_SYNONYMS)
    return contract


def infer_event_time(main: SchemaObject, sla: tuple[SlaProperty, ...]) -> str | None:
    """When a row happened: the column that the SLA names, else the only timestamp."""
    for property_name in ("freshness", "latency"):
        for level in sla:
            if level.property == property_name and level.element:
                return _column_of(main, level.element)
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
    return DocumentError(
        "the document is no contract: it has neither 'data_contract' nor 'apiVersion'",
        where=root.location,
        hint=f"begin it with '{ROOT_KEY}:', or with ODCS's 'apiVersion' and 'kind: DataContract'",
    )
