"""Contracts as ODCS documents that the official schema accepts.

What ODCS has no key for stands in ``customProperties``: our sections at the root, and on objects,
fields, rules and service levels the few words of ours that the standard lacks. What the document
carried along comes out again as it came in, unless the standard refuses it there: then it stands in
the custom property ``dagsterContracts``.
"""

from __future__ import annotations

from dagster_contracts.core.condition import Comparison
from dagster_contracts.core.contract import Contract, Json, SlaProperty
from dagster_contracts.documents.compact import infer_event_time
from dagster_contracts.documents.compact_writer import (
    Written,
    write_alerts,
    write_compatibility,
    write_consumers,
    write_duration,
    write_level_element,
    write_level_value,
    write_metrics,
    write_monitoring,
    write_resilience,
    write_schema,
)
from dagster_contracts.documents.odcs import owner_of
from dagster_contracts.documents.odcs_schema_writer import (
    Places,
    SchemaWriter,
    custom,
    short,
    stable_id,
)
from dagster_contracts.documents.odcs_validation import NEWEST, find_breaches
from dagster_contracts.documents.sla import MEASURED, default_severity, warn_before
from dagster_contracts.documents.vocabulary.key import OWN_PROPERTY

# Keys of the standard that the model carries along; what else it carries is not ODCS's.
_ROOT_KEYS = {
    "tenant", "servers", "dataProduct", "domain", "context", "support", "price", "team", "roles",
    "slaDefaultElement", "authoritativeDefinitions", "contractCreatedTs",
    "apiVersion", "id", "name", "version", "status", "description", "schema",
}  # fmt: skip
_SLA_KEYS = {
    "property", "value", "valueExt", "unit", "element", "schedule", "scheduler",
    "authoritativeDefinitions",
}  # fmt: skip
_ROUNDS = 10


def to_odcs(contract: Contract, *, explicit: bool = False) -> Written:
    """The whole contract as one ODCS document; it reads back as an equal one.

    ``explicit`` puts everything that was carried along into custom properties, whatever the
    standard would say to it: for contracts whose extras only look like keys of the standard.
    """
    places = Places(explicit=explicit)
    document = _Writer(places).contract(contract)
    for _ in range(_ROUNDS):
        # What the standard refuses at its own place is carried in a custom property.
        moved = [path for path in find_breaches(document) if places.refuse(document, path)]
        if not moved:
            break
        document = _Writer(places).contract(contract)
    return document


class _Writer:
    def __init__(self, places: Places) -> None:
        self.places = places
        self.schema = SchemaWriter(places)

    def contract(self, contract: Contract) -> Written:
        self.places.begin()
        extras, carried = self.places.split(contract, _ROOT_KEYS)
        said = tuple(extras)
        head: Written = {
            "apiVersion": extras.pop("apiVersion", NEWEST),
            "kind": "DataContract",
            "id": extras.pop("id", contract.name),
            "name": extras.pop("name", contract.name),
            "version": extras.pop("version", contract.version),
            "status": extras.pop("status", contract.status.value),
        }
        description = extras.pop("description", None)
        if description is None and contract.description is not None:
            description = {"purpose": contract.description}
        objects = extras.pop("schema", None)
        if objects is None:
            objects = [self.schema.object(found) for found in contract.objects]
        default_element, team = extras.get("slaDefaultElement"), extras.get("team")
        inferred = infer_event_time(contract.objects[0], contract.sla, contract.objects[1:])
        others = extras.pop("customProperties", None)
        body: Written = {
            **head,
            "description": description,
            "tags": list(contract.tags),
            "schema": objects,
            "slaProperties": [self._sla(level, default_element) for level in contract.sla],
            "customProperties": custom(
                others,
                {
                    "owner": None if contract.owner == owner_of(team) else contract.owner,
                    "asset": contract.asset,
                    "eventTime": None if contract.event_time == inferred else contract.event_time,
                    "deprecatedUntil": contract.deprecated_until.isoformat()
                    if contract.deprecated_until
                    else None,
                    "successor": contract.successor,
                    "metrics": write_metrics(contract.metrics),
                    "resilience": write_resilience(contract.resilience),
                    "schemas": _write_schemas(contract),
                    "consumers": write_consumers(contract.consumers),
                    "alerts": write_alerts(contract.alerts),
                    "monitoring": write_monitoring(contract.monitoring),
                    "compatibility": write_compatibility(contract.compatibility),
                    OWN_PROPERTY: short({"extras": carried}),
                },
            ),
            **extras,
        }
        written: Written = {
            key: value
            for key, value in body.items()
            if value is not None and (value not in ([], {}) or key in ("schema", *said))
        }
        return self.places.note(written, contract)

    def _sla(self, level: SlaProperty, default_element: Json) -> Written:
        extras, carried = self.places.split(level, _SLA_KEYS)
        others = extras.pop("customProperties", None)
        element = write_level_element(level)
        if isinstance(default_element, str) and element == default_element.rpartition(".")[2]:
            element = None
        value = write_level_value(level)
        reason = None
        if level.condition is not None and level.moment is None:
            known = MEASURED.get(level.property, (level.property,))[0]
            if isinstance(level.condition, Comparison) and level.condition.metric == known:
                value = value.removeprefix(known).strip()
        elif self.places.explicit:
            reason = level.not_evaluated
        usual, margin = default_severity(level.property), warn_before(level)
        severity = None if level.severity is usual else level.severity.value
        element_id, own_id = stable_id(level.id)
        written = short(
            {
                "property": level.property,
                "value": value,
                "element": element,
                "id": element_id,
                "driver": level.driver,
                "description": level.description,
                "customProperties": custom(
                    others,
                    {
                        "severity": severity,
                        "warnBefore": None if margin is None else write_duration(margin),
                        OWN_PROPERTY: short(
                            {"not_evaluated": reason, "id": own_id, "extras": carried}
                        ),
                    },
                ),
                **extras,
            },
            keep=("value", *extras),
        )
        return self.places.note(written, level)


def _write_schemas(contract: Contract) -> Written:
    """The named schemas, but for the objects of the contract itself that a level names."""
    own = {found.name: found for found in contract.objects}
    levels = contract.resilience.levels if contract.resilience else ()
    asked = {level.schema for level in levels}
    written: Written = {}
    for name, schema in contract.schemas.items():
        if name in asked and own.get(name) == schema:
            continue
        inner = write_schema(schema)
        if inner.get("name") == name:
            del inner["name"]
        written[name] = inner
    return written
