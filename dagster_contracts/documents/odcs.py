"""ODCS, the Open Data Contract Standard 3.0 to 3.2, as contracts.

The document is validated by the official schema first. What the model has no place for is kept in
``extras`` under the standard's own keys. Our extensions stand in the root's ``customProperties``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date

from dagster_contracts.core.contract import (
    AlertPolicy,
    CompatibilityPolicy,
    Contract,
    ContractStatus,
    Json,
    MonitoringPolicy,
    SchemaObject,
    SlaProperty,
)
from dagster_contracts.core.near_names import meant_one_of, near_names
from dagster_contracts.core.reference import Version, is_name
from dagster_contracts.documents.compact import Expected, infer_event_time
from dagster_contracts.documents.named_schemas import NamedSchemas, read_levels_and_breaker
from dagster_contracts.documents.odcs_schema import read_schema_object
from dagster_contracts.documents.odcs_sla import read_odcs_sla
from dagster_contracts.documents.odcs_validation import NEWEST, validate_odcs
from dagster_contracts.documents.policy_sections import (
    read_alerts,
    read_compatibility,
    read_consumers,
    read_metrics,
    read_monitoring,
)
from dagster_contracts.documents.schema_files import SchemaFiles
from dagster_contracts.documents.section import Reading, Section, snake
from dagster_contracts.documents.vocabulary.contract import EXTENSIONS
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import DocumentError

#: What people write where the standard's own words would say it.
_STATUS = {
    "production": ContractStatus.ACTIVE,
    "live": ContractStatus.ACTIVE,
    "published": ContractStatus.ACTIVE,
    "development": ContractStatus.DRAFT,
    "in development": ContractStatus.DRAFT,
    "test": ContractStatus.DRAFT,
    "testing": ContractStatus.DRAFT,
    "proposal": ContractStatus.PROPOSED,
    "current": ContractStatus.ACTIVE,
    "sunset": ContractStatus.DEPRECATED,
    "archived": ContractStatus.RETIRED,
}
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_odcs(root: MappingNode) -> bool:
    """Whether the document means to be ODCS; its mistakes are then told in ODCS's words."""
    kind = root.entries.get("kind")
    return "apiVersion" in root.entries or (
        isinstance(kind, ScalarNode) and kind.text == "DataContract"
    )


def read_odcs(
    root: MappingNode, reading: Reading, files: SchemaFiles, expected: Expected
) -> Contract | None:
    """Validate and read the document; ``None`` where the standard's schema refuses it."""
    reading.strict = False
    if not validate_odcs(root, reading):
        return None
    section = Section(root, reading, "the contract")
    extras: dict[str, Json] = {}
    extensions = _extensions(section, extras)
    metrics_section = extensions.section("metrics")
    metrics = () if metrics_section is None else read_metrics(metrics_section)
    name = _name(section, expected, extras)
    version = _version(section, expected, extras)
    status = _status(section, extras)
    assets = _assets(extensions)
    objects = tuple(
        replace(found, asset=found.asset or assets.get(found.name))
        for found in (read_schema_object(item) for item in section.sections("schema"))
    )
    names = [found.name for found in objects]
    for found in objects:
        if names.count(found.name) > 1 and names.index(found.name) != objects.index(found):
            reading.findings.warning(
                found.location or section.location,
                "duplicate-name",
                f"the schema has two objects named {found.name!r}: "
                "nothing tells their assets apart",
                "give each its own name; what the database calls it goes to 'physicalName'",
            )
    if not objects:
        # The model promises an object; a contract without one still has its service levels.
        objects = (SchemaObject(name=name, location=section.location),)
        extras["schema"] = []
        reading.findings.warning(
            section.place("schema"),
            "no-schema",
            "the contract has no schema: no column is checked",
            "add schema: [{name: ..., properties: [...]}]",
        )
    sla = read_odcs_sla(section)
    default_element = section.text("sla_default_element")
    if default_element is not None:
        extras["slaDefaultElement"] = default_element
        column = default_element.rpartition(".")[2]
        sla = tuple(x if x.element else replace(x, element=column) for x in sla)
    schemas = NamedSchemas(extensions, files, objects)
    event_time, owner = extensions.text("event_time"), extensions.text("owner")
    alerts, monitoring, compatibility = (
        extensions.section(key) for key in ("alerts", "monitoring", "compatibility")
    )
    contract = Contract(
        name=name,
        version=version,
        objects=objects,
        status=status,
        owner=owner_of(_team(section)) if owner is None else owner,
        description=_description(section, extras),
        asset=assets.get(""),
        sla=sla,
        metrics=metrics,
        resilience=read_levels_and_breaker(extensions, schemas),
        schemas=schemas.named,
        consumers=read_consumers(extensions),
        alerts=AlertPolicy() if alerts is None else read_alerts(alerts),
        monitoring=MonitoringPolicy() if monitoring is None else read_monitoring(monitoring),
        compatibility=CompatibilityPolicy()
        if compatibility is None
        else read_compatibility(compatibility),
        deprecated_until=extensions.date("deprecated_until") or _end_of_support(sla, status),
        successor=extensions.text("successor"),
        tags=section.texts("tags"),
        event_time=event_time or infer_event_time(objects[0], sla, objects[1:]),
        location=root.location,
    )
    carried = extensions.section("dagster_contracts")
    extensions.agree(EXTENSIONS)
    section.take("kind")
    if section.text("api_version") != NEWEST:
        extras["apiVersion"] = to_json(root.entries["apiVersion"])
    extras.update(section.rest())
    extras.update(carried.mapping("extras") if carried else {})
    return replace(contract, extras=extras)


