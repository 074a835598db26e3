"""The types that a contract declares, by the names of the data's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dagster_contracts.core.contract import LogicalType, SchemaProperty


class DeclaredTypes(dict[str, LogicalType]):
    """Logical types by column; ``zones`` says of timestamps whether they are to have a time zone.

    Containers without types of their own are read by it; ``zones`` lacks what is not declared.
    """

    def __init__(
        self, types: Mapping[str, LogicalType], zones: Mapping[str, bool] | None = None
    ) -> None:
        super().__init__(types)
        self.zones = dict(zones or {})

    @classmethod
    def of(cls, properties: Iterable[SchemaProperty]) -> DeclaredTypes:
        """What these properties declare."""
        found = list(properties)
        return cls(
            {p.column: p.logical_type for p in found if p.logical_type is not None},
            {p.column: p.options.timezone for p in found if p.options.timezone is not None},
        )

    def renamed(self, names: Mapping[str, str]) -> DeclaredTypes:
        """The types of some columns, under the names that other data has for them."""
        return DeclaredTypes(
            {names[n]: dtype for n, dtype in self.items() if n in names},
            {names[n]: zoned for n, zoned in self.zones.items() if n in names},
        )
