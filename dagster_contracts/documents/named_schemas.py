"""The schemas that one contract names, each read once, wherever it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dagster_contracts.core.contract import FallbackLevel, Resilience, SchemaObject
from dagster_contracts.documents.inline_schema import read_inline_schema
from dagster_contracts.documents.resilience_section import read_resilience
from dagster_contracts.documents.schema_files import SchemaFiles, stem
from dagster_contracts.documents.section import Section
from dagster_contracts.documents.yaml_text import MappingNode, ScalarNode, YamlNode
from dagster_contracts.errors import SourceLocation


class NamedSchemas:
    """Inline under ``schemas``, another object of the document, or a file beside the contract."""

    def __init__(
        self, section: Section, files: SchemaFiles, objects: tuple[SchemaObject, ...] = ()
    ) -> None:
        self._section = section
        self._files = files
        self._objects = {schema_object.name: schema_object for schema_object in objects}
        self._missing: set[str] = set()
        self.named: dict[str, SchemaObject] = {}
        inline = section.section("schemas")
        for key in inline.node.entries if inline is not None else ():
            assert inline is not None
            node = inline.take(key) or inline.node.entries[key]
            found = self._read(key, node)
            if found is not None:
                self.named[stem(key)] = replace(found, name=stem(key))

    def know(self, objects: Sequence[SchemaObject]) -> None:
        """Let levels name the schemas of these objects too."""
        self._objects |= {schema_object.name: schema_object for schema_object in objects}

    def main(self, section: Section, name: str) -> SchemaObject:
        """The schema of the contract itself, or of one of its objects: the ``schema`` of a section.

        It is called ``name`` unless it is written out and says another name.
        """
        node = section.take("schema")
        empty = SchemaObject(name=name, location=section.location)
        if node is None:
            section.findings.warning(
                section.location,
                "no-schema",
                "the contract has no schema: no column is checked",
                "add schema: {fields: {...}}, or the name of an .avsc file beside the contract",
            )
            return empty
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            found = self.find(section.reading.expand(node, node.value), node.location)
            return empty if found is None else replace(found, name=name)
        return self._read(name, node) or empty

    def find(self, reference: str, where: SourceLocation) -> SchemaObject | None:
        """A schema by its name, with or without its ending."""
        key = stem(reference)
        if key in self.named:
            return self.named[key]
        if key in self._missing:
            return None
        found = self._objects.get(key) or self._files.load(reference, where)
        if found is None:
            self._missing.add(key)
            return None
        self.named[key] = found
        return found

    def _read(self, name: str, node: YamlNode) -> SchemaObject | None:
        section = self._section
        if isinstance(node, MappingNode):
            return read_inline_schema(Section(node, section.reading, "a schema"), name)
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            return self._files.load(section.reading.expand(node, node.value), node.location)
        section.wrong(
            node,
            "schema",
            "a name, a file, or {fields: {...}}",
            "write schema: {fields: {order_id: integer}}; several tables go to 'objects', and "
            "a list of them is ODCS, which begins with 'apiVersion'",
        )
        return None


def read_levels_and_breaker(section: Section, schemas: NamedSchemas) -> Resilience | None:
    """The ``resilience`` section, with the schema of every level looked up."""
    found = section.section("resilience")
    if found is None:
        return None
    resilience = read_resilience(found)
    levels: list[FallbackLevel] = []
    for level in resilience.levels:
        if level.schema is None:
            levels.append(level)
            continue
        schemas.find(level.schema, level.location or section.location)
        levels.append(replace(level, schema=stem(level.schema)))
    return replace(resilience, levels=tuple(levels))
