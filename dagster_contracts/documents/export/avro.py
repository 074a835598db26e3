"""The schema of a contract as an Avro record.

Avro has types and no constraints. What it cannot say of a field stands in the attribute
``contract`` of that field, which Avro carries along and our own reader understands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dagster_contracts.core.contract import (
    Contract,
    Json,
    LogicalType,
    SchemaObject,
    SchemaProperty,
    TypeOptions,
)
from dagster_contracts.documents.compact_writer import write_options
from dagster_contracts.documents.export.unsaid import comment, of_several_records

Written = dict[str, Json]

CONTRACT = "contract"
"""The attribute of a field that holds what Avro has no words for."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECIMAL = re.compile(r"(?:decimal|numeric|number)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.I)
_SMALL = re.compile(r"(?:int|integer|smallint|tinyint|int32|int16|int8|int4|int2)", re.I)
_SINGLE = re.compile(r"(?:float|float4|float32|real)", re.I)
#: Avro's own type for a physical type that is one of Avro's, by logical type.
_OWN: dict[LogicalType, dict[str, Json]] = {
    LogicalType.TIMESTAMP: {
        name: {"type": "long", "logicalType": name}
        for name in (
            "timestamp-millis",
            "timestamp-micros",
            "timestamp-nanos",
            "local-timestamp-millis",
            "local-timestamp-micros",
            "local-timestamp-nanos",
        )
    },
    LogicalType.TIME: {
        "time-millis": {"type": "int", "logicalType": "time-millis"},
        "time-micros": {"type": "long", "logicalType": "time-micros"},
    },
    LogicalType.STRING: {"bytes": "bytes"},
}
_DEFAULTS: dict[LogicalType, Json] = {
    LogicalType.STRING: "string",
    LogicalType.INTEGER: "long",
    LogicalType.NUMBER: "double",
    LogicalType.BOOLEAN: "boolean",
    LogicalType.DATE: {"type": "int", "logicalType": "date"},
    LogicalType.TIME: {"type": "long", "logicalType": "time-micros"},
}


def to_avro(contract: Contract, schema_object: SchemaObject | None = None) -> Written:
    """One object's records as an Avro record schema; the contract's first where none is given.

    A field that may be null is a union with null, whose default is null. Names that Avro does not
    allow are made legal, and kept in the field's ``contract``. Keys, references and quality rules
    are named in that of the record.
    """
    target = schema_object if schema_object is not None else contract.objects[0]
    original = target.extras.get("avroName")
    full = original if isinstance(original, str) else legal_name(target.name)
    namespace, _, name = full.rpartition(".")
    writer = _Writer()
    key = target.primary_key
    fields = writer.fields(target.properties, writer.named(name), required=key)
    record: Written = {"type": "record", "name": name}
    if namespace:
        record["namespace"] = namespace
    description = target.description or contract.description
    if description:
        record["doc"] = description
    unsaid = comment(of_several_records(target))
    if unsaid is not None:
        record[CONTRACT] = {"comment": unsaid}
    return {**record, "fields": fields}


def legal_name(name: str) -> str:
    """``name`` as Avro allows it: letters, digits and ``_``, and no digit in front."""
    found = re.sub(r"[^A-Za-z0-9_]", "_", name) or "_"
    return f"_{found}" if found[0].isdigit() else found


