"""Schemas that a contract names: inline under ``schemas``, or in a file beside the contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dagster_contracts.core.contract import SchemaObject
from dagster_contracts.core.reference import is_name
from dagster_contracts.documents.avro import read_avro
from dagster_contracts.documents.json_schema import read_json_schema
from dagster_contracts.documents.problem import did_you_mean
from dagster_contracts.documents.section import Reading
from dagster_contracts.documents.yaml_text import MAX_BYTES
from dagster_contracts.errors import DocumentError, SourceLocation

#: Endings of schema files, in the order in which a name without one is tried.
AVRO_ENDINGS = (".avsc",)
JSON_SCHEMA_ENDINGS = (".schema.json", ".json")
ENDINGS = (*AVRO_ENDINGS, *JSON_SCHEMA_ENDINGS)


def stem(reference: str) -> str:
    """The name of a schema without its ending: ``full.avsc`` is the schema ``full``."""
    name = reference.rpartition("/")[2]
    for ending in ENDINGS:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


@dataclass(slots=True)
class SchemaFiles:
    """The files beside one contract; ``root`` is the folder that none of them may leave.

    ``read`` holds the bytes of every file that was used, because they belong to the content hash.
    """

    folder: Path
    root: Path
    reading: Reading
    read: dict[str, bytes] = field(default_factory=dict)

    def load(self, reference: str, where: SourceLocation) -> SchemaObject | None:
        """The schema of that name; ``None``, and a finding, where there is none or it is broken."""
        try:
            found = self._find(reference, where)
            if found is None:
                return None
            path, content = found
            name = stem(reference)
            shown = str(path)
            if path.name.endswith(AVRO_ENDINGS):
                return read_avro(content, shown, name, self.reading.findings)
            return read_json_schema(content, shown, name, self.reading)
        except DocumentError as error:
            self.reading.findings.raised(error, where, "schema-file")
            return None

    def _find(self, reference: str, where: SourceLocation) -> tuple[Path, bytes] | None:
        parts = reference.split("/")
        if not all(is_name(part) for part in parts):
            raise DocumentError(
                f"{reference!r} is no name of a schema",
                where=where,
                why="schemas stand beside their contract: letters, digits, '_', '-' and '.', "
                "and '/' for a folder below it",
                hint='name it like "full_customer_behavior" or "schemas/full.avsc"',
            )
        has_ending = reference.endswith(ENDINGS)
        names = [reference] if has_ending else [reference + ending for ending in ENDINGS]
        for name in names:
            path = self.folder.joinpath(*name.split("/"))
            if path.is_file():
                return path, self._content(path, where)
        self.reading.findings.error(
            where,
            "schema-not-found",
            f"there is no schema {reference!r} under 'schemas' or beside the contract",
            self._hint(reference, names),
        )
        return None

    def _content(self, path: Path, where: SourceLocation) -> bytes:
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DocumentError(
                f"the file {path.name!r} lies outside of the contracts' folder",
                where=where,
                hint="copy it beside the contract: links that leave the folder are not followed",
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DocumentError(
                f"the file {path.name!r} is larger than 1 MiB",
                where=where,
                hint="keep in it the schema alone",
            )
        self.read[str(path.relative_to(self.folder))] = content
        return content

    def _hint(self, reference: str, names: list[str]) -> str:
        try:
            beside = [entry.name for entry in self.folder.iterdir() if entry.name.endswith(ENDINGS)]
        except OSError:
            beside = []
        if beside:
            return did_you_mean(reference, beside)
        return f"put {' or '.join(names)} into {self.folder}"
