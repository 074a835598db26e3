"""One form of a contract as the other, with the proof that nothing was lost on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from pathlib import Path

from dagster_contracts.core.contract import Contract, Json
from dagster_contracts.documents.compact import ROOT_KEY
from dagster_contracts.documents.compact_writer import to_compact
from dagster_contracts.documents.document import Document, read_document, references_in
from dagster_contracts.documents.odcs_validation import find_breaches
from dagster_contracts.documents.odcs_writer import to_odcs
from dagster_contracts.documents.problem import as_error
from dagster_contracts.documents.yaml_text import MAX_BYTES, MappingNode, parse_yaml, to_json
from dagster_contracts.documents.yaml_writer import write_yaml
from dagster_contracts.errors import DocumentError


class Form(StrEnum):
    """The two forms of a contract document."""

    COMPACT = "compact"
    ODCS = "odcs"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A document in the other form.

    ``schema_files`` are the files that the first one named and whose schemas now stand in the text;
    ``references`` the environment variables that it names, which are left as they were written.
    """

    text: str
    form: Form
    contract: Contract
    schema_files: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


def convert(
    path: Path, *, to: Form | None = None, root: Path | None = None, text: str | None = None
) -> Conversion:
    """The document at ``path`` in the form ``to``, by default the one that it has not.

    What is written is read again before it is given out, and must be an equal contract: raises
    :class:`DocumentError` where it is not, and for the mistakes of the document itself.
    ``text`` is read in place of the file.
    """
    content = text.encode() if text is not None else _content(path)
    source = read_document(path, root=root, text=content, keep_references=True)
    references = references_in(content)
    contract = _checked(source, references)
    form = form_of(content, str(path))
    if to is None:
        to = Form.ODCS if form is Form.COMPACT else Form.COMPACT
    same = form is to is Form.ODCS
    return Conversion(
        text=write_form(contract, to, _document(content, path) if same else None),
        form=to,
        contract=contract,
        schema_files=tuple(name for name, _ in source.schema_files),
        references=references,
    )


def read_unexpanded(path: Path, *, root: Path | None = None) -> Contract:
    """The contract at ``path``, its references to the environment left as they are written."""
    content = _content(path)
    source = read_document(path, root=root, text=content, keep_references=True)
    return _checked(source, references_in(content))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        # One byte more than is allowed, so that the reader sees that the file is too large.
        return file.read(MAX_BYTES + 1)


def form_of(content: bytes, path: str) -> Form:
    """The form of a document that was read before."""
    node = parse_yaml(content, path, allowed_env=references_in(content))
    compact = isinstance(node, MappingNode) and ROOT_KEY in node.entries
    return Form.COMPACT if compact else Form.ODCS


def _document(content: bytes, path: Path) -> Mapping[str, Json]:
    node = parse_yaml(content, str(path), allowed_env=references_in(content))
    document = to_json(node)
    assert isinstance(document, dict)  # it was read as a contract before
    return document


def write_form(contract: Contract, form: Form, written: Mapping[str, Json] | None = None) -> str:
    """The contract as YAML of that form, which reads back as an equal contract.

    ``written`` is the document that it was read from, where that has the same form: it comes out
    again to the last ``required: false``. Raises :class:`DocumentError` where the form has no words
    for something.
    """
    lost: list[str] = []
    for document in (*(() if written is None else (written,)), *_attempts(contract, form)):
        text = write_yaml(document)
        again = read_document(Path(f"{contract.name}.yaml"), text=text, keep_references=True)
        if again.contract is None:
            lost.append("; ".join(f"{p.location}: {p.message}" for p in again.errors[:3]))
            continue
        different = next(_differences(contract, again.contract, ""), None)
        breaches = find_breaches(document) if form is Form.ODCS else []
        if different is None and not breaches:
            return text
        lost.append(different or f"the standard refuses {'.'.join(map(str, breaches[0]))}")
    raise DocumentError(
        f"{contract.ref} cannot be written as {form.value} without loss",
        where=contract.location,
        why="; ".join(dict.fromkeys(lost)),
        hint="mend what lint says about the document; if it says nothing, please report it",
    )


def _attempts(contract: Contract, form: Form) -> Iterator[Mapping[str, Json]]:
    """The document as people would write it, and then one that leaves nothing to the reader."""
    if form is Form.COMPACT:
        yield to_compact(contract)
        return
    yield to_odcs(contract)
    yield to_odcs(contract, explicit=True)


def _checked(source: Document, references: tuple[str, ...]) -> Contract:
    if source.contract is not None:
        return source.contract
    if references and source.errors[0].code in ("condition", "duration", "name", "version"):
        raise DocumentError(
            "the document cannot be written again with its references to the environment",
            where=source.errors[0].location,
            why=source.errors[0].message,
            hint="here a reference would have to be replaced by its value, which no file may hold: "
            "write the value into the document",
        )
    raise as_error(source.errors)


def _differences(one: object, other: object, place: str) -> Iterator[str]:
    """Where two contracts differ, for people; hashes of texts do not count."""
    if one == other:
        return
    if isinstance(one, Contract) and isinstance(other, Contract):
        other = replace(other, content_hash=one.content_hash)
    if is_dataclass(one) and is_dataclass(other) and type(one) is type(other):
        for field in fields(one):
            if field.compare:
                inner = f"{place}.{field.name}" if place else field.name
                yield from _differences(getattr(one, field.name), getattr(other, field.name), inner)
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from _differences(*pair, f"{place}[{number}]")
    else:
        yield f"{place} would be {other!r:.200}, and was {one!r:.200}"