class _Writer:
    """Writes types; every record and enum gets a name of its own."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def named(self, wanted: str) -> str:
        """A name for a record or an enum that no other has."""
        return _free(wanted, self._taken)

    def fields(
        self, properties: Sequence[SchemaProperty], path: str, *, required: Iterable[str] = ()
    ) -> list[Json]:
        """The fields of a record; those in ``required`` are never null."""
        taken: set[str] = set()
        asked = set(required)
        # Names that are legal as they are come first: none of them gives way to a made-up one.
        legal = [prop.column for prop in properties if _NAME.fullmatch(prop.column)]
        taken.update(legal)
        written: list[Json] = []
        for prop in properties:
            name = prop.column
            if name not in legal:
                name = _free(legal_name(name), taken)
            needed = prop.required or bool(asked & {prop.name, prop.column})
            written.append(self._field(prop, name, f"{path}_{name}", required=needed))
        return written

    def _field(self, prop: SchemaProperty, name: str, path: str, *, required: bool) -> Written:
        kind, said = self._type(prop, path)
        notes: Written = {}
        if name != prop.column:
            notes["name"] = prop.column
        notes |= _unsaid(prop, said)
        aliases = [a for a in prop.aliases if _NAME.fullmatch(a)]
        if len(aliases) < len(prop.aliases):
            notes["aliases"] = list(prop.aliases)
        written: Written = {"name": name, "type": kind if required else ["null", kind]}
        if prop.description:
            written["doc"] = prop.description
        if aliases:
            written["aliases"] = [*aliases]
        default = prop.extras.get("avroDefault")
        if "avroDefault" in prop.extras:
            written["default"] = default
            # The default of a union is of its first branch.
            if not required and default is not None:
                written["type"] = [kind, "null"]
        elif not required:
            written["default"] = None
        if notes:
            written[CONTRACT] = notes
        return written

    def _type(self, prop: SchemaProperty, path: str) -> tuple[Json, SchemaProperty]:
        """The type, and what reading it alone would make of the property."""
        kind, options = prop.logical_type, prop.options
        physical = (prop.physical_type or "").strip()

        def said(kind: LogicalType, options: TypeOptions | None = None) -> SchemaProperty:
            return SchemaProperty(name="", logical_type=kind, options=options or TypeOptions())

        text = said(LogicalType.STRING)
        match kind:
            case None:
                return "string", text
            case LogicalType.OBJECT if prop.properties:
                fields = self.fields(prop.properties, path, required=options.required_properties)
                return {"type": "record", "name": self.named(path), "fields": fields}, said(kind)
            case LogicalType.OBJECT:
                # Avro has no record of unknown fields: the object travels as JSON text.
                return "string", text
            case LogicalType.ARRAY:
                return {"type": "array", "items": self._inner(prop.items, path)}, said(kind)
            case LogicalType.MAP:
                return {"type": "map", "values": self._inner(prop.items, path)}, said(kind)
            case LogicalType.STRING if options.enum and _is_enum(options):
                symbols: list[Json] = [str(value) for value in options.enum]
                enum: Written = {"type": "enum", "name": self.named(path), "symbols": symbols}
                return enum, said(kind, TypeOptions(enum=options.enum))
            case LogicalType.STRING if options.format == "uuid":
                uuid: Written = {"type": "string", "logicalType": "uuid"}
                return uuid, said(kind, TypeOptions(format="uuid"))
            case LogicalType.NUMBER if found := _DECIMAL.fullmatch(physical):
                return _decimal(int(found[1]), int(found[2] or 0)), said(kind)
            case LogicalType.NUMBER if _SINGLE.fullmatch(physical):
                return "float", said(kind)
            case LogicalType.INTEGER if _fits_int(options, physical):
                return "int", said(kind)
            case LogicalType.INTEGER if _needs_more(options):
                return _decimal(39, 0), said(LogicalType.NUMBER)
            case LogicalType.TIMESTAMP:
                own = _OWN[kind].get(physical)
                if own is not None and physical.startswith("local") == (not options.timezone):
                    return own, said(kind, TypeOptions(timezone=bool(options.timezone)))
                name = "timestamp-micros" if options.timezone else "local-timestamp-micros"
                return _OWN[kind][name], said(kind, TypeOptions(timezone=bool(options.timezone)))
            case _:
                return _OWN.get(kind, {}).get(physical, _DEFAULTS[kind]), said(kind)

    def _inner(self, item: SchemaProperty | None, path: str) -> Json:
        """What an array or a map holds; nothing is said of it where the contract says nothing."""
        if item is None:
            return ["null", "string"]
        kind, said = self._type(item, f"{path}_{legal_name(item.name)}")
        notes = _unsaid(item, said)
        if notes:
            kind = {**kind, CONTRACT: notes} if isinstance(kind, dict) else kind
            if isinstance(kind, str):
                kind = {"type": kind, CONTRACT: notes}
        return kind if item.required else ["null", kind]


def _unsaid(prop: SchemaProperty, said: SchemaProperty) -> Written:
    """What the type does not say: another logical type, and the constraints."""
    notes: Written = {}
    if prop.logical_type is not said.logical_type:
        notes["type"] = prop.logical_type.value if prop.logical_type else None
    if prop.options != said.options:
        notes["options"] = write_options(prop.options)
    return notes


def _is_enum(options: TypeOptions) -> bool:
    symbols = [str(value) for value in options.enum]
    return len(set(symbols)) == len(symbols) and all(_NAME.fullmatch(x) for x in symbols)


def _fits_int(options: TypeOptions, physical: str) -> bool:
    return options.format in ("i8", "i16", "i32", "u8", "u16") or (
        options.format is None and bool(_SMALL.fullmatch(physical))
    )


def _needs_more(options: TypeOptions) -> bool:
    return options.format in ("u64", "i128", "u128")


def _decimal(precision: int, scale: int) -> Json:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name
