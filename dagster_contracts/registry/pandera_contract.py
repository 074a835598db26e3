"""A contract that starts from the pandera schema that a team has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_contracts.core.contract import Contract
from dagster_contracts.core.reference import is_name
from dagster_contracts.documents.document import read_document
from dagster_contracts.documents.inferred_text import Form, inferred_text
from dagster_contracts.documents.problem import as_error
from dagster_contracts.engine.pandera_translation import translate_schema
from dagster_contracts.errors import DocumentError


@dataclass(frozen=True, slots=True, kw_only=True)
class PanderaContract:
    """The contract, its document, and in words what pandera goes on to check itself.

    ``custom`` has the pandera schema under the name by which the custom rule asks for it:
    ``validate(data, found.contract, custom=found.custom)``.
    """

    contract: Contract
    text: str
    untranslated: tuple[str, ...]
    custom: Mapping[str, Callable[..., object]] = field(default_factory=dict)


def from_pandera(
    schema: Any,
    *,
    name: str,
    version: str = "1.0.0",
    asset: str | None = None,
    form: str = "compact",
    implementation: str | None = None,
) -> PanderaContract:
    """Make a contract of a pandera ``DataFrameSchema`` or ``DataFrameModel``, pandas or Polars.

    What a contract has no word for is named in ``untranslated``, in the head of the document, and
    run by pandera itself: the contract then has a custom rule ``pandera``.

    Parameters
    ----------
    schema:
        The schema or the model.
    name, version, asset:
        Of the contract; ``asset`` where the asset that it governs has another name.
    form:
        ``compact`` or ``odcs``.
    implementation:
        Where the schema is, as ``module:name``; a model at the top of its module is found by
        itself.

    Raises
    ------
    TypeError
        ``schema`` is no pandera schema.
    DocumentError
        ``name`` cannot name a contract, or a column cannot stand in one.
    """
    if not is_name(name):
        raise DocumentError(
            f"{name!r} cannot name a contract",
            hint="use letters, digits, '_', '-' and '.'",
        )
    place = implementation or _place(schema) or f"{name}_schema"
    translated = translate_schema(schema, name=name, implementation=place)
    made = Contract(name=name, version=version, objects=(translated.schema_object,), asset=asset)
    text = inferred_text(made, (), Form(form), head=_head(translated.untranslated, place))
    document = read_document(Path(f"{name}.yaml"), text=text)
    if document.contract is None:
        raise as_error(document.errors)
    return PanderaContract(
        contract=document.contract,
        text=text,
        untranslated=translated.untranslated,
        custom={place: schema} if translated.untranslated else {},
    )


def _place(schema: Any) -> str | None:
    """Where a model can be imported from."""
    if not isinstance(schema, type) or "<locals>" in schema.__qualname__:
        return None
    return None if schema.__module__ == "__main__" else f"{schema.__module__}:{schema.__qualname__}"


def _head(untranslated: tuple[str, ...], place: str) -> str:
    lines = ["Made from a pandera schema."]
    if untranslated:
        lines.append(f"Only pandera itself checks this, by the rule that runs {place}:")
        lines += [f"- {' '.join(words.split())}" for words in untranslated]
    return "\n".join(lines)