def _extensions(section: Section, extras: dict[str, Json]) -> Section:
    """Our custom properties as one section; the others stay in ``extras``."""
    ours = MappingNode(section.node.path, section.node.line, section.node.column)
    others: list[Json] = []
    node = section.take("custom_properties")
    for item in node.items if isinstance(node, SequenceNode) else []:
        if not isinstance(item, MappingNode):
            continue
        # ODCS 3.0 asks for neither of the two.
        named, value = item.entries.get("property"), item.entries.get("value")
        key = snake(named.text) if isinstance(named, ScalarNode) else ""
        if named and value and key not in ours.entries and _is_ours(key, value):
            ours.entries[key] = value
            ours.keys[key] = (named.line, named.column)
        else:
            others.append(to_json(item))
            near = near_names(key, EXTENSIONS.names, count=1)
            if named is not None and near and len(key) > 4:
                twice = key in ours.entries
                mend = meant_one_of(near)
                if near[0] == key:
                    mend = "its value has another shape than ours; see the reference of the key"
                section.findings.warning(
                    named.location,
                    "custom-property",
                    f"the custom property {key!r} is carried along and does nothing"
                    + (": it stands here a second time" if twice else ""),
                    "keep one of them" if twice else mend,
                )
    if others:
        extras["customProperties"] = others
    return Section(ours, section.reading, "customProperties")


def _is_ours(key: str, value: YamlNode) -> bool:
    """Whether a custom property is meant for us: others use such names for other things."""
    if key in ("owner", "event_time", "successor", "deprecated_until"):
        return isinstance(value, ScalarNode) and value.value is not None
    if key == "consumers":
        return isinstance(value, SequenceNode)
    return key in EXTENSIONS.names and (key == "asset" or isinstance(value, MappingNode))


def _name(section: Section, expected: Expected, extras: dict[str, Json]) -> str:
    """The name, the id, or the name made fit: the first that can name a contract.

    ODCS's ``name`` is free text. Where it cannot be a name here (``Orders Event Stream``), the id
    serves unless it is a UUID.
    """
    written, identity = section.text("name"), section.text("id") or ""
    fitted = re.sub(r"[^A-Za-z0-9_.-]+", "_", written or identity).strip("_.-").lower()[:200]
    candidates = [written or "", "" if _UUID.fullmatch(identity) else identity, fitted, identity]
    usable = [candidate for candidate in candidates if is_name(candidate)]
    if expected.name is not None and expected.name in usable:
        chosen = expected.name
    else:
        chosen = usable[0] if usable else "unnamed"
        if expected.name is not None and usable:
            section.findings.error(
                section.place("name"),
                "name",
                f"the contract is named {chosen!r} and stands in the folder {expected.name!r}",
                f"rename one of them: contracts/{chosen}/<version>.yaml",
            )
    # What the writer would write anyway is not kept: the id of a contract is its name.
    if identity != chosen:
        extras["id"] = identity
    if written is not None and written != chosen:
        extras["name"] = written
    if written is None:
        extras["name"] = None
    return chosen


