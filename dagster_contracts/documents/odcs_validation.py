"""ODCS documents against the official JSON Schema, with messages that say where and how to mend.

The schema of the newest version judges. What it refuses in a document of an older ``apiVersion`` is
judged again by the schema of that version, and is only a warning if that one allows it: a contract
does not break because the standard grew stricter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jsonschema_rs

from dagster_contracts.core.contract import Json, ThresholdOperator
from dagster_contracts.documents.inline_schema import meant_type
from dagster_contracts.documents.problem import MAX_PROBLEMS, did_you_mean
from dagster_contracts.documents.quality import metric_of_3_0
from dagster_contracts.documents.section import Reading, describe
from dagster_contracts.documents.yaml_text import (
    MappingNode,
    ScalarNode,
    SequenceNode,
    YamlNode,
    to_json,
)
from dagster_contracts.errors import SourceLocation

#: ``apiVersion`` that is read, and the version of the schema that judges it besides the newest.
NEWEST = "v3.2.0"
OLDER = {"v3.0.0": "3.0.2", "v3.0.1": "3.0.2", "v3.0.2": "3.0.2", "v3.1.0": "3.1.0"}

_OPERATORS = [operator.value for operator in ThresholdOperator]
_ARTICLES = {
    "schema": "the schema object",
    "properties": "the property",
    "quality": "the quality rule",
    "servers": "the server",
    "slaProperties": "the service level",
    "customProperties": "the custom property",
    "relationships": "the relationship",
    "team": "the team member",
    "members": "the team member",
    "roles": "the role",
    "support": "the support channel",
    "authoritativeDefinitions": "the authoritative definition",
    "enum": "the enum value",
    "synonyms": "the synonym",
}
_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}
_SYNONYMS = {
    "type": "'logicalType' (what it means) or 'physicalType' (the database's own)",
    "nullable": "'required: true' for what may not be null",
    "not_null": "'required: true'",
    "columns": "'properties'",
    "fields": "'properties'",
    "primary_key": "'primaryKey'",
    "sla": "'slaProperties'",
    "quality_rules": "'quality'",
    "owner": "'team', or 'owner' in 'customProperties'",
    "resilience": "'resilience' in 'customProperties': {property: resilience, value: {...}}",
    "monitoring": "'monitoring' in 'customProperties': {property: monitoring, value: {...}}",
    "consumers": "'consumers' in 'customProperties': {property: consumers, value: [...]}",
    "alerts": "'alerts' in 'customProperties': {property: alerts, value: {...}}",
    "compatibility": "'compatibility' in 'customProperties'",
    "asset": "'asset' in 'customProperties': {property: asset, value: ...}",
    "mustbelessthanorequalto": "'mustBeLessOrEqualTo'",
    "mustbegreaterthanorequalto": "'mustBeGreaterOrEqualTo'",
    # The words of ODCS 2
    "isnullable": "'required: true' for what may not be null",
    "isunique": "'unique'",
    "isprimarykey": "'primaryKey'",
    "isprimary": "'primaryKey'",
    "column": "'name'",
    "table": "'name'",
    "dataset": "'schema'",
    "uuid": "'id'",
    "datasetname": "'name'",
    "datasetdomain": "'domain'",
    "quantumname": "'dataProduct'",
    "stakeholders": "'team'",
}
_OF_A_MEMBER = {"username", "role", "dateIn", "dateOut", "comment", "replacedByUsername"}
#: Before ODCS 3.1 these said of the bound beside them that it is excluded.
_FLAGS_OF_3_0 = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}
#: What ODCS 2 wrote at the root, and 3 writes elsewhere or not at all.
_SHAPE_OF_2 = {
    "dataset", "quantumName", "datasetDomain", "uuid", "stakeholders", "datasetName", "type",
}  # fmt: skip

Path = tuple[str | int, ...]


def validate_odcs(root: MappingNode, reading: Reading) -> bool:
    """Note every breach of the standard; whether the document may be read all the same."""
    version = root.entries.get("apiVersion")
    text = version.text if isinstance(version, ScalarNode) else ""
    where = version.location if version else root.location
    if text.startswith("v2") and (_SHAPE_OF_2 & root.entries.keys() or "id" not in root.entries):
        reading.findings.error(
            where,
            "odcs-version",
            f"ODCS {text} is not read: its documents have another shape",
            "bring it to v3.1.0: 'dataset' becomes 'schema', 'table' and 'column' become 'name', "
            "'columns' becomes 'properties', 'uuid' becomes 'id', 'stakeholders' becomes 'team'",
        )
        return False
    document = to_json(root)
    if text.startswith("v2"):
        # The schema of 3 still lists the versions of 2, and people forget to raise the number.
        reading.findings.warning(
            where,
            "odcs-version",
            f"the document says ODCS {text} and has the shape of ODCS 3, as which it is read",
            f"write apiVersion: {NEWEST}",
        )
    newest = _validator(NEWEST)
    if newest.is_valid(document):
        return True
    breaches = _Breaches(root, reading, _schema(NEWEST))
    breaches.note(newest.iter_errors(document))
    if text in OLDER and breaches.found:
        own_validator, own_schema = _validator(OLDER[text]), _schema(OLDER[text])
        own = _Breaches(root, reading, own_schema)
        own.note(own_validator.iter_errors(document))
        breaches.report(refused_by_own={key[:2] for key in own.found}, own_version=text)
    else:
        breaches.report(refused_by_own=None, own_version=text)
    return not any(True for _ in reading.findings.errors)


def find_breaches(document: Mapping[str, Json]) -> list[Path]:
    """Where a document breaks the schema of its own ``apiVersion``: the paths of the values.

    As in reading, what the newest schema accepts is good whatever version the document names.
    """
    if _validator(NEWEST).is_valid(document):
        return []
    version = document.get("apiVersion")
    judge = _validator(OLDER.get(version, NEWEST) if isinstance(version, str) else NEWEST)
    return [tuple(error.instance_path) for error in judge.iter_errors(document)]


@lru_cache(maxsize=8)
def _schema(version: str) -> dict[str, Any]:
    if version == NEWEST:
        source = files("open_data_contract_standard") / "schema.json"
    else:
        source = files("dagster_contracts.documents") / "odcs_schemas" / f"odcs-{version}.json"
    loaded: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=8)
def _validator(version: str) -> jsonschema_rs.Draft201909Validator:
    return jsonschema_rs.Draft201909Validator(_schema(version))


class _Breaches:
    """The errors of one schema on one document: one for each place and key, without echoes."""

    def __init__(self, root: MappingNode, reading: Reading, schema: dict[str, Any]) -> None:
        self._root = root
        self._reading = reading
        self._schema = schema
        #: (path, key or keyword, message) -> place and hint, in the order of the document
        self.found: dict[tuple[Path, str, str], tuple[SourceLocation, str | None]] = {}
        self._suspects: list[tuple[Path, str]] = []

    def note(self, errors: Iterable[Any]) -> None:
        """Take over the errors of the validator."""
        for error in errors:
            if len(self.found) > MAX_PROBLEMS:
                # The rest is not told anyway, and a document of mistakes alone would take minutes.
                break
            self._note(error)
        for path, key in self._suspects:
            if not any(other[: len(path)] == path for other, _, _ in self.found):
                self._misplaced(path, key)

    def report(self, *, refused_by_own: set[tuple[Path, str]] | None, own_version: str) -> None:
        """Pass them on; those that the document's own version allows as warnings."""
        findings = self._reading.findings
        for (path, key, message), (where, hint) in self.found.items():
            if key == "oneOf" and self._explained(path):
                continue
            if refused_by_own is None or (path, key) in refused_by_own:
                findings.error(where, "odcs", message, hint)
            else:
                verdict = f"{own_version} allows it, {NEWEST} does not"
                if key.startswith("required"):
                    verdict = f"{own_version} does without it"
                findings.warning(where, "odcs-older", f"{message} ({verdict})", hint)

    def _explained(self, path: Path) -> bool:
        """Whether another error, here or deeper, says what is wrong."""
        depth = len(path)
        return any(other[:depth] == path and key != "oneOf" for other, key, _ in self.found)

    def _note(self, error: Any) -> None:
        path: Path = tuple(error.instance_path)
        kind, node = error.kind, self._node(path)
        match kind.name:
            case "additionalProperties" | "unevaluatedProperties":
                self._unknown_keys(path, node, kind.unexpected, list(error.schema_path))
            case "required":
                self._required(path, node, kind.property)
            case "oneOf" | "anyOf":
                self._branches(path, node, getattr(kind, "context", ()))
            case "enum":
                shown = node.text if isinstance(node, ScalarNode) else describe(node)
                options = [str(option) for option in kind.options]
                meant = meant_type(shown) if path and path[-1] == "logicalType" else None
                mend = did_you_mean(shown, options)
                if meant is not None:
                    mend = f"write {meant!r}; the database's own type goes to 'physicalType'"
                self._add(path, "enum", f"{_key(path)} cannot be {shown!r}", mend)
            case "type":
                words = " or ".join(_TYPE_WORDS.get(word, word) for word in kind.types)
                hint = None
                if isinstance(node, ScalarNode) and node.value is None:
                    hint = f"give {_key(path)} a value, or remove it"
                elif path and path[-1] in _FLAGS_OF_3_0:
                    bound = _FLAGS_OF_3_0[str(path[-1])]
                    hint = f"write the bound here and leave out {bound!r}"
                elif "string" in kind.types and isinstance(node, ScalarNode):
                    hint = f'quote it: {path[-1] if path else ""}: "{node.text}"'
                elif "array" in kind.types and isinstance(node, MappingNode):
                    hint = "begin each item with '- '"
                elif "object" in kind.types and isinstance(node, SequenceNode):
                    hint = "write its keys below it, without '- '"
                self._add(path, "type", f"{_key(path)} must be {words}, not {describe(node)}", hint)
            case "not":
                self._add(
                    path,
                    "not",
                    f"{self._what(path)} may not have 'from': it is where the relationship stands",
                    "remove 'from', or move the relationship to the schema object",
                )
            case "pattern":
                hint = None
                if path and path[-1] == "id":
                    hint = "an id is made of letters, digits, '_' and '-'"
                self._add(
                    path, "pattern", f"{_key(path)} has the wrong shape: {describe(node)}", hint
                )
            case name:
                self._add(path, name, f"{_key(path)}: {error.message[:200]}", None)

    def _unknown_keys(
        self, path: Path, node: YamlNode, unexpected: Sequence[str], schema_path: list[str | int]
    ) -> None:
        # After another error in the same mapping the validator calls every key unevaluated.
        known = self._known_keys(schema_path)
        for key in unexpected:
            if not isinstance(node, MappingNode):
                continue
            if len(self.found) > MAX_PROBLEMS:
                break
            if key in known:
                self._suspects.append((path, key))
                continue
            nearby = known - node.entries.keys()
            hint = did_you_mean(key, nearby, synonyms=_SYNONYMS)
            if path == ("team",) and key in _OF_A_MEMBER:
                hint = "people stand in the list 'members': members: [{username: ...}]"
            self._add(
                path,
                f"key {key}",
                f"{self._what(path)} has no key {key!r}",
                hint,
                node.key_location(key),
            )

    def _misplaced(self, path: Path, key: str) -> None:
        """A key that others of its kind have, and this one has not: ``properties`` of a string."""
        node = self._node(path)
        if not isinstance(node, MappingNode):
            return
        for of in ("logicalType", "type"):
            found = node.entries.get(of)
            if isinstance(found, ScalarNode):
                hint = {
                    "properties": "only an object has properties: write logicalType: object",
                    "items": "only an array has items: write logicalType: array",
                    "map": "only a map has it: write logicalType: map",
                }.get(key, f"remove it, or give {of!r} another value")
                what = f"{self._what(path)} has the {of} {found.text!r}, which has no {key!r}"
                self._add(path, f"key {key}", what, hint, node.key_location(key))
                return
        what = f"{self._what(path)} has no key {key!r}"
        self._add(path, f"key {key}", what, None, node.key_location(key))

    def _required(self, path: Path, node: YamlNode, key: str) -> None:
        if key == "map" and isinstance(node, MappingNode):
            # In 3.2.0 a property without any logicalType matches `if logicalType is map`: a slip of
            # the standard's schema, which its own examples would stumble over.
            logical_type = node.entries.get("logicalType")
            if not isinstance(logical_type, ScalarNode) or logical_type.text != "map":
                return
        hint = {"apiVersion": "add apiVersion: v3.1.0", "kind": "add kind: DataContract"}.get(key)
        if key == "metric" and isinstance(node, MappingNode) and "rule" in node.entries:
            hint = "'rule' is called 'metric' now" + _metric_for(node.entries["rule"])
        self._add(
            path,
            f"required {key}",
            f"{self._what(path)} needs {key!r}",
            hint or f"add '{key}: ...'",
        )

    def _branches(self, path: Path, node: YamlNode, context: Iterable[Sequence[Any]]) -> None:
        if len(path) > 1 and path[-2] == "quality" and isinstance(node, MappingNode):
            self._operators(path, node)
            return
        fitting = [
            branch
            for branch in context
            if not any(tuple(e.instance_path) == path and e.kind.name == "type" for e in branch)
        ]
        if len(fitting) == 1 and fitting[0]:
            self.note(fitting[0])
        else:
            hint = None
            if path and path[-1] in ("to", "from"):
                hint = "write object.property, or schema/<object id>/properties/<property id>"
            self._add(
                path, "oneOf", f"{_key(path)} has none of the shapes that are allowed here", hint
            )

    def _operators(self, path: Path, node: MappingNode) -> None:
        written = [key for key in node.entries if key in _OPERATORS]
        if len(written) > 1:
            names = " and ".join(map(repr, written))
            self._add(
                path,
                "operators",
                f"a quality rule has exactly one operator, and this one has {names}",
                "write mustBeBetween: [low, high], or two rules",
                node.key_location(written[1]),
            )
        elif written:
            between = "Between" in written[0]
            value = node.entries[written[0]]
            if between and isinstance(value, SequenceNode) and _is_one_number_twice(value):
                number = value.items[0].text if isinstance(value.items[0], ScalarNode) else ""
                only = "mustBe" if written[0] == "mustBeBetween" else "mustNotBe"
                self._add(
                    path,
                    "operators",
                    f"the two numbers of {written[0]!r} must differ, and both are {number}",
                    f"write {only}: {number}",
                    value.location,
                )
                return
            self._add(
                path,
                "operators",
                f"{written[0]!r} must be {'two numbers' if between else 'a number'}, "
                f"not {_as_numbers(value) if between else describe(value)}",
                f"write {written[0]}: [low, high]" if between else "write it without quotes",
                value.location,
            )
        elif not any(key.lower().startswith("must") for key in node.entries):
            self._add(
                path,
                "operators",
                "the quality rule has no operator: nothing says when it fails",
                "add one, such as mustBe: 0",
            )

    def _known_keys(self, schema_path: list[str | int]) -> set[str]:
        found: Any = self._schema
        for part in schema_path[:-1]:
            found = found[part]
        known: set[str] = set()
        self._collect_keys(found, known, set())
        # The parts of a definition are composed in others that are named like it.
        if "DataQuality" in schema_path:
            known.update(_OPERATORS)
        return known

    def _collect_keys(self, schema: Any, known: set[str], seen: set[str]) -> None:
        if not isinstance(schema, dict):
            return
        known.update(schema.get("properties", {}))
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            target: Any = self._schema
            for part in reference.lstrip("#/").split("/"):
                target = target[part]
            self._collect_keys(target, known, seen)
        for key in ("allOf", "anyOf", "oneOf"):
            for part in schema.get(key, ()):
                self._collect_keys(part, known, seen)
        for key in ("then", "else"):
            self._collect_keys(schema.get(key), known, seen)

    def _add(
        self,
        path: Path,
        key: str,
        message: str,
        hint: str | None,
        where: SourceLocation | None = None,
    ) -> None:
        place = where or self._node(path).location
        if not any(known[:2] == (path, key) for known in self.found):
            self.found[path, key, message] = (place, hint)

    def _node(self, path: Path) -> YamlNode:
        node: YamlNode = self._root
        for part in path:
            if isinstance(node, MappingNode) and isinstance(part, str) and part in node.entries:
                node = node.entries[part]
            elif isinstance(node, SequenceNode) and isinstance(part, int):
                node = node.items[part]
        return node

    def _what(self, path: Path) -> str:
        """A place in the words of people: ``the property 'email'``."""
        if not path:
            return "the contract"
        if isinstance(path[-1], int) and len(path) > 1:
            article = _ARTICLES.get(str(path[-2]), f"an item of {path[-2]!r}")
            node = self._node(path)
            for key in ("name", "property", "server", "username", "role", "channel", "metric"):
                named = node.entries.get(key) if isinstance(node, MappingNode) else None
                if isinstance(named, ScalarNode) and named.value is not None:
                    return f"{article} {named.text!r}"
            return article
        return repr(path[-1])


def _as_numbers(value: YamlNode) -> str:
    """What stands where two numbers should."""
    if not isinstance(value, SequenceNode):
        return describe(value)
    for item in value.items:
        number = isinstance(item, ScalarNode) and isinstance(item.value, int | float)
        if not number or (isinstance(item, ScalarNode) and isinstance(item.value, bool)):
            return describe(item)
    return f"{len(value.items)} of them"


def _is_one_number_twice(value: SequenceNode) -> bool:
    """Whether a list is ``[1, 1]``: the standard asks for two different numbers."""
    numbers = [
        item.value
        for item in value.items
        if isinstance(item, ScalarNode)
        and isinstance(item.value, int | float)
        and not isinstance(item.value, bool)
    ]
    return len(numbers) == len(value.items) == 2 and numbers[0] == numbers[1]


def _metric_for(rule: YamlNode) -> str:
    """What to write for a rule of ODCS 3.0."""
    metric = metric_of_3_0(rule.text) if isinstance(rule, ScalarNode) else None
    return "" if metric is None else f": write metric: {metric}"


def _key(path: Path) -> str:
    names = [part for part in path if isinstance(part, str)]
    return repr(names[-1]) if names else "the document"
