"""How contracts look in Dagster: the one hook for teams that name things differently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_contracts.core.condition import render
from dagster_contracts.core.contract import (
    Contract,
    Resilience,
    SchemaObject,
    SchemaProperty,
    Severity,
    SourceKind,
)

TAG_PREFIX = "dagster-contracts/"
CONTRACT_TAG = TAG_PREFIX + "contract"
VERSION_TAG = TAG_PREFIX + "version"


class ContractTranslator:
    """Maps a contract to Dagster's terms. Subclass it and override what your team does otherwise.

    Pass an instance as ``with_contracts(..., translator=...)``.
    """

    def get_asset_key(self, name: str) -> dg.AssetKey:
        """The asset that a name in a contract stands for; ``raw/orders`` has two components."""
        return dg.AssetKey.from_user_string(name)

    def get_tags(self, contract: Contract) -> Mapping[str, str]:
        """Tags of a governed asset, shown and searchable in the UI."""
        return {CONTRACT_TAG: contract.name, VERSION_TAG: contract.version}

    def get_owners(self, contract: Contract) -> tuple[str, ...]:
        """Owners as Dagster takes them: an e-mail address, or ``team:name``."""
        if not contract.owner:
            return ()
        owner = contract.owner.strip()
        if "@" in owner or owner.startswith("team:"):
            return (owner,)
        name = "".join(c if c.isalnum() or c in "_.-" else "_" for c in owner)
        return (f"team:{name}",) if name else ()

    def get_metadata(self, contract: Contract, schema_object: SchemaObject) -> Mapping[str, Any]:
        """Metadata of a governed asset: the contract, its schema with constraints, its SLA."""
        metadata: dict[str, Any] = {
            "contract": contract.ref,
            "contract/status": contract.status.value,
            "dagster/column_schema": self.get_column_schema(schema_object),
        }
        if contract.location is not None:
            metadata["contract/document"] = dg.MetadataValue.path(contract.location.path)
        if contract.sla:
            metadata["contract/sla"] = dg.MetadataValue.md(_sla_table(contract))
        if contract.resilience is not None:
            metadata["contract/resilience"] = dg.MetadataValue.md(
                _resilience_text(contract.resilience)
            )
            for level in contract.resilience.levels:
                if level.source.kind is SourceKind.ASSET and level.source.name:
                    # Dagster shows it as a link to the asset.
                    metadata[f"contract/fallback/{level.name}"] = dg.MetadataValue.asset(
                        self.get_asset_key(level.source.name)
                    )
        return metadata

    def get_column_schema(self, schema_object: SchemaObject) -> dg.TableSchema:
        """The columns with their constraints, which the UI shows as badges."""
        return dg.TableSchema(columns=[_table_column(prop) for prop in schema_object.properties])

    def get_check_severity(self, severity: Severity) -> dg.AssetCheckSeverity:
        """How a failed check looks: an error is red, all else is a warning."""
        if severity is Severity.ERROR:
            return dg.AssetCheckSeverity.ERROR
        return dg.AssetCheckSeverity.WARN


def _table_column(prop: SchemaProperty) -> dg.TableColumn:
    other: list[str] = []
    options = prop.options
    if prop.primary_key_position is not None:
        other.append("primary key")
    for words, bound in (
        (">=", options.minimum),
        (">", options.exclusive_minimum),
        ("<=", options.maximum),
        ("<", options.exclusive_maximum),
        ("length >=", options.min_length),
        ("length <=", options.max_length),
        ("matches", options.pattern),
        ("format", options.format),
    ):
        if bound is not None:
            other.append(f"{words} {bound}")
    if options.enum:
        shown = ", ".join(str(value) for value in options.enum[:8])
        more = f", … {len(options.enum) - 8} more" if len(options.enum) > 8 else ""
        other.append(f"one of {shown}{more}")
    return dg.TableColumn(
        name=prop.column,
        type=prop.logical_type.value if prop.logical_type else "any",
        description=prop.description,
        constraints=dg.TableColumnConstraints(
            nullable=not (prop.required or prop.primary_key_position is not None),
            unique=prop.unique,
            other=other,
        ),
        tags={"classification": prop.classification} if prop.classification else None,
    )


def _sla_table(contract: Contract) -> str:
    rows = ["| service level | promise |", "|---|---|"]
    for sla in contract.sla:
        promise = sla.text or "—" if sla.condition is None else f"`{render(sla.condition)}`"
        rows.append(f"| {sla.property} | {promise} |")
    return "\n".join(rows)


def _resilience_text(resilience: Resilience) -> str:
    opens = " **or** ".join(f"`{render(c)}`" for c in resilience.circuit.open_when) or "never"
    lines = [f"Opens when {opens}.", ""]
    for number, level in enumerate(resilience.levels):
        source = level.source.shown or level.source.kind.value.replace("_", " ")
        schema = f", schema `{level.schema}`" if level.schema else ""
        lines.append(f"{number}. **{level.name}**: {source}{schema}")
    return "\n".join(lines)