def _version(section: Section, expected: Expected, extras: dict[str, Json]) -> str:
    """The version, or the version made fit: ODCS allows any text (``Release 2``)."""
    written = section.spelling("version") or ""
    fitted = written
    try:
        parsed = Version.parse(written)
    except DocumentError as error:
        fitted = re.sub(r"\.\.+", ".", re.sub(r"[^A-Za-z0-9._+-]+", "-", written)).strip("._+-")[
            :100
        ]
        if not fitted:
            section.findings.raised(error, section.place("version"), "version")
            return written
        parsed = Version.parse(fitted)
        extras["version"] = written
        order = (
            "" if parsed.release else ": it comes before every version that begins with a number"
        )
        section.findings.warning(
            section.place("version"),
            "version",
            f"the version {written!r} is taken as {fitted!r}{order}",
            'write it like "1.4.0", so that versions have an order and ranges can name them',
        )
    if expected.version is not None and parsed != Version.parse(expected.version):
        section.findings.error(
            section.place("version"),
            "version",
            f"the document says version {written} and its file {expected.version}",
            "make the two agree",
        )
    return fitted


def _status(section: Section, extras: dict[str, Json]) -> ContractStatus:
    written = section.text("status")
    if written is None:
        extras["status"] = None
        return ContractStatus.ACTIVE
    word = written.strip().lower()
    for status in ContractStatus:
        if word == status.value:
            if written != status.value:
                extras["status"] = written
            return status
    extras["status"] = written
    taken = _STATUS.get(word, ContractStatus.DRAFT)
    section.findings.warning(
        section.place("status"),
        "status",
        f"the status {written!r} is taken as {taken.value!r}",
        "the standard's words: " + ", ".join(status.value for status in ContractStatus),
    )
    return taken


def _assets(extensions: Section) -> dict[str, str]:
    """``asset: name``, or ``asset: {object: name}``; the first under the key ``""``."""
    node: YamlNode | None = extensions.take("asset")
    if node is None:
        return {}
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        return {"": extensions.reading.expand(node, node.value)}
    if isinstance(node, MappingNode):
        return {
            key: extensions.reading.expand(value, value.text)
            for key, value in node.entries.items()
            if isinstance(value, ScalarNode)
        }
    extensions.wrong(node, "asset", "a name, or a mapping of objects to names")
    return {}


def _description(section: Section, extras: dict[str, Json]) -> str | None:
    node = section.take("description")
    if not isinstance(node, MappingNode):
        return None
    if node.entries.keys() != {"purpose"}:
        extras["description"] = to_json(node)
    for key in ("purpose", "usage", "limitations"):
        found = node.entries.get(key)
        if isinstance(found, ScalarNode) and isinstance(found.value, str):
            return found.value
    return None


def _team(section: Section) -> Json:
    team = section.node.entries.get("team")
    return None if team is None else to_json(team)


def owner_of(team: Json) -> str | None:
    """The team's name, else the user name of the member who is its owner."""
    members = team
    if isinstance(team, dict):
        name = team.get("name")
        if isinstance(name, str):
            return name
        members = team.get("members")
    for member in members if isinstance(members, list) else []:
        if isinstance(member, dict) and "owner" in str(member.get("role", "")).lower():
            user = member.get("username")
            if user is not None:
                return str(user)
    return None


def _end_of_support(sla: tuple[SlaProperty, ...], status: ContractStatus) -> date | None:
    if status is not ContractStatus.DEPRECATED:
        return None
    for wanted in ("endOfSupport", "endOfLife"):
        for level in sla:
            if level.property == wanted:
                try:
                    return date.fromisoformat(level.text[:10])
                except ValueError:
                    continue
    return None
